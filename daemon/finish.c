/* daemon/finish.c - freezing, and what comes by the link afterwards.
 *
 * A server's session of our own client is told that its end leaves, and ends once the client has moved. Others know no such
 * word: theirs goes on, new streams and all, until the client or the time ends it. */
#include "daemon/finish.h"

#include "core/base/err.h"
#include "daemon/client.h"
#include "daemon/server.h"
#include "daemon/upgrade_wire.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RUNS_A_TURN = 16, TICK_MS = 1000, MOVE_US = 3 * 1000000, GONE_US = 6 * 1000000 };

/* ---- freezing ---- */

struct rows {
    struct upgrade_session *v;
    uint32_t n, cap;
    bool failed;
};

static void add_row(struct rows *r, const struct peer *p)
{
    if (r->n == r->cap) {
        uint32_t cap = r->cap ? r->cap * 2 : 64;
        struct upgrade_session *v = reallocarray(r->v, cap, sizeof *v);

        if (!v) {
            r->failed = true;
            return;
        }
        r->v = v;
        r->cap = cap;
    }
    r->v[r->n++] = (struct upgrade_session){server_set_of(p)->sockets->id, session_conv(p->session), p->remote};
}

static bool is_handed(const struct peer *p)
{
    return !p->tunnel->client && atomic_load(&server_set_of(p)->sockets->handed);
}

static void pause_tunnel(struct tunnel *t, bool paused)
{
    if (t->client)
        client_pause(t->client, paused);
    else
        server_pause(t, paused);
}

static void pause_all(struct worker *w, bool paused)
{
    for (unsigned i = 0; i < w->n_tunnels; i++)
        if (w->tunnels[i])
            pause_tunnel(w->tunnels[i], paused);
}

static void list_sessions(struct worker *w, struct rows *r)
{
    for (unsigned i = 0; i < w->n_tunnels; i++) {
        if (!w->tunnels[i] || w->tunnels[i]->client)
            continue;
        LIST_EACH(p, &w->tunnels[i]->peers.all, struct peer, all) {
            if (is_handed(p))
                add_row(r, p);
        }
    }
}

static void on_tick(struct timer *tm);

/* True: it cannot be. */
static bool open_link(struct worker *w, int link)
{
    if (w->finish.in_use) /* the kernel has not yet let go of the last one */
        return true;
    if (!w->finish.mem)
        w->finish.mem = malloc((size_t)RUNS_A_TURN * UPGRADE_RUN_MAX);
    if (!w->finish.mem || worker_add(w, &w->finish.src, SRC_HEIR, link, w->ops->watch))
        return true;
    w->finish.in_use = true;
    w->finish.tick.fire = on_tick;
    return false;
}

void finish_freeze(struct worker *w, const struct mail_freeze *order)
{
    struct mail_frozen m = {.worker = w->id, .attempt = order->attempt};
    struct rows r = {0};

    m.failed = open_link(w, order->link);
    if (m.failed) {
        close(order->link);
    } else {
        w->frozen = true;
        pause_all(w, true);
        list_sessions(w, &r);
        m.failed = r.failed;
    }
    m.n = r.n;
    m.sessions = r.v;
    worker_tell_main(w, MAIL_FROZEN, bytes_of(&m, sizeof m));
}

void finish_thaw(struct worker *w)
{
    if (w->finish.in_use)
        w->ops->del(w->io, &w->finish.src);
    if (w->frozen)
        pause_all(w, false);
    w->frozen = false;
}

void finish_gone(struct worker *w)
{
    w->finish.in_use = false;
}

void finish_fini(struct worker *w)
{
    free(w->finish.mem);
}

/* ---- news ---- */

void finish_tell(struct peer *p, bool ended)
{
    struct worker *w = p->tunnel->w;
    struct mail_news m = {.ended = ended};

    if (!w->frozen || !is_handed(p))
        return;
    m.session = (struct upgrade_session){server_set_of(p)->sockets->id, session_conv(p->session), p->remote};
    worker_tell_main(w, MAIL_NEWS, bytes_of(&m, sizeof m));
}

/* ---- datagrams ---- */

static void take_run(struct worker *w, struct bytes b)
{
    struct io_event ev = {.kind = IO_UDP};
    struct upgrade_run run;
    struct io_src *sock;
    struct tunnel *t;

    if (upgrade_run_parse(&run, b))
        return;
    t = worker_tunnel(w, run.tunnel);
    sock = t && !t->client ? server_find_sock(t, run.set, run.port) : NULL;
    if (!sock)
        return; /* its tunnel has ended meanwhile */
    ev.src = sock;
    ev.data = (uint8_t *)(uintptr_t)run.data.p;
    ev.len = (uint32_t)run.data.len;
    ev.seg = run.seg;
    ev.from = run.from;
    ev.to = run.to;
    tunnel_receive(t, sock, &ev);
}

void finish_receive(struct worker *w)
{
    uint8_t *mem = w->finish.mem; /* lent until the turn ends */

    for (unsigned i = 0; i < RUNS_A_TURN; i++, mem += UPGRADE_RUN_MAX) {
        ssize_t n = recv(w->finish.src.fd, mem, UPGRADE_RUN_MAX, MSG_DONTWAIT);

        if (n > 0) {
            take_run(w, bytes_of(mem, (size_t)n));
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        w->ops->del(w->io, &w->finish.src); /* the new process is gone: main ends us */
        return;
    }
}

/* ---- the end ---- */

static void finish_client(struct tunnel *t)
{
    if (!t->draining && !client_waits(t->client))
        tunnel_drain(t, true);
}

/* Our own clients have moved by now; one that has not even acknowledged that it should is gone. */
static void finish_server(struct tunnel *t, uint64_t since_us)
{
    LIST_EACH(p, &t->peers.all, struct peer, all) {
        struct smux *m = session_smux(p->session);

        if (!smux_peer_is_ours(m) || smux_streams(m))
            continue;
        if (since_us < GONE_US)
            peer_retire(p);
        else
            peer_close(p, "its client is gone");
    }
}

static void on_tick(struct timer *tm)
{
    struct worker *w = CONTAINER(tm, struct worker, finish.tick);
    uint64_t since_us = tick_since_us(w->now, w->finish.since);

    for (unsigned i = 0; i < w->n_tunnels; i++) {
        struct tunnel *t = w->tunnels[i];

        if (t && t->client)
            finish_client(t);
        else if (t && since_us >= MOVE_US)
            finish_server(t, since_us);
    }
    worker_set(w, tm, tick_add_ms(w->now, TICK_MS));
}

void finish_begin(struct worker *w, struct tick until)
{
    w->draining = true;
    w->drain_until = until;
    w->finish.on = true;
    w->finish.since = w->now;
    for (unsigned i = 0; i < w->n_tunnels; i++) {
        struct tunnel *t = w->tunnels[i];

        if (t && t->client)
            finish_client(t); /* at once: it dials no more */
        if (!t || t->client)
            continue;
        server_stop_accepting(t);
        LIST_EACH(p, &t->peers.all, struct peer, all) {
            smux_leave(session_smux(p->session));
            worker_touch(w, p);
        }
    }
    worker_set(w, &w->finish.tick, tick_add_ms(w->now, TICK_MS));
}

bool finish_is_over(const struct worker *w)
{
    return !w->n_peers && !w->n_relays && tick_since_us(w->now, w->finish.since) >= 2 * TICK_MS * 1000;
}
