/* core/sender_rec.c - one record for each transmission, in sending order: when it left, and what became of it. */
#include "core/sender_priv.h"

#include <stdlib.h>

enum {
    RECS_MIN = 64,
    RECS_MAX = 1 << 17,
    PER_SEGMENT = 8, /* records that are remembered */
    QUEUE_STEADY = 10000, /* us: what is lost behind less is random */
};

static bool held(const struct sender *s, uint32_t no)
{
    return no && no - s->first < s->next - s->first;
}

/* The record of an earlier transmission of the same segment; NULL: none that is still held. */
static struct sender_rec *rec_of(const struct sender *s, uint32_t no, uint32_t sn)
{
    struct sender_rec *r = held(s, no) ? sender_rec_at(s, no) : NULL;

    return r && r->sn == sn ? r : NULL;
}

static void land(struct sender *s, struct sender_rec *r, enum rec_state state)
{
    if (r->state == REC_FLYING) {
        s->inflight -= r->bytes;
        s->n_flying--;
    }
    r->state = (uint8_t)state;
}

static void count_fate(struct sender *s, struct sender_rec *r, bool lost)
{
    struct loss_est *e = &s->loss;

    s->round_lost += lost;
    s->round_all++;
    if (!(r->flags & REC_STEADY) || sender_queue_at(s, r->t_sent) >= QUEUE_STEADY)
        return;
    r->flags |= REC_COUNTED;
    e->lost += lost;
    e->all++;
    if (r->flags & REC_DOWN) {
        e->lost_down += lost;
        e->all_down++;
    }
}

/* Sends the segment again, unless a later transmission of it is still under way. */
static void lose(struct sender *s, struct sender_rec *r)
{
    uint32_t sn = r->sn, no = arq_tag(s->p.arq, sn);

    land(s, r, REC_LOST);
    count_fate(s, r, true);
    *(s->all_sent ? &s->n.early : &s->n.lost) += 1;
    r = rec_of(s, no, sn);
    for (unsigned i = 0; r && i < SENDER_CHAIN_MAX; i++, r = rec_of(s, r->older, sn))
        if (r->state == REC_FLYING)
            return;
    arq_again(s->p.arq, sn);
}

/* ---- sending ---- */

static uint32_t recs_max(uint32_t snd_wnd)
{
    uint32_t n = RECS_MIN;

    while (n < RECS_MAX && n / PER_SEGMENT < snd_wnd)
        n *= 2;
    return n;
}

size_t sender_recs_bytes(uint32_t snd_wnd)
{
    return recs_max(snd_wnd) * sizeof(struct sender_rec) / 2 * 3; /* while it grows, the smaller ring is there, too */
}

static void regrow(struct sender *s)
{
    uint32_t cap = s->cap ? s->cap * 2 : RECS_MIN;
    struct sender_rec *v = cap <= recs_max(arq_knobs(s->p.arq)->snd_wnd) ? malloc(cap * sizeof *v) : NULL;

    if (!v)
        return;
    for (uint32_t no = s->first; no != s->next; no++)
        v[no & (cap - 1)] = *sender_rec_at(s, no);
    free(s->rec);
    s->rec = v;
    s->cap = cap;
}

/* Room for one more. What has landed is kept as long as there is room, for what is said of it late; the ring grows only
 * for what flies, and half as much again of what does not. At its bound the oldest goes; where it still flies nothing could
 * tell of it any more, so it counts as lost. */
static bool make_room(struct sender *s)
{
    if (s->next - s->first + 1 < s->cap)
        return true;
    if (s->next - s->spared > s->cap / 3 * 2 || !s->cap)
        regrow(s);
    if (!s->cap)
        return false;
    if (s->next - s->first + 1 >= s->cap) {
        if (sender_rec_at(s, s->first)->state == REC_FLYING)
            lose(s, sender_rec_at(s, s->first));
        if (s->scan == s->first)
            s->scan++;
        if (s->spared == s->first)
            s->spared++;
        s->first++;
    }
    return true;
}

static uint32_t since(uint64_t now, uint64_t then)
{
    return (uint32_t)MIN(now - then, (uint64_t)UINT32_MAX);
}

/* How many transmissions of a segment are known to be lost; r: the last. */
static unsigned times_lost(const struct sender *s, const struct sender_rec *r)
{
    unsigned n = 0;

    for (unsigned i = 0; r && i < SENDER_CHAIN_MAX; i++, r = rec_of(s, r->older, r->sn))
        n += r->state == REC_LOST;
    return n;
}

unsigned sender_rec_under_way(const struct sender *s, uint32_t sn, uint64_t since)
{
    const struct sender_rec *r = rec_of(s, arq_tag(s->p.arq, sn), sn);
    unsigned n = 0;

    for (unsigned i = 0; r && i < SENDER_CHAIN_MAX; i++, r = rec_of(s, r->older, sn))
        n += r->state == REC_FLYING && r->t_sent > since;
    return n;
}

/* The next record flies. Its number. */
static uint32_t take_off(struct sender *s, uint64_t bytes)
{
    s->inflight += bytes;
    s->n_flying++;
    if (++s->next)
        return s->next - 1;
    *sender_rec_at(s, s->next++) = (struct sender_rec){.state = REC_LOST}; /* number 0 means none */
    return UINT32_MAX;
}

uint32_t sender_rec_sent(void *ctx, const struct arq_sent *a, uint32_t tag)
{
    struct sender *s = ctx;
    uint64_t bytes = a->len + ARQ_HEADER + s->p.overhead;
    struct sender_rec *r;

    pacer_charge(&s->pacer, bytes, s->rate, s->now);
    s->sent[0] += bytes;
    s->most -= MIN(s->most, bytes);
    s->urgent -= s->urgent > 0;
    r = rec_of(s, tag, a->sn);
    if (!r || r->state != REC_FLYING) /* no copy */
        sender_thin_sent(s, a->sn, (uint32_t)bytes, times_lost(s, r));
    if (!make_room(s))
        return tag;
    if (!s->n_flying)
        s->t_first = s->t_arrival = s->t_progress = s->now;
    r = sender_rec_at(s, s->next);
    *r = (struct sender_rec){
        .t_sent = s->now,
        .delivered = s->delivered,
        .since_arrival = since(s->now, s->t_arrival),
        .since_first = since(s->now, s->t_first),
        .sn = a->sn,
        .ts = a->ts,
        .older = tag,
        .bytes = (uint16_t)bytes,
        .state = REC_FLYING,
    };
    if (s->limited_until)
        r->flags |= REC_LIMITED;
    if (s->phase == SENDER_CRUISE || s->phase == SENDER_DOWN)
        r->flags |= REC_STEADY;
    if (s->phase == SENDER_DOWN)
        r->flags |= REC_DOWN;
    return take_off(s, bytes);
}

/* Its time is known to the millisecond, what was delivered meanwhile is not: no sample of the rate beyond what was seen. */
uint32_t sender_rec_took(void *ctx, const struct arq_sent *a, uint32_t age_ms)
{
    struct sender *s = ctx;
    uint64_t bytes = a->len + ARQ_HEADER + s->p.overhead;

    if (!make_room(s))
        return 0;
    *sender_rec_at(s, s->next) = (struct sender_rec){
        .t_sent = s->now - MIN(s->now, age_ms * UINT64_C(1000)),
        .sn = a->sn,
        .ts = a->ts,
        .bytes = (uint16_t)bytes,
        .state = REC_FLYING,
        .flags = REC_LIMITED,
    };
    return take_off(s, bytes);
}

/* ---- fates ---- */

/* A record thought lost has arrived after all. */
static void count_back(struct sender *s, struct sender_rec *r)
{
    struct loss_est *e = &s->loss;

    s->n.spurious++;
    s->round_lost -= s->round_lost > 0;
    if (!(r->flags & REC_COUNTED))
        return;
    e->lost -= e->lost > 0;
    if (r->flags & REC_DOWN)
        e->lost_down -= e->lost_down > 0;
}

/* The other transmissions of a segment that has arrived need not be waited for. */
static void set_beside(struct sender *s, uint32_t no, uint32_t sn)
{
    struct sender_rec *r = rec_of(s, no, sn);

    for (unsigned i = 0; r && i < SENDER_CHAIN_MAX; i++, r = rec_of(s, r->older, sn))
        if (r->state == REC_FLYING)
            land(s, r, REC_BESIDE);
}

static void arrived(struct sender *s, struct sender_rec *r)
{
    if (r->state == REC_LOST)
        count_back(s, r);
    else if (r->state == REC_FLYING)
        count_fate(s, r, false);
    s->in.any = true;
    s->delivered += r->bytes;
    if (!s->in.has_best || r->t_sent >= s->in.best.t_sent) {
        s->in.has_best = true;
        s->in.best = *r;
    }
    if (r->t_sent > s->rack_t) {
        s->rack_t = r->t_sent;
        s->rack_rtt = s->now - r->t_sent;
    }
    land(s, r, REC_ARRIVED);
}

/* ---- what the peer says ---- */

void sender_rec_ack(void *ctx, uint32_t sn, uint32_t ts, uint32_t tag, unsigned flags)
{
    struct sender *s = ctx;
    struct sender_rec *r = rec_of(s, tag, sn);

    for (unsigned i = 0; r && r->ts != ts && i < SENDER_CHAIN_MAX; i++)
        r = rec_of(s, r->older, sn);
    if (!r || r->ts != ts || r->flags & REC_OWN_ACK)
        return;
    r->flags |= REC_OWN_ACK;
    if (!(flags & ARQ_RECOVERED) && (!s->in.answer || s->now - r->t_sent < s->in.answer))
        s->in.answer = MAX(s->now - r->t_sent, 1);
    if (r->state == REC_BESIDE) { /* in no hurry: it tells nothing of time */
        s->delivered += r->bytes;
        r->state = REC_ARRIVED;
        return;
    }
    if (!(flags & ARQ_RECOVERED) && (!s->in.rtt || s->now - r->t_sent < s->in.rtt))
        s->in.rtt = MAX(s->now - r->t_sent, 1);
    if (s->acks_all || !(flags & ARQ_RECOVERED)) /* what we wait for anyway is not late */
        sender_model_late(s, r->t_sent < s->in.rack_before ? s->in.rack_before - r->t_sent : 0, 1);
    if (r->state != REC_ARRIVED)
        arrived(s, r);
    if (!s->in.oldest || r->t_sent < s->in.oldest)
        s->in.oldest = r->t_sent;
    set_beside(s, tag, sn);
}

/* Segments come in order of sn; which of a segment's transmissions arrived is not said. Of those that can be here by now it
 * is the oldest that may still be under way: taken for a later one, it would make all that left between the two look lost. */
void sender_rec_covered(void *ctx, uint32_t sn, uint32_t tag)
{
    struct sender *s = ctx;
    struct sender_rec *r = rec_of(s, tag, sn), *came = NULL;
    uint64_t least = s->min_rtt / 50 * 49;

    if (!r)
        return;
    if (r->state == REC_FLYING && r->older && s->now - r->t_sent < s->min_rtt / 20 * 19) {
        struct sender_rec *o = rec_of(s, r->older, sn); /* too soon for the newest: it was not needed */

        if (o && s->in.rack_before > o->t_sent)
            sender_model_late(s, s->in.rack_before - o->t_sent, 6);
    }
    for (unsigned i = 0; r && i < SENDER_CHAIN_MAX; i++, r = rec_of(s, r->older, sn))
        if ((s->now - r->t_sent >= least || !rec_of(s, r->older, sn)) && (!came || r->state == REC_FLYING))
            came = r;
    if (came && came->state != REC_ARRIVED)
        arrived(s, came);
    set_beside(s, tag, sn);
}

/* ---- loss ---- */

/* What was spared, in order: the gap of the first is over first. */
static void lose_spared(struct sender *s, uint64_t before)
{
    for (; s->spared != s->scan; s->spared++) {
        struct sender_rec *r = sender_rec_at(s, s->spared);

        ARQ_STEP();
        if (r->state != REC_FLYING)
            continue;
        if (r->t_sent >= before || sender_gap_holds(s, r->t_sent))
            return;
        lose(s, r);
    }
}

/* Neither goes back, so a record is passed twice at most, whatever the peer leaves out and acknowledges. */
void sender_rec_lose(struct sender *s, uint64_t before)
{
    if (before == UINT64_MAX)
        sender_gap_over(s);
    lose_spared(s, before);
    for (; s->scan != s->next; s->scan++) {
        struct sender_rec *r = sender_rec_at(s, s->scan);

        ARQ_STEP();
        if (r->state == REC_FLYING && r->t_sent >= before)
            return;
        if (r->state == REC_FLYING && !sender_gap_holds(s, r->t_sent))
            lose(s, r);
        if (r->state != REC_FLYING && s->spared == s->scan)
            s->spared++;
    }
}
