/* core/session_out.c - from streams to datagrams, and the timers. */
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
    PROBES = 40, /* in a whole peer timeout: at 20 % loss each way one in three is not answered */
    PROBES_MIN = 8, /* unanswered, before that says anything */
    PROBES_QUICK = 20, /* of a busy peer, closer together: ... */
    PROBE_QUICK_US = 100 * 1000,
    LATE_US = 1000 * 1000, /* a probe this late tells of us, not of the peer */
    DOUBT_US = 1500 * 1000, /* with PROBE_BUSY_US before: a break of 2 s is borne in peace */
    LAG_US = 20 * 1000, /* what a late turn may make up for; time at rest earns nothing */
    DEBT_US = 1000 * 1000, /* acknowledgements are sent whatever the rate; what follows waits no longer for them */
    REFUSALS_MIN = 3, /* a host may send one a second */
    REFUSED_US = 2000 * 1000,
    PROBE_BUSY_US = 1000 * 1000, /* silence that is suspicious while the peer owes acknowledgements */
    PROBE_BEHIND_US = 400 * 1000, /* between probes of a peer that seems to have lost its state */
    PLAIN_MIN = 8, /* datagrams without FEC after which the peer is taken to have none */
    GRID_US = 250 * 1000, /* keepalives and probes are put on this grid, so that many sessions share a wake-up */
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

/* The peer owes acknowledgements, or was just sending data. */
static bool is_busy(const struct session *s)
{
    return arq_state(s->arq)->n_inflight || tick_since_us(s->heard, s->active) < PROBE_BUSY_US;
}

/* Between probes that go unanswered. */
static uint64_t probe_gap(const struct session *s)
{
    uint64_t gap = s->p.peer_timeout_ms * UINT64_C(1000) / PROBES;

    if (is_busy(s) && s->probes < PROBES_QUICK)
        gap = MIN(gap, MAX((uint64_t)PROBE_QUICK_US, arq_state(s->arq)->srtt_ms * UINT64_C(250)));
    return gap;
}

/* When the peer is to be asked for a sign of life: late in the timeout at rest (the client first, so that one exchange does
 * for both), sooner if it fell silent while busy, its host refused something, or its last word was strange. Every peer
 * answers a WASK. */
static struct tick next_probe(const struct session *s)
{
    uint64_t quiet_us = s->p.peer_timeout_ms * UINT64_C(1000) / 10 * (s->p.client ? 7 : 8);

    if (arq_state(s->arq)->behind)
        return tick_add_us(tick_max(s->last_probe, s->behind_since), PROBE_BEHIND_US);
    if (s->refusals)
        quiet_us = 0;
    else if (is_busy(s))
        quiet_us = MIN((uint64_t)PROBE_BUSY_US, quiet_us);
    return tick_max(tick_add_us(s->heard, quiet_us), tick_add_us(s->last_probe, probe_gap(s)));
}

/* A probe that leaves late begins a new series: while we did not run, the peer may have answered all the time, or not have
 * been asked. */
static void probe(struct session *s, struct tick now, bool late)
{
    arq_probe(s->arq);
    if (s->p.client && !arq_state(s->arq)->n_inflight && (is_busy(s) || tick_before(s->heard, s->last_probe)))
        smux_keepalive(s->smux); /* something new, by which a server follows us to where a NAT has put us */
    s->last_probe = now;
    if (!s->probes || late) {
        s->probing = now;
        s->probes = 0;
    }
    s->probes++;
}

void session_greet(struct session *s)
{
    smux_keepalive(s->smux);
}

/* Enough probes, for at least so long, have gone unanswered. */
static bool is_unanswered(const struct session *s, uint64_t us, struct tick now)
{
    us = MAX(us, 2 * arq_state(s->arq)->rto_ms * UINT64_C(1000));
    return s->probes >= PROBES_MIN && tick_since_us(now, s->probing) >= us;
}

bool session_is_doubtful(const struct session *s, struct tick now)
{
    return is_unanswered(s, DOUBT_US, now);
}

void session_refused(struct session *s, struct tick now)
{
    if (!s->refusals++)
        s->refused = now;
}

/* Asks for a sign of life when one is due; gives up after enough of that. Silence counts from the last sign of life, but
 * only while we listened: a series of probes, each sent when it was due, must have gone unanswered. */
static bool look_after(struct session *s, struct tick now)
{
    uint64_t limit_us = s->p.peer_timeout_ms * UINT64_C(1000);
    struct tick due = next_probe(s);
    bool late = tick_since_us(now, due) >= LATE_US;

    if (tick_before(now, due))
        return true;
    if (s->refusals >= REFUSALS_MIN && tick_since_us(now, s->refused) >= REFUSED_US)
        return session_fail(s, SESSION_REFUSED);
    if (!late && tick_since_us(now, s->heard) >= limit_us && is_unanswered(s, limit_us / 6, now))
        return session_fail(s, SESSION_SILENT);
    probe(s, now, late);
    return true;
}

/* Timers other than the engine's: keepalive, probing, death. */
static bool tend(struct session *s, struct tick now)
{
    if (!look_after(s, now))
        return false;
    if (!tick_before(now, s->next_nop)) {
        /* our own kind goes by what it hears of any sort; another counts frames */
        if (!smux_peer_is_ours(s->smux) || tick_since_us(now, s->last_io) >= s->p.keepalive_ms * UINT64_C(1000))
            smux_keepalive(s->smux);
        s->next_nop = tick_add_ms(now, s->p.keepalive_ms);
    }
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

    if (s->end || !tend(s, now) || !session_pump(s))
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

static struct tick on_grid(struct tick t)
{
    return (struct tick){(t.us + GRID_US - 1) / GRID_US * GRID_US};
}

struct tick session_deadline(const struct session *s, struct tick now)
{
    uint32_t due = arq_due_in_ms(s->arq, tick_ms(now));
    bool asking = s->probes || s->refusals;
    struct tick t = tick_min(on_grid(s->next_nop), asking ? next_probe(s) : on_grid(next_probe(s)));

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
