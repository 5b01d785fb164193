/* daemon/dial.c - a client's sockets, and sessions on them. */
#include "daemon/dial.h"

#include "core/base/err.h"
#include "daemon/log.h"

#include <unistd.h>

int dial_open(struct tunnel *t, const struct sockaddr_any *to)
{
    const struct conf_profile *c = t->conf;
    struct net_udp_params p = {
        .family = to->sa.sa_family,
        .sockbuf = c->sockbuf,
        .dscp = (uint8_t)c->dscp,
        .interface = c->interface,
    };
    uint32_t got;
    int fd;

    if (c->bind && net_bytes_in_name(c->bind, 0, &p.bind))
        return err_say(-EINVAL, "bind = %s: not an address", c->bind);
    if (c->bind && p.bind.sa.sa_family != p.family)
        return err_say(-EAFNOSUPPORT, "bind = %s does not fit %s", c->bind, net_addr_text(to));
    fd = net_udp_open(&p, &got);
    if (fd >= 0 && connect(fd, &to->sa, to->len) < 0) {
        int r = err_say(-errno, "connect to %s", net_addr_text(to));

        close(fd);
        return r;
    }
    if (fd >= 0 && got < c->sockbuf)
        log_info("%s: the kernel gives %u of %u bytes of socket buffer: raise net.core.rmem_max and wmem_max", c->name,
                 got, c->sockbuf);
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

int dial_session(struct peer **pp, struct tunnel *t, const struct sockaddr_any *to)
{
    struct worker *w = t->w;
    int fd = dial_open(t, to), r;
    struct peer *p;

    if (fd < 0)
        return err_pass(fd);
    p = peer_new(t, choose_conv(w), true);
    r = p ? worker_add(w, &p->src, SRC_PEER, fd, w->ops->add_udp) : err_here(-ENOMEM);
    if (r) {
        close(fd);
        if (p)
            peer_close(p, NULL);
        return r;
    }
    p->sock = &p->src;
    p->remote = *to;
    set_expiry(p);
    log_info("%s: session dialled", peer_text(p));
    worker_touch(w, p);
    *pp = p;
    return 0;
}
