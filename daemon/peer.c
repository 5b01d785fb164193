/* daemon/peer.c - a session's life: made, served once a turn, ended. */
#include "daemon/peer.h"

#include "daemon/client.h"
#include "daemon/diagnose.h"
#include "daemon/event.h"
#include "daemon/faketcp_conn.h"
#include "daemon/finish.h"
#include "daemon/flow.h"
#include "daemon/params.h"
#include "daemon/relay.h"
#include "daemon/server.h"

#include <stdio.h>
#include <stdlib.h>

static void on_timer(struct timer *tm)
{
    struct peer *p = CONTAINER(tm, struct peer, timer);

    if (!tick_before(p->tunnel->w->now, p->dies)) {
        peer_close(p, "its time is over (autoexpire, scavengettl)");
        return;
    }
    worker_touch(p->tunnel->w, p);
}

struct peer *peer_new(struct tunnel *t, struct tunnel_key *key, uint32_t conv, uint8_t smux_ver)
{
    struct cipher *c = keyring_cipher(key, t->conf->name);
    struct peer *p = c ? calloc(1, sizeof *p) : NULL;
    struct session_params sp;
    struct worker *w = t->w;

    if (!p)
        return NULL;
    sp = params_session(t->conf, c);
    if (!sp.smux_ver)
        sp.smux_ver = smux_ver;
    sp.conv = conv;
    sp.pool = w->pool;
    sp.stats = t->stats;
    p->session = session_new(&sp, w->now);
    if (!p->session) {
        free(p);
        return NULL;
    }
    p->tunnel = t;
    p->key = key;
    p->qppcount = t->conf->qpp ? t->conf->qppcount : 0;
    p->qppgeneration = t->conf->qppgeneration;
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
    stat_add(t->client ? &t->stats->active_opens : &t->stats->passive_opens, 1);
    stat_add(&t->stats->curr_estab, 1);
    if (t->stats->curr_estab > t->stats->max_conn)
        stat_set(&t->stats->max_conn, t->stats->curr_estab);
    limits_opened(w->sh->limits);
    return p;
}

void peer_retire(struct peer *p)
{
    if (p->retired)
        return;
    p->retired = true;
    worker_touch(p->tunnel->w, p);
}

/* Sends what a dying session still has to say: resets of its streams, acknowledgements. */
static void say_last(struct peer *p)
{
    struct worker *w = p->tunnel->w;

    if (session_end(p->session) == SESSION_ALIVE && !fake_dial_waits(p))
        while (session_poll(p->session, worker_batch(w, p->tunnel, p->key), p, w->now) == 0)
            ;
    worker_flush(w); /* the batch must not outlive p */
}

/* missed: somebody here had a use for the session. */
static void count_end(struct tunnel *t, enum session_end why, bool missed)
{
    if (missed && (why == SESSION_SILENT || why == SESSION_LOST_STATE || why == SESSION_REFUSED))
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
    struct smux *m = session_smux(p->session);
    enum session_end end = session_end(p->session);
    /* a client of another kind, or one that is switched off, goes without a word when it needs its session no more */
    bool missed = smux_streams(m) || (t->client ? end != SESSION_ALIVE : end >= SESSION_PROTOCOL);

    if (why) {
        bool told = diagnose_peer(p);

        event_session_end(p, why, missed && !told);
    }
    count_end(t, end, missed);
    flow_end(p);
    relay_abort_all(p);
    smux_leave(m); /* so that the other end need not find out */
    say_last(p);
    if (!t->client && !session_is_drained(p->session))
        server_disown(p);
    worker_cancel(w, &p->timer);
    list_del(&p->dirty);
    if (!t->client)
        finish_tell(p, true);
    if (t->client)
        client_lost(t->client, p);
    else
        graves_add(&t->peers, session_conv(p->session), &p->remote, w->now);
    if (p->limited)
        limits_give(w->sh->limits, t->id, p->ip);
    peers_del(&t->peers, p);
    p->session = session_free(p->session);
    stat_sub(&t->stats->curr_estab, 1);
    limits_ended(w->sh->limits);
    w->n_peers--;
    w->look_leaving = w->look_leaving || t->retired;
    fake_dial_close(p);
    if (p->src.fd >= 0)
        w->ops->del(w->io, &p->src);
    else
        free(p);
}

void peer_gone(struct peer *p)
{
    free(p);
}

/* Nothing is left to do in it, and nothing new will come. NULL: it goes on. */
static const char *why_over(const struct peer *p)
{
    const struct tunnel *t = p->tunnel;
    struct smux *m = session_smux(p->session);
    bool left = !t->client && smux_peer_leaves(m);

    if (!(t->draining || p->retired || left) || smux_streams(m))
        return NULL;
    if (!session_is_drained(p->session) && !(t->client && p->retired && session_is_disowned(p->session)))
        return NULL; /* a server that had our last word, and whose answer was lost, has ended it already */
    if (t->draining)
        return "its tunnel drains, and nothing is left to do";
    return left ? "its client needs it no more" : "its streams are over, and it gets no more";
}

void peer_serve(struct peer *p)
{
    struct tunnel *t = p->tunnel;
    struct worker *w = t->w;
    struct smux *m = session_smux(p->session);
    struct smux_stream *st;
    const char *why;
    int r;

    if (fake_dial_waits(p)) /* its slot has an eye on it */
        return;
    do {
        while (!session_end(p->session) && (st = smux_next_event(m)))
            relay_on_stream(p, st);
        r = session_poll(p->session, worker_batch(w, t, p->key), p, w->now);
        st = r == SESSION_ENDED ? NULL : smux_next_event(m);
        if (st) /* reading made room, and more came up behind it */
            relay_on_stream(p, st);
    } while (r == 0 || st);
    if (w->batch.n >= NET_GSO_SEGS) /* what the next session adds makes no run longer */
        worker_flush(w);
    if (r == SESSION_ENDED || session_settle(p->session)) {
        peer_close(p, session_end_text(p->session));
        return;
    }
    why = why_over(p);
    if (why) {
        peer_close(p, why);
        return;
    }
    diagnose_peer(p);
    worker_set(w, &p->timer, tick_min(session_deadline(p->session, w->now), p->dies));
    if (t->client)
        client_served(t->client, p); /* p may be gone */
}

const char *peer_text(const struct peer *p)
{
    static _Thread_local char text[160];

    snprintf(text, sizeof text, "%s %s conv %08x", p->tunnel->conf->name, net_addr_text(&p->remote),
             session_conv(p->session));
    return text;
}
