/* core/arq_snd.c - the send ring: what is in flight, what acknowledgements do to it, round-trip time and the
 * congestion window.
 * Source: the KCP description, sections 7 to 10, as C 2.1.1 has it. */
#include "core/arq_priv.h"

#include <string.h>

static size_t words(uint32_t cap)
{
    return (cap + 63) / 64;
}

size_t arq_snd_bytes(uint32_t cap)
{
    return cap * sizeof(struct arq_out) + 4 * words(cap) * sizeof(uint64_t);
}

static void bits_carry(struct arq *a, struct arq_bits *to, const struct arq *was, const struct arq_bits *from)
{
    for (uint32_t sn = a->st.snd_una; sn != a->st.snd_nxt; sn++)
        if (arq_bits_has(was, from, sn))
            arq_bits_add(a, to, sn);
}

/* cap 0: only while nothing is in flight. */
int arq_snd_resize(struct arq *a, uint32_t cap)
{
    struct arq was = *a;
    uint64_t *w;

    if (cap == a->out_cap)
        return 0;
    a->out = cap ? a->mem.alloc(arq_snd_bytes(cap)) : NULL;
    if (cap && !a->out) {
        a->out = was.out;
        return -ENOMEM;
    }
    a->out_cap = cap;
    a->due = a->pend = a->count = a->passed = (struct arq_bits){0};
    if (cap) {
        memset(a->out, 0, arq_snd_bytes(cap));
        w = (uint64_t *)(void *)(a->out + cap);
        a->due.w = w;
        a->pend.w = w + words(cap);
        a->count.w = w + 2 * words(cap);
        a->passed.w = w + 3 * words(cap);
    }
    for (uint32_t sn = a->st.snd_una; sn != a->st.snd_nxt; sn++)
        *arq_out_at(a, sn) = *arq_out_at(&was, sn);
    bits_carry(a, &a->due, &was, &was.due);
    bits_carry(a, &a->pend, &was, &was.pend);
    bits_carry(a, &a->count, &was, &was.count);
    bits_carry(a, &a->passed, &was, &was.passed);
    if (was.out)
        a->mem.free(was.out);
    return 0;
}

int arq_snd_fit(struct arq *a, uint32_t n)
{
    return n <= a->out_cap ? 0 : arq_snd_resize(a, arq_ring_for(n));
}

/* True if segment x was sent before y: earlier, or in the same ms with a lower sn. */
static bool sent_before(const struct arq *a, uint32_t x, uint32_t y)
{
    uint32_t tx = arq_out_at(a, x)->ts, ty = arq_out_at(a, y)->ts;

    return tx == ty ? serial_before(x, y) : serial_before(tx, ty);
}

/* The place is near the tail, past what was sent in the same ms, unless the clock went backwards. */
void arq_by_ts_add(struct arq *a, uint32_t sn)
{
    struct arq_out *s = arq_out_at(a, sn), *at;
    uint32_t after = a->ts_tail;

    s->older = s->newer = sn;
    if (!a->count.n) {
        a->ts_head = a->ts_tail = sn;
        arq_bits_add(a, &a->count, sn);
        return;
    }
    arq_bits_add(a, &a->count, sn);
    for (at = arq_out_at(a, after); sent_before(a, sn, after); at = arq_out_at(a, after)) {
        ARQ_STEP();
        if (after == a->ts_head) {
            at->older = sn;
            s->newer = after;
            a->ts_head = sn;
            return;
        }
        after = at->older;
    }
    s->older = after;
    if (after == a->ts_tail) {
        a->ts_tail = sn;
    } else {
        s->newer = at->newer;
        arq_out_at(a, s->newer)->older = sn;
    }
    at->newer = sn;
}

void arq_by_ts_del(struct arq *a, uint32_t sn)
{
    struct arq_out *s = arq_out_at(a, sn);
    bool first = sn == a->ts_head, last = sn == a->ts_tail;

    if (!arq_bits_has(a, &a->count, sn))
        return;
    arq_bits_del(a, &a->count, sn);
    if (!first)
        arq_out_at(a, s->older)->newer = last ? s->older : s->newer;
    if (!last)
        arq_out_at(a, s->newer)->older = first ? s->newer : s->older;
    if (first)
        a->ts_head = s->newer;
    if (last)
        a->ts_tail = s->older;
}

bool arq_snd_fast_due(const struct arq *a, const struct arq_out *s)
{
    return a->k.resend && s->fastack >= a->k.resend && (!a->k.fast_limit || s->xmit <= a->k.fast_limit);
}

static uint32_t release(struct arq *a, uint32_t sn, int32_t rtt_ms)
{
    struct arq_out *s = arq_out_at(a, sn);
    struct arq_sent gone = {sn, s->ts, s->len, s->xmit};

    if (a->announced && a->announced_sn == sn)
        a->announced = false;
    arq_bits_del(a, &a->due, sn);
    arq_bits_del(a, &a->pend, sn);
    arq_bits_del(a, &a->passed, sn);
    arq_by_ts_del(a, sn);
    s->live = false;
    a->st.n_inflight--;
    if (s->own)
        a->mem.put(s->own);
    s->own = NULL;
    if (a->hooks.acked)
        a->hooks.acked(a->hooks.ctx, &gone, rtt_ms);
    return gone.len;
}

/* An una that claims what was never put on the wire is a lie, or another conversation's: it frees nothing. */
uint32_t arq_snd_una(struct arq *a, uint32_t una)
{
    uint32_t bytes = 0;

    if (!arq_within(una, a->st.snd_una, a->snd_out + 1))
        return 0;
    for (uint32_t sn = a->st.snd_una; sn != una; sn++) {
        ARQ_STEP();
        if (!arq_out_at(a, sn)->live)
            continue;
        if (a->drv.una)
            a->drv.una(a->drv.ctx, sn, arq_out_at(a, sn)->tag);
        bytes += release(a, sn, -1);
    }
    a->st.snd_una = una;
    arq_snd_slide(a);
    return bytes;
}

uint32_t arq_snd_ack(struct arq *a, uint32_t sn, uint32_t now)
{
    const struct arq_out *s;
    int32_t rtt_ms;

    if (!arq_within(sn, a->st.snd_una, a->snd_out))
        return 0;
    s = arq_out_at(a, sn);
    if (!s->live || !s->xmit)
        return 0;
    rtt_ms = serial_diff(now, s->ts);
    return release(a, sn, rtt_ms < 0 ? -1 : rtt_ms);
}

void arq_snd_slide(struct arq *a)
{
    while (a->st.snd_una != a->st.snd_nxt && !arq_out_at(a, a->st.snd_una)->live) {
        ARQ_STEP();
        a->st.snd_una++;
    }
    if (serial_before(a->snd_out, a->st.snd_una))
        a->snd_out = a->st.snd_una;
}

/* True if segment at of the list by ts, and so all after it, was sent after what the ack (sn, ts) answers. */
static bool past(const struct arq *a, uint32_t at, uint32_t sn, uint32_t ts)
{
    uint32_t sent = arq_out_at(a, at)->ts;

    return sent == ts ? !serial_before(at, sn) : serial_before(ts, sent);
}

/* True if the list by ts is the shorter way to everything sent before sn and not after ts. Without the choice, the ack
 * of a retransmitted hole would walk over the whole window sent since, or each ack over every hole already filled. */
static bool ts_walk_is_shorter(struct arq *a, uint32_t sn, uint32_t ts)
{
    uint32_t t = a->ts_head, s = arq_bits_first(a, &a->count);

    for (;;) {
        ARQ_STEP();
        if (past(a, t, sn, ts) || t == a->ts_tail)
            return true;
        if (!serial_before(s, sn))
            return false;
        t = arq_out_at(a, t)->newer;
        s = arq_bits_step(a, &a->count, s + 1);
    }
}

uint32_t arq_early_after(const struct arq *a, uint32_t now)
{
    uint32_t tick = MAX(a->k.interval_ms, 1);

    return now + tick - now % tick;
}

/* Counts the ack of a later segment against one. At the threshold it leaves the list: more acks change nothing. */
static void count_one(struct arq *a, uint32_t sn)
{
    struct arq_out *s = arq_out_at(a, sn);

    s->fastack++;
    if (arq_snd_fast_due(a, s)) {
        arq_bits_del(a, &a->passed, sn);
        arq_bits_add(a, &a->due, sn);
    } else if (a->k.early) {
        if (!a->passed.n)
            a->early_at = arq_early_after(a, a->st.heard_ms);
        arq_bits_add(a, &a->passed, sn);
    }
    if (!a->k.resend || arq_snd_fast_due(a, s))
        arq_by_ts_del(a, sn);
}

/* Section 8: every segment before sn whose last transmission is not after ts. */
void arq_snd_later_ack(struct arq *a, uint32_t sn, uint32_t ts)
{
    uint32_t at;

    if ((!a->k.resend && !a->k.early) || !a->count.n || !arq_within(sn, a->st.snd_una, a->st.snd_nxt))
        return;
    if (!ts_walk_is_shorter(a, sn, ts)) {
        for (at = arq_bits_first(a, &a->count); serial_before(at, sn); at = arq_bits_next(a, &a->count, at + 1)) {
            ARQ_STEP();
            if (!serial_before(ts, arq_out_at(a, at)->ts))
                count_one(a, at);
        }
        return;
    }
    at = a->ts_head;
    for (bool last = false; !last && !past(a, at, sn, ts);) {
        uint32_t newer = arq_out_at(a, at)->newer;

        ARQ_STEP();
        last = at == a->ts_tail;
        if (serial_before(at, sn))
            count_one(a, at);
        at = newer;
    }
}

/* Section 9, integer arithmetic of the C core. No path takes a minute: such a sample is a lie and would last. */
void arq_snd_rtt(struct arq *a, uint32_t rtt_ms)
{
    struct arq_state *st = &a->st;
    uint32_t delta, rto;

    if (rtt_ms > ARQ_RTO_MAX_MS)
        return;
    st->rtt_ms = rtt_ms;
    st->n_rtts++;
    if (!st->srtt_ms) {
        st->srtt_ms = rtt_ms;
        st->rttvar_ms = rtt_ms / 2;
    } else {
        delta = rtt_ms > st->srtt_ms ? rtt_ms - st->srtt_ms : st->srtt_ms - rtt_ms;
        st->rttvar_ms = (3 * st->rttvar_ms + delta) / 4;
        st->srtt_ms = MAX((7 * st->srtt_ms + rtt_ms) / 8, 1);
    }
    rto = st->srtt_ms + MAX(a->k.interval_ms, 4 * st->rttvar_ms);
    rto = MAX(rto, a->k.min_rto_ms);
    st->rto_ms = MIN(rto, (uint32_t)ARQ_RTO_MAX_MS);
    if (a->hooks.rtt)
        a->hooks.rtt(a->hooks.ctx, rtt_ms);
}

void arq_snd_grow(struct arq *a)
{
    struct arq_state *st = &a->st;

    if (st->cwnd >= st->rmt_wnd)
        return;
    if (st->cwnd < st->ssthresh) {
        st->cwnd++;
        st->incr += a->mss;
    } else {
        st->incr = MAX(st->incr, a->mss);
        st->incr += a->mss * a->mss / st->incr + a->mss / 16;
        if ((st->cwnd + 1) * a->mss <= st->incr)
            st->cwnd = (st->incr + a->mss - 1) / a->mss;
    }
    if (st->cwnd > st->rmt_wnd) {
        st->cwnd = st->rmt_wnd;
        st->incr = st->rmt_wnd * a->mss;
    }
}
