/* tools/bench_net.c - loopback, or two namespaces and the veth pair between them. */
#include "tools/bench_net.h"

#include "tools/net_device.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* 198.18.0.0/15 is for benchmarks (RFC 2544): no route of the machine's is in the way, and both ends are ours. */
static const char *const addresses[BENCH_ENDS] = {"198.18.0.1", "198.18.0.2"};
static const char device[] = "bench0";

enum { PORT_MIN = 10000, PORT_MAX = 30000 }; /* below what the kernel draws from for outgoing connections */

struct message {
    struct nlmsghdr h;
    struct ifinfomsg info;
    char attrs[256];
};

static struct rtattr *attr_open(struct message *m, unsigned short type)
{
    struct rtattr *a = (struct rtattr *)((char *)m + NLMSG_ALIGN(m->h.nlmsg_len));

    *a = (struct rtattr){.rta_type = type, .rta_len = RTA_LENGTH(0)};
    m->h.nlmsg_len = NLMSG_ALIGN(m->h.nlmsg_len) + RTA_LENGTH(0);
    return a;
}

static void attr_close(struct message *m, struct rtattr *a)
{
    a->rta_len = (unsigned short)((char *)m + m->h.nlmsg_len - (char *)a);
}

static void attr_put(struct message *m, unsigned short type, const void *p, size_t len)
{
    struct rtattr *a = attr_open(m, type);

    memcpy(RTA_DATA(a), p, len);
    m->h.nlmsg_len += (unsigned)RTA_ALIGN(len);
    a->rta_len = (unsigned short)RTA_LENGTH(len);
}

/* A pair of devices: one where the calling thread is, the other, of the same name, in the namespace `other`. */
static int make_pair(int other)
{
    struct message m = {.h = {.nlmsg_len = NLMSG_LENGTH(sizeof m.info),
                              .nlmsg_type = RTM_NEWLINK,
                              .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK}};
    static const struct ifinfomsg none;
    struct rtattr *link, *data, *peer;
    struct {
        struct nlmsghdr h;
        struct nlmsgerr e;
    } answer;
    int fd, r = -1;

    attr_put(&m, IFLA_IFNAME, device, sizeof device);
    link = attr_open(&m, IFLA_LINKINFO);
    attr_put(&m, IFLA_INFO_KIND, "veth", 4);
    data = attr_open(&m, IFLA_INFO_DATA);
    peer = attr_open(&m, VETH_INFO_PEER);
    memcpy((char *)&m + m.h.nlmsg_len, &none, sizeof none);
    m.h.nlmsg_len += NLMSG_ALIGN(sizeof none);
    attr_put(&m, IFLA_IFNAME, device, sizeof device);
    attr_put(&m, IFLA_NET_NS_FD, &other, sizeof other);
    attr_close(&m, peer);
    attr_close(&m, data);
    attr_close(&m, link);
    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -1;
    if (send(fd, &m, m.h.nlmsg_len, 0) == (ssize_t)m.h.nlmsg_len &&
        recv(fd, &answer, sizeof answer, 0) >= (ssize_t)sizeof answer && answer.h.nlmsg_type == NLMSG_ERROR) {
        errno = -answer.e.error;
        r = answer.e.error ? -1 : 0;
    }
    close(fd);
    return r;
}

static int spaces_open(struct bench_net *n)
{
    for (int end = 0; end < BENCH_ENDS; end++) {
        if (unshare(CLONE_NEWNET) || net_device_up("lo", NULL))
            return bench_fail("cannot make a network namespace: %m (--netns needs root)");
        n->ns[end] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        if (n->ns[end] < 0)
            return bench_fail("cannot open the namespace: %m");
    }
    if (bench_net_enter(n, BENCH_CLIENT) || make_pair(n->ns[BENCH_SERVER]))
        return bench_fail("cannot make a veth pair: %m");
    for (int end = 0; end < BENCH_ENDS; end++)
        if (bench_net_enter(n, end) || net_device_up(device, addresses[end]))
            return bench_fail("cannot set up %s: %m", device);
    inet_pton(AF_INET, addresses[BENCH_SERVER], &n->server);
    return 0;
}

int bench_net_open(struct bench_net *n, bool spaces)
{
    *n = (struct bench_net){.spaces = spaces, .ns = {-1, -1}, .server = bench_net_loopback()};
    return spaces ? spaces_open(n) : 0;
}

void bench_net_close(struct bench_net *n)
{
    for (int end = 0; n->spaces && end < BENCH_ENDS; end++)
        if (n->ns[end] >= 0)
            close(n->ns[end]);
}

int bench_net_enter(const struct bench_net *n, enum bench_end end)
{
    return n->spaces ? setns(n->ns[end], CLONE_NEWNET) : 0;
}

void bench_net_tcp(int fd)
{
    static const char control[] = "reno"; /* always there, and allowed */
    static const int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, control, sizeof control - 1);
}

static bool port_free(struct in_addr host, uint16_t port)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    struct sockaddr_in at = bench_net_at(host, port);
    bool is_free = true;

    for (size_t i = 0; i < LEN(types); i++) {
        int fd = socket(AF_INET, types[i] | SOCK_CLOEXEC, 0);

        is_free = is_free && fd >= 0 && !bind(fd, (const struct sockaddr *)&at, sizeof at);
        if (fd >= 0)
            close(fd);
    }
    return is_free;
}

uint16_t bench_net_port(struct in_addr host)
{
    for (int tries = 0; tries < 1000; tries++) {
        uint32_t r = 0;

        if (getrandom(&r, sizeof r, 0) != sizeof r)
            return 0;
        r = PORT_MIN + r % (PORT_MAX - PORT_MIN);
        if (port_free(host, (uint16_t)r))
            return (uint16_t)r;
    }
    return 0;
}
