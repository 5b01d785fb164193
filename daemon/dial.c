/* daemon/dial.c - a client's sockets, and sessions on them. */
#include "daemon/dial.h"

#include "core/base/err.h"
#include "daemon/event.h"
#include "daemon/faketcp_conn.h"
#include "daemon/log.h"

#include <unistd.h>

/* A socket connected to `to`, with all that the profile says of sockets. fd, -errno. */
static int open_socket(struct tunnel *t, const struct sockaddr_any *to)
{
    const struct conf_profile *c = t->conf;
    struct net_udp_params p = {
        .family = to->sa.sa_family,
        .sockbuf = c->sockbuf,
        .dscp = (uint8_t)c->dscp,
        .interface = c->interface,
    };
    int fd;

    if (c->bind && net_bytes_in_name(c->bind, 0, &p.bind))
        return err_say(-EINVAL, "bind = %s: not an address", c->bind);
    if (c->bind && p.bind.sa.sa_family != p.family)
        return err_say(-EAFNOSUPPORT, "bind = %s does not fit %s", c->bind, net_addr_text(to));
    fd = net_udp_open(&p);
    if (fd >= 0 && connect(fd, &to->sa, to->len) < 0) {
        int r = err_say(-errno, "connect to %s", net_addr_text(to));

        close(fd);
        return r;
    }
    if (fd >= 0)
        event_sockbuf(c, fd);
    return fd;
}

/* A conversation whose owner by hash is this worker, so that both ends of a hand-over are spared. */
static uint32_t choose_conv(struct worker *w)
{
    uint32_t conv;

    do
        conv = nonce_u32(&w->nonce);
    while (worker_of_conv(w->sh, conv) != w->id);
    return conv;
}

static void set_expiry(struct peer *p)
{
    const struct conf_profile *c = p->tunnel->conf;

    if (!c->autoexpire)
        return;
    p->expires = tick_add_ms(p->tunnel->w->now, c->autoexpire * UINT64_C(1000));
    p->dies = tick_add_ms(p->expires, c->scavengettl * UINT64_C(1000));
}

static int dial_tcp(struct tunnel *t, const struct sockaddr_any *to, struct faketcp_dialled *d)
{
    const struct conf_profile *c = t->conf;
    struct faketcp_raw_params p = {.sockbuf = c->sockbuf, .dscp = (uint8_t)c->dscp, .interface = c->interface};
    int r;

    if (c->bind && net_bytes_in_name(c->bind, 0, &p.bind))
        return err_say(-EINVAL, "bind = %s: not an address", c->bind);
    r = faketcp_dial(d, to, &p);
    return r ? err_pass(r) : 0;
}

/* A session that has the sockets, which it takes. NULL: out of memory, or of what sockets are watched with. */
static struct peer *peer_on(struct tunnel *t, const struct faketcp_dialled *d, uint8_t smux_ver)
{
    struct worker *w = t->w;
    struct peer *p = peer_new(t, t->keys.v[0], choose_conv(w), smux_ver);
    int r;

    if (p && d->tcp >= 0) {
        r = fake_dial(p, d);
    } else {
        r = p ? worker_add(w, &p->src, SRC_PEER, d->raw, w->ops->add_udp) : err_here(-ENOMEM);
        if (r)
            close(d->raw);
        if (r && d->tcp >= 0)
            close(d->tcp);
    }
    if (!r)
        return p;
    if (p)
        peer_close(p, NULL);
    return NULL;
}

int dial_session(struct peer **pp, struct tunnel *t, const struct sockaddr_any *to, uint8_t smux_ver)
{
    struct faketcp_dialled d = {.tcp = -1};
    struct worker *w = t->w;
    struct peer *p;
    int r;

    if (t->conf->tcp)
        r = dial_tcp(t, to, &d);
    else
        r = MIN(d.raw = open_socket(t, to), 0);
    if (r)
        return err_pass(r);
    p = peer_on(t, &d, smux_ver);
    if (!p)
        return err_pass(-ENOMEM);
    p->sock = &p->src;
    p->remote = *to;
    set_expiry(p);
    event_session(p, "dialled");
    worker_touch(w, p);
    *pp = p;
    return 0;
}

static bool name_of(int fd, struct sockaddr_any *a)
{
    a->len = sizeof a->in6;
    return getsockname(fd, &a->sa, &a->len) == 0;
}

static void set_port(struct sockaddr_any *a, in_port_t port)
{
    if (a->sa.sa_family == AF_INET6)
        a->in6.sin6_port = port;
    else
        a->in.sin_port = port;
}

bool dial_has_other_way(const struct peer *p)
{
    const struct conf_profile *c = p->tunnel->conf;
    const struct net_udp_params np = {.family = p->remote.sa.sa_family, .interface = c->interface};
    struct sockaddr_any now, then;
    bool other = false;
    int fd;

    if (c->bind || p->src.fd < 0 || p->src.dying)
        return false;
    fd = net_udp_open(&np);
    if (fd < 0)
        return false;
    if (connect(fd, &p->remote.sa, p->remote.len) == 0 && name_of(fd, &now) && name_of(p->src.fd, &then)) {
        set_port(&now, 0);
        set_port(&then, 0);
        other = !net_addr_equal(&now, &then);
    }
    close(fd);
    return other; /* while there is no way at all, nothing better can be done than to wait for one */
}

bool dial_source_is_here(const struct peer *p)
{
    struct net_udp_params np = {.family = p->remote.sa.sa_family};
    int fd;

    if (!name_of(p->src.fd, &np.bind))
        return true;
    set_port(&np.bind, 0);
    fd = net_udp_open(&np);
    if (fd >= 0)
        close(fd);
    return fd != -EADDRNOTAVAIL;
}

/* The same socket, which the I/O backend goes on reading: disconnected it gives up its address and port, since neither was
 * asked for, and gets new ones. In between it has no port, so nothing of a stranger gets into it. */
int dial_move(struct peer *p)
{
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    struct sockaddr_any at;

    if (p->fake)
        return err_here(-EISCONN); /* it has its connection for life */
    if (connect(p->src.fd, &none, sizeof none) || connect(p->src.fd, &p->remote.sa, p->remote.len) ||
        !name_of(p->src.fd, &at))
        return err_say(-errno, "connect to %s", net_addr_text(&p->remote));
    p->gso = (struct net_gso){.off = false};
    stat_add(&p->tunnel->stats->rebindings, 1);
    log_info("%s: moved, it now leaves from %s", peer_text(p), net_addr_text(&at));
    return 0;
}
