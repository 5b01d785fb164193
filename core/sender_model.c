/* core/sender_model.c - what the path is like (rate, round-trip time, queue, random loss), and how hard to press it. */
#include "core/sender_priv.h"

#include <string.h>

enum { /* microseconds unless said otherwise */
       RTT_FLOOR = 4000, /* shorter paths are treated as this long: what is shorter is noise of timers */
       SAMPLE_MIN = 2000, /* least time a rate is measured over */
       REO_SHORT = 3000, /* least allowance for reordering where a hole makes others wait */
       REO_MAX = 1000 * 1000,
       RTT_GUESS = 100 * 1000, /* before the first sample */
       QUEUE_STARTUP = 15000, /* ends start-up */
       QUEUE_UP = 20000, /* ends a probe */
       UP_MAX = 64000, /* a probe adds a quarter of this to the queue */
       DOWN_MAX = 50000,
       QUEUE_CLEAR = 6000, /* with less, a probe that raised the rate goes on */
       SURPLUS_DGRAMS = 32, /* queue each flow aims at */
       SURPLUS_MIN = 4000,
       SURPLUS_MAX = 20000,
       QBASE_MAX = 10000,
       MIN_RTT_AGE = 5000 * 1000,
       PROBE_RTT_EVERY = 1500 * 1000,
       PROBE_RTT_LEN = 30000,
       LOSS_BATCH = 300, /* records for one step of the loss estimate */
       LOSS_BATCH_DOWN = 100,
       EXCESS_BATCH = 100, /* records: fewer say little */
       QUEUE_FOREIGN = 4000, /* left when we gave way */
       QUEUE_PRESSED = 15000, /* mean while we hold back */
       PRESSED_CYCLES = 3,
       FLAT_ROUNDS = 3,
       ROUNDS_ABREAST = 6, /* memory of the rate filter, of sessions that share the path */
       LATE_RUN = 6, /* samples in a row: fewer are jitter */
       AGGRESSIVE_US = 20 * 1000 * 1000,
       DGRAM = 1400, /* bytes, where the exact size does not matter */
       FIRST_RATE = 1250 * 1000, /* bytes a second before the first sample */
       FIRST_WINDOW = 32 * DGRAM,
};

#define EXCESS_MUCH 0.01 /* share lost beyond what is random, and beyond a quarter of that */

static const double gain_startup = 2.885, gain_drain = 0.5, gain_up = 1.25, gain_down = 0.75, gain_leap = 1.6,
                    gain_leap_far = 2.0, gain_probe_rtt = 0.9, gain_least = 0.85, gain_least_abreast = 0.75,
                    gain_least_aggressive = 0.90;

/* ---- filters ---- */

void max_filter_add(struct max_filter *f, uint64_t v)
{
    f->v[f->at] = MAX(f->v[f->at], v);
}

void max_filter_next(struct max_filter *f, unsigned keep)
{
    f->at = (f->at + 1) % SENDER_BW_ROUNDS;
    f->v[f->at] = 0;
    f->v[(f->at + SENDER_BW_ROUNDS - keep) % SENDER_BW_ROUNDS] = 0;
}

uint64_t max_filter_get(const struct max_filter *f)
{
    uint64_t m = 0;

    for (unsigned i = 0; i < SENDER_BW_ROUNDS; i++)
        m = MAX(m, f->v[i]);
    return m;
}

/* A batch counts no more than the smaller of its own ratio and that of the one before: loss by a queue comes and goes.
 * What was sent while giving way tells best, if it differs by more than chance allows. */
void loss_est_batch(struct loss_est *e)
{
    double x = (double)e->lost / e->all, low;

    if (e->all_down >= LOSS_BATCH_DOWN) {
        low = (double)e->lost_down / e->all_down;
        if (low < x && (x - low) * (x - low) > 4 * x * (1 - x) / e->all_down)
            x = low;
    }
    low = e->last < 0 ? x : MIN(x, e->last);
    e->last = x;
    e->p = e->known ? e->p + (low - e->p) / 2 : low;
    e->p = MIN(e->p, 0.5);
    e->known = true;
    e->lost = e->all = e->lost_down = e->all_down = 0;
}

void pacer_charge(struct pacer *p, uint64_t bytes, uint64_t rate, uint64_t now)
{
    enum { BURST_US = 1000, DEBT_US = 250 * 1000 };
    uint64_t since = now > BURST_US ? now - BURST_US : 0;

    p->next = MAX(p->next, since) + bytes * 1000000 / MAX(rate, 1);
    p->next = MIN(p->next, now + DEBT_US); /* what was urgent must not hold up for long what follows */
}

/* ---- round-trip time ---- */

static uint64_t path_rtt(const struct sender *s)
{
    return s->min_rtt ? MAX(s->min_rtt, (uint64_t)RTT_FLOOR) : RTT_GUESS;
}

static uint64_t recent_rtt(const struct sender *s)
{
    return s->recent[1] ? MIN(s->recent[0], s->recent[1]) : s->recent[0];
}

uint64_t sender_queue(const struct sender *s)
{
    uint64_t r = recent_rtt(s), own = s->min_rtt + s->qbase;

    return r > own ? r - own : 0;
}

static void log_queue(struct sender *s, uint64_t t_sent, uint64_t q)
{
    uint32_t slot = (uint32_t)(t_sent >> SENDER_QLOG_SHIFT), i = slot & (SENDER_QLOG - 1);

    if (s->qlog[i].slot != slot || s->qlog[i].q > q) {
        s->qlog[i].slot = slot;
        s->qlog[i].q = (uint32_t)MIN(q, (uint64_t)UINT32_MAX);
    }
}

uint64_t sender_queue_at(const struct sender *s, uint64_t t_sent)
{
    uint32_t slot = (uint32_t)(t_sent >> SENDER_QLOG_SHIFT);

    for (uint32_t d = 0; d < 8; d++) {
        uint32_t a = slot + d, b = slot - d;

        if (s->qlog[a & (SENDER_QLOG - 1)].slot == a)
            return s->qlog[a & (SENDER_QLOG - 1)].q;
        if (s->qlog[b & (SENDER_QLOG - 1)].slot == b)
            return s->qlog[b & (SENDER_QLOG - 1)].q;
    }
    return sender_queue(s);
}

static void note_recent(struct sender *s, uint64_t rtt)
{
    uint64_t half = MAX((uint64_t)25000, s->min_rtt / 4) / 2;

    if (s->now - s->recent_since >= half) {
        s->recent[1] = s->now - s->recent_since < 2 * half ? s->recent[0] : 0;
        s->recent[0] = rtt;
        s->recent_since = s->now;
    }
    s->recent[0] = s->recent[0] ? MIN(s->recent[0], rtt) : rtt;
}

bool sender_is_cramped(const struct sender *s)
{
    return s->wnd_closed && s->now - s->wnd_closed < 2 * path_rtt(s);
}

/* Without evidence of reordering: wide while others fill the wait, narrow while a hole makes others wait. */
static uint64_t reo_floor(const struct sender *s)
{
    if (!s->min_rtt)
        return 10000;
    return sender_is_thin(s) || sender_is_short_of_window(s) ? REO_SHORT : MAX(s->min_rtt / 4, 1000);
}

uint64_t sender_reo(const struct sender *s)
{
    return MAX(MIN(s->reo, s->srtt / 2), reo_floor(s));
}

void sender_model_rtt(struct sender *s, uint64_t rtt)
{
    uint64_t d;

    if (!s->srtt) {
        s->srtt = rtt;
        s->var = rtt / 2;
    } else {
        d = rtt > s->srtt ? rtt - s->srtt : s->srtt - rtt;
        s->var = (3 * s->var + d) / 4;
        s->srtt = (7 * s->srtt + rtt) / 8;
    }
    if (!s->min_rtt || rtt < s->min_rtt)
        s->min_rtt = rtt;
    if (rtt <= s->min_rtt + s->min_rtt / 64)
        s->min_stamp = s->now;
    if (s->phase == SENDER_PROBE_RTT)
        s->probe_min = MIN(s->probe_min, rtt);
    s->cycle_min = MIN(s->cycle_min, rtt);
    s->late_run = rtt > s->cycle_min + QUEUE_STARTUP ? s->late_run + 1 : 0;
    note_recent(s, rtt);
    s->cruise_queue += MAX(recent_rtt(s), s->min_rtt) - s->min_rtt; /* a probe may just have raised it */
    s->cruise_n++;
    log_queue(s, s->now - rtt, rtt > s->min_rtt + s->qbase ? rtt - s->min_rtt - s->qbase : 0);
}

/* The 99th percentile of lateness: one step up weighs as much as a hundred down. */
void sender_model_late(struct sender *s, uint64_t late, unsigned weight)
{
    if (late > s->reo)
        s->reo += weight * MAX((uint64_t)400, (late - s->reo) / 10);
    else
        s->reo -= MIN(s->reo, (uint64_t)4);
    s->reo = MIN(s->reo, (uint64_t)REO_MAX);
}

/* ---- rate ---- */

uint64_t sender_bwe(const struct sender *s)
{
    uint64_t bw = max_filter_get(&s->bw);

    return bw ? (uint64_t)((double)bw / (1 - s->loss.p)) : 0;
}

void sender_model_rate(struct sender *s)
{
    const struct sender_rec *r = &s->in.best;
    uint64_t acked = s->now - (r->t_sent - r->since_arrival), sent = r->since_first, us = MAX(acked, sent), bw;

    s->t_first = r->t_sent;
    if (s->limited_until && s->delivered > s->limited_until)
        s->limited_until = 0;
    if (us < SAMPLE_MIN || us < s->min_rtt / 10 * 9 || s->now < s->deaf_until)
        return;
    bw = (s->delivered - r->delivered) * 1000000 / us;
    s->round_best = MAX(s->round_best, bw);
    if (!(r->flags & REC_LIMITED))
        s->round_full = s->known = true;
    else if (bw <= max_filter_get(&s->bw))
        return;
    max_filter_add(&s->bw, bw);
}

/* ---- phases ---- */

/* Sessions of one client share the path. Each then aims at its part of the queue. What each finds while others give way is
 * more than its part, and together more than the path: so they remember it for less long, and give way further. */
static bool is_abreast(const struct sender *s)
{
    return s->p.abreast > 1;
}

static uint32_t draw(struct sender *s)
{
    s->rng = s->rng * 1664525 + 1013904223;
    return s->rng >> 8;
}

static void enter(struct sender *s, enum sender_phase ph)
{
    s->phase = ph;
    s->phase_began = s->now;
    if (ph == SENDER_UP || ph == SENDER_LEAP)
        s->up_bw = max_filter_get(&s->bw);
    if (ph == SENDER_DOWN) {
        s->up_ended = s->now;
        s->judged = false;
    }
    if (ph == SENDER_CRUISE) {
        s->phase_len = path_rtt(s) * (4096 + draw(s) % 2049) / 1024;
        s->cruise_queue = s->cruise_n = 0;
    }
    if (ph == SENDER_DOWN)
        s->cycle_min = UINT64_MAX;
    if (ph == SENDER_PROBE_RTT) {
        s->probe_min = UINT64_MAX;
        s->probe_end = s->now + MAX(s->srtt, path_rtt(s)) + PROBE_RTT_LEN;
    }
}

static bool is_aggressive(const struct sender *s)
{
    return s->now < s->aggressive_until;
}

/* From a rate that turned out to be far too low. */
static void leap(struct sender *s)
{
    s->flat_rounds = 0;
    s->full_bw = max_filter_get(&s->bw);
    enter(s, SENDER_LEAP);
}

static uint64_t surplus(const struct sender *s)
{
    uint64_t us = SURPLUS_DGRAMS * (uint64_t)DGRAM * 1000000 / MAX(sender_bwe(s), 1) / MAX(s->p.abreast, 1);

    return MIN(MAX(us, (uint64_t)SURPLUS_MIN), (uint64_t)SURPLUS_MAX);
}

static double cruise_gain(const struct sender *s)
{
    uint64_t q = sender_queue(s), aim = surplus(s);
    double g;

    if (q <= aim)
        return 1;
    g = 1 - 2.0 * (double)(q - aim) / (double)MAX(s->min_rtt, (uint64_t)50000);
    if (is_aggressive(s))
        return MAX(g, gain_least_aggressive);
    return MAX(g, is_abreast(s) ? gain_least_abreast : gain_least);
}

static double gain_of(const struct sender *s)
{
    switch (s->phase) {
    case SENDER_STARTUP:
        return gain_startup;
    case SENDER_DRAIN:
        return gain_drain;
    case SENDER_CRUISE:
        return cruise_gain(s);
    case SENDER_UP:
        return gain_up;
    case SENDER_DOWN:
        return gain_down;
    case SENDER_LEAP:
        return max_filter_get(&s->bw) < s->bw_max / 10 * 7 && !is_aggressive(s) ? gain_leap_far : gain_leap;
    case SENDER_PROBE_RTT:
        return gain_probe_rtt;
    }
    return 1;
}

static uint64_t bdp(const struct sender *s)
{
    return sender_bwe(s) * path_rtt(s) / 1000000;
}

static uint64_t window_of(const struct sender *s)
{
    uint64_t allow = MIN((uint64_t)20000, MAX(path_rtt(s) / 2, (uint64_t)5000)), lossy;
    uint64_t gap = sender_bwe(s) * s->ack_gap / 1000000;

    if (!sender_bwe(s))
        return FIRST_WINDOW;
    if (s->phase == SENDER_STARTUP)
        return 2 * bdp(s) + gap + FIRST_WINDOW;
    if (s->phase == SENDER_LEAP || is_aggressive(s))
        return 2 * bdp(s) + gap + 4 * DGRAM;
    if (s->phase == SENDER_PROBE_RTT)
        return bdp(s) / 2 + 4 * DGRAM;
    if (s->phase == SENDER_UP)
        allow = MIN((uint64_t)30000, MAX(path_rtt(s) * 3 / 10, (uint64_t)4000));
    lossy = (uint64_t)(MIN(1.0, 2 * s->loss.p) * (double)sender_reo(s));
    return sender_bwe(s) * (path_rtt(s) + allow + s->qbase + lossy + s->ack_gap) / 1000000 + 4 * DGRAM;
}

/* A competitor that does not mind loss keeps the queue filled whatever we do: giving way leaves it everything. Loss beyond what
 * is random, and a queue that stands while we hold back, cycle after cycle, tell that it is there. The queue comes and goes
 * with the competitor's own cycle, so its mean counts. */
static void watch_competitor(struct sender *s)
{
    bool lossy = s->excess > EXCESS_MUCH + s->loss.p / 4;

    s->pressed = lossy && s->cruise_queue > QUEUE_PRESSED * s->cruise_n ? s->pressed + 1 : 0;
    if (s->pressed >= PRESSED_CYCLES)
        s->aggressive_until = s->now + AGGRESSIVE_US;
    else if (!lossy && s->q_left[0] <= QUEUE_FOREIGN)
        s->aggressive_until = 0;
}

/* A cycle is over. What giving way left in the queue, as seen up to now, is not ours. */
static void end_cycle(struct sender *s)
{
    s->q_left[1] = s->q_left[0];
    s->q_left[0] = s->cycle_min != UINT64_MAX ? s->cycle_min - s->min_rtt : 0;
    s->qbase = MIN(MIN(s->q_left[0], s->q_left[1]), (uint64_t)QBASE_MAX);
    s->bw_max = MAX(s->bw_max - s->bw_max / 200, max_filter_get(&s->bw));
    watch_competitor(s);
}

/* What comes after cruising. A competitor just found has kept us small: we take our part in one go. */
static void probe_rate(struct sender *s)
{
    bool was = is_aggressive(s);

    end_cycle(s);
    if (is_aggressive(s) && !was)
        leap(s);
    else
        enter(s, SENDER_UP);
}

/* A probe that raised the rate and left no queue: there is much more. */
static bool rose(const struct sender *s)
{
    return max_filter_get(&s->bw) > s->up_bw + s->up_bw / 10 && sender_queue(s) < QUEUE_CLEAR;
}

static void step_phase(struct sender *s)
{
    uint64_t in = s->now - s->phase_began, rtt = path_rtt(s), q = sender_queue(s);

    switch (s->phase) {
    case SENDER_STARTUP:
        if (s->known && (s->flat_rounds >= FLAT_ROUNDS || s->late_run >= LATE_RUN || s->wnd_rounds >= 2))
            enter(s, SENDER_DRAIN);
        break;
    case SENDER_DRAIN:
        if (s->inflight <= bdp(s))
            enter(s, SENDER_CRUISE);
        break;
    case SENDER_CRUISE:
        if (!s->judged && s->now - s->up_ended >= rtt) {
            s->judged = true;
            if (rose(s)) {
                leap(s);
                break;
            }
        }
        if (s->now - s->min_stamp > MIN_RTT_AGE && s->now >= s->probe_end + PROBE_RTT_EVERY)
            enter(s, SENDER_PROBE_RTT);
        else if (in >= s->phase_len)
            probe_rate(s);
        break;
    case SENDER_UP:
        if (in >= MIN(rtt, (uint64_t)UP_MAX) || (!is_aggressive(s) && q + s->qbase > QUEUE_UP + s->q_left[0]))
            enter(s, SENDER_DOWN);
        break;
    case SENDER_LEAP:
        if (s->flat_rounds >= 2 || (!is_aggressive(s) && s->late_run >= LATE_RUN))
            enter(s, SENDER_DOWN);
        break;
    case SENDER_DOWN:
        if (in >= MAX(rtt, (uint64_t)DOWN_MAX) ||
            (in >= rtt * 3 / 10 && q + s->qbase < MAX((uint64_t)2000, s->ack_gap * 3 / 10)))
            enter(s, SENDER_CRUISE);
        break;
    case SENDER_PROBE_RTT:
        if (s->now < s->probe_end)
            break;
        if (s->probe_min != UINT64_MAX) {
            s->min_rtt = s->cycle_min = s->probe_min;
            s->qbase = s->q_left[0] = s->q_left[1] = 0;
        }
        s->min_stamp = s->now;
        enter(s, SENDER_CRUISE);
        break;
    }
}

/* The path carries much less than it did, and what is too much is thrown away: nothing else is to be read into such
 * rounds. The samples of two of them tell what it carries now. */
static void check_capacity(struct sender *s, double lost)
{
    uint64_t best = MAX(s->round_best, s->best_before);

    s->best_before = s->round_best;
    if (lost <= s->loss.p + 0.10 || !s->round_full || is_aggressive(s)) {
        s->over_rounds = 0;
        return;
    }
    if (++s->over_rounds < 2 || !best || best >= max_filter_get(&s->bw) / 4 * 3)
        return;
    memset(&s->bw, 0, sizeof s->bw);
    max_filter_add(&s->bw, best);
    s->over_rounds = 0;
    enter(s, SENDER_DOWN);
}

static void note_excess(struct sender *s)
{
    double lost;

    s->excess_lost += s->round_lost;
    s->excess_all += s->round_all;
    if (s->excess_all < EXCESS_BATCH)
        return;
    lost = (double)s->excess_lost / s->excess_all;
    if (s->known || sender_knows_loss(s)) /* where a queue always stands, what is random is never known */
        s->excess += (MAX(0, lost - MAX(s->loss.p, sender_loss(s))) - s->excess) / 5;
    s->excess_lost = s->excess_all = 0;
}

static void end_round(struct sender *s)
{
    double lost = s->round_all ? (double)s->round_lost / s->round_all : 0;
    uint64_t bw = max_filter_get(&s->bw);

    if (s->phase == SENDER_STARTUP && !s->known)
        s->cycle_min = UINT64_MAX; /* the queue that we find when we begin is not ours */
    note_excess(s);
    if (s->loss.all >= LOSS_BATCH)
        loss_est_batch(&s->loss);
    if (s->phase == SENDER_LEAP || (s->phase == SENDER_STARTUP && s->round_full)) {
        s->flat_rounds = bw >= s->full_bw + s->full_bw / 4 ? 0 : s->flat_rounds + 1;
        s->full_bw = s->flat_rounds ? s->full_bw : bw;
    }
    s->wnd_rounds = s->wnd_limited ? s->wnd_rounds + 1 : 0;
    s->wnd_limited = false;
    check_capacity(s, lost);
    s->queue_rounds = sender_queue(s) > MAX((uint64_t)30000, s->min_rtt * 2 / 5) ? s->queue_rounds + 1 : 0;
    if (s->queue_rounds >= 3 && !s->over_rounds && !is_aggressive(s) && s->phase != SENDER_PROBE_RTT &&
        s->now >= s->probe_end + PROBE_RTT_EVERY) {
        s->queue_rounds = 0;
        enter(s, SENDER_PROBE_RTT);
    }
    if (s->round_full)
        max_filter_next(&s->bw, is_abreast(s) ? ROUNDS_ABREAST : SENDER_BW_ROUNDS);
    s->round_full = false;
    s->round_mark = s->delivered;
    s->round_began = s->now;
    s->round_best = 0;
    s->round_lost = s->round_all = 0;
}

void sender_model_step(struct sender *s)
{
    if (s->in.has_best && s->in.best.delivered >= s->round_mark && s->now - s->round_began >= RTT_FLOOR)
        end_round(s);
    step_phase(s);
    s->gain = gain_of(s);
    s->rate = (uint64_t)(s->gain * (1 + s->parity_share) * (double)sender_bwe(s));
    s->cwnd = window_of(s);
    if (s->phase == SENDER_STARTUP || !s->known) { /* what was asked of the path so far says little of it */
        s->rate = MAX(s->rate, (uint64_t)FIRST_RATE);
        s->cwnd = MAX(s->cwnd, (uint64_t)FIRST_WINDOW);
    }
}

void sender_model_init(struct sender *s)
{
    s->loss.last = -1;
    s->cycle_min = UINT64_MAX;
    s->rng = s->p.seed;
    enter(s, SENDER_STARTUP);
    sender_model_step(s);
}
