/* daemon/io_common.c - the clock, the choice of a backend, and how a received run becomes an event. */
#include "daemon/io_common.h"

#include <assert.h>
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <time.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

_Static_assert(IO_CONTROL >= CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo)) +
                                 CMSG_SPACE(sizeof(struct in_pktinfo)),
               "a control message would be cut");

#ifndef HAVE_URING
static bool not_built(void)
{
    return false;
}

const struct io_ops io_uring_ops = {.name = "io_uring", .usable = not_built};
#endif

struct tick io_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (struct tick){(uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000};
}

const struct io_ops *io_choose(const char *name)
{
    static const struct io_ops *const all[] = {&io_epoll_ops, &io_uring_ops}; /* as measured: docs/bench.md */

    for (size_t i = 0; i < LEN(all); i++)
        if ((!strcmp(name, "auto") || !strcmp(name, all[i]->name)) && all[i]->usable())
            return all[i];
    return NULL;
}

struct io_event *io_batch_add(struct io_batch *b, enum io_kind kind, struct io_src *s, int res)
{
    struct io_event *ev = &b->ev[b->n++];

    assert(b->n <= b->max);
    ev->kind = kind;
    ev->src = s;
    ev->res = res;
    ev->data = NULL;
    ev->len = ev->seg = 0;
    ev->from.len = ev->to.len = 0;
    return ev;
}

void io_batch_gone(struct io_batch *b, struct list *gone)
{
    while (b->n < b->max && !list_empty(gone)) {
        struct io_src *s = CONTAINER(gone->next, struct io_src, link);

        list_del(&s->link);
        io_batch_add(b, IO_GONE, s, 0);
    }
}

/* Our own address, as the packet info tells it. On a dual-stack socket IPv4 arrives here as a v4-mapped address. */
static void own_address(struct sockaddr_any *to, const struct cmsghdr *c)
{
    if (c->cmsg_level == IPPROTO_IP) {
        struct in_pktinfo i;

        memcpy(&i, CMSG_DATA(c), sizeof i);
        to->in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = i.ipi_addr};
        to->len = sizeof to->in;
    } else {
        struct in6_pktinfo i;

        memcpy(&i, CMSG_DATA(c), sizeof i);
        to->in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = i.ipi6_addr};
        if (IN6_IS_ADDR_LINKLOCAL(&i.ipi6_addr))
            to->in6.sin6_scope_id = i.ipi6_ifindex;
        to->len = sizeof to->in6;
    }
}

static void read_control(struct io_event *ev, struct msghdr *h)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            int seg;

            memcpy(&seg, CMSG_DATA(c), sizeof seg);
            if (seg > 0 && (uint32_t)seg < ev->len)
                ev->seg = (uint32_t)seg;
        } else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) ||
                   (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)) {
            own_address(&ev->to, c);
        }
    }
}

void io_batch_run(struct io_batch *b, struct io_src *s, struct msghdr *h, uint8_t *data, uint32_t len)
{
    struct io_event *ev;

    if (h->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        /* Without its end, or without its segment size, a run cannot be taken apart. */
        if (b->n && b->ev[b->n - 1].kind == IO_UDP_CUT && b->ev[b->n - 1].src == s)
            b->ev[b->n - 1].res++;
        else
            io_batch_add(b, IO_UDP_CUT, s, 1);
        return;
    }
    ev = io_batch_add(b, IO_UDP, s, 0);
    ev->data = data;
    ev->len = len;
    ev->seg = len ? len : 1;
    ev->from.len = MIN(h->msg_namelen, (socklen_t)sizeof ev->from.in6);
    if (ev->from.len)
        memcpy(&ev->from.in6, h->msg_name, ev->from.len);
    read_control(ev, h);
}

void io_src_init(struct io_src *s, uint8_t role)
{
    *s = (struct io_src){.fd = s->fd, .kind = s->kind, .role = role};
    list_init(&s->link);
}

bool io_starving(int err)
{
    return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}
