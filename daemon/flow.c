/* daemon/flow.c - when a session is steered, and its connected socket where there is no map.
 *
 * A connected socket is one more way in for datagrams and nothing else: what it receives is routed by its sender's
 * address as on a listener, because strangers' datagrams get into it between bind() and connect(). Answers leave by the
 * listener. It is closed, never disconnected: it would then take everybody's. */
#include "daemon/flow.h"

#include "core/base/err.h"
#include "daemon/log.h"
#include "daemon/server.h"
#include "daemon/steer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    /* Datagrams handed over before the first try; each further one after twice as many. Powers of two. */
    MAP_AFTER = 16,
    SOCKET_AFTER = 256, /* sockets are few: for flows that carry something */
};

static uint16_t *port_in(struct sockaddr_any *a)
{
    return a->sa.sa_family == AF_INET6 ? &a->in6.sin6_port : &a->in.sin_port;
}

static void set_any(struct sockaddr_any *a)
{
    if (a->sa.sa_family == AF_INET6) {
        a->in6.sin6_addr = in6addr_any;
        a->in6.sin6_scope_id = 0;
    } else {
        a->in.sin_addr.s_addr = INADDR_ANY;
    }
}

static bool name_of(int fd, struct sockaddr_any *a)
{
    a->len = sizeof a->in6;
    return getsockname(fd, &a->sa, &a->len) == 0;
}

static struct steer *steer_of(const struct peer *p)
{
    return server_set_of(p)->sockets->steer;
}

/* Where to bind, and the name the socket must have in the end. Beside a wildcard listener it is the address of ours that
 * the peer uses. Beside a listener of one address it is the wildcard, because one more socket of that address would take
 * all new peers till it is connected; connect() fills in an address by the route, which is hopefully that one. */
static bool choose_names(const struct listener *l, const struct sockaddr_any *to, struct sockaddr_any *bind,
                         struct sockaddr_any *want)
{
    struct sockaddr_any any;

    if (!name_of(l->src.fd, want))
        return false;
    any = *want;
    set_any(&any);
    if (!net_addr_equal(want, &any)) {
        *bind = any;
        return true;
    }
    if (!to->len || to->sa.sa_family != want->sa.sa_family)
        return false;
    *bind = *to;
    *port_in(bind) = *port_in(want);
    *want = *bind;
    return true;
}

static int open_socket(const struct peer *p, const struct listener *l, const struct sockaddr_any *to)
{
    const struct conf_profile *c = p->tunnel->conf;
    struct net_udp_params np = {.reuseport = true, .pktinfo = true, .sockbuf = c->sockbuf, .dscp = (uint8_t)c->dscp};
    struct sockaddr_any want, got;
    int fd;

    if (!choose_names(l, to, &np.bind, &want))
        return -EADDRNOTAVAIL;
    np.family = np.bind.sa.sa_family;
    fd = net_udp_open(&np);
    if (fd < 0)
        return fd;
    if (connect(fd, &p->remote.sa, p->remote.len) == 0 && name_of(fd, &got) && net_addr_equal(&got, &want))
        return fd;
    close(fd);
    return -EADDRNOTAVAIL;
}

static struct listener *open_flow(struct peer *p, unsigned port, const struct sockaddr_any *to)
{
    struct tunnel *t = p->tunnel;
    struct listeners *set = server_set_of(p);
    struct listener *l = malloc(sizeof *l);
    int fd = l ? open_socket(p, &set->v[port], to) : -ENOMEM, r = fd;

    if (fd >= 0) {
        *l = (struct listener){.set = set, .index = port};
        r = worker_add(t->w, &l->src, SRC_FLOW, fd, t->w->ops->add_udp);
        if (!r)
            return l;
        close(fd);
    }
    log_debug_of(net_addr_source(&p->remote), "%s: no connected socket: %s", peer_text(p), strerror(-r));
    free(l);
    return NULL;
}

static void connect_flow(struct peer *p, unsigned port, const struct sockaddr_any *to)
{
    struct steer *s = steer_of(p);

    if (p->flow || steer_flow_begin(s, port))
        return;
    p->flow = open_flow(p, port, to);
    if (!p->flow)
        steer_flow_end(s, port);
}

void flow_handed(struct peer *p, unsigned port, const struct sockaddr_any *to)
{
    struct tunnel *t = p->tunnel;
    bool map = steer_refusal(steer_of(p)) == 0;

    p->handed++;
    if (p->handed < (map ? MAP_AFTER : SOCKET_AFTER) || (p->handed & (p->handed - 1)))
        return;
    if (p->flow && p->flow->index != port)
        flow_end(p); /* it talks to another port of ours now */
    if (!map)
        connect_flow(p, port, to);
    else if (!p->steered)
        p->steered = steer_add(steer_of(p), &p->remote, t->w->id) == 0;
}

void flow_end(struct peer *p)
{
    struct tunnel *t = p->tunnel;

    if (p->steered)
        steer_del(steer_of(p), &p->remote);
    if (p->flow) {
        steer_flow_end(steer_of(p), p->flow->index);
        t->w->ops->del(t->w->io, &p->flow->src);
    }
    p->steered = false;
    p->flow = NULL;
    p->handed = 0;
}

void flow_gone(struct io_src *src)
{
    free(CONTAINER(src, struct listener, src));
}
