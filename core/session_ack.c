/* core/session_ack.c - how our end acknowledges in mode auto. Acknowledgements leave in company; each is repeated in later
 * datagrams, because one that is lost makes the peer send a segment in vain. Over a thin way back the repetition is what
 * fills it, and costs more than it saves. So while bulk comes in we begin with thrift, and watch the way back: NOPs go along,
 * and what their acknowledgements take longer than they must, less what the peer's segments show of the way here, is a queue
 * that our acknowledgements fill. Where there is none, and what comes in has ceased to grow, we repeat more. */
#include "core/session_priv.h"

enum {
    COMPANY = 16, /* segments acknowledged by one datagram, if that takes ... */
    EVERY_MIN_US = 1000,
    EVERY_MAX_US = 4000,
    AGAIN_US = 25 * 1000,
    FEW = 4,
    ASK_US = 50 * 1000, /* between questions */
    STEP_MAX = 1000, /* packets: further, and the count begins anew */
    PAUSE_US = 400 * 1000,
    HERE_MIN = 128, /* packets before a share of them says something */
    LOSSY_PART = 8, /* of them, one in so many lost */
    ASK_COMPANY = 3, /* segments in a flush: bulk */
    LEAST_US = 10 * 1000 * 1000,
    CLOGGED_US = 4000, /* of queue on the way back: too much */
    CLEAR_US = 2000, /* so little that four times as many acknowledgements find room */
    CLEAR_RATE = 4000, /* segments a second: over a way for no more, their acknowledgements are not clear */
    TICK_US = 10 * 1000, /* another kind answers so much later */
    HERE_MAX_US = 30 * 1000, /* a longer queue on the way here hides the way back */
    UNANSWERED_US = 50 * 1000,
    CLOGGED_MIN = 6, /* answers that say so: one of the other sort takes half of one back */
    CLEAR_MIN = 5,
    FORGET_US = 30 * 1000 * 1000, /* after which less thrift is tried */
};

/* From lavish to thrifty. */
static const struct {
    uint8_t repeats;
    uint16_t every_us; /* at least */
} ways[SESSION_ACK_WAYS] = {{2, 0}, {1, 0}, {0, 4000}};

/* ---- the way back ---- */

/* The peer's newest segment came so many ms after it was sent, by two clocks that began at different times. */
static uint32_t way_by_clocks(const struct session *s, struct tick now)
{
    return tick_ms(now) - arq_state(s->arq)->rmt_ts;
}

/* How long it took, from an unknown start: the first one took half of the range, so that none is near an end of it. */
static uint32_t way_here(const struct session *s, struct tick now)
{
    return way_by_clocks(s, now) - s->ack.first_way + (1u << 31);
}

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

static void change(struct ack_plan *p, int step, struct tick now)
{
    p->way += (unsigned)step;
    p->changed = now;
    p->clogged = p->clear = 0;
    if (step > 0)
        p->forget = tick_add_us(now, FORGET_US);
}

/* So much is lost of few segments that thrift costs more than it can save. */
static bool is_lossy(const struct way_here *h)
{
    return h->due >= HERE_MIN && h->due - MIN(h->got, h->due) > h->due / LOSSY_PART;
}

/* The way back will carry more, too: what comes in does not grow, or is so much that a thin way would show it. */
static bool is_steady(struct session *s, struct tick now)
{
    struct ack_plan *p = &s->ack;
    uint64_t rate = p->came * 1000000 / MAX(tick_since_us(now, p->answered), 1);
    bool grows = rate > p->rate + p->rate / 4;

    p->came = 0;
    p->answered = now;
    if (grows || !p->clear)
        p->rate = rate;
    return !grows || rate >= CLEAR_RATE || is_lossy(&s->here);
}

/* An answer took so much longer than it must, the way here left out. */
static void judge(struct session *s, uint64_t late_us, struct tick now)
{
    struct ack_plan *p = &s->ack;
    bool steady = is_steady(s, now);

    if (late_us > CLOGGED_US) {
        p->clear = 0;
        p->clogged += 2;
    } else {
        p->clear = !steady ? 0 : p->clear + (late_us <= CLEAR_US);
        p->clogged -= p->clogged > 0;
    }
    if (p->clogged >= CLOGGED_MIN && p->way + 1 < SESSION_ACK_WAYS)
        change(p, 1, now);
    else if (p->clear >= CLEAR_MIN && p->way && !tick_before(now, p->forget))
        change(p, -1, now);
}

/* How much later than it could the peer's newest segment came. */
static uint64_t late_here(const struct session *s, struct tick now)
{
    uint32_t way = way_here(s, now);

    return (way - MIN(way, least(s->ack.least_way))) * UINT64_C(1000);
}

void session_ack_heard(struct session *s, struct tick now)
{
    uint64_t rtt = sender_rtt_us(s->sender), late, here;
    struct ack_plan *p = &s->ack;

    if (!arq_state(s->arq)->rmt_ts_known)
        return;
    if (!p->least_since.us)
        p->first_way = way_by_clocks(s, now);
    age_minima(p, now);
    p->least_way[0] = MIN(p->least_way[0], way_here(s, now));
    if (p->asking && serial_before(p->question, arq_state(s->arq)->snd_una))
        p->asking = false;
    if (!rtt)
        return;
    p->least_rtt[0] = (uint32_t)MIN((uint64_t)p->least_rtt[0], rtt);
    late = rtt - least(p->least_rtt);
    here = late_here(s, now);
    if (!p->due || here > HERE_MAX_US || tick_since_us(now, p->changed) < rtt) /* or it tells of what was before */
        return;
    p->due = false;
    here += smux_peer_is_ours(s->smux) ? 0 : TICK_US;
    judge(s, late > here ? late - here : 0, now);
}

/* While bulk comes in and nothing but acknowledgements goes back. A question that goes unanswered, copies and all, was left
 * out of a queue that is full. */
static void ask(struct session *s, struct tick now)
{
    struct ack_plan *p = &s->ack;
    uint64_t most = (uint64_t)least(p->least_rtt) + UNANSWERED_US;

    if (tick_before(now, tick_add_us(p->asked, ASK_US)) || !sender_is_thin(s->sender))
        return;
    smux_keepalive(s->smux);
    p->asked = now;
    p->due = true;
    if (!p->asking) {
        p->asking = true;
        p->question = arq_state(s->arq)->snd_nxt;
        p->waiting = now;
    } else if (tick_since_us(now, tick_max(p->waiting, p->changed)) > most && late_here(s, now) <= HERE_MAX_US) {
        judge(s, UNANSWERED_US, now);
    }
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

/* A few messages wait for one that is missing, copies and all; behind a hole in bulk there is more. */
static bool is_held_up(const struct arq_state *a)
{
    return a->n_rcv_buf && a->n_rcv_buf <= COMPANY;
}

/* What came again is in no hurry: the peer knows of it, or will by what comes next. Nor is what a peer sends that copies, as
 * long as we do so, too: it rides along, unless others wait for what the peer does not know to be lost. Both wait from when una
 * was last said. */
struct tick session_ack_due(const struct session *s)
{
    const struct arq_state *a = arq_state(s->arq);

    if (!a->n_acks && !a->came_again)
        return TICK_NEVER;
    if (!a->n_acks || (a->n_acks <= FEW && !is_held_up(a) && sender_is_copying(s->sender)))
        return tick_add_us(s->last_data, AGAIN_US);
    return a->n_fresh ? s->next_ack : tick_max(s->next_ack, tick_add_us(s->ack.last, AGAIN_US));
}

void session_ack_plan(struct session *s, struct tick now, bool company)
{
    struct arq_knobs *k = arq_knobs(s->arq);
    uint32_t n = arq_state(s->arq)->n_acks, want;
    struct ack_plan *p = &s->ack;
    bool bulk;

    k->hold_acks = tick_before(now, session_ack_due(s)) && !company;
    if (k->hold_acks || !n)
        return;
    k->ack_all = n <= FEW; /* each transmission of a thin flow tells of the path */
    want = (uint32_t)MIN(tick_since_us(now, p->last) * COMPANY / n, (uint64_t)EVERY_MAX_US);
    p->every_us += ((int32_t)want - (int32_t)p->every_us) / 4;
    p->every_us = MAX(p->every_us, (uint32_t)EVERY_MIN_US);
    p->last = now;
    p->came += n;
    bulk = n >= ASK_COMPANY;
    if (bulk)
        ask(s, now);
    k->ack_repeats = ways[bulk ? p->way : 0].repeats;
    s->next_ack = tick_add_us(now, MAX(p->every_us, (uint32_t)ways[bulk ? p->way : 0].every_us));
}
