/* daemon/slot.c - when a session is dialled, and where: fail-over, fail-back, make before break. */
#include "daemon/slot.h"

#include "core/base/err.h"
#include "daemon/client.h"
#include "daemon/diagnose.h"
#include "daemon/dial.h"
#include "daemon/event.h"
#include "daemon/faketcp_conn.h"
#include "daemon/log.h"
#include "daemon/relay.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    WAITING_MAX = 1024, /* connections a slot holds while its session is being dialled */
    BACKOFF_MIN_MS = 250,
    BACKOFF_MAX_MS = 8000,
    PROVEN_US = 10 * 1000000, /* a session that lived so long was no failed attempt */
    PATIENCE_US = 2500 * 1000, /* for the first answer, while there are other servers to ask, ... */
    PATIENCE_ONE_US = 5000 * 1000, /* ... and while there are none */
    GRACE_US =
        500 * 1000, /* for a doubtful session after its successor was answered: perhaps the way was broken for both */
    DOUBT_LOOK_MS = 250,
    EXTRA_IDLE_MS = 10 * 1000, /* without streams */
    EXTRA_BAR_MS = 60 * 1000, /* one could not be had: before the next attempt, doubled each time ... */
    EXTRA_BAR_DOUBLINGS = 6,
};

/* Once the server has answered a successor at the same address, but not the session itself, the session is lost. */
static const char lost_text[] = "the server answers a new session, but not this one";

static struct worker *worker_of(const struct slot *s)
{
    return s->tunnel->w;
}

static void on_timer(struct timer *tm)
{
    slot_step(CONTAINER(tm, struct slot, timer));
}

void slot_init(struct slot *s, struct tunnel *t, struct remotes *r, unsigned index)
{
    *s = (struct slot){.tunnel = t, .remotes = r, .index = index, .better_at = TICK_NEVER, .ends_at = TICK_NEVER};
    s->timer.fire = on_timer;
}

static bool is_extra(const struct slot *s)
{
    return s->index >= s->tunnel->conf->conn;
}

/* Tells who deals new streams what its session carries. */
static void tell(const struct slot *s)
{
    const struct tunnel *t = s->tunnel;

    if (t->conf->mode == CONF_AUTO)
        deal_tell(t->plan->deal, s->index, s->peer ? relay_oldest(s->peer) : TICK_NEVER,
                  s->peer ? s->peer->meter.loud_until : (struct tick){0});
}

void slot_refuse(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(fd);
}

/* ---- connections that wait ---- */

static void drop_waiting(struct slot *s)
{
    for (unsigned i = 0; i < s->n_fds; i++)
        slot_refuse(s->fds[i]);
    free(s->fds);
    s->fds = NULL;
    s->n_fds = s->cap_fds = 0;
}

void slot_close(struct slot *s)
{
    worker_cancel(worker_of(s), &s->timer);
    drop_waiting(s);
}

static void drop_trial(struct slot *s)
{
    struct peer *trial = s->trial;

    s->trial = NULL;
    if (trial)
        peer_close(trial, NULL);
}

/* A preferred server was only asked whether it is back. Now one is needed: who does not answer at once is passed over. */
static void end_search_for_better(struct slot *s)
{
    struct worker *w = worker_of(s);

    if (s->aim != SLOT_BETTER || !s->trial || s->trial->heard)
        return;
    remotes_silent(s->remotes, &s->tried, w->now, nonce_u32(&w->nonce));
    drop_trial(s);
}

void slot_drain(struct slot *s)
{
    drop_trial(s);
    drop_waiting(s);
}

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
        s->since = worker_of(s)->now;
    s->fds[s->n_fds++] = fd;
    return true;
}

static void hand_out(struct slot *s)
{
    int *fds = s->fds;
    unsigned n = s->n_fds;

    s->fds = NULL;
    s->n_fds = s->cap_fds = 0;
    for (unsigned i = 0; i < n; i++)
        relay_accept(s->peer, fds[i]);
    free(fds);
}

/* ---- success and failure ---- */

static struct tick later(struct slot *s, uint32_t ms)
{
    struct worker *w = worker_of(s);

    return tick_add_ms(w->now, ms / 2 + nonce_u32(&w->nonce) % (ms + 1));
}

static void look_for_better_later(struct slot *s)
{
    uint32_t wait_s = s->tunnel->conf->failback;

    s->better_at = wait_s && s->at.rank ? later(s, wait_s * 1000) : TICK_NEVER;
}

/* The trial takes over. */
static void adopt(struct slot *s)
{
    struct tunnel *t = s->tunnel;
    struct peer *old = s->peer;
    bool lost = old && s->aim == SLOT_DOUBT && net_addr_equal(&old->remote, &s->trial->remote);

    if (s->used && s->at.rank != s->tried.rank) {
        stat_add(&t->stats->failovers, 1);
        log_warning("%s: goes on with server %u, %s; it was server %u, %s", t->conf->name, s->tried.rank + 1,
                    net_addr_text(&s->tried.addr), s->at.rank + 1, net_addr_text(&s->at.addr));
    }
    s->peer = s->trial;
    s->trial = NULL;
    s->at = s->tried;
    s->used = true;
    s->again = false;
    s->aim = SLOT_CONTENT;
    s->ends_at = TICK_NEVER;
    look_for_better_later(s);
    if (lost) {
        stat_add(&t->stats->dead_peers, 1);
        peer_close(old, lost_text);
    } else if (old) {
        peer_retire(old);
    }
}

/* An extra session that cannot be had is done without, and for some time nobody tries again: perhaps the server allows no
 * more of them. */
static void do_without(struct slot *s, const char *why)
{
    struct tunnel *t = s->tunnel;
    unsigned n = s->n_fds;
    int *fds = s->fds;

    deal_bar(t->plan->deal, later(s, EXTRA_BAR_MS << MIN(s->failures, (unsigned)EXTRA_BAR_DOUBLINGS)));
    log_info("%s: no extra session: %s", t->conf->name, why);
    s->failures++;
    s->again = false;
    s->fds = NULL;
    s->n_fds = s->cap_fds = 0;
    for (unsigned i = 0; i < n; i++)
        client_deal(t->client, s->index % t->conf->conn, fds[i]);
    free(fds);
}

/* Tries again: at once if there is another address, else later, with jitter. Who waited for dialtimeout is let down. */
static void back_off(struct slot *s, const char *where, const char *why)
{
    struct tunnel *t = s->tunnel;
    struct worker *w = t->w;
    bool at_once = remotes_have_better(s->remotes, w->now);

    if (is_extra(s) && !s->peer) {
        do_without(s, why);
        return;
    }
    if (!at_once)
        s->backoff_ms = s->backoff_ms ? MIN(s->backoff_ms * 2, (uint32_t)BACKOFF_MAX_MS) : BACKOFF_MIN_MS;
    s->dial_at = at_once ? tick_add_ms(w->now, 1) : later(s, s->backoff_ms);
    s->failures++;
    if (!(s->failures & (s->failures - 1)))
        event_dial_failed(t, where, why, s->failures, at_once ? "another address" : "after a pause");
    trouble_dial(&t->trouble, why, w->now);
    if (s->n_fds && tick_since_us(w->now, s->since) >= t->conf->dialtimeout * UINT64_C(1000000)) {
        stat_add(&t->stats->dial_errors, s->n_fds);
        drop_waiting(s);
    }
}

static void trial_failed(struct slot *s, const struct remote_pick *to, const char *why)
{
    struct worker *w = worker_of(s);

    if (!is_extra(s) || s->peer) /* else it may answer all others: whether it is there, they find out */
        remotes_silent(s->remotes, to, w->now, nonce_u32(&w->nonce));
    if (s->aim == SLOT_BETTER) {
        s->aim = SLOT_CONTENT;
        look_for_better_later(s);
    } else {
        back_off(s, net_addr_text(&to->addr), why);
    }
}

static void give_up_trial(struct slot *s, const char *why)
{
    struct peer *p = s->trial;

    s->trial = NULL;
    peer_close(p, NULL);
    trial_failed(s, &s->tried, why);
}

/* ---- dialling ---- */

/* The server is there, and reads what a session says. */
static bool is_answered(const struct peer *p)
{
    return p->heard && session_is_proven(p->session);
}

/* With one server whose version of smux is known, connections that wait need no proof that it is there: what they have to say
 * asks for the answer. */
static bool may_begin_unproven(const struct slot *s)
{
    return !s->peer && s->n_fds && !is_extra(s) && remotes_are_one(s->remotes) && s->trial &&
           !fake_dial_waits(s->trial) && session_is_proven(s->trial->session);
}

/* Opens a session as the trial. 0, -errno. */
static int dial(struct slot *s, const struct remote_pick *to)
{
    struct peer *p;
    int r = dial_session(&p, s->tunnel, &to->addr, to->smux_ver);

    if (r)
        return err_pass(r);
    p->slot = s->index;
    s->trial = p;
    s->tried = *to;
    s->dialled = worker_of(s)->now;
    if (!s->tunnel->conf->smuxver && !to->smux_known)
        session_prove(p->session);
    else if (!may_begin_unproven(s))
        session_greet(p->session);
    return 0;
}

static bool wants_trial(const struct slot *s)
{
    struct worker *w = worker_of(s);

    if (s->trial || s->tunnel->draining || tick_before(w->now, s->dial_at))
        return false;
    return s->peer ? s->aim != SLOT_CONTENT : s->n_fds || s->again;
}

static void try_dial(struct slot *s)
{
    struct tunnel *t = s->tunnel;
    unsigned below = s->aim == SLOT_BETTER ? s->at.rank : UINT_MAX;
    struct remote_pick to;
    int k = remotes_pick(s->remotes, t->w, below, t->id, &to);

    if (k == NAME_WAIT)
        return;
    if (k == NAME_FAILED)
        back_off(s, t->conf->remoteaddr[0].host, remotes_why(s->remotes));
    else if (dial(s, &to))
        trial_failed(s, &to, err_text());
}

/* ---- what to do now ---- */

/* The trial's time is up. */
static void pass_over(struct slot *s)
{
    if (!s->trial->heard && !s->tried.answered && !fake_dial_waits(s->trial))
        diagnose_unanswered(s->trial);
    give_up_trial(s, "no answer");
}

static void judge_trial(struct slot *s)
{
    struct tick now = worker_of(s)->now;
    bool others = !s->trial->heard && (is_extra(s) || remotes_have_better(s->remotes, now));
    uint64_t patience = others ? PATIENCE_US : PATIENCE_ONE_US;

    if (!is_answered(s->trial)) {
        if (may_begin_unproven(s))
            adopt(s);
        else if (tick_since_us(now, s->dialled) >= patience)
            pass_over(s);
    } else if (!s->peer || s->aim != SLOT_DOUBT || tick_since_us(now, s->answered) >= GRACE_US) {
        adopt(s);
    }
}

/* The session answers again: no successor is needed. */
static void end_doubt(struct slot *s)
{
    log_info("%s: answers again", peer_text(s->peer));
    remotes_answered(s->remotes, &s->at);
    s->aim = SLOT_CONTENT;
    drop_trial(s);
}

/* Streams wait for an extra session of which there is not even an address. */
static bool waits_for_name(const struct slot *s)
{
    return is_extra(s) && !s->peer && !s->trial && s->n_fds;
}

static struct tick next_look(const struct slot *s)
{
    struct tick now = worker_of(s)->now, t = TICK_NEVER;
    bool answered = s->trial && is_answered(s->trial);

    if (s->trial && !answered)
        t = tick_add_us(s->dialled, tick_since_us(now, s->dialled) < PATIENCE_US ? PATIENCE_US : PATIENCE_ONE_US);
    else if (s->peer ? s->aim != SLOT_CONTENT : s->n_fds || s->again)
        t = s->dial_at;
    if (waits_for_name(s))
        t = tick_add_us(s->since, PATIENCE_US);
    if (s->peer && s->aim == SLOT_CONTENT)
        t = tick_min(t, s->better_at);
    if (s->peer && is_extra(s))
        t = tick_min(t, s->ends_at);
    if (s->peer && s->aim == SLOT_DOUBT)
        t = tick_min(tick_max(t, now), tick_add_ms(now, DOUBT_LOOK_MS));
    return t;
}

/* Looks again when the clock asks for it. A time that has passed is one at which something else was waited for. */
static void set_timer(struct slot *s)
{
    struct worker *w = worker_of(s);
    struct tick t = s->tunnel->draining ? TICK_NEVER : next_look(s);

    worker_cancel(w, &s->timer);
    if (t.us != TICK_NEVER.us && tick_before(w->now, t))
        worker_set(w, &s->timer, t);
}

/* Nobody has needed it for a while. The server, if it is our kind, ends it as well. */
static void end_extra(struct slot *s)
{
    struct peer *p = s->peer;

    if (s->aim != SLOT_DOUBT)
        smux_leave(session_smux(p->session));
    drop_trial(s);
    s->peer = NULL;
    s->aim = SLOT_CONTENT;
    peer_retire(p);
}

void slot_step(struct slot *s)
{
    struct tick now = worker_of(s)->now;

    if (s->peer && is_extra(s) && !s->n_fds && !tick_before(now, s->ends_at))
        end_extra(s);
    if (s->peer && s->aim == SLOT_DOUBT && !session_is_doubtful(s->peer->session, now))
        end_doubt(s);
    if (s->peer && s->aim == SLOT_CONTENT && !tick_before(now, s->better_at))
        s->aim = SLOT_BETTER;
    if (s->trial)
        judge_trial(s);
    if (wants_trial(s))
        try_dial(s);
    if (waits_for_name(s) && tick_since_us(now, s->since) >= PATIENCE_US)
        do_without(s, "its server's name is not known in time");
    if (may_begin_unproven(s))
        adopt(s);
    if (s->peer && s->n_fds)
        hand_out(s);
    tell(s);
    set_timer(s);
}

static bool is_used_up(const struct peer *p, struct tick now)
{
    return !tick_before(now, p->expires) || !smux_ids_left(session_smux(p->session));
}

void slot_take(struct slot *s, int fd)
{
    struct worker *w = worker_of(s);

    if (s->peer && is_used_up(s->peer, w->now)) {
        struct peer *old = s->peer;

        s->peer = NULL;
        peer_retire(old);
    }
    if (!s->tunnel->draining && wait_in(s, fd))
        slot_step(s);
    else if (!s->tunnel->draining && is_extra(s))
        client_deal(s->tunnel->client, s->index % s->tunnel->conf->conn, fd);
    else
        slot_refuse(fd);
}

void slot_changed(struct slot *s)
{
    if (s->peer && is_extra(s)) { /* perhaps only now: how long it has been empty counts from here */
        s->ends_at = TICK_NEVER;
        worker_touch(worker_of(s), s->peer);
    }
    tell(s);
}

void slot_renew(struct slot *s)
{
    drop_trial(s);
    if (s->peer)
        s->aim = SLOT_RENEW;
    s->dial_at = worker_of(s)->now;
    slot_step(s);
}

/* Nothing new can come of its session: what is new waits for the next, which is dialled unasked. */
static void let_go(struct slot *s)
{
    struct peer *p = s->peer;

    s->peer = NULL;
    s->aim = SLOT_CONTENT;
    s->again = !is_extra(s);
    s->dial_at = worker_of(s)->now;
    peer_retire(p);
}

void slot_way_changed(struct slot *s, struct peer *p)
{
    struct tick now = worker_of(s)->now;

    if (smux_peer_is_ours(session_smux(p->session)) && dial_move(p) == 0) {
        session_moved(p->session, now);
        session_greet(p->session); /* the server follows what is new */
        worker_touch(worker_of(s), p);
        return;
    }
    if (p == s->trial)
        drop_trial(s);
    else if (p == s->peer)
        s->aim = SLOT_RENEW;
    else
        return;
    if (p == s->peer && !dial_source_is_here(p))
        let_go(s);
    s->dial_at = now;
    worker_cancel(worker_of(s), &s->timer);
    worker_set(worker_of(s), &s->timer, now); /* not at once: the caller walks the list of sessions */
}

void slot_move(struct slot *to, struct slot *from)
{
    struct slot fresh = *to;

    worker_cancel(worker_of(from), &from->timer);
    *to = *from;
    to->timer = fresh.timer;
    set_timer(to);
}

void slot_dissolve(struct slot *s, void (*take)(struct slot *s, int fd))
{
    struct peer *p = s->peer;

    worker_cancel(worker_of(s), &s->timer);
    drop_trial(s);
    s->peer = NULL;
    if (p)
        peer_retire(p);
    for (unsigned i = 0; i < s->n_fds; i++)
        take(s, s->fds[i]);
    free(s->fds);
}

/* ---- what happens to sessions ---- */

/* Of the two versions of smux it dropped the one that is tried first: the other has its turn at once. */
static bool has_other_version(const struct slot *s, enum session_end end)
{
    return end == SESSION_UNREAD && s->tried.smux_ver == 2;
}

static void begin_doubt(struct slot *s)
{
    struct worker *w = worker_of(s);
    struct session_info i;

    session_info(s->peer->session, &i, w->now);
    log_warning("%s: no answer for %llu ms: dialling anew", peer_text(s->peer), (unsigned long long)i.heard_ms);
    end_search_for_better(s);
    s->aim = SLOT_DOUBT;
    s->dial_at = w->now;
    remotes_silent(s->remotes, &s->at, w->now, nonce_u32(&w->nonce));
    remotes_smux_doubt(s->remotes, &s->peer->remote);
    remotes_forget_names(s->remotes);
    slot_step(s);
}

static void note_streams(struct slot *s)
{
    bool idle = !smux_streams(session_smux(s->peer->session));
    struct tick ends = tick_min(s->ends_at, tick_add_ms(worker_of(s)->now, EXTRA_IDLE_MS));

    tell(s);
    if (!idle)
        ends = TICK_NEVER;
    if (ends.us == s->ends_at.us)
        return;
    s->ends_at = ends;
    if (is_extra(s))
        set_timer(s);
}

void slot_served(struct slot *s, struct peer *p)
{
    if (p == s->peer)
        note_streams(s);
    if (is_answered(p) && !p->proven) {
        p->proven = true;
        s->failures = 0;
        if (p == s->trial) {
            if (!s->tunnel->conf->smuxver && !s->tried.smux_known)
                remotes_smux_read(s->remotes, &p->remote, s->tried.smux_ver);
            remotes_answered(s->remotes, &s->tried);
            s->answered = worker_of(s)->now;
            slot_step(s);
            return;
        }
        if (p == s->peer)
            remotes_answered(s->remotes, &s->at);
    }
    if (p == s->peer && smux_peer_leaves(session_smux(p->session))) {
        log_info("%s: the server takes no more streams: dialling anew", peer_text(p));
        remotes_silent(s->remotes, &s->at, worker_of(s)->now, 0);
        let_go(s);
        slot_step(s);
    } else if (p == s->peer && s->aim != SLOT_DOUBT && session_is_doubtful(p->session, worker_of(s)->now))
        begin_doubt(s);
}

bool slot_refused(struct slot *s, struct peer *p, const char *why)
{
    if (p != s->trial || p->heard)
        return false;
    give_up_trial(s, why);
    slot_step(s);
    return true;
}

void slot_connected(struct slot *s, struct peer *p)
{
    worker_touch(worker_of(s), p);
    if (p == s->trial)
        slot_step(s);
}

void slot_cut_off(struct slot *s, struct peer *p)
{
    if (p != s->peer)
        return;
    log_warning("%s: the server has ended the connection: dialling anew", peer_text(p));
    end_search_for_better(s);
    s->aim = SLOT_CONTENT;
    s->peer = NULL; /* its streams go on while segments pass, but it gets no new ones */
    s->again = !is_extra(s);
    s->dial_at = worker_of(s)->now;
    peer_retire(p);
    slot_step(s);
}

void slot_lost(struct slot *s, struct peer *p)
{
    enum session_end end = session_end(p->session);
    struct worker *w = worker_of(s);
    struct session_info i;

    if (p == s->trial) {
        bool at_once = has_other_version(s, end);

        s->trial = NULL;
        if (at_once)
            s->dial_at = tick_add_ms(w->now, 1);
        else if (end)
            trial_failed(s, &s->tried, session_end_text(p->session));
        set_timer(s);
        return;
    }
    if (p != s->peer)
        return;
    s->peer = NULL;
    if (end)
        end_search_for_better(s);
    s->aim = SLOT_CONTENT;
    tell(s);
    if (!end)
        return;
    remotes_smux_doubt(s->remotes, &p->remote);
    s->again = !is_extra(s);
    if (end == SESSION_SILENT || end == SESSION_REFUSED || !p->heard)
        remotes_silent(s->remotes, &s->at, w->now, nonce_u32(&w->nonce));
    remotes_forget_names(s->remotes);
    session_info(p->session, &i, w->now);
    if (i.age_ms * 1000 < PROVEN_US) {
        back_off(s, net_addr_text(&p->remote), session_end_text(p->session));
    } else {
        s->backoff_ms = 0;
        s->dial_at = later(s, BACKOFF_MIN_MS / 2);
    }
    set_timer(s);
}
