/* core/session_ack.c - how our end acknowledges in mode auto. Acknowledgements leave in company; each is repeated in later
 * datagrams, because one that is lost makes the peer send a segment in vain. Over a thin way back the repetition is what
 * fills it, and costs more than it saves. So the way back is watched: every peer answers a WASK, and what the answer took
 * longer than it must, less what the peer's segments show of the way here, is a queue that our acknowledgements fill. */
#include "core/session_priv.h"

enum {
    COMPANY = 16, /* segments acknowledged by one datagram, if that takes ... */
    EVERY_MIN_US = 1000,
    EVERY_MAX_US = 4000,
    AGAIN_US = 25 * 1000,
    FEW = 4,
    ASK_US = 100 * 1000, /* between questions */
    ANSWER_US = 1000 * 1000, /* an answer later than this may belong to the next */
    STEP_MAX = 1000, /* packets: further, and the count begins anew */
    PAUSE_US = 400 * 1000,
    HERE_MIN = 128, /* packets before a share of them says something */
    ASK_COMPANY = 4, /* segments in a flush: bulk */
    LEAST_US = 10 * 1000 * 1000,
    CLOGGED_MS = 4, /* of queue on the way back, ... */
    CLOGGED_MIN = 4, /* ... seen so often in a row */
    FORGET_US = 30 * 1000 * 1000, /* after which less thrift is tried */
};

/* From lavish to thrifty. */
static const struct {
    uint8_t repeats;
    uint16_t every_us; /* at least */
} ways[SESSION_ACK_WAYS] = {{2, 0}, {1, 0}, {0, 4000}, {0, 8000}};

/* ---- the way back ---- */

static uint32_t least(const uint32_t v[2])
{
    return MIN(v[0], v[1]);
}

/* Minima of the last one to two spans; clocks drift. */
static void age_minima(struct ack_plan *p, struct tick now)
{
    if (p->least_since.us && tick_since_us(now, p->least_since) < LEAST_US)
        return;
    p->least_rtt[1] = p->least_since.us ? p->least_rtt[0] : UINT32_MAX;
    p->least_way[1] = p->least_since.us ? p->least_way[0] : UINT32_MAX;
    p->least_rtt[0] = p->least_way[0] = UINT32_MAX;
    p->least_since = now;
}

/* Of what a question took longer than it must, that part is not ours to answer for which the peer's segments show on
 * their way here. */
static void answered(struct ack_plan *p, uint32_t rtt_ms, uint32_t here_ms, struct tick now)
{
    uint32_t late;

    p->least_rtt[0] = MIN(p->least_rtt[0], rtt_ms);
    late = rtt_ms - least(p->least_rtt);
    if (p->way && !tick_before(now, p->forget)) {
        p->way--;
        p->forget = tick_add_us(now, FORGET_US);
    }
    p->clogged = late > here_ms + CLOGGED_MS ? p->clogged + 1 : 0;
    if (p->clogged < CLOGGED_MIN || p->way + 1 == SESSION_ACK_WAYS)
        return;
    p->way++;
    p->clogged = 0;
    p->forget = tick_add_us(now, FORGET_US);
}

void session_ack_heard(struct session *s, struct tick now)
{
    const struct arq_state *a = arq_state(s->arq);
    struct ack_plan *p = &s->ack;
    uint32_t way;

    if (!a->rmt_ts_known)
        return;
    age_minima(p, now);
    way = tick_ms(now) - a->rmt_ts + (1u << 31); /* far from both ends of the range, whatever the clocks */
    p->least_way[0] = MIN(p->least_way[0], way);
    if (a->n_wins == p->wins)
        return;
    p->wins = a->n_wins;
    if (p->asking)
        answered(p, (uint32_t)(tick_since_us(now, p->asked) / 1000), way - least(p->least_way), now);
    p->asking = false;
}

/* While bulk comes in and nothing but acknowledgements goes back. */
static void ask(struct session *s, struct tick now)
{
    struct ack_plan *p = &s->ack;

    if (tick_before(now, tick_add_us(p->asked, p->asking ? ANSWER_US : ASK_US)) || !sender_is_thin(s->sender))
        return;
    arq_probe(s->arq);
    p->asking = true;
    p->asked = now;
}

/* ---- the way here ---- */

/* Sequence numbers of data packets that never came. After a pause the peer may have given up a group: its numbers are gone
 * without being lost. Parity tells nothing, for it may not have been sent. */
void session_ack_shard(struct session *s, const struct shard *sh, struct tick now)
{
    struct way_here *h = &s->here;
    unsigned d = 0, p = 0;
    bool sure = false;
    int32_t step;
    uint32_t at;

    fec_decoder_shape(s->dec, &d, &p, &sure);
    if (sh->kind != SHARD_DATA || !sure || sh->seqid % (d + p) >= d)
        return;
    at = sh->seqid / (d + p) * d + sh->seqid % (d + p);
    step = serial_diff(at, h->newest);
    if (!h->known || step > STEP_MAX || step < -STEP_MAX || tick_since_us(now, s->last_shard) > PAUSE_US) {
        *h = (struct way_here){.known = true, .newest = at, .got = h->got, .due = h->due};
    } else {
        h->got++;
        h->due += step > 0 ? (uint32_t)step : 0;
        h->newest = step > 0 ? at : h->newest;
    }
    s->last_shard = now;
    if (h->due < HERE_MIN)
        return;
    sender_back_loss(s->sender, h->got < h->due ? 1 - (double)h->got / h->due : 0);
    if (h->due >= 2 * HERE_MIN) {
        h->got /= 2;
        h->due /= 2;
    }
}

/* ---- how ---- */

/* What came again is in no hurry: the peer knows of it, or will by what comes next. Nor is what a peer sends that copies, as
 * long as we do so, too: it rides along. Both wait from when una was last said. */
struct tick session_ack_due(const struct session *s)
{
    const struct arq_state *a = arq_state(s->arq);

    if (!a->n_acks && !a->came_again)
        return TICK_NEVER;
    if (!a->n_acks || (a->n_acks <= FEW && sender_is_copying(s->sender)))
        return tick_add_us(s->last_data, AGAIN_US);
    return a->n_fresh ? s->next_ack : tick_max(s->next_ack, tick_add_us(s->ack.last, AGAIN_US));
}

void session_ack_plan(struct session *s, struct tick now, bool company)
{
    struct arq_knobs *k = arq_knobs(s->arq);
    uint32_t n = arq_state(s->arq)->n_acks, want;
    struct ack_plan *p = &s->ack;

    k->hold_acks = tick_before(now, session_ack_due(s)) && !company;
    if (k->hold_acks || !n)
        return;
    k->ack_all = n <= FEW; /* each transmission of a thin flow tells of the path */
    want = (uint32_t)MIN(tick_since_us(now, p->last) * COMPANY / n, (uint64_t)EVERY_MAX_US);
    p->every_us += ((int32_t)want - (int32_t)p->every_us) / 4;
    p->every_us = MAX(p->every_us, (uint32_t)EVERY_MIN_US);
    p->last = now;
    if (n >= ASK_COMPANY)
        ask(s, now);
    k->ack_repeats = ways[p->way].repeats;
    s->next_ack = tick_add_us(now, MAX(p->every_us, (uint32_t)ways[p->way].every_us));
}
