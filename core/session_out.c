/* core/session_out.c - from streams to datagrams, and when there are more. */
#include "core/session_priv.h"

#include "core/smux_frame.h"

#include <stdlib.h>
#include <string.h>

enum {
    BURST_US = 2000, /* with a rate: how far sending may run ahead of it */
    PARITY_PAUSE_US = 500 * 1000, /* a group whose last packet came this long after the one before gets no parity:
                                   * what it protected was acknowledged or sent again long ago */
    PARITY_WITHIN_US = 25 * 1000,
    OVERTAKE_US = 1000 * 1000,
    OVERTAKES_MIN = 3, /* small messages ahead of bulk, within twice that */
    LAG_US = 20 * 1000, /* what a late turn may make up for; time at rest earns nothing */
    DEBT_US = 1000 * 1000, /* acknowledgements are sent whatever the rate; what follows waits no longer for them */
    PLAIN_MIN = 8, /* datagrams without FEC after which the peer is taken to have none */
};

/* Bytes a second that may leave; 0: no limit. A window takes a round trip to be acknowledged; a quarter more keeps the peer's
 * window, and not this, the limit. */
static uint64_t rate(const struct session *s)
{
    const struct arq_state *a = arq_state(s->arq);
    uint64_t wnd = MIN(arq_knobs(s->arq)->snd_wnd, a->rmt_wnd), paced;

    if (!s->p.pacing || s->sender || !a->srtt_ms)
        return s->p.rate;
    paced = MAX(wnd, 1) * s->p.mtu * 1250 / a->srtt_ms;
    return s->p.rate ? MIN(s->p.rate, paced) : paced;
}

int32_t session_budget(void *ctx)
{
    const struct session *s = ctx;
    uint64_t us = MIN(tick_since_us(tick_add_us(s->now, BURST_US), s->paced), (uint64_t)BURST_US + LAG_US), r = rate(s);
    uint64_t bytes = us * r / 1000000;

    if (!r)
        return -1;

    if (!tick_before(s->now, s->paced)) /* however low the rate, one datagram at a time goes */
        bytes = MAX(bytes, (uint64_t)s->p.mtu + SESSION_IP_UDP); /* as a sender counts it */
    return (int32_t)MIN(bytes, (uint64_t)INT32_MAX);
}

static void spend(struct session *s, size_t bytes)
{
    uint64_t r = rate(s);

    if (r)
        s->paced = tick_min(tick_add_us(tick_max(s->paced, s->now), bytes * UINT64_C(1000000) / r),
                            tick_add_us(s->now, DEBT_US));
}

/* Makes the next chunk. False: nothing to send, or no memory. */
static bool deflate(struct session *s)
{
    size_t room = SMUX_FRAME_HEADER + MAX((size_t)s->p.frame_max, (size_t)SMUX_FRAME_UPD), n, at = 0;
    struct zout *z = &s->z;

    if (!smux_has_output(s->smux))
        return false;
    if (!z->frame)
        z->frame = malloc(room);
    if (!z->chunk)
        z->chunk = malloc(SNAPPY_PACK_ROOM(room) + SNAPPY_PACK_ROOM(0));
    if (!z->frame || !z->chunk)
        return false;
    n = smux_fill_frame(s->smux, z->frame, room);
    z->at = z->len = 0;
    while (at < n) {
        size_t part = MIN(n - at, (size_t)SNAPPY_PLAIN_MAX);

        z->len += snappy_pack(&z->pack, bytes_of(z->frame + at, part), z->chunk + z->len);
        at += part;
    }
    return z->len > 0;
}

static size_t fill(struct session *s, uint8_t *out, size_t room)
{
    size_t n = 0;

    if (!s->unpack)
        return smux_fill(s->smux, out, room);
    while (n < room) {
        size_t k;

        if (s->z.at == s->z.len && !deflate(s))
            break;
        k = MIN(room - n, s->z.len - s->z.at);
        memcpy(out + n, s->z.chunk + s->z.at, k);
        s->z.at += k;
        n += k;
    }
    return n;
}

/* The engine has room for one more segment. */
int session_pull(void *ctx, struct arq *a, struct arq_chunk *c)
{
    struct session *s = ctx;
    struct buf *b;
    size_t n;

    if (s->z.at == s->z.len && !smux_has_output(s->smux))
        return ARQ_AGAIN;
    b = buf_get(s->p.pool);
    if (!b) {
        stat_add(&s->p.stats->memory_drops, 1);
        return ARQ_AGAIN;
    }
    n = fill(s, b->mem, arq_mss(a));
    if (!n) {
        buf_put(b);
        return ARQ_AGAIN;
    }
    stat_add(&s->p.stats->bytes_sent, n);
    *c = (struct arq_chunk){.p = b->mem, .len = (uint32_t)n, .own = b};
    return 0;
}

/* A kcptun of 2021 has one shape for both directions, and while that is not ours its decoder turns our parity into wrong
 * bytes, even where nothing is lost. So parity is sent once the peer's own packets have shown the same shape, and FEC ends
 * as soon as they show another, or none; our own kind decodes any shape and is told apart by its announcement. */
static void compare_shapes(struct session *s)
{
    unsigned d = 0, p = 0;
    bool sure = false, known;

    if (!s->enc || s->fec_differs)
        return;
    if (s->dec)
        fec_decoder_shape(s->dec, &d, &p, &sure);
    known = smux_frames_in(s->smux) || s->plain_heard >= PLAIN_MIN;
    s->fec_differs = known && ((!s->dec && s->plain_heard) || (sure && (d != s->p.fec_data || p != s->p.fec_parity)));
    s->fec_agrees = sure && !s->fec_differs && s->fec_heard >= d + p;
}

/* The encoder, if FEC is sent now. */
static struct fec_encoder *encoder(const struct session *s)
{
    return s->fec_differs && !smux_peer_is_ours(s->smux) ? NULL : s->enc;
}

/* Somebody's small messages share the session with bulk: they wait for whatever is lost of it. */
static bool is_mixed(struct session *s)
{
    uint64_t n = smux_overtakes(s->smux), us = tick_since_us(s->now, s->overtakes.since);

    if (us >= 2 * OVERTAKE_US) /* nobody looked: of unknown age */
        s->overtakes.seen = n;
    if (us >= OVERTAKE_US) {
        s->overtakes.n[1] = us < 2 * OVERTAKE_US ? s->overtakes.n[0] : 0;
        s->overtakes.n[0] = 0;
        s->overtakes.since = s->now;
    }
    s->overtakes.n[0] += (unsigned)(n - s->overtakes.seen);
    s->overtakes.seen = n;
    return s->overtakes.n[0] + s->overtakes.n[1] >= OVERTAKES_MIN;
}

/* Parity packets for the group just completed. A group that took long to fill repairs later than anything else would. */
static unsigned parity_wanted(struct session *s, bool pause)
{
    unsigned n = fec_encoder_parities(s->enc) - s->p.fec_unsent;
    bool known = s->fec_agrees || smux_peer_is_ours(s->smux);

    if (pause || !known)
        n = 0;
    if (!s->sender)
        return n;
    if (tick_since_us(s->now, s->group_began) >= PARITY_WITHIN_US)
        n = 0;
    return sender_parity(s->sender, fec_encoder_data(s->enc), n, n && is_mixed(s));
}

static void add_parity(struct session *s, struct packet_batch *out, void *to, bool pause)
{
    size_t body = fec_encoder_parity_len(s->enc), len = s->p.head + body + s->p.tail;
    unsigned n = parity_wanted(s, pause);
    uint8_t *rows[SHARD_MAX_N];

    if (!n) {
        fec_encoder_skip(s->enc);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        rows[i] = packet_batch_at(out) + s->p.head;
        packet_batch_add(out, len, to);
    }
    fec_encoder_parity(s->enc, rows, n);
    if (s->sender)
        sender_charge(s->sender, n * len);
}

/* Writes one datagram and the parity it completes. False: nothing more. */
static bool emit(struct session *s, struct packet_batch *out, void *to, struct tick now)
{
    uint8_t *at = packet_batch_at(out) + s->p.head;
    struct fec_encoder *enc = encoder(s);
    unsigned fec = enc ? SHARD_DATA_HEADER : 0;
    size_t n = arq_emit(s->arq, at + fec);
    int full = 0;

    if (!n)
        return false;
    if (s->group_n++ == 0)
        s->group_began = now;
    if (fec)
        full = fec_encoder_add(enc, at, n);
    if (full)
        s->group_n = 0;
    packet_batch_add(out, s->p.head + fec + n + s->p.tail, to);
    if (full)
        add_parity(s, out, to, tick_since_us(now, s->last_data) >= PARITY_PAUSE_US);
    s->last_data = now;
    return true;
}

static bool has_output(const struct session *s)
{
    return s->z.at != s->z.len || smux_has_output(s->smux);
}

/* Decides what leaves now. With a sender, acknowledgements leave in company. */
static void flush(struct session *s, struct tick now)
{
    if (!s->sender) {
        arq_flush(s->arq, ARQ_FLUSH_FULL, tick_ms(now));
        return;
    }
    sender_begin_flush(s->sender, now, s->p.rate ? (uint64_t)session_budget(s) : UINT64_MAX, has_output(s));
    session_ack_plan(s, now, sender_is_thin(s->sender) && (has_output(s) || arq_waits(s->arq)));
    arq_flush(s->arq, ARQ_FLUSH_FULL, tick_ms(now));
    sender_end_flush(s->sender, has_output(s));
}

int session_poll(struct session *s, struct packet_batch *out, void *to, struct tick now)
{
    size_t used = out->used;
    unsigned n = out->n;
    int r = 0;

    if (s->end || !session_tend(s, now) || !session_pump(s))
        return SESSION_ENDED;
    session_stir(s, now);
    compare_shapes(s);
    s->now = now;
    if (arq_state(s->arq)->snd_una != s->una || !arq_state(s->arq)->n_inflight) {
        s->una = arq_state(s->arq)->snd_una;
        s->una_since = now;
    }
    if (!s->emitting) {
        flush(s, now);
        s->emitting = true;
    }
    while (s->emitting && packet_batch_fits(out))
        s->emitting = emit(s, out, to, now);
    if (!s->emitting) {
        r = SESSION_AGAIN;
        session_sample(s, now);
    }
    s->out_bytes += out->used - used;
    spend(s, out->used - used);
    if (s->sender)
        sender_sent(s->sender, out->used - used + (out->n - n) * SESSION_IP_UDP);
    if (s->enc)
        fec_encoder_settle(s->enc); /* the batch will be encrypted in place */
    return r;
}

struct tick session_deadline(const struct session *s, struct tick now)
{
    uint32_t due = arq_due_in_ms(s->arq, tick_ms(now));
    struct tick t = session_tend_due(s);

    if (s->end)
        return now;
    if (due != UINT32_MAX)
        t = tick_min(t, tick_max((struct tick){(now.us / 1000 + due) * 1000}, s->paced));
    if (s->sender)
        t = tick_min(t, tick_max(sender_deadline(s->sender), s->paced));
    if (s->sender)
        t = tick_min(t, session_ack_due(s));
    return t;
}
