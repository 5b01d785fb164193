/* core/arq_drive.c - transmissions as a driver decides them, and the change from the engine's own rules to a driver's and
 * back, at any time. */
#include "core/arq_priv.h"

#include <stdlib.h>

/* A segment in flight. age_ms: of its latest transmission; below 0 if that was put off to be told from another. */
struct aged {
    int32_t age_ms;
    uint32_t sn;
};

static int oldest_first(const void *x, const void *y)
{
    const struct aged *a = x, *b = y;

    if (a->age_ms != b->age_ms)
        return a->age_ms > b->age_ms ? -1 : 1;
    return serial_before(a->sn, b->sn) ? -1 : 1;
}

/* What was transmitted and not acknowledged, by age. Its number; v: room for n_inflight. */
static uint32_t by_age(const struct arq *a, struct aged *v, uint32_t now)
{
    uint32_t n = 0;

    for (uint32_t sn = a->st.snd_una; sn != a->st.snd_nxt; sn++) {
        const struct arq_out *s = arq_out_at(a, sn);

        if (s->live && s->xmit)
            v[n++] = (struct aged){serial_diff(now, s->ts), sn};
    }
    if (n)
        qsort(v, n, sizeof *v, oldest_first);
    return n;
}

/* The driver takes over: no timers, no list by ts, nothing that was passed. */
static void give(struct arq *a, const struct aged *v, uint32_t n)
{
    a->n_runs = 0;
    while (a->count.n)
        arq_by_ts_del(a, a->ts_head);
    while (a->passed.n)
        arq_bits_del(a, &a->passed, arq_bits_first(a, &a->passed));
    for (uint32_t i = 0; i < n; i++) {
        struct arq_out *s = arq_out_at(a, v[i].sn);
        const struct arq_sent sent = {v[i].sn, s->ts, s->len, s->xmit};

        s->tag = a->drv.took(a->drv.ctx, &sent, (uint32_t)MAX(v[i].age_ms, 0));
        if (!s->tag)
            arq_bits_add(a, &a->due, v[i].sn);
    }
}

/* The engine takes over. What the driver was about to send again is late; the rest gets the time it would have had. The
 * congestion window begins at what the path carries now. There is room for the timers. */
static void take_back(struct arq *a, const struct aged *v, uint32_t n, uint32_t now)
{
    for (uint32_t i = 0; i < n; i++) {
        struct arq_out *s = arq_out_at(a, v[i].sn);

        s->tag = s->fastack = 0;
        s->rto = a->st.rto_ms;
        s->resend_at = arq_bits_has(a, &a->due, v[i].sn) ? now : s->ts + s->rto;
        if (!a->k.fast_limit || s->xmit <= a->k.fast_limit)
            arq_by_ts_add(a, v[i].sn);
    }
    arq_timer_rebuild(a);
    a->st.cwnd = MAX(n, 1);
    a->st.incr = a->st.cwnd * a->mss;
    a->st.ssthresh = MAX(a->st.cwnd / 2, 2);
}

int arq_set_driver(struct arq *a, const struct arq_driver *d, uint32_t now)
{
    struct aged *v = NULL;
    uint32_t n = 0;

    if (a->st.n_inflight) {
        v = a->mem.alloc(a->st.n_inflight * sizeof *v);
        if (!v || (!d && arq_timer_fit(a, a->st.n_inflight))) {
            if (v)
                a->mem.free(v);
            return -ENOMEM;
        }
        n = by_age(a, v, now);
    }
    a->drv = d ? *d : (struct arq_driver){0};
    a->k.resend = 0;
    a->k.early = false;
    a->reacting = false;
    a->n_fast = a->n_lost = 0;
    if (d)
        give(a, v, n);
    else
        take_back(a, v, n, now);
    if (v)
        a->mem.free(v);
    return 0;
}

uint32_t arq_tag(const struct arq *a, uint32_t sn)
{
    return a->out_cap && a->st.snd_nxt - sn - 1 < a->out_cap ? arq_out_at(a, sn)->tag : 0;
}

bool arq_again(struct arq *a, uint32_t sn)
{
    struct arq_out *s;

    if (!arq_within(sn, a->st.snd_una, a->st.snd_nxt))
        return false;
    s = arq_out_at(a, sn);
    if (!s->live || arq_bits_has(a, &a->due, sn))
        return false;
    arq_bits_add(a, &a->due, sn);
    return true;
}

bool arq_waits(const struct arq *a)
{
    return a->due.n;
}

/* Two transmissions of a segment differ in ts, even within a millisecond. */
static void transmit(struct arq *a, uint32_t sn, uint32_t now)
{
    struct arq_out *s = arq_out_at(a, sn);

    s->ts = s->xmit++ && !serial_before(s->ts, now) ? s->ts + 1 : now;
    s->tag = a->drv.sent(a->drv.ctx, &(struct arq_sent){sn, s->ts, s->len, s->xmit}, s->tag);
    arq_bits_del(a, &a->due, sn);
    arq_bits_add(a, &a->pend, sn);
}

int arq_drive(struct arq *a, uint32_t now)
{
    int r = 0;

    while (a->due.n) {
        uint32_t sn = arq_bits_first(a, &a->due);

        ARQ_STEP();
        if (!a->drv.may_send(a->drv.ctx, arq_out_at(a, sn)->len))
            return 0;
        transmit(a, sn, now);
    }
    while (arq_has_room(a) && a->drv.may_send(a->drv.ctx, a->mss)) {
        ARQ_STEP();
        r = arq_pull_one(a, now);
        if (r)
            break;
        transmit(a, a->st.snd_nxt - 1, now);
    }
    return r == ARQ_AGAIN ? 0 : r;
}
