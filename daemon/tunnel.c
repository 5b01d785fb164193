/* daemon/tunnel.c - a profile in one worker: opening what arrives, sealing and sending what leaves, sessions' lives. */
#include "daemon/tunnel.h"

#include "core/base/err.h"
#include "daemon/client.h"
#include "daemon/diagnose.h"
#include "daemon/findings.h"
#include "daemon/flow.h"
#include "daemon/log.h"
#include "daemon/params.h"
#include "daemon/relay.h"
#include "daemon/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RUN_MAX = 1024 }; /* datagrams in one run at most: 64 KiB of the smallest that could pass */

int tunnel_new(struct tunnel **tp, struct worker *w, unsigned index)
{
    const struct conf_profile *c = &w->sh->conf->profiles[index];
    struct tunnel *t = calloc(1, sizeof *t);
    int r;

    if (!t)
        return err_here(-ENOMEM);
    t->w = w;
    t->conf = c;
    t->index = index;
    t->steer = w->sh->steers[index];
    list_init(&t->waiting);
    peers_init(&t->peers, w->sh->hash_seed);
    t->stats = aligned_alloc(64, (sizeof *t->stats + 63) / 64 * 64);
    t->findings = findings_new();
    r = t->stats && t->findings ? cipher_new(&t->ciphers[0], c->crypt, w->sh->keys[index][0]) : -ENOMEM;
    if (!r && c->oldkey.text)
        r = cipher_new(&t->ciphers[1], c->crypt, w->sh->keys[index][1]);
    if (r) {
        tunnel_free(t);
        return err_say(r < 0 ? r : -EINVAL, "%s: cipher %s", c->name, c->crypt);
    }
    memset(t->stats, 0, sizeof *t->stats);
    r = c->role == CONF_SERVER ? server_open(t) : client_new(&t->client, t);
    *tp = t; /* also on failure: what was opened must be closed in turn */
    return r;
}

struct tunnel *tunnel_free(struct tunnel *t)
{
    if (!t)
        return NULL;
    client_free(t->client);
    free(t->listeners);
    peers_fini(&t->peers);
    cipher_free(t->ciphers[0]);
    cipher_free(t->ciphers[1]);
    findings_free(t->findings);
    free(t->stats);
    free(t);
    return NULL;
}

void tunnel_close(struct tunnel *t)
{
    struct peer *p;

    while ((p = LIST_FIRST(&t->peers.all, struct peer, all)))
        peer_close(p, NULL);
    if (t->client)
        client_close(t->client);
    else
        server_close(t);
}

void tunnel_drain(struct tunnel *t, bool on)
{
    if (t->draining == on)
        return;
    t->draining = on;
    if (t->client)
        client_drain(t->client, on);
    LIST_EACH(p, &t->peers.all, struct peer, all) {
        worker_touch(t->w, p); /* it may have nothing to stay for */
    }
}

/* ---- in ---- */

static void take(struct tunnel *t, struct io_src *sock, const struct io_event *ev, unsigned key,
                 const struct cipher_pkt *v)
{
    const struct cipher *c = t->ciphers[key];
    struct bytes payload = bytes_of(v->p + cipher_head(c), v->len - cipher_head(c) - cipher_tail(c));

    if (sock->kind == SRC_PEER) {
        struct peer *p = CONTAINER(sock, struct peer, src);

        p->heard = true;
        session_input(p->session, payload, t->w->now);
        worker_touch(t->w, p);
        return;
    }
    server_route(t, sock, ev, key, payload);
}

/* Tries the datagrams that the key did not open with the old one, from the copy; in their own place, since what they hold
 * is lent until the turn ends, and the copy lasts no longer than this run. Returns how many that does not open. */
static unsigned take_old(struct tunnel *t, struct io_src *sock, const struct io_event *ev, const struct cipher_pkt *v,
                         unsigned n)
{
    unsigned bad = 0;

    for (unsigned i = 0; i < n; i++) {
        struct cipher_pkt one = {.p = v[i].p, .len = v[i].len};

        if (v[i].ok)
            continue;
        memcpy(one.p, t->w->scratch + (one.p - ev->data), one.len);
        cipher_open(t->ciphers[1], &one, 1);
        if (one.ok)
            take(t, sock, ev, 1, &one);
        else
            bad++;
    }
    return bad;
}

void tunnel_receive(struct tunnel *t, struct io_src *sock, const struct io_event *ev)
{
    struct cipher_pkt v[RUN_MAX];
    unsigned n = 0, bad = 0;

    if (sock->kind == SRC_FLOW) /* strangers may stand in it, too */
        sock = &t->listeners[CONTAINER(sock, struct listener, src)->index].src;
    if (sock->kind == SRC_LISTENER && !server_allows(t, &ev->from)) {
        stat_add(&t->stats->refused_access, 1);
        return;
    }
    for (uint32_t at = 0; at < ev->len && n < RUN_MAX; at += ev->seg)
        v[n++] = (struct cipher_pkt){.p = ev->data + at, .len = MIN(ev->seg, ev->len - at)};
    if (t->ciphers[1] && !t->w->scratch)
        t->w->scratch = malloc(UINT16_MAX + 1);
    if (t->ciphers[1] && t->w->scratch)
        memcpy(t->w->scratch, ev->data, ev->len);
    cipher_open(t->ciphers[0], v, n);
    for (unsigned i = 0; i < n; i++) {
        if (v[i].ok)
            take(t, sock, ev, 0, &v[i]);
        else
            bad++;
    }
    if (bad && t->ciphers[1] && t->w->scratch)
        bad = take_old(t, sock, ev, v, n);
    if (!bad)
        return;
    stat_add(&t->stats->in_csum_errors, bad);
    diagnose_unopened(t, sock, &ev->from, bad);
}

void tunnel_receive_failed(struct tunnel *t, struct io_src *sock, int err)
{
    log_debug("%s: receive: %s", t->conf->name, strerror(err));
    if (sock->kind == SRC_PEER && err == ECONNREFUSED) {
        struct peer *p = CONTAINER(sock, struct peer, src);

        if (client_refused(t->client, p))
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

void tunnel_send(struct tunnel *t, const struct packet_batch *b)
{
    for (unsigned i = 0, n; i < b->n; i += n) {
        struct peer *p = b->v[i].to;
        bool own = p->sock->kind == SRC_PEER;
        size_t bytes, done = 0;
        unsigned sent;
        int err;

        n = run_length(b, i, &bytes);
        sent = net_udp_send(p->sock->fd, own ? NULL : &p->remote, own ? NULL : &p->local, b->mem + b->v[i].off, bytes,
                            b->v[i].len, &p->gso, &err);
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

/* ---- sessions ---- */

static void on_timer(struct timer *tm)
{
    struct peer *p = CONTAINER(tm, struct peer, timer);

    if (!tick_before(p->tunnel->w->now, p->dies)) {
        peer_close(p, "its time is over (autoexpire, scavengettl)");
        return;
    }
    worker_touch(p->tunnel->w, p);
}

struct peer *peer_new(struct tunnel *t, uint32_t conv, bool is_client)
{
    struct session_params sp = params_session(t->conf, t->ciphers[0]);
    struct peer *p = calloc(1, sizeof *p);
    struct worker *w = t->w;

    if (!p)
        return NULL;
    sp.conv = conv;
    sp.pool = w->pool;
    sp.stats = t->stats;
    p->session = session_new(&sp, w->now);
    if (!p->session) {
        free(p);
        return NULL;
    }
    p->tunnel = t;
    p->id = w->next_peer++;
    p->timer.fire = on_timer;
    p->expires = p->dies = TICK_NEVER;
    p->src.fd = -1;
    list_init(&p->dirty);
    list_init(&p->relays);
    if (peers_add(&t->peers, p, conv)) {
        session_free(p->session);
        free(p);
        return NULL;
    }
    w->n_peers++;
    stat_add(is_client ? &t->stats->active_opens : &t->stats->passive_opens, 1);
    stat_add(&t->stats->curr_estab, 1);
    if (t->stats->curr_estab > t->stats->max_conn)
        stat_set(&t->stats->max_conn, t->stats->curr_estab);
    return p;
}

/* Sends what a dying session still has to say: resets of its streams, acknowledgements. */
static void say_last(struct peer *p)
{
    struct worker *w = p->tunnel->w;

    if (session_end(p->session) == SESSION_ALIVE)
        while (session_poll(p->session, worker_batch(w, p->tunnel, p->key), p, w->now) == 0)
            ;
    worker_flush(w); /* the batch must not outlive p */
}

static void count_end(struct tunnel *t, enum session_end why)
{
    if (why == SESSION_SILENT || why == SESSION_LOST_STATE || why == SESSION_REFUSED)
        stat_add(&t->stats->dead_peers, 1);
    else if (why == SESSION_PROTOCOL)
        stat_add(&t->stats->proto_errors, 1);
    else if (why == SESSION_NO_MEMORY)
        stat_add(&t->stats->memory_drops, 1);
}

void peer_close(struct peer *p, const char *why)
{
    struct tunnel *t = p->tunnel;
    struct worker *w = t->w;

    if (why && !diagnose_peer(p) && (session_end(p->session) || smux_streams(session_smux(p->session))))
        log_warning_of(net_addr_source(&p->remote), "%s: session ended: %s", peer_text(p), why);
    else if (why)
        log_info_of(net_addr_source(&p->remote), "%s: session ended: %s", peer_text(p), why);
    count_end(t, session_end(p->session));
    flow_end(p);
    relay_abort_all(p);
    say_last(p);
    worker_cancel(w, &p->timer);
    list_del(&p->dirty);
    if (t->client)
        client_lost(t->client, p);
    else
        graves_add(&t->peers, session_conv(p->session), &p->remote, w->now);
    if (p->limited)
        limits_give(w->sh->limits, t->index, p->ip);
    peers_del(&t->peers, p);
    p->session = session_free(p->session);
    stat_sub(&t->stats->curr_estab, 1);
    w->n_peers--;
    if (p->src.fd >= 0)
        w->ops->del(w->io, &p->src);
    else
        free(p);
}

void peer_gone(struct peer *p)
{
    free(p);
}

void peer_serve(struct peer *p)
{
    struct tunnel *t = p->tunnel;
    struct worker *w = t->w;
    struct smux *m = session_smux(p->session);
    struct smux_stream *st;
    int r;

    do {
        while (!session_end(p->session) && (st = smux_next_event(m)))
            relay_on_stream(p, st);
        r = session_poll(p->session, worker_batch(w, t, p->key), p, w->now);
        st = r == SESSION_ENDED ? NULL : smux_next_event(m);
        if (st) /* reading made room, and more came up behind it */
            relay_on_stream(p, st);
    } while (r == 0 || st);
    if (r == SESSION_ENDED || session_settle(p->session)) {
        peer_close(p, session_end_text(p->session));
        return;
    }
    if ((t->draining || p->retired) && !smux_streams(m) && session_is_drained(p->session)) {
        peer_close(p, t->draining ? "its tunnel drains, and nothing is left to do"
                                  : "its streams are over, and another has its place");
        return;
    }
    diagnose_peer(p);
    worker_set(w, &p->timer, tick_min(session_deadline(p->session, w->now), p->dies));
    if (t->client)
        client_served(t->client, p); /* p may be gone */
}

void peer_retire(struct peer *p)
{
    p->retired = true;
    worker_touch(p->tunnel->w, p);
}

const char *peer_text(const struct peer *p)
{
    static _Thread_local char text[160];

    snprintf(text, sizeof text, "%s %s conv %08x", p->tunnel->conf->name, net_addr_text(&p->remote),
             session_conv(p->session));
    return text;
}
