/* core/sender.c - what leaves and when: the calls of the session, the pacer, the timers. */
#include "core/sender_priv.h"

#include <stdlib.h>

enum { /* microseconds */
       PROBE_FIRST = 200 * 1000, /* before the first sample of the round-trip time */
       PROBE_MAX = 200 * 1000, /* between probes of a peer that says nothing */
       PROBE_MAX_RTT = 100 * 1000, /* or this much more than the round-trip time */
       PROBE_SLACK = 10 * 1000,
       LATE_SLACK = 2 * 1000,
       ACK_GAP_MAX = 50 * 1000,
       URGENT = 2, /* transmissions of one probe */
       DEAF_AFTER = 2, /* probes */
       PARITY_US = 30 * 1000 * 1000,
       PARITY_URGENT_US = 120 * 1000 * 1000, /* a look costs somebody half a second of waiting */
       PARITY_SOME = 2,
       WINDOW_BDPS = 3, /* a window of so many keeps up with what holes cost */
       RTT_MAX = 60 * 1000 * 1000, /* longer ones tell of a time in which we did not run */
       DGRAM = 1400, /* bytes, where the exact size does not matter */
};

#define PARITY_LOSS     0.002 /* less needs none; */
#define PARITY_LOSS_ALL 0.02 /* up to this, PARITY_SOME do */

static bool may_send(void *ctx, uint32_t len)
{
    struct sender *s = ctx;
    uint64_t bytes = len + ARQ_HEADER + s->p.overhead;

    if (s->most < bytes) {
        s->paced = true; /* the session knows when there will be more */
        return false;
    }
    if (s->urgent)
        return true;
    if (s->inflight + bytes > s->cwnd)
        return false;
    s->paced = s->now < s->pacer.next;
    return !s->paced;
}

struct sender *sender_new(const struct sender_params *p, struct tick now)
{
    struct sender *s = calloc(1, sizeof *s);
    const struct arq_driver drv = {
        .ctx = s,
        .may_send = may_send,
        .took = sender_rec_took,
        .sent = sender_rec_sent,
        .una = sender_rec_covered,
        .ack = sender_rec_ack,
    };

    if (!s)
        return NULL;
    s->qlog = calloc(SENDER_QLOG, sizeof *s->qlog);
    if (!s->qlog)
        return sender_free(s);
    s->p = *p;
    s->now = now.us;
    s->first = s->next = s->scan = s->spared = s->thin.looked = 1;
    s->min_stamp = now.us;
    s->limited_until = 1; /* by the peer, until it has said how much it takes */
    s->t_progress = s->now;
    sender_model_init(s);
    if (arq_set_driver(p->arq, &drv, tick_ms(now)))
        return sender_free(s);
    return s;
}

bool sender_leave(struct sender *s, struct tick now)
{
    return !arq_set_driver(s->p.arq, NULL, tick_ms(now));
}

struct sender *sender_free(struct sender *s)
{
    if (!s)
        return NULL;
    free(s->rec);
    free(s->qlog);
    free(s);
    return NULL;
}

/* ---- in ---- */

void sender_begin_input(struct sender *s, struct tick now)
{
    s->now = now.us;
    s->in.any = s->in.has_best = false;
    s->in.rtt = s->in.answer = 0;
    s->in.rack_before = s->rack_t;
    s->in.oldest = 0;
}

/* The spacing of what acknowledges: up fast, down slowly. */
static void note_ack_gap(struct sender *s)
{
    uint64_t gap = MIN(s->now - s->t_ack, (uint64_t)ACK_GAP_MAX);

    if (s->t_ack && s->now != s->t_ack)
        s->ack_gap = gap > s->ack_gap ? s->ack_gap + (gap - s->ack_gap) / 4 : s->ack_gap - (s->ack_gap - gap) / 32;
    s->t_ack = s->now;
}

static uint64_t late_after(const struct sender *s)
{
    return s->rack_rtt + sender_reo(s) + LATE_SLACK;
}

/* What was sent well before something that arrived, or is overdue behind it. */
static void find_losses(struct sender *s)
{
    uint64_t reo = sender_reo(s), before = s->rack_t > reo ? s->rack_t - reo : 0;

    sender_gap_forget(s);
    if (s->now > late_after(s))
        before = MAX(before, MIN(s->rack_t, s->now - late_after(s)));
    sender_rec_lose(s, before);
}

void sender_end_input(struct sender *s)
{
    if (s->in.rtt && s->in.rtt <= RTT_MAX)
        sender_model_rtt(s, s->in.rtt);
    sender_thin_heard(s);
    if (!s->in.any)
        return;
    if (s->n_probes >= DEAF_AFTER)
        s->deaf_until = s->now + 3 * s->srtt;
    s->n_probes = 0;
    s->t_progress = s->now;
    note_ack_gap(s);
    if (s->in.has_best)
        sender_model_rate(s);
    s->t_arrival = s->now;
    sender_gap_ends(s);
    find_losses(s);
    sender_model_step(s);
}

/* ---- out ---- */

/* When silence has lasted too long for what flies; UINT64_MAX: all is acknowledged. */
static uint64_t probe_at(const struct sender *s)
{
    uint64_t wait = PROBE_FIRST, most = MAX((uint64_t)PROBE_MAX, s->srtt + PROBE_MAX_RTT);

    if (!arq_state(s->p.arq)->n_inflight)
        return UINT64_MAX;
    if (s->srtt)
        wait = s->srtt + MAX(4 * s->var, (uint64_t)PROBE_SLACK) + s->ack_gap;
    wait = MIN(wait + wait / 2 * s->n_probes, MAX(most, wait));
    return s->t_progress + wait;
}

/* The first and the last of what flies: the answer to either tells what became of the rest. */
static void probe(struct sender *s)
{
    const struct arq_state *a = arq_state(s->p.arq);

    arq_again(s->p.arq, a->snd_una);
    arq_again(s->p.arq, a->snd_nxt - 1);
    s->urgent = URGENT;
    s->n_probes++;
    s->n.probes++;
    s->t_progress = s->now;
}

void sender_begin_flush(struct sender *s, struct tick now, uint64_t most, bool company)
{
    s->now = now.us;
    s->most = most;
    s->paced = false;
    s->in.has_best = false;
    if (s->now - s->sent_since >= SENDER_THIN_US) {
        s->sent[1] = s->now - s->sent_since < 2 * SENDER_THIN_US ? s->sent[0] : 0;
        s->sent[0] = 0;
        s->sent_since = s->now;
    }
    if (s->n_flying && !arq_state(s->p.arq)->n_inflight) /* their segments have gone: nobody will answer for them */
        sender_rec_lose(s, UINT64_MAX);
    if (s->rack_t)
        find_losses(s);
    if (s->now >= probe_at(s))
        probe(s);
    sender_thin_flush(s, company);
    sender_model_step(s);
}

void sender_end_flush(struct sender *s, bool more)
{
    s->urgent = 0;
    s->all_sent = !more;
    s->paced = s->paced && (more || arq_waits(s->p.arq));
    if (more && !arq_has_room(s->p.arq)) {
        s->wnd_limited = true;
        s->wnd_closed = s->now;
    }
    if ((!more && !arq_waits(s->p.arq)) || (more && !arq_has_room(s->p.arq)))
        s->limited_until = s->delivered + MAX(s->inflight, 1);
}

/* The peer's window was closed by holes, and is smaller than what they take to fill. Parity that works opens it again, so
 * that counts for a while. */
bool sender_is_short_of_window(const struct sender *s)
{
    uint64_t wnd = MIN(arq_knobs(s->p.arq)->snd_wnd, arq_state(s->p.arq)->rmt_wnd);

    return (sender_is_cramped(s) || s->now < s->cramped_until) &&
           wnd * DGRAM * 1000000 < sender_bwe(s) * s->min_rtt * WINDOW_BDPS;
}

/* The application leaves half of the path to us. */
static bool is_light(const struct sender *s)
{
    uint64_t us = SENDER_THIN_US + (s->now - s->sent_since), room = sender_bwe(s) * us / 1000000;

    return s->limited_until && !s->wnd_limited && !sender_is_thin(s) && s->sent[0] + s->sent[1] < room / 2;
}

/* What parity repairs is not seen as lost, so a look without it is taken now and then. */
unsigned sender_parity(struct sender *s, unsigned data, unsigned most, bool urgent)
{
    unsigned n;
    bool cramped = sender_is_short_of_window(s), room = urgent || cramped || is_light(s);

    if (most && room && sender_loss(s) >= PARITY_LOSS) {
        n = !urgent && sender_loss(s) < PARITY_LOSS_ALL ? MIN(most, PARITY_SOME) : most;
        s->parity = s->now < s->parity_until ? MAX(s->parity, n) : n;
        s->parity_until = s->now + (urgent ? PARITY_URGENT_US : PARITY_US);
        s->cramped_until = cramped ? s->now + PARITY_US : s->cramped_until;
    }
    n = room && s->now < s->parity_until ? MIN(s->parity, most) : 0;
    s->parity_share = (double)n / data;
    return n;
}

void sender_charge(struct sender *s, size_t bytes)
{
    pacer_charge(&s->pacer, bytes, s->rate, s->now);
}

void sender_retune(struct sender *s, uint32_t redundancy, uint32_t abreast)
{
    s->p.redundancy = redundancy;
    s->p.abreast = abreast;
}

void sender_sent(struct sender *s, size_t bytes)
{
    uint64_t copies = MIN(s->thin.spent, (uint64_t)bytes);

    s->thin.spent = 0;
    sender_thin_earn(s, bytes - copies);
}

void sender_peer_is_ours(struct sender *s)
{
    s->acks_all = true;
}

void sender_back_loss(struct sender *s, double loss)
{
    s->back_loss = loss;
}

uint64_t sender_rtt_us(const struct sender *s)
{
    return s->in.answer;
}

/* When a record is overdue by itself; UINT64_MAX: while nothing sent later has arrived, it is not. */
static uint64_t overdue_at(const struct sender *s, uint32_t no)
{
    const struct sender_rec *r = no != s->next ? sender_rec_at(s, no) : NULL;

    return r && r->state == REC_FLYING && r->t_sent < s->rack_t ? r->t_sent + late_after(s) + 1 : UINT64_MAX;
}

struct tick sender_deadline(const struct sender *s)
{
    uint64_t t = MIN(MIN(probe_at(s), sender_thin_due(s)), sender_gap_due(s));

    if (s->paced)
        t = MIN(t, s->pacer.next);
    if (s->spared != s->scan && !sender_gap_holds(s, sender_rec_at(s, s->spared)->t_sent))
        t = MIN(t, overdue_at(s, s->spared));
    t = MIN(t, overdue_at(s, s->scan));
    return (struct tick){t};
}

void sender_moved(struct sender *s, struct tick now)
{
    s->now = now.us;
    s->pacer.next = now.us;
    sender_rec_lose(s, UINT64_MAX);
}

void sender_trim(struct sender *s)
{
    if (s->n_flying)
        return;
    free(s->rec);
    s->rec = NULL;
    s->cap = 0;
    sender_gap_over(s);
    s->first = s->scan = s->spared = s->thin.looked = s->next;
}

struct sender_counts sender_take_counts(struct sender *s)
{
    struct sender_counts n = s->n;

    s->n = (struct sender_counts){0};
    return n;
}

void sender_info(const struct sender *s, struct sender_info *out)
{
    static const char *const phases[] = {"startup", "drain", "cruise", "up", "down", "leap", "probe-rtt"};

    *out = (struct sender_info){
        .phase = phases[s->phase],
        .rate = sender_bwe(s),
        .pacing = s->rate,
        .min_rtt_us = (uint32_t)s->min_rtt,
        .srtt_us = (uint32_t)s->srtt,
        .queue_us = (uint32_t)sender_queue(s),
        .inflight = s->inflight,
        .window = s->cwnd,
        .parity = s->parity_share > 0 ? s->parity : 0,
        .thin = sender_is_thin(s),
        .loss_ppm = (uint32_t)(sender_loss(s) * 1e6),
        .back_ppm = (uint32_t)(s->back_loss * 1e6),
    };
}

size_t sender_memory(const struct sender *s)
{
    return sizeof *s + SENDER_QLOG * sizeof *s->qlog + s->cap * sizeof *s->rec;
}

size_t sender_memory_max(uint32_t snd_wnd)
{
    return sizeof(struct sender) + SENDER_QLOG * sizeof *((struct sender *)0)->qlog + sender_recs_bytes(snd_wnd);
}
