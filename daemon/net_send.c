/* daemon/net_send.c - runs of datagrams out by UDP_SEGMENT, or one by one where that is refused; gathered stream writes. */
#include "daemon/net.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum {
    GSO_RETRY_RUNS = 4096, /* one wasted call among so many costs nothing */
    WRITE_PIECES = 64,
};

ssize_t net_write(int fd, const struct bytes *v, unsigned n)
{
    ssize_t total = 0;

    for (unsigned done = 0; done < n;) {
        struct iovec iov[WRITE_PIECES];
        unsigned k = MIN(n - done, (unsigned)WRITE_PIECES);
        struct msghdr h = {.msg_iov = iov, .msg_iovlen = k};
        size_t asked = 0;
        ssize_t w;

        for (unsigned i = 0; i < k; i++) {
            iov[i] = (struct iovec){(void *)(uintptr_t)v[done + i].p, v[done + i].len};
            asked += v[done + i].len;
        }
        do {
            w = sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
        } while (w < 0 && errno == EINTR);
        if (w < 0)
            return total ? total : -errno; /* an error repeats, or is told by the read side */
        total += w;
        if ((size_t)w < asked)
            break;
        done += k;
    }
    return total;
}

/* One send under way: where to, and its control messages. */
struct send {
    int fd;
    struct msghdr h;
    union {
        struct cmsghdr align;
        uint8_t room[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
    } control;
};

static void add_control(struct send *s, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)(s->control.room + s->h.msg_controllen);

    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), data, len);
    s->h.msg_control = s->control.room;
    s->h.msg_controllen += CMSG_SPACE(len);
}

static void add_from(struct send *s, const struct sockaddr_any *from)
{
    if (from->sa.sa_family == AF_INET) {
        struct in_pktinfo i = {.ipi_spec_dst = from->in.sin_addr};

        add_control(s, IPPROTO_IP, IP_PKTINFO, &i, sizeof i);
    } else {
        struct in6_pktinfo i = {.ipi6_addr = from->in6.sin6_addr};

        /* Only a link-local address needs its link; naming it otherwise would overrule the route. */
        if (IN6_IS_ADDR_LINKLOCAL(&i.ipi6_addr))
            i.ipi6_ifindex = from->in6.sin6_scope_id;
        add_control(s, IPPROTO_IPV6, IPV6_PKTINFO, &i, sizeof i);
    }
}

static void send_init(struct send *s, int fd, const struct sockaddr_any *to, const struct sockaddr_any *from)
{
    memset(s, 0, sizeof *s);
    s->fd = fd;
    if (to && to->len) {
        s->h.msg_name = (void *)(uintptr_t)&to->sa;
        s->h.msg_namelen = to->len;
    }
    if (from && from->len)
        add_from(s, from);
}

/* A connected socket tells an old ICMP error at the next call, which then has sent nothing: that call is repeated. */
static bool again(int *refusals)
{
    return errno == EINTR || (errno == ECONNREFUSED && !(*refusals)++);
}

static int send_segmented(const struct send *s, const uint8_t *data, size_t len, size_t seg)
{
    struct iovec iov = {(void *)(uintptr_t)data, len};
    struct send one = *s;
    uint16_t size = (uint16_t)seg;
    int refusals = 0;
    ssize_t w;

    add_control(&one, SOL_UDP, UDP_SEGMENT, &size, sizeof size);
    one.h.msg_control = one.control.room;
    one.h.msg_iov = &iov;
    one.h.msg_iovlen = 1;
    do {
        w = sendmsg(one.fd, &one.h, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (w < 0 && again(&refusals));
    return w < 0 ? -errno : 0;
}

/* Sends messages one by one; too long ones are passed over. As net_udp_send(). */
static unsigned send_all(int fd, struct mmsghdr *m, unsigned n, int *err)
{
    unsigned taken = 0, at = 0;
    int refusals = 0;

    while (at < n) {
        int r = sendmmsg(fd, m + at, n - at, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (r > 0) {
            at += (unsigned)r;
            taken += (unsigned)r;
        } else if (r < 0 && again(&refusals)) {
            continue;
        } else {
            *err = *err ? *err : -errno;
            if (errno != EMSGSIZE)
                break;
            at++;
        }
    }
    return taken;
}

/* Up to NET_GSO_SEGS datagrams one by one. */
static unsigned send_singly(const struct send *s, const uint8_t *data, size_t len, size_t seg, int *err)
{
    struct mmsghdr m[NET_GSO_SEGS];
    struct iovec iov[NET_GSO_SEGS];
    unsigned n = 0;

    for (size_t off = 0; n < NET_GSO_SEGS && (off < len || !n); off += seg, n++) {
        iov[n] = (struct iovec){(void *)(uintptr_t)(data + off), MIN(seg, len - off)};
        m[n].msg_hdr = s->h;
        m[n].msg_hdr.msg_iov = &iov[n];
        m[n].msg_hdr.msg_iovlen = 1;
    }
    return send_all(s->fd, m, n, err);
}

unsigned net_send_pairs(int fd, const struct sockaddr_any *to, const struct sockaddr_any *from,
                        const struct net_pair *v, unsigned n, int *err)
{
    struct mmsghdr m[NET_GSO_SEGS];
    struct iovec iov[NET_GSO_SEGS][2];
    struct send s;

    send_init(&s, fd, to, from);
    for (unsigned i = 0; i < n; i++) {
        iov[i][0] = (struct iovec){(void *)(uintptr_t)v[i].head.p, v[i].head.len};
        iov[i][1] = (struct iovec){(void *)(uintptr_t)v[i].body.p, v[i].body.len};
        m[i].msg_hdr = s.h;
        m[i].msg_hdr.msg_iov = iov[i];
        m[i].msg_hdr.msg_iovlen = LEN(iov[i]);
    }
    return send_all(fd, m, n, err);
}

static bool is_refusal(int r)
{
    /* EIO: the route's device does no checksums. EINVAL, EMSGSIZE: a segment is above the path's MTU. */
    return r == -EIO || r == -EINVAL || r == -EMSGSIZE || r == -EOPNOTSUPP;
}

static bool may_segment(struct net_gso *gso)
{
    if (!gso->off)
        return true;
    if (gso->rest) {
        gso->rest--;
        return false;
    }
    return true;
}

/* A run that one call can carry. As net_udp_send(). */
static unsigned send_run(const struct send *s, const uint8_t *data, size_t len, size_t seg, struct net_gso *gso,
                         int *err)
{
    unsigned n = len ? (unsigned)((len + seg - 1) / seg) : 1, taken;
    int r, single_err = 0;

    if (n < 2 || !may_segment(gso))
        return send_singly(s, data, len, seg, err);
    r = send_segmented(s, data, len, seg);
    if (!r) {
        gso->off = false;
        return n;
    }
    if (!is_refusal(r)) {
        *err = *err ? *err : r;
        return 0;
    }
    taken = send_singly(s, data, len, seg, &single_err);
    *err = *err ? *err : single_err;
    if (taken && single_err != -EMSGSIZE) { /* so it was segmentation that was refused, not these datagrams */
        gso->off = true;
        gso->rest = GSO_RETRY_RUNS;
    }
    return taken;
}

unsigned net_udp_send(int fd, const struct sockaddr_any *to, const struct sockaddr_any *from, const uint8_t *data,
                      size_t len, size_t seg, struct net_gso *gso, int *err)
{
    size_t piece, off = 0;
    unsigned taken = 0;
    struct send s;

    *err = 0;
    if (!seg || seg > len)
        seg = len ? len : 1;
    piece = MAX(MIN((size_t)NET_GSO_SEGS, NET_GSO_BYTES / seg), 1u) * seg;
    send_init(&s, fd, to, from);
    do {
        size_t n = MIN(piece, len - off);

        taken += send_run(&s, data + off, n, seg, gso, err);
        off += n;
    } while (off < len && (!*err || *err == -EMSGSIZE));
    return taken;
}
