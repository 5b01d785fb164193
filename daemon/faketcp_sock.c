/* daemon/faketcp_sock.c - raw sockets, their filters, and segments through them. */
#include "daemon/faketcp_sock.h"

#include "core/base/err.h"
#include "daemon/net.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <string.h>
#include <unistd.h>

enum {
    AT_FROM = 0, /* in a segment */
    AT_TO = 2,
    AT_WORDS = 12,
    AT_FLAGS = 13,
    TAKE_ALL = 0x40000,
};

static int attach(int fd, struct sock_filter *v, size_t n)
{
    struct sock_fprog p = {.len = (unsigned short)n, .filter = v};

    int r = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof p) ? -errno : 0;

    if (!r)
        return 0;
    return err_say(r, "attach a socket filter%s",
                   r == -EPERM ? " (that of a TCP socket takes the capability CAP_NET_ADMIN with recent kernels)" : "");
}

struct match { /* the segments that a raw socket is to receive */
    uint8_t flags; /* any of these */
    uint16_t from_min, from_max, to_min, to_max;
};

/* A raw IPv4 socket sees the IP header first, an IPv6 one does not. */
static int select_segments(int fd, int family, const struct match *m)
{
    const struct sock_filter after_ip4 = BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0);
    const struct sock_filter at_once = BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 0);
    struct sock_filter v[] = {
        family == AF_INET ? after_ip4 : at_once,
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, AT_FLAGS),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, m->flags, 0, 7),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, AT_TO),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, m->to_min, 0, 5),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, m->to_max, 4, 0),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, AT_FROM),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, m->from_min, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, m->from_max, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, TAKE_ALL),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };

    return attach(fd, v, LEN(v));
}

static int select_nothing(int fd)
{
    struct sock_filter v[] = {BPF_STMT(BPF_RET | BPF_K, 0)};

    return attach(fd, v, LEN(v));
}

/* Empty segments pass: they open the connection and end it. A listener's filter goes to what it accepts. */
static int mute(int fd)
{
    struct sock_filter v[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, AT_WORDS),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 2),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
        BPF_STMT(BPF_ALU | BPF_SUB | BPF_X, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, TAKE_ALL),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };

    return attach(fd, v, LEN(v));
}

/* ---- opening ---- */

/* IPv4 where it is only dressed as IPv6. */
static struct sockaddr_any plain(const struct sockaddr_any *a)
{
    struct sockaddr_any v4 = {.len = sizeof v4.in};

    if (!a->len || a->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
        return *a;
    v4.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = a->in6.sin6_port};
    memcpy(&v4.in.sin_addr, a->in6.sin6_addr.s6_addr + 12, 4);
    return v4;
}

static uint16_t port_of(const struct sockaddr_any *a)
{
    return ntohs(a->sa.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

static void set_port(struct sockaddr_any *a, uint16_t port)
{
    if (a->sa.sa_family == AF_INET)
        a->in.sin_port = htons(port);
    else
        a->in6.sin6_port = htons(port);
}

static int set_device(int fd, const char *name)
{
    if (name && *name && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)strlen(name)))
        return err_say(-errno, "bind to interface %s", name);
    return 0;
}

static int bind_to(int fd, const struct sockaddr_any *a)
{
    struct sockaddr_any at = *a;

    if (!at.len)
        return 0;
    set_port(&at, 0);
    return bind(fd, &at.sa, at.len) ? err_say(-errno, "bind %s", net_addr_text(&at)) : 0;
}

static int set_up_raw(int fd, const struct faketcp_raw_params *p)
{
    const uint8_t flags = FAKETCP_PSH | (p->syn ? FAKETCP_SYN : 0);
    const struct match m = {flags, 0, UINT16_MAX, p->port_min, p->port_max};
    int r = p->port_max ? select_segments(fd, p->family, &m) : select_nothing(fd);

    if (r)
        return err_pass(r);
    if (p->family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &(int){1}, sizeof(int)))
        return err_say(-errno, "ask for the address a segment came to");
    r = set_device(fd, p->interface);
    if (!r)
        r = bind_to(fd, &p->bind);
    return r ? err_pass(r) : net_udp_tune(fd, p->sockbuf, p->dscp);
}

int faketcp_raw_open(const struct faketcp_raw_params *p)
{
    int fd = socket(p->family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP), r;

    if (fd < 0 && (errno == EPERM || errno == EACCES))
        return err_say(-errno, "tcp = true needs the capability CAP_NET_RAW: open a raw socket");
    if (fd < 0)
        return err_say(-errno, "open a raw socket");
    r = set_up_raw(fd, p);
    if (r)
        close(fd);
    return r ? err_pass(r) : fd;
}

static int share_and_mute(int fd)
{
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)))
        return err_say(-errno, "share a TCP port");
    return mute(fd);
}

int faketcp_listen(const struct sockaddr_any *a)
{
    return net_listen_as(a, share_and_mute);
}

/* Keepalives of the kernel are off: the peers' answers die on the way. */
static int open_tcp(const struct sockaddr_any *to, const struct faketcp_raw_params *p)
{
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;

    if (fd < 0)
        return err_say(-errno, "open a TCP socket");
    r = mute(fd);
    if (!r)
        r = set_device(fd, p->interface);
    if (!r)
        r = bind_to(fd, &p->bind);
    if (!r && connect(fd, &to->sa, to->len) && errno != EINPROGRESS)
        r = err_say(-errno, "connect to %s", net_addr_text(to));
    if (r)
        close(fd);
    return r ? err_pass(r) : fd;
}

static int connect_raw(int fd, const struct sockaddr_any *to, const struct sockaddr_any *local)
{
    const struct match m = {FAKETCP_PSH | FAKETCP_SYN, port_of(to), port_of(to), port_of(local), port_of(local)};
    struct sockaddr_any host = *to;

    set_port(&host, 0);
    if (connect(fd, &host.sa, host.len))
        return err_say(-errno, "connect a raw socket to %s", net_addr_text(to));
    return select_segments(fd, to->sa.sa_family, &m);
}

int faketcp_dial(struct faketcp_dialled *d, const struct sockaddr_any *to, const struct faketcp_raw_params *p)
{
    struct faketcp_raw_params rp = *p;
    struct sockaddr_any there = plain(to);
    int r;

    rp.family = there.sa.sa_family;
    rp.port_min = 1; /* which it will be is not known, and the answer to the SYN must not be missed */
    rp.port_max = UINT16_MAX;
    rp.syn = true;
    d->raw = faketcp_raw_open(&rp);
    if (d->raw < 0)
        return err_pass(d->raw);
    d->tcp = open_tcp(&there, &rp);
    r = MIN(d->tcp, 0);
    d->local.len = sizeof d->local.in6;
    if (!r && getsockname(d->tcp, &d->local.sa, &d->local.len))
        r = err_say(-errno, "ask for the port of a connection");
    if (!r)
        r = connect_raw(d->raw, &there, &d->local);
    if (!r)
        return 0;
    close(d->raw);
    if (d->tcp >= 0)
        close(d->tcp);
    return err_pass(r);
}

/* ---- in ---- */

/* Gives a an IPv4 address. */
static void set_ip4(struct sockaddr_any *a, const uint8_t ip[4])
{
    a->in = (struct sockaddr_in){.sin_family = AF_INET};
    memcpy(&a->in.sin_addr, ip, 4);
    a->len = sizeof a->in;
}

int faketcp_unwrap(struct io_event *ev, struct faketcp_segment *s)
{
    struct bytes tcp = bytes_of(ev->data, ev->len);
    uint8_t from[4], to[4];

    if (ev->from.len && ev->from.sa.sa_family == AF_INET) {
        if (faketcp_strip_ip4(&tcp, from, to))
            return FAKETCP_MALFORMED;
        set_ip4(&ev->from, from);
        set_ip4(&ev->to, to);
    }
    if (!ev->from.len || !ev->to.len || faketcp_parse(s, tcp))
        return FAKETCP_MALFORMED;
    set_port(&ev->from, s->from);
    set_port(&ev->to, s->to);
    ev->data += s->payload.p - ev->data;
    ev->len = (uint32_t)s->payload.len;
    ev->seg = ev->len ? ev->len : 1;
    return 0;
}

/* ---- out ---- */

unsigned faketcp_send(int fd, const struct faketcp_way *way, struct faketcp_numbers *n, const uint8_t *data, size_t len,
                      size_t seg, int *err)
{
    uint8_t heads[NET_GSO_SEGS][FAKETCP_HEADER], from[16], to[16];
    struct faketcp_header h = {.from = port_of(way->from), .to = port_of(way->to), .stamp = way->stamp};
    struct sockaddr_any host = *way->to;
    struct net_pair v[NET_GSO_SEGS];
    unsigned k = 0, sent = 0;

    *err = 0;
    set_port(&host, 0); /* a raw IPv6 socket would take it for a protocol */
    net_addr_ip(way->from, from);
    net_addr_ip(way->to, to);
    for (size_t at = 0; at < len; at += seg) {
        struct bytes payload = bytes_of(data + at, MIN(seg, len - at));

        h.numbers = *n;
        faketcp_put(heads[k], &h, payload, from, to);
        n->seq += (uint32_t)payload.len;
        v[k].head = bytes_of(heads[k], FAKETCP_HEADER);
        v[k++].body = payload;
        if (k < NET_GSO_SEGS && at + seg < len)
            continue;
        sent += net_send_pairs(fd, way->connected ? NULL : &host, way->connected ? NULL : way->from, v, k, err);
        k = 0;
    }
    return sent;
}
