/* daemon/tunnel.c - a profile in one worker: its life and its changes, opening what arrives, sending what leaves. */
#include "daemon/tunnel.h"

#include "core/base/err.h"
#include "daemon/client.h"
#include "daemon/diagnose.h"
#include "daemon/event.h"
#include "daemon/elder.h"
#include "daemon/faketcp_conn.h"
#include "daemon/forward.h"
#include "daemon/log.h"
#include "daemon/params.h"
#include "daemon/relay.h"
#include "daemon/server.h"

#include <stdlib.h>
#include <string.h>

enum {
    TIDY_MS = 1000, /* between looks for what nobody uses any more */
    LINGER_US = 10 * 1000000, /* an idle session under a former key or address */
};
enum { RUN_MAX = 1024 }; /* datagrams in one run at most: 64 KiB of the smallest that could pass */

/* ---- beginning and end ---- */

static void on_tidy(struct timer *tm);

int tunnel_new(struct worker *w, struct plan *plan)
{
    struct tunnel *t = calloc(1, sizeof *t);
    int r;

    if (!t)
        return err_here(-ENOMEM);
    t->w = w;
    t->id = plan->id;
    t->plan = plan_ref(plan);
    t->conf = &plan->conf;
    t->stats = plan->stats[w->id];
    t->findings = plan->findings[w->id];
    t->draining = plan->drained;
    t->stamp = nonce_u32(&w->nonce);
    t->tidy.fire = on_tidy;
    list_init(&t->old);
    list_init(&t->waiting);
    list_init(&t->node);
    peers_init(&t->peers, w->sh->hash_seed);
    r = worker_enter(w, t);
    if (r) {
        tunnel_free(t);
        return err_pass(r);
    }
    r = keyring_set(&t->keys, plan);
    if (!r)
        r = t->conf->role == CONF_SERVER ? server_open(t, plan->sockets) : client_new(&t->client, t);
    if (r)
        tunnel_close(t);
    return r;
}

struct tunnel *tunnel_free(struct tunnel *t)
{
    if (!t)
        return NULL;
    list_del(&t->node);
    client_free(t->client);
    peers_fini(&t->peers);
    keyring_fini(&t->keys);
    plan_put(t->plan);
    free(t);
    return NULL;
}

void tunnel_close(struct tunnel *t)
{
    struct worker *w = t->w;
    struct peer *p;

    while ((p = LIST_FIRST(&t->peers.all, struct peer, all)))
        peer_close(p, NULL);
    worker_cancel(w, &t->tidy);
    if (t->client)
        client_close(t->client);
    else
        server_close(t);
    w->tunnels[(uint32_t)t->id] = NULL;
    w->batch_key = NULL;
    w->batch_tunnel = NULL;
    t->closing = true;
    list_del(&t->node);
    list_push(&w->closing, &t->node);
    if (!t->n_srcs)
        tunnel_free(t);
}

void tunnel_src_gone(struct tunnel *t)
{
    if (--t->n_srcs == 0 && t->closing)
        tunnel_free(t);
}

void tunnel_drain(struct tunnel *t, bool on)
{
    if (t->draining == on || (t->retired && !on))
        return;
    t->draining = on;
    if (t->client)
        client_drain(t->client, on);
    LIST_EACH(p, &t->peers.all, struct peer, all) {
        if (on && !t->client && !t->w->draining) /* the process stays, so there is time to hear from the client */
            smux_leave(session_smux(p->session));
        worker_touch(t->w, p); /* it may have nothing to stay for */
    }
}

/* ---- changes ---- */

void tunnel_retire(struct tunnel *t)
{
    if (t->retired)
        return;
    t->retired = true;
    tunnel_drain(t, true);
    list_push(&t->w->leaving, &t->node);
    t->w->look_leaving = true;
}

static bool is_current(const struct keyring *k, const struct tunnel_key *key)
{
    for (unsigned i = 0; i < k->n_current; i++)
        if (k->v[i] == key)
            return true;
    return false;
}

/* What no session uses any more goes. A server's sessions under a former key or listen address end with their streams; one
 * without any gets some time, in which its client may have a successor answered. */
static void tidy(struct tunnel *t)
{
    bool idle_ends = !t->client && tick_since_us(t->w->now, t->changed) >= LINGER_US;

    for (unsigned i = 0; i < t->keys.n; i++)
        t->keys.v[i]->used = false;
    server_mark_unused(t);
    LIST_EACH(p, &t->peers.all, struct peer, all) {
        bool old = !is_current(&t->keys, p->key);

        p->key->used = true;
        if (!t->client)
            old = server_mark_used(t, p) || old;
        if (old && idle_ends && !smux_streams(session_smux(p->session)))
            peer_retire(p);
    }
    worker_flush(t->w);
    t->w->batch_key = NULL;
    keyring_drop_unused(&t->keys, t->plan->uses, t->w->sh->n_workers, t->w->id, t->w->now);
    server_drop_unused(t);
    if (t->keys.n > t->keys.n_current || !list_empty(&t->old))
        worker_set(t->w, &t->tidy, tick_add_ms(t->w->now, TIDY_MS));
}

static void on_tidy(struct timer *tm)
{
    tidy(CONTAINER(tm, struct tunnel, tidy));
}

/* Too many former keys have sessions: those of the oldest end. */
static void end_oldest_key(struct tunnel *t)
{
    const struct tunnel_key *oldest = t->keys.v[t->keys.n - 1];

    struct peer *p = LIST_FIRST(&t->peers.all, struct peer, all);

    while (p) {
        struct peer *next = p->all.next == &t->peers.all ? NULL : CONTAINER(p->all.next, struct peer, all);

        if (p->key == oldest) { /* others may go with it */
            peer_close(p, "its key has been replaced too often");
            next = LIST_FIRST(&t->peers.all, struct peer, all);
        }
        p = next;
    }
    worker_flush(t->w);
    t->w->batch_key = NULL;
    keyring_drop_oldest(&t->keys);
}

/* Gives the sessions, and their sockets, what counts at once. */
static void retune(struct tunnel *t, const struct conf_profile *was)
{
    const struct conf_profile *c = t->conf;
    bool socks = c->dscp != was->dscp || c->sockbuf != was->sockbuf;
    int fd = -1; /* one of them: they are all alike */

    LIST_EACH(p, &t->peers.all, struct peer, all) {
        struct session_params sp = params_session(c, p->key->cipher);

        session_retune(p->session, &sp, t->w->now);
        worker_touch(t->w, p);
        if (socks && p->src.fd >= 0) {
            net_udp_tune(p->src.fd, c->sockbuf, (uint8_t)c->dscp);
            fd = p->src.fd;
        }
        if (socks && p->flow)
            net_udp_tune(p->flow->src.fd, c->sockbuf, (uint8_t)c->dscp);
    }
    if (socks && !t->client)
        server_tune(t);
    if (fd >= 0)
        event_sockbuf(c, fd);
}

/* The keys and sockets of a plan. 0, -errno. */
static int take_parts(struct tunnel *t, const struct plan *plan)
{
    int r = 0;

    if (t->client)
        r = client_listen(t->client, plan->sockets);
    else if (!t->listeners || t->listeners->sockets != plan->sockets)
        r = server_open(t, plan->sockets);
    if (r)
        return r;
    r = keyring_set(&t->keys, plan);
    if (r == KEYRING_FULL)
        tidy(t);
    while (r == KEYRING_FULL && (r = keyring_set(&t->keys, plan)) == KEYRING_FULL)
        end_oldest_key(t);
    if (!r && t->client)
        r = client_follow(t->client, &plan->conf);
    return r;
}

int tunnel_change(struct tunnel *t, struct plan *plan)
{
    struct plan *was = t->plan;
    int r = take_parts(t, plan);

    if (r) {
        log_error("%s: the new configuration cannot be taken over: %s", t->conf->name, err_text());
        return r;
    }
    t->plan = plan_ref(plan);
    t->conf = &plan->conf;
    t->changed = t->w->now;
    if (t->retired) {
        t->retired = t->draining = false;
        list_del(&t->node);
    }
    if (t->client)
        client_change(t->client, plan->renew);
    else if (!addr_text_equal(&t->conf->target, &was->conf.target))
        name_change(&t->target);
    retune(t, &was->conf);
    plan_put(was);
    tidy(t);
    return 0;
}

/* ---- in ---- */

static struct bytes payload_of(const struct cipher *c, const struct cipher_pkt *v)
{
    return bytes_of(v->p + cipher_head(c), v->len - cipher_head(c) - cipher_tail(c));
}

static void count_bad(struct tunnel *t, const struct io_src *sock, const struct io_event *ev, unsigned n)
{
    if (!n)
        return;
    stat_add(&t->stats->in_csum_errors, n);
    diagnose_unopened(t, sock, &ev->from, n);
}

/* A run for a client's session, from its own socket. */
static void receive_peer(struct peer *p, const struct io_event *ev, struct cipher_pkt *v, unsigned n)
{
    struct tunnel *t = p->tunnel;
    struct cipher *c = p->key->cipher;
    unsigned bad = 0;

    cipher_open(c, v, n);
    for (unsigned i = 0; i < n; i++) {
        if (!v[i].ok) {
            bad++;
            continue;
        }
        session_input(p->session, payload_of(c, &v[i]), t->w->now);
        p->heard = p->heard || !session_is_disowned(p->session);
        worker_touch(t->w, p);
    }
    count_bad(t, &p->src, ev, bad);
}

/* Tries a datagram with all keys but the first, on copies. False: none opens it. */
static bool receive_old(struct tunnel *t, struct io_src *sock, const struct io_event *ev, struct bytes dgram)
{
    uint8_t copy[CIPHER_PKT_MAX];
    struct cipher_pkt one = {.p = copy, .len = (uint32_t)dgram.len};
    struct peer *p;

    for (unsigned k = 1; k < t->keys.n && dgram.len <= sizeof copy; k++) {
        struct cipher *c = keyring_cipher(t->keys.v[k], t->conf->name);

        memcpy(copy, dgram.p, dgram.len);
        if (c)
            cipher_open(c, &one, 1);
        if (!one.ok)
            continue;
        p = server_route(t, sock, ev, t->keys.v[k], payload_of(c, &one), dgram);
        server_proven(t, sock, ev);
        if (p)
            session_settle(p->session); /* the copy goes */
        return true;
    }
    return false;
}

/* A run that came to a server's port. */
static void receive_server(struct tunnel *t, struct io_src *sock, const struct io_event *ev, struct cipher_pkt *v,
                           unsigned n)
{
    struct cipher *c = keyring_cipher(t->keys.v[0], t->conf->name);
    uint8_t *whole = NULL;
    unsigned bad = 0;

    if (t->keys.n > 1 || elder_claims_any(t->w->sh->elder)) { /* what does not open is spoilt */
        if (!t->w->scratch)
            t->w->scratch = malloc(UINT16_MAX + 1);
        whole = t->w->scratch ? memcpy(t->w->scratch, ev->data, ev->len) : NULL;
    }
    if (c)
        cipher_open(c, v, n);
    for (unsigned i = 0; i < n; i++) {
        struct bytes raw = bytes_of(whole ? whole + (v[i].p - ev->data) : NULL, whole ? v[i].len : 0);

        if (v[i].ok) {
            server_route(t, sock, ev, t->keys.v[0], payload_of(c, &v[i]), raw);
            server_proven(t, sock, ev);
        } else if (!whole || (!receive_old(t, sock, ev, raw) &&
                              !forward_unopened(t, CONTAINER(sock, struct listener, src), ev, raw))) {
            bad++;
        }
    }
    forward_flush(t->w);
    count_bad(t, sock, ev, bad);
}

/* A run of datagrams, from a raw socket a run of one. */
static void receive(struct tunnel *t, struct io_src *sock, const struct io_event *ev)
{
    struct cipher_pkt v[RUN_MAX];
    unsigned n = 0;

    if (sock->kind == SRC_FLOW) { /* strangers may stand in it, too */
        struct listener *l = CONTAINER(sock, struct listener, src);

        sock = &l->set->v[l->index].src;
    }
    if (sock->kind != SRC_PEER && !server_allows(t, &ev->from)) {
        stat_add(&t->stats->refused_access, 1);
        return;
    }
    for (uint32_t at = 0; at < ev->len && n < RUN_MAX; at += ev->seg)
        v[n++] = (struct cipher_pkt){.p = ev->data + at, .len = MIN(ev->seg, ev->len - at)};
    if (sock->kind == SRC_PEER)
        receive_peer(CONTAINER(sock, struct peer, src), ev, v, n);
    else
        receive_server(t, sock, ev, v, n);
}

void tunnel_receive(struct tunnel *t, struct io_src *sock, const struct io_event *ev)
{
    struct io_event inner = *ev;
    struct faketcp_segment s;

    if (sock->kind != SRC_RAW && (sock->kind != SRC_PEER || !CONTAINER(sock, struct peer, src)->fake))
        receive(t, sock, ev);
    else if (faketcp_unwrap(&inner, &s))
        stat_add(&t->stats->in_errs, 1);
    else if (sock->kind == SRC_RAW ? server_heard(sock, &s)
                                   : fake_dial_heard(CONTAINER(sock, struct peer, src), &inner, &s))
        receive(t, sock, &inner);
}

void tunnel_receive_failed(struct tunnel *t, struct io_src *sock, int err)
{
    log_debug("%s: receive: %s", t->conf->name, strerror(err));
    if (sock->kind == SRC_PEER && err == ECONNREFUSED) {
        struct peer *p = CONTAINER(sock, struct peer, src);

        if (client_refused(t->client, p, "nobody listens there (ICMP port unreachable)"))
            return;
        session_refused(p->session, t->w->now);
        worker_touch(t->w, p);
    }
}

void tunnel_on_resolved(struct tunnel *t, const struct resolve_result *res)
{
    if (t->client) {
        client_on_resolved(t->client, res);
        return;
    }
    name_answer(&t->target, res, t->w->now);
    relay_on_resolved(t);
}

void tunnel_on_network(struct tunnel *t)
{
    if (t->client)
        client_on_network(t->client);
}

/* ---- out ---- */

/* Datagrams from i on that can leave in one call: one session, one size, the last maybe shorter. */
static unsigned run_length(const struct packet_batch *b, unsigned i, size_t *bytes)
{
    unsigned n = 0;

    *bytes = 0;
    while (i + n < b->n && n < NET_GSO_SEGS && b->v[i + n].to == b->v[i].to && b->v[i + n].len <= b->v[i].len &&
           *bytes + b->v[i + n].len <= NET_GSO_BYTES) {
        *bytes += b->v[i + n].len;
        n++;
        if (b->v[i + n - 1].len < b->v[i].len)
            break;
    }
    return n;
}

unsigned tunnel_send_run(struct tunnel *t, const struct tunnel_way *way, const uint8_t *data, size_t len, size_t seg,
                         int *err)
{
    const struct faketcp_way fake = {way->to, way->from, way->connected, (uint32_t)tick_ms(t->w->now) + t->stamp};

    if (way->numbers)
        return faketcp_send(way->fd, &fake, way->numbers, data, len, seg, err);
    return net_udp_send(way->fd, way->connected ? NULL : way->to, way->connected ? NULL : way->from, data, len, seg,
                        way->gso, err);
}

struct tunnel_way tunnel_way_of(struct peer *p)
{
    return (struct tunnel_way){
        .fd = p->sock->fd,
        .to = &p->remote,
        .from = &p->local,
        .connected = p->sock->kind == SRC_PEER,
        .numbers = p->fake || p->sock->kind == SRC_RAW ? &p->numbers : NULL,
        .gso = &p->gso,
    };
}

void tunnel_send(struct tunnel *t, const struct packet_batch *b)
{
    for (unsigned i = 0, n; i < b->n; i += n) {
        struct peer *p = b->v[i].to;
        const struct tunnel_way way = tunnel_way_of(p);
        size_t bytes, done = 0;
        unsigned sent;
        int err;

        n = run_length(b, i, &bytes);
        sent = tunnel_send_run(t, &way, b->mem + b->v[i].off, bytes, b->v[i].len, &err);
        for (unsigned k = 0; k < sent; k++)
            done += b->v[i + k].len;
        stat_add(&t->stats->out_pkts, sent);
        stat_add(&t->stats->out_bytes, done);
        if (sent == n)
            continue;
        stat_add(&t->stats->send_drops, n - sent);
        trouble_send(&t->trouble, err, t->w->now);
        log_debug_of(net_addr_source(&p->remote), "%s: cannot send: %s", peer_text(p), strerror(-err));
    }
}
