/* core/arq_flush.c - what a flush decides, and the datagrams that carry it.
 * Wire: the KCP description, sections 8 to 12; acknowledgements, WASK, WINS, then data in sn order, packed greedily. */
#include "core/arq_priv.h"

static uint32_t send_window(const struct arq *a)
{
    uint32_t wnd = MIN(a->k.snd_wnd, a->st.rmt_wnd);

    return a->k.nocwnd || a->drv.may_send ? wnd : MIN(wnd, a->st.cwnd);
}

bool arq_has_room(const struct arq *a)
{
    return serial_before(a->st.snd_nxt, a->st.snd_una + send_window(a));
}

static void decide_probe(struct arq *a, uint32_t now)
{
    if (a->st.rmt_wnd) {
        a->probe_wait = 0;
        a->probe_at = 0;
    } else if (!a->probe_wait) {
        a->probe_wait = a->k.probe_first_ms;
        a->probe_at = now + a->probe_wait;
    } else if (!serial_before(now, a->probe_at)) {
        a->probe_wait = MAX(a->probe_wait, a->k.probe_first_ms);
        a->probe_wait = MIN(a->probe_wait + a->probe_wait / 2, (uint32_t)ARQ_PROBE_MAX_MS);
        a->probe_at = now + a->probe_wait;
        a->probe |= ARQ_ASK;
    }
    a->telling |= a->probe;
    a->probe = 0;
}

int arq_pull_one(struct arq *a, uint32_t now)
{
    struct arq_chunk c = {0};
    struct arq_out *s;

    if (arq_snd_fit(a, a->st.snd_nxt - a->st.snd_una + 1))
        return -ENOMEM;
    if (a->pull(a->pull_ctx, a, &c))
        return ARQ_AGAIN;
    s = arq_out_at(a, a->st.snd_nxt);
    *s = (struct arq_out){.p = c.p, .own = c.own, .len = c.len, .frg = c.frg, .live = true};
    s->ts = s->resend_at = now;
    s->rto = a->st.rto_ms;
    a->st.n_inflight++;
    a->st.snd_nxt++;
    arq_bits_add(a, &a->due, a->st.snd_nxt - 1);
    return 0;
}

/* Moves new segments into the ring. -ENOMEM: fewer than the window would take. */
static int pull_new(struct arq *a, uint32_t now)
{
    int r = 0;

    while (!r && arq_has_room(a))
        r = arq_pull_one(a, now);
    return r == ARQ_AGAIN ? 0 : r;
}

/* With nothing new to send there will be no more acks of later segments than there are in flight: what one of them has passed
 * leaves again now. */
static void look_early(struct arq *a, bool something_new, uint32_t now)
{
    if (!a->passed.n || serial_before(now, a->early_at))
        return;
    if (something_new) {
        a->early_at = arq_early_after(a, now);
        return;
    }
    while (a->passed.n) {
        uint32_t sn = arq_bits_first(a, &a->passed);

        ARQ_STEP();
        arq_bits_del(a, &a->passed, sn);
        arq_bits_add(a, &a->due, sn);
    }
}

enum why { NOTHING, FIRST, LATE, FAST, EARLY };

static enum why why_send(const struct arq *a, const struct arq_out *s, uint32_t now)
{
    if (!s->xmit)
        return FIRST;
    if (!serial_before(now, s->resend_at))
        return LATE;
    if (arq_snd_fast_due(a, s))
        return FAST;
    return a->k.early && s->fastack ? EARLY : NOTHING;
}

static uint32_t backed_off(const struct arq *a, uint32_t rto)
{
    if (!a->k.nodelay)
        rto += MAX(rto, a->st.rto_ms);
    else
        rto += (a->k.nodelay == 1 ? rto : a->st.rto_ms) / 2;
    return MIN(rto, (uint32_t)ARQ_SEG_RTO_MAX_MS);
}

/* Counts segment sn as transmitted at now, for the reason given, and sets its timer. */
static void transmit(struct arq *a, uint32_t sn, enum why why, uint32_t now)
{
    struct arq_out *s = arq_out_at(a, sn);

    s->resend_at = now;
    if (why == FIRST) {
        s->rto = a->st.rto_ms;
        s->resend_at += a->k.nodelay ? 0 : a->st.rto_ms / 8;
    } else if (why == LATE) {
        s->rto = backed_off(a, s->rto);
        if (!a->k.keep_fastack)
            s->fastack = 0;
        a->st.xmit++;
        a->n_lost++;
        a->n.lost_segs++;
    } else {
        s->fastack = 0;
        a->n_fast++;
        *(why == FAST ? &a->n.fast_segs : &a->n.early_segs) += 1;
    }
    s->resend_at += s->rto;
    s->xmit++;
    s->ts = now;
    if (s->xmit >= a->k.dead_link)
        a->st.dead = true;
    arq_bits_del(a, &a->passed, sn);
    arq_by_ts_del(a, sn);
    if ((!a->k.resend || s->fastack < a->k.resend) && (!a->k.fast_limit || s->xmit <= a->k.fast_limit))
        arq_by_ts_add(a, sn);
}

/* Goes over what is due in sn order and decides it, within the budget. There is room for the timers: one run for the
 * new segments, one each for the others. */
static void decide_data(struct arq *a, int32_t budget, uint32_t now)
{
    uint32_t sn = arq_bits_first(a, &a->due);
    struct arq_run run = {0};

    for (uint32_t n = a->due.n; n; n--, sn = n ? arq_bits_next(a, &a->due, sn + 1) : sn) {
        struct arq_out *s = arq_out_at(a, sn);
        enum why why = why_send(a, s, now);
        bool deferred = why && budget >= 0 && s->len > (uint32_t)budget;

        ARQ_STEP();
        if (deferred && !a->hooks.defer_counts)
            break;
        arq_bits_del(a, &a->due, sn);
        if (why)
            transmit(a, sn, why, now);
        if (why && !deferred)
            arq_bits_add(a, &a->pend, sn);
        if (arq_snd_fast_due(a, s)) /* keep_fastack: once more, next time */
            arq_bits_add(a, &a->due, sn);
        if (run.n && run.at == s->resend_at && run.first + run.n == sn) {
            run.n++;
        } else {
            if (run.n)
                arq_timer_add(a, run);
            run = (struct arq_run){s->resend_at, sn, 1};
        }
        if (deferred)
            break;
        if (budget >= 0)
            budget -= (int32_t)s->len;
    }
    if (run.n)
        arq_timer_add(a, run);
}

/* Section 10, reduction of the congestion window. */
static void react(struct arq *a)
{
    struct arq_state *st = &a->st;

    a->reacting = false;
    if (a->n_fast && a->hooks.fast) {
        a->hooks.fast(a->hooks.ctx, a->n_fast, a->prior_cwnd);
    } else if (a->n_fast) {
        st->ssthresh = MAX((st->snd_nxt - st->snd_una) / 2, 2);
        st->cwnd = st->ssthresh + a->k.resend;
        st->incr = st->cwnd * a->mss;
    }
    if (a->n_lost && a->hooks.timeout) {
        a->hooks.timeout(a->hooks.ctx, a->prior_cwnd);
    } else if (a->n_lost) {
        st->ssthresh = MAX(a->prior_cwnd / 2, 2);
        st->cwnd = 1;
        st->incr = a->mss;
    }
    if (st->cwnd < 1) {
        st->cwnd = 1;
        st->incr = a->mss;
    }
    a->n_fast = a->n_lost = 0;
}

/* What was frozen and not written yet stays in front of what is decided now. */
int arq_flush(struct arq *a, enum arq_flush_kind kind, uint32_t now)
{
    uint32_t nxt = a->st.snd_nxt;
    int32_t budget = -1;
    int r = 0;

    if (a->drv.may_send && kind == ARQ_FLUSH_FULL)
        r = arq_drive(a, now); /* before the acknowledgements: some are not needed if data leaves */
    if (!a->k.hold_acks)
        arq_ack_decide(a);
    if (a->drv.may_send || kind == ARQ_FLUSH_ACKS) {
        decide_probe(a, now);
        return r;
    }
    if (a->reacting)
        react(a);
    if (a->hooks.tick)
        a->hooks.tick(a->hooks.ctx);
    if (a->hooks.budget)
        budget = a->hooks.budget(a->hooks.ctx);
    decide_probe(a, now);
    a->prior_cwnd = a->st.cwnd;
    arq_timer_due(a, now);
    if (arq_timer_fit(a, a->due.n + a->passed.n + 1))
        return -ENOMEM;
    r = pull_new(a, now);
    look_early(a, a->st.snd_nxt != nxt, now);
    if (a->hooks.pulled)
        a->hooks.pulled(a->hooks.ctx);
    decide_data(a, budget, now);
    arq_timer_prune(a);
    if (a->has_hooks)
        a->reacting = true;
    else
        react(a);
    return r;
}

static void put_control(struct arq *a, struct wr *w, uint8_t cmd, struct arq_ack ack)
{
    struct arq_seg s = {.conv = a->st.conv, .cmd = cmd, .wnd = arq_rcv_room(a), .ts = ack.ts, .sn = ack.sn};

    s.una = a->st.rcv_nxt;
    arq_seg_put(w, &s);
    a->n.out_segs++;
}

static size_t left(const struct wr *w)
{
    return (size_t)(w->end - w->p);
}

/* Acknowledgements and probes. False: the datagram is full. */
static bool emit_control(struct arq *a, struct wr *w)
{
    struct arq_ack ack;

    for (; arq_ack_next(a, &ack); arq_ack_wrote(a)) {
        if (left(w) < ARQ_HEADER)
            return false;
        a->last_ack = ack;
        put_control(a, w, ARQ_SEG_ACK, ack);
    }
    for (unsigned bit = ARQ_ASK; bit <= ARQ_TELL; bit *= 2) {
        if (!(a->telling & bit))
            continue;
        if (left(w) < ARQ_HEADER)
            return false;
        put_control(a, w, bit == ARQ_ASK ? ARQ_SEG_WASK : ARQ_SEG_WINS, a->last_ack);
        a->telling &= ~bit;
    }
    return true;
}

static void announce(struct arq *a, uint32_t sn, const struct arq_out *s)
{
    struct arq_sent now = {sn, s->ts, s->len, s->xmit};

    if (!a->announced || a->announced_sn != sn)
        a->hooks.sent(a->hooks.ctx, &now);
    a->announced = true;
    a->announced_sn = sn;
}

/* Data. A segment cut for a larger mtu than today's goes alone, as long as it is. */
static void emit_data(struct arq *a, struct wr *w, const uint8_t *start)
{
    for (uint32_t sn; a->pend.n; arq_bits_del(a, &a->pend, sn)) {
        const struct arq_out *s = arq_out_at(a, sn = arq_bits_first(a, &a->pend));
        struct arq_seg h = {.conv = a->st.conv, .cmd = ARQ_SEG_PUSH, .frg = s->frg, .ts = s->ts, .sn = sn};

        if (a->hooks.sent)
            announce(a, sn, s);
        if (left(w) < ARQ_HEADER + s->len && w->p != start)
            return;
        if (left(w) < ARQ_HEADER + s->len)
            w->end = w->p + ARQ_HEADER + s->len;
        h.wnd = arq_rcv_room(a);
        h.una = a->st.rcv_nxt;
        h.len = s->len;
        arq_seg_put(w, &h);
        wr_bytes(w, s->p, s->len);
        a->n.out_segs++;
        a->announced = false;
        if (!serial_before(sn, a->snd_out))
            a->snd_out = sn + 1;
    }
}

static void emit_done(struct arq *a)
{
    arq_ack_done(a);
    a->last_ack = (struct arq_ack){0};
    if (a->reacting)
        react(a);
}

size_t arq_emit(struct arq *a, uint8_t *out)
{
    struct wr w = wr_to(out, a->mtu);

    if (emit_control(a, &w))
        emit_data(a, &w, out);
    if (w.p == out)
        emit_done(a);
    return (size_t)(w.p - out);
}
