/* tools/net_device.c - ioctls on network devices. */
#include "tools/net_device.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct ifreq request(const char *name)
{
    struct ifreq q = {0};

    strncpy(q.ifr_name, name, sizeof q.ifr_name - 1);
    return q;
}

int net_device_up(const char *name, const char *ipv4)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    struct ifreq q = request(name);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = 0;

    if (fd < 0)
        return -1;
    if (ipv4) {
        inet_pton(AF_INET, ipv4, &at.sin_addr);
        memcpy(&q.ifr_addr, &at, sizeof at);
        r = ioctl(fd, SIOCSIFADDR, &q);
        inet_pton(AF_INET, "255.255.255.0", &at.sin_addr);
        memcpy(&q.ifr_netmask, &at, sizeof at);
        r = r ? r : ioctl(fd, SIOCSIFNETMASK, &q);
    }
    r = r ? r : ioctl(fd, SIOCGIFFLAGS, &q);
    q.ifr_flags |= IFF_UP;
    r = r ? r : ioctl(fd, SIOCSIFFLAGS, &q);
    close(fd);
    return r;
}

int net_device_ipv6(const char *name, const char *ipv6)
{
    struct { /* struct in6_ifreq; the header that has it does not go with <netinet/in.h> */
        struct in6_addr address;
        uint32_t prefix;
        int index;
    } q = {.prefix = 64, .index = (int)if_nametoindex(name)};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

    if (fd < 0)
        return -1;
    inet_pton(AF_INET6, ipv6, &q.address);
    r = ioctl(fd, SIOCSIFADDR, &q);
    close(fd);
    return r;
}

int net_device_sizes(const char *name, unsigned mtu, unsigned queue)
{
    struct ifreq q = request(name);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

    if (fd < 0)
        return -1;
    q.ifr_mtu = (int)mtu;
    r = ioctl(fd, SIOCSIFMTU, &q);
    q.ifr_qlen = (int)queue;
    r = r ? r : ioctl(fd, SIOCSIFTXQLEN, &q);
    close(fd);
    return r;
}

uint64_t net_device_dropped(const char *name)
{
    struct ifaddrs *all, *a;
    uint64_t n = 0;

    if (getifaddrs(&all))
        return 0;
    for (a = all; a; a = a->ifa_next)
        if (a->ifa_addr && a->ifa_addr->sa_family == AF_PACKET && a->ifa_data && !strcmp(a->ifa_name, name))
            n = ((const struct rtnl_link_stats *)a->ifa_data)->tx_dropped;
    freeifaddrs(all);
    return n;
}
