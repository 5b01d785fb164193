/* daemon/net.c - sockets: opening and options. Sending is net_send.c, addresses are net_addr.c. */
#include "daemon/net.h"

#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/err.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
    /* A local program that vanished without a word is noticed within about a minute and a half. */
    KEEP_IDLE_S = 30,
    KEEP_INTERVAL_S = 15,
    KEEP_PROBES = 4,
    BIND_TRIES = 25,
    BIND_REST_US = 20000,
    DSCP_SHIFT = 2, /* the two bits below are ECN's, which are not ours to set */
};

static int close_with(int fd, int r)
{
    close(fd);
    return r;
}

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) ? -errno : 0;
}

static int get_int(int fd, int level, int name)
{
    int v = 0;
    socklen_t len = sizeof v;

    return getsockopt(fd, level, name, &v, &len) ? -errno : v;
}

static bool is_mapped(const struct sockaddr_any *a)
{
    return a->len && a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
}

static bool is_wildcard6(const struct sockaddr_any *a)
{
    return a->len && a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

/* What an IPv6 wildcard becomes where the kernel has no IPv6, or has it switched off. */
static bool is_no_ipv6(int r)
{
    return r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL;
}

static struct sockaddr_any wildcard4(uint16_t port_be)
{
    struct sockaddr_any a = {.len = sizeof a.in};

    a.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port_be};
    return a;
}

/* Asks for one buffer; root may pass the system's ceiling. */
static void set_buffer(int fd, int name, int force, uint32_t asked)
{
    int want = (int)MIN(asked, (uint32_t)INT_MAX / 2); /* the kernel doubles it into an int */

    set_int(fd, SOL_SOCKET, name, want);
    if (get_int(fd, SOL_SOCKET, name) / 2 < want)
        set_int(fd, SOL_SOCKET, force, want);
}

static void set_buffers(int fd, uint32_t sockbuf)
{
    if (!sockbuf)
        return;
    set_buffer(fd, SO_RCVBUF, SO_RCVBUFFORCE, sockbuf);
    set_buffer(fd, SO_SNDBUF, SO_SNDBUFFORCE, sockbuf);
}

uint32_t net_udp_sockbuf(int fd)
{
    int in = get_int(fd, SOL_SOCKET, SO_RCVBUF), out = get_int(fd, SOL_SOCKET, SO_SNDBUF);

    return (uint32_t)MAX(MIN(in, out), 0) / 2;
}

static int set_dscp(int fd, int family, uint8_t dscp)
{
    int tos = (dscp & 63) << DSCP_SHIFT, r;

    r = set_int(fd, IPPROTO_IP, IP_TOS, tos); /* on an IPv6 socket: for IPv4 through it */
    if (family == AF_INET6)
        r = set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, tos);
    return r ? err_say(r, "set DSCP %u", dscp) : 0;
}

static int set_pktinfo(int fd, int family)
{
    int r =
        family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) : set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);

    return r ? err_say(r, "ask for the address a datagram came to") : 0;
}

static int set_udp_options(int fd, int family, const struct net_udp_params *p)
{
    int r = 0;

    if (p->reuseport && (r = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1)))
        return err_say(r, "share the UDP port among workers");
    if (p->interface && *p->interface &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, p->interface, (socklen_t)strlen(p->interface)))
        return err_say(-errno, "bind to interface %s", p->interface);
    if (p->pktinfo && (r = set_pktinfo(fd, family)))
        return err_pass(r);
    if (p->dscp && (r = set_dscp(fd, family, p->dscp)))
        return err_pass(r);
    set_int(fd, SOL_UDP, UDP_GRO, 1); /* older kernels: datagrams come one by one */
    return 0;
}

static int udp_open_at(const struct net_udp_params *p, const struct sockaddr_any *at)
{
    int family = at->sa.sa_family, fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;

    if (fd < 0)
        return err_say(-errno, errno == EMFILE ? "open a UDP socket (raise LimitNOFILE= of the service, or ulimit -n)"
                                               : "open a UDP socket");
    if (is_wildcard6(at) || is_mapped(at))
        set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0); /* refused: IPv6 alone */
    r = set_udp_options(fd, family, p);
    if (r)
        return close_with(fd, err_pass(r));
    if (bind(fd, &at->sa, at->len))
        return close_with(fd, err_say(-errno, "bind UDP %s", net_addr_text(at)));
    return fd;
}

int net_udp_open(const struct net_udp_params *p)
{
    struct sockaddr_any at = p->bind;
    int fd;

    if (!at.len && p->family == AF_INET6) {
        at.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
        at.len = sizeof at.in6;
    } else if (!at.len) {
        at = wildcard4(0);
    }
    fd = udp_open_at(p, &at);
    if (is_no_ipv6(fd) && is_wildcard6(&p->bind)) {
        at = wildcard4(p->bind.in6.sin6_port);
        fd = udp_open_at(p, &at);
    }
    if (fd < 0)
        return err_pass(fd);
    set_buffers(fd, p->sockbuf);
    return fd;
}

int net_udp_tune(int fd, uint32_t sockbuf, uint8_t dscp)
{
    set_buffers(fd, sockbuf);
    return set_dscp(fd, get_int(fd, SOL_SOCKET, SO_DOMAIN), dscp);
}

static int set_tcp_options(int fd)
{
    static const struct {
        int level, name, value;
    } opts[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEP_PROBES},
    };

    for (size_t i = 0; i < LEN(opts); i++) {
        int r = set_int(fd, opts[i].level, opts[i].name, opts[i].value);

        if (r)
            return err_say(r, "set TCP option %d", opts[i].name);
    }
    return 0;
}

/* Reno is always there, and allowed. */
static void dont_pace(int fd)
{
    static const char control[] = "reno";

    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, control, sizeof control - 1);
}

void net_accepted(int fd, const struct sockaddr_any *from)
{
    if (net_addr_is_loopback(from))
        dont_pace(fd);
}

bool net_accepted_from(int fd, struct sockaddr_any *from)
{
    if (from->len)
        return true;
    from->len = sizeof from->in6;
    return !getpeername(fd, &from->sa, &from->len);
}

int net_socket_error(int fd)
{
    int e = get_int(fd, SOL_SOCKET, SO_ERROR);

    return e > 0 ? -e : e;
}

static int unix_address(struct sockaddr_un *un, socklen_t *len, const char *path)
{
    size_t n = strlen(path);

    memset(un, 0, sizeof *un);
    un->sun_family = AF_UNIX;
    if (!n || n >= sizeof un->sun_path)
        return err_say(n ? -ENAMETOOLONG : -EINVAL, "unix socket '%s'", path);
    memcpy(un->sun_path, path, n);
    *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    if (*path == '@') { /* abstract: no file, and no terminator in the name */
        un->sun_path[0] = '\0';
        --*len;
    }
    return 0;
}

/* True if the path is a socket whose listener has gone. */
static bool is_stale(const struct sockaddr_un *un, socklen_t len)
{
    struct stat st;
    bool refused;
    int fd;

    if (!un->sun_path[0] || lstat(un->sun_path, &st) || !S_ISSOCK(st.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    refused = connect(fd, (const struct sockaddr *)un, len) && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int listen_unix(const char *path)
{
    struct sockaddr_un un;
    socklen_t len = 0;
    int fd, r = unix_address(&un, &len, path);

    if (r)
        return err_pass(r);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_say(-errno, "open a unix socket");
    r = bind(fd, (struct sockaddr *)&un, len);
    if (r && errno == EADDRINUSE && is_stale(&un, len) && !unlink(un.sun_path))
        r = bind(fd, (struct sockaddr *)&un, len);
    else if (r && errno != EADDRINUSE)
        return close_with(fd, err_say(-errno, "bind unix socket %s", path));
    if (r || listen(fd, SOMAXCONN))
        return close_with(fd, err_say(r ? -EADDRINUSE : -errno, "listen on unix socket %s", path));
    return fd;
}

static int listen_at(const struct sockaddr_any *a, int (*prepare)(int fd))
{
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;

    if (fd < 0)
        return err_say(-errno, "open a TCP socket");
    r = prepare ? prepare(fd) : 0;
    if (r)
        return close_with(fd, err_pass(r));
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1); /* else the port rests after a restart */
    if (net_addr_is_loopback(a))
        dont_pace(fd);
    if (is_wildcard6(a))
        set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (bind(fd, &a->sa, a->len))
        return close_with(fd, err_say(-errno, "bind TCP %s", net_addr_text(a)));
    if (listen(fd, SOMAXCONN))
        return close_with(fd, err_say(-errno, "listen on TCP %s", net_addr_text(a)));
    return fd;
}

int net_listen_as(const struct sockaddr_any *a, int (*prepare)(int fd))
{
    int fd = listen_at(a, prepare);

    if (is_no_ipv6(fd) && is_wildcard6(a)) {
        struct sockaddr_any v4 = wildcard4(a->in6.sin6_port);

        fd = listen_at(&v4, prepare);
    }
    return fd;
}

int net_listen(const struct sockaddr_any *a, const char *path)
{
    return path ? listen_unix(path) : net_listen_as(a, set_tcp_options);
}

int net_connect(const struct sockaddr_any *a, const char *path)
{
    struct sockaddr_un un;
    socklen_t len = path ? 0 : a->len;
    int fd, r = path ? unix_address(&un, &len, path) : 0;
    const struct sockaddr *to = path ? (const struct sockaddr *)&un : &a->sa;

    if (r)
        return err_pass(r);
    fd = socket(path ? AF_UNIX : a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_say(-errno, "open a stream socket");
    r = path ? 0 : set_tcp_options(fd);
    if (r)
        return close_with(fd, err_pass(r));
    if (a && net_addr_is_loopback(a))
        dont_pace(fd);
    if (connect(fd, to, len) && errno != EINPROGRESS)
        return close_with(fd, err_say(-errno, "connect to %s", path ? path : net_addr_text(a)));
    return fd;
}

bool net_bind_again(int r, unsigned *tries)
{
    if (r != -EADDRINUSE || *tries == BIND_TRIES)
        return false;
    ++*tries;
    usleep(BIND_REST_US);
    return true;
}
