/* daemon/client.c - local connections, slots, and the dialling of sessions. */
#include "daemon/client.h"

#include "core/base/err.h"
#include "daemon/log.h"
#include "daemon/relay.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    WAITING_MAX = 1024, /* connections a slot holds while its session is being dialled */
    BACKOFF_MIN_MS = 250,
    BACKOFF_MAX_MS = 8000,
};

struct slot {
    struct client *client;
    struct peer *peer; /* NULL: to be dialled */
    struct timer retry; /* after a failed dial, while connections wait */
    uint32_t backoff_ms;
    struct tick since; /* the oldest connection waits since then */
    int *fds; /* connections that wait */
    unsigned n_fds, cap_fds;
};

struct client {
    struct tunnel *tunnel;
    struct io_src src; /* the local listener, on its home worker; fd -1 elsewhere */
    struct name remote;
    struct slot *slots; /* conf->conn of them; those of this worker are in use */
    uint16_t next; /* whose turn it is */
    bool closed;
};

static unsigned slot_worker(const struct client *c, unsigned slot)
{
    return (c->tunnel->index + slot) % c->tunnel->w->sh->n_workers;
}

static void on_retry(struct timer *tm);

/* Whether local connections arrive at this worker. */
static bool is_home(const struct tunnel *t)
{
    return t->w->id == t->index % t->w->sh->n_workers;
}

/* A reset, so that it does not look like a stream that ended. */
static void refuse(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(fd);
}

static int listen_local(struct client *c)
{
    struct tunnel *t = c->tunnel;
    const struct addr_text *a = &t->conf->localaddr;
    struct sockaddr_any addr = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port_min)},
                                .len = sizeof addr.in6};
    unsigned tries = 0;
    int fd, r;

    if (!a->path && *a->host && net_bytes_in_name(a->host, a->port_min, &addr))
        return err_say(-EINVAL, "%s:%u: localaddr = %s: not an address", t->conf->file, t->conf->line, a->host);
    do
        fd = net_listen(a->path ? NULL : &addr, a->path);
    while (net_bind_again(fd, &tries));
    if (fd == -EAFNOSUPPORT && !a->path && !*a->host) {
        addr =
            (struct sockaddr_any){.in = {.sin_family = AF_INET, .sin_port = htons(a->port_min)}, .len = sizeof addr.in};
        fd = net_listen(&addr, NULL);
    }
    if (fd < 0)
        return err_pass(fd);
    r = worker_add(t->w, &c->src, SRC_CLIENT, fd, t->w->ops->add_listener);
    if (r)
        close(fd);
    return r;
}

int client_new(struct client **cp, struct tunnel *t)
{
    struct client *c = calloc(1, sizeof *c);

    if (!c)
        return err_here(-ENOMEM);
    *cp = c;
    c->tunnel = t;
    c->src.fd = -1;
    c->slots = calloc(t->conf->conn, sizeof *c->slots);
    if (!c->slots)
        return err_here(-ENOMEM);
    for (unsigned i = 0; i < t->conf->conn; i++) {
        c->slots[i].client = c;
        c->slots[i].retry.fire = on_retry;
    }
    return is_home(t) ? listen_local(c) : 0;
}

struct client *client_free(struct client *c)
{
    if (!c)
        return NULL;
    free(c->slots);
    free(c);
    return NULL;
}

static void drop_waiting(struct slot *s)
{
    for (unsigned i = 0; i < s->n_fds; i++)
        refuse(s->fds[i]);
    free(s->fds);
    s->fds = NULL;
    s->n_fds = s->cap_fds = 0;
}

static void stop_listening(struct client *c)
{
    const char *path = c->tunnel->conf->localaddr.path;

    if (c->src.fd < 0 || c->src.dying)
        return;
    if (path && *path != '@')
        unlink(path);
    c->tunnel->w->ops->del(c->tunnel->w->io, &c->src);
}

static void begin_again(struct client *c)
{
    struct tunnel *t = c->tunnel;

    if (!is_home(t) || c->src.fd >= 0) /* once the old listener is gone, if it still dies */
        return;
    if (listen_local(c))
        log_error("%s: cannot listen again: %s", t->conf->name, err_text());
}

void client_drain(struct client *c, bool on)
{
    if (on)
        stop_listening(c);
    else
        begin_again(c);
}

void client_close(struct client *c)
{
    c->closed = true;
    stop_listening(c);
    for (unsigned i = 0; i < c->tunnel->conf->conn; i++) {
        worker_cancel(c->tunnel->w, &c->slots[i].retry);
        drop_waiting(&c->slots[i]);
    }
}

void client_gone(struct io_src *s)
{
    struct client *c = CONTAINER(s, struct client, src);

    s->fd = -1;
    if (!c->tunnel->draining && !c->closed)
        begin_again(c);
}

/* ---- dialling ---- */

static int open_socket(struct tunnel *t, const struct sockaddr_any *to)
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

/* Opens a session to one of the remote's addresses. 0, -errno. */
static int dial(struct slot *s)
{
    struct tunnel *t = s->client->tunnel;
    struct worker *w = t->w;
    struct sockaddr_any to =
        name_pick(&s->client->remote, nonce_u32(&w->nonce) % s->client->remote.n, &t->conf->remoteaddr, &w->nonce);
    int fd = open_socket(t, &to), r;
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
    p->remote = to;
    p->slot = (unsigned)(s - s->client->slots);
    set_expiry(p);
    s->peer = p;
    log_info("%s: session dialled", peer_text(p));
    worker_touch(w, p);
    return 0;
}

static void hand_out(struct slot *s)
{
    int *fds = s->fds;
    unsigned n = s->n_fds;

    s->fds = NULL;
    s->n_fds = s->cap_fds = 0;
    s->backoff_ms = 0;
    for (unsigned i = 0; i < n; i++)
        relay_accept(s->peer, fds[i]);
    free(fds);
}

/* Tries again later, with jitter; who waited for dialtimeout is let down. */
static void back_off(struct slot *s, const char *why)
{
    struct tunnel *t = s->client->tunnel;
    struct worker *w = t->w;

    s->backoff_ms = s->backoff_ms ? MIN(s->backoff_ms * 2, (uint32_t)BACKOFF_MAX_MS) : BACKOFF_MIN_MS;
    log_warning("%s: cannot dial %s: %s; again in about %u ms", t->conf->name, t->conf->remoteaddr.host, why,
                s->backoff_ms);
    trouble_dial(&t->trouble, why, w->now);
    if (tick_since_us(w->now, s->since) >= t->conf->dialtimeout * UINT64_C(1000000)) {
        stat_add(&t->stats->dial_errors, s->n_fds);
        drop_waiting(s);
        return;
    }
    worker_set(w, &s->retry, tick_add_ms(w->now, s->backoff_ms / 2 + nonce_u32(&w->nonce) % s->backoff_ms));
}

static void advance(struct slot *s)
{
    struct tunnel *t = s->client->tunnel;
    int r;

    if (!s->n_fds)
        return;
    if (s->peer) {
        hand_out(s);
        return;
    }
    r = name_get(&s->client->remote, t->w, &t->conf->remoteaddr, t->index);
    if (r == NAME_WAIT)
        return;
    if (r == NAME_FAILED)
        back_off(s, s->client->remote.why);
    else if (dial(s))
        back_off(s, err_text());
    else
        hand_out(s);
}

static void on_retry(struct timer *tm)
{
    advance(CONTAINER(tm, struct slot, retry));
}

void client_on_resolved(struct client *c, const struct resolve_result *res)
{
    name_answer(&c->remote, res, c->tunnel->w->now);
    for (unsigned i = 0; i < c->tunnel->conf->conn; i++)
        advance(&c->slots[i]);
}

void client_lost(struct client *c, struct peer *p)
{
    if (p->slot < c->tunnel->conf->conn && c->slots[p->slot].peer == p)
        c->slots[p->slot].peer = NULL;
}

/* ---- local connections ---- */

static bool wait_in(struct slot *s, int fd)
{
    if (s->n_fds == WAITING_MAX)
        return false;
    if (s->n_fds == s->cap_fds) {
        unsigned cap = s->cap_fds ? s->cap_fds * 2 : 4;
        int *v = realloc(s->fds, cap * sizeof *v);

        if (!v)
            return false;
        s->fds = v;
        s->cap_fds = cap;
    }
    if (!s->n_fds)
        s->since = s->client->tunnel->w->now;
    s->fds[s->n_fds++] = fd;
    return true;
}

void client_take(struct client *c, unsigned slot, int fd)
{
    struct slot *s = &c->slots[slot];
    struct worker *w = c->tunnel->w;

    if (s->peer && !tick_before(w->now, s->peer->expires))
        s->peer = NULL; /* it goes on with the streams it has */
    if (c->tunnel->draining || !wait_in(s, fd)) {
        refuse(fd);
        return;
    }
    if (!list_linked(&s->retry.t.node))
        advance(s);
}

void client_on_accept(struct io_src *src, const struct io_event *ev)
{
    struct client *c = CONTAINER(src, struct client, src);
    struct tunnel *t = c->tunnel;
    unsigned slot, owner;
    struct mail_stream m;

    if (ev->res < 0) {
        log_warning("%s: cannot accept a connection: %s", t->conf->name, strerror(-ev->res));
        return;
    }
    slot = c->next++ % t->conf->conn;
    owner = slot_worker(c, slot);
    m = (struct mail_stream){t->index, slot, ev->res};
    if (owner == t->w->id)
        client_take(c, slot, ev->res);
    else if (post_put(t->w->sh->post, t->w->id, owner, MAIL_STREAM, bytes_of(&m, sizeof m), bytes_of(NULL, 0)))
        refuse(ev->res);
}
