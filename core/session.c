/* core/session.c - joins the layers of one peer: FEC, ARQ, compression, multiplexer.
 * In:  datagram -> (FEC) -> arq -> (snappy) -> smux.   Out: smux -> (snappy) -> arq -> (FEC) -> batch. */
#include "core/session.h"

#include "core/arq_hooks.h"
#include "core/smux_frame.h"
#include "core/snappy_stream.h"
#include "fec/decoder.h"
#include "fec/encoder.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    BURST_US = 2000, /* with a rate: how far sending may run ahead of it */
    SEND_BUF = 64 * 1024, /* bytes of a stream that wait for the window; more stay in its connection */
    READ_MAX = 64 * 1024, /* and as much again when the last read came whole */
    FEC_GROUPS_KEPT = 8, /* groups back in which a lost packet can still be recovered */
    PARITY_PAUSE_US = 500 * 1000, /* a group whose last packet came this long after the one before gets no parity:
                                   * what it protected was acknowledged or sent again long ago */
    BEHIND_US = 1500 * 1000, /* the peer's una stays behind ours this long, in at least ... */
    BEHIND_MIN = 4, /* ... so many datagrams in a row: it has lost its state */
    PROBES = 40, /* in a whole peer timeout: at 20 % loss each way one in three is not answered */
    PROBE_BUSY_US = 1000 * 1000, /* silence that is suspicious while the peer owes acknowledgements */
    PROBE_BEHIND_US = 400 * 1000, /* between probes of a peer that seems to have lost its state */
    PLAIN_MIN = 8, /* datagrams without FEC after which the peer is taken to have none */
    REST_US = 500 * 1000, /* without a datagram either way: a pause */
    GRID_US = 250 * 1000, /* keepalives and probes are put on this grid, so that many sessions share a wake-up */
};

/* The compressed way out: one multiplexer frame becomes one chunk, which the segments then eat. */
struct zout {
    struct snappy_pack pack;
    uint8_t *frame, *chunk; /* on demand: 8 + frame_max bytes, and room for its chunk */
    size_t at, len; /* chunk[at .. len) waits */
};

struct session {
    struct session_params p;
    struct arq *arq;
    struct smux *smux;
    struct fec_encoder *enc; /* NULL: we send no FEC */
    struct fec_decoder *dec; /* on demand */
    struct snappy_unpack *unpack; /* NULL: no compression */
    struct zout z;
    struct bufq raw, plain; /* bytes before and behind decompression that wait for room in the multiplexer */
    struct buf *held; /* chunks whose bytes are lent to the multiplexer until it settles */
    enum session_end end;
    bool emitting; /* a flush was decided and is not wholly written */
    bool fec_differs, fec_agrees; /* the peer's FEC shape is not ours, or was seen to be; neither: not known yet */
    unsigned plain_heard, fec_heard; /* datagrams without and with FEC */
    struct tick born, heard, behind_since, last_data, next_nop, last_probe, active, last_io;
    struct tick now, paced; /* with a rate: of this poll; the time up to which it is used up */
    uint64_t in_bytes, out_bytes, retrans;
};

static bool end(struct session *s, enum session_end why)
{
    if (s->end == SESSION_ALIVE)
        s->end = why;
    return false;
}

static int pull(void *ctx, struct arq *a, struct arq_chunk *c);

static struct arq *make_arq(struct session *s, uint16_t mtu)
{
    const struct session_params *p = &s->p;
    const struct arq_params ap = {
        .conv = p->conv,
        .mtu = mtu,
        .snd_wnd = (uint16_t)p->snd_wnd,
        .rcv_wnd = (uint16_t)p->rcv_wnd,
        .nodelay = p->nodelay,
        .interval_ms = p->interval_ms,
        .resend = p->resend,
        .nocwnd = p->nocwnd,
        .pool = p->pool,
        .pull = pull,
        .ctx = s,
    };

    return arq_new(&ap);
}

static struct smux *make_smux(const struct session_params *p)
{
    const struct smux_params sp = {
        .client = p->client,
        .ver = p->smux_ver,
        .frame_max = p->frame_max,
        .session_buf = p->session_buf,
        .stream_buf = p->stream_buf,
        .send_buf = SEND_BUF,
        .max_streams = p->max_streams,
        .pool = p->pool,
    };

    return smux_new(&sp);
}

/* With a rate: payload that may leave now. What does not stays due. */
static int32_t budget(void *ctx)
{
    const struct session *s = ctx;
    uint64_t us = tick_since_us(tick_add_us(s->now, BURST_US), s->paced);
    uint64_t bytes = us * s->p.rate / 1000000;

    if (!tick_before(s->now, s->paced)) /* however low the rate, one datagram at a time goes */
        bytes = MAX(bytes, (uint64_t)s->p.mtu);
    return (int32_t)MIN(bytes, (uint64_t)INT32_MAX);
}

static void spend(struct session *s, size_t bytes)
{
    if (s->p.rate)
        s->paced = tick_add_us(tick_max(s->paced, s->now), bytes * UINT64_C(1000000) / s->p.rate);
}

struct session *session_new(const struct session_params *p, struct tick now)
{
    struct session *s = calloc(1, sizeof *s);
    bool fec = p->fec_data && p->fec_parity && p->fec_data + p->fec_parity <= SHARD_MAX_N;
    unsigned overhead = (unsigned)p->head + p->tail + (fec ? SHARD_DATA_HEADER : 0);

    if (!s)
        return NULL;
    s->p = *p;
    s->born = s->heard = s->active = s->last_io = now;
    s->next_nop = tick_add_ms(now, p->keepalive_ms);
    s->arq = p->mtu > overhead ? make_arq(s, (uint16_t)(p->mtu - overhead)) : NULL;
    s->smux = make_smux(p);
    if (s->arq && p->rate)
        arq_set_hooks(s->arq, &(struct arq_hooks){.ctx = s, .budget = budget});
    if (fec)
        s->enc = fec_encoder_new(p->fec_data, p->fec_parity, p->mtu - overhead);
    if (p->compress)
        s->unpack = snappy_unpack_new();
    if (!s->arq || !s->smux || (fec && !s->enc) || (p->compress && !s->unpack))
        return session_free(s);
    return s;
}

static void drop_held(struct session *s)
{
    while (s->held) {
        struct buf *b = s->held;

        s->held = b->next;
        buf_put(b);
    }
}

struct session *session_free(struct session *s)
{
    if (!s)
        return NULL;
    smux_free(s->smux);
    arq_free(s->arq);
    fec_encoder_free(s->enc);
    fec_decoder_free(s->dec);
    snappy_unpack_free(s->unpack);
    bufq_fini(&s->raw);
    bufq_fini(&s->plain);
    drop_held(s);
    free(s->z.frame);
    free(s->z.chunk);
    free(s);
    return NULL;
}

/* ---- in ---- */

/* Feeds the multiplexer from b until it wants no more; b advances. False: the session has ended. */
static bool feed(struct session *s, struct bytes *b)
{
    int r = smux_input(s->smux, b);

    if (r)
        return end(s, r == -ENOMEM ? SESSION_NO_MEMORY : SESSION_PROTOCOL);
    return true;
}

/* The same for bytes that go away soon: settles at once, keeps what the multiplexer did not want. */
static bool feed_now(struct session *s, struct bytes b)
{
    stat_add(&s->p.stats->bytes_received, b.len);
    if (!feed(s, &b))
        return false;
    if (smux_settle(s->smux) || bufq_copy_in(&s->plain, s->p.pool, b))
        return end(s, SESSION_NO_MEMORY);
    return true;
}

/* Decompresses from b until the multiplexer wants no more, or all is done (asked once more, the reader then lets go of its
 * memory); b advances. */
static bool inflate(struct session *s, struct bytes *b)
{
    while (smux_wants_input(s->smux)) {
        struct bytes out;
        int r = snappy_unpack(s->unpack, b, &out);

        if (r == SNAPPY_AGAIN)
            return true;
        if (r)
            return end(s, r < 0 ? SESSION_NO_MEMORY : SESSION_PROTOCOL);
        if (!feed_now(s, out))
            return false;
    }
    return true;
}

/* Gives waiting bytes of q to step() while the multiplexer wants input. */
static bool drain(struct session *s, struct bufq *q, bool (*step)(struct session *, struct bytes *))
{
    struct bytes b;

    while (smux_wants_input(s->smux) && bufq_view(q, &b, 1)) {
        size_t had = b.len;

        if (!step(s, &b))
            return false;
        if (smux_settle(s->smux))
            return end(s, SESSION_NO_MEMORY);
        bufq_drop(q, had - b.len);
    }
    return true;
}

static bool take_chunk(struct session *s, struct arq_chunk *c)
{
    struct bytes b = bytes_of(c->p, c->len);
    bool ok;

    if (c->own) {
        c->own->next = s->held;
        s->held = c->own;
    }
    if (s->unpack) {
        ok = inflate(s, &b);
    } else {
        stat_add(&s->p.stats->bytes_received, b.len);
        ok = feed(s, &b);
    }
    if (ok && bufq_copy_in(s->unpack ? &s->raw : &s->plain, s->p.pool, b))
        ok = end(s, SESSION_NO_MEMORY);
    return ok;
}

/* Moves what is in order up to the streams, as far as there is room for it. */
static bool pump(struct session *s)
{
    struct arq_chunk c;

    if (!drain(s, &s->plain, feed) || !drain(s, &s->raw, inflate))
        return false;
    while (smux_wants_input(s->smux) && arq_recv(s->arq, &c) == 0)
        if (!take_chunk(s, &c))
            return false;
    return true;
}

static void move_counts(struct session *s)
{
    struct arq_counts c = arq_take_counts(s->arq);
    struct stats *st = s->p.stats;

    stat_add(&st->in_segs, c.in_segs);
    stat_add(&st->out_segs, c.out_segs);
    stat_add(&st->lost_segs, c.lost_segs);
    stat_add(&st->fast_retrans_segs, c.fast_segs);
    stat_add(&st->retrans_segs, c.lost_segs + c.fast_segs);
    stat_add(&st->repeat_segs, c.repeat_segs);
    stat_add(&st->spurious_segs, c.spurious_segs);
    s->retrans += c.lost_segs + c.fast_segs;
    if (s->dec) {
        struct fec_decoder_counts f = fec_decoder_take_counts(s->dec);

        stat_add(&st->fec_full_shards, f.full);
        stat_add(&st->fec_parity_shards, f.parity);
        stat_add(&st->fec_errs, f.errs);
        stat_add(&st->fec_recovered, f.recovered);
        stat_add(&st->fec_shape_changes, f.shape_changes);
    }
}

static void segs_in(struct session *s, struct bytes segs, unsigned flags, struct tick now)
{
    if (arq_input(s->arq, segs, flags, tick_ms(now)))
        stat_add(&s->p.stats->kcp_in_errors, 1);
}

/* The FEC side of a packet: its group, and what that brings back. */
static bool fec_in(struct session *s, const struct shard *sh, struct tick now)
{
    struct bytes b;

    if (!s->dec) {
        const struct fec_decoder_params p = {s->p.fec_data, s->p.fec_parity, FEC_GROUPS_KEPT, s->p.pool};

        s->dec = fec_decoder_new(&p);
        if (!s->dec)
            return end(s, SESSION_NO_MEMORY);
    }
    fec_decoder_input(s->dec, sh);
    while (fec_decoder_next(s->dec, &b)) {
        segs_in(s, b, ARQ_RECOVERED, now);
        if (arq_settle(s->arq)) /* b goes with the next call on the decoder */
            return end(s, SESSION_NO_MEMORY);
    }
    return true;
}

/* A sign of life, and of memory: una that stays behind what it was means that the peer began anew. */
static bool heard(struct session *s, struct tick now)
{
    const struct arq_state *a = arq_state(s->arq);

    s->heard = now;
    if (a->behind == 0)
        s->behind_since = now;
    else if (a->behind >= BEHIND_MIN && tick_since_us(now, s->behind_since) >= BEHIND_US)
        return end(s, SESSION_LOST_STATE);
    return true;
}

/* Gives up what a flow that has paused no longer needs: open FEC groups (what was lost in them has been repaired
 * otherwise, and parity over what comes seconds apart protects nothing) and rings as large as the last burst. */
static void rest(struct session *s)
{
    arq_trim(s->arq);
    smux_trim(s->smux);
    if (s->dec)
        fec_decoder_rest(s->dec);
    if (s->enc)
        fec_encoder_rest(s->enc);
    free(s->z.frame);
    free(s->z.chunk);
    s->z.frame = s->z.chunk = NULL;
    s->z.at = s->z.len = 0;
}

/* Something comes or goes. The first thing after a pause finds the session as good as new, so that thousands of sessions
 * which only keep alive hold little, and a burst begins with a FEC group of its own. */
static void stir(struct session *s, struct tick now)
{
    if (tick_since_us(now, s->last_io) >= REST_US && !s->emitting && s->z.at == s->z.len)
        rest(s);
    s->last_io = now;
}

int session_input(struct session *s, struct bytes payload, struct tick now)
{
    struct shard sh = {.kind = 0};
    uint64_t segs = arq_state(s->arq)->rcv_nxt;

    if (s->end)
        return SESSION_ENDED;
    if (shard_is_fec(payload)) {
        if (shard_parse(&sh, payload)) {
            stat_add(&s->p.stats->in_errs, 1);
            return SESSION_MALFORMED;
        }
    }
    stat_add(&s->p.stats->in_pkts, 1);
    stat_add(&s->p.stats->in_bytes, payload.len);
    s->in_bytes += payload.len;
    if (sh.kind == SHARD_OOB) {
        stat_add(&s->p.stats->oob_packets, 1);
        return 0;
    }
    stir(s, now);
    s->plain_heard += !sh.kind;
    s->fec_heard += sh.kind != 0;
    if (sh.kind != SHARD_PARITY)
        segs_in(s, sh.kind ? sh.payload : payload, 0, now);
    if (!heard(s, now) || (sh.kind && !fec_in(s, &sh, now)) || !pump(s))
        return SESSION_ENDED;
    if (arq_state(s->arq)->rcv_nxt != segs && payload.len >= s->p.mtu / 2)
        s->active = now;
    return 0;
}

int session_settle(struct session *s)
{
    if (!s->end && (arq_settle(s->arq) || smux_settle(s->smux)))
        end(s, SESSION_NO_MEMORY);
    if (s->dec)
        fec_decoder_settle(s->dec);
    if (!s->end)
        drop_held(s);
    move_counts(s);
    return s->end ? SESSION_ENDED : 0;
}

/* ---- out ---- */

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
static int pull(void *ctx, struct arq *a, struct arq_chunk *c)
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

static void add_parity(struct session *s, struct packet_batch *out, void *to, bool pause)
{
    size_t body = fec_encoder_parity_len(s->enc), len = s->p.head + body + s->p.tail;
    unsigned n = fec_encoder_parities(s->enc);
    uint8_t *rows[SHARD_MAX_N];

    if (pause || (!s->fec_agrees && !smux_peer_is_ours(s->smux))) {
        fec_encoder_skip(s->enc);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        rows[i] = packet_batch_at(out) + s->p.head;
        packet_batch_add(out, len, to);
    }
    fec_encoder_parity(s->enc, rows, n);
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
    if (fec)
        full = fec_encoder_add(enc, at, n);
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

/* When the peer is to be asked for a sign of life: late in the timeout at rest (the client first, so that one exchange does
 * for both), sooner if it fell silent while busy or its last word was strange. Every peer answers a WASK. */
static struct tick next_probe(const struct session *s)
{
    uint64_t limit_us = s->p.peer_timeout_ms * UINT64_C(1000), quiet_us = limit_us / 10 * (s->p.client ? 7 : 8);

    if (arq_state(s->arq)->behind)
        return tick_add_us(tick_max(s->last_probe, s->behind_since), PROBE_BEHIND_US);
    if (is_busy(s))
        quiet_us = MIN((uint64_t)PROBE_BUSY_US, quiet_us);
    return tick_max(tick_add_us(s->heard, quiet_us), tick_add_us(s->last_probe, limit_us / PROBES));
}

static void probe(struct session *s, struct tick now)
{
    arq_probe(s->arq);
    if (s->p.client && !arq_state(s->arq)->n_inflight && (is_busy(s) || tick_before(s->heard, s->last_probe)))
        smux_keepalive(s->smux); /* something new, by which a server follows us to where a NAT has put us */
    s->last_probe = now;
}

/* Timers other than the engine's: keepalive, probing, death. */
static bool tend(struct session *s, struct tick now)
{
    if (tick_since_us(now, s->heard) >= s->p.peer_timeout_ms * UINT64_C(1000))
        return end(s, SESSION_SILENT);
    if (!tick_before(now, next_probe(s)))
        probe(s, now);
    if (!tick_before(now, s->next_nop)) {
        /* our own kind goes by what it hears of any sort; another counts frames */
        if (!smux_peer_is_ours(s->smux) || tick_since_us(now, s->last_io) >= s->p.keepalive_ms * UINT64_C(1000))
            smux_keepalive(s->smux);
        s->next_nop = tick_add_ms(now, s->p.keepalive_ms);
    }
    return true;
}

int session_poll(struct session *s, struct packet_batch *out, void *to, struct tick now)
{
    size_t used = out->used;
    int r = 0;

    if (s->end || !tend(s, now) || !pump(s))
        return SESSION_ENDED;
    stir(s, now);
    compare_shapes(s);
    s->now = now;
    if (!s->emitting) {
        arq_flush(s->arq, ARQ_FLUSH_FULL, tick_ms(now));
        s->emitting = true;
    }
    while (s->emitting && packet_batch_fits(out))
        s->emitting = emit(s, out, to, now);
    if (!s->emitting)
        r = SESSION_AGAIN;
    s->out_bytes += out->used - used;
    spend(s, out->used - used);
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
    struct tick t = on_grid(tick_min(s->next_nop, next_probe(s)));

    if (s->end)
        return now;
    t = tick_min(t, tick_add_ms(s->heard, s->p.peer_timeout_ms));
    if (due != UINT32_MAX)
        t = tick_min(t, tick_max((struct tick){(now.us / 1000 + due) * 1000}, s->paced));
    return t;
}

/* ---- state ---- */

struct smux *session_smux(struct session *s)
{
    return s->smux;
}

size_t session_memory_max(const struct session_params *p, unsigned n_streams, size_t buf_size)
{
    unsigned shards = p->fec_data && p->fec_parity ? p->fec_data + p->fec_parity : SHARD_MAX_N; /* the peer's choice */
    size_t piece = buf_size + 64; /* a buffer, and what the ring, queue or table around it costs */
    size_t bufs = p->snd_wnd /* in flight */
                  + 2 * (size_t)p->rcv_wnd /* in order and unread; out of order */
                  + (FEC_GROUPS_KEPT + 2) * (size_t)shards /* open groups, and one being recovered */
                  + 2 * (p->session_buf + SMUX_FRAME_MAX) / buf_size /* received, packed; read and not taken */
                  + n_streams * (2 + (SEND_BUF + READ_MAX) / buf_size); /* sent and waiting, a partial one each way */
    size_t compressed = p->compress ? 4 * (size_t)SNAPPY_CHUNK_MAX : 0;

    return sizeof(struct session) + 16384 + bufs * piece + compressed + p->fec_parity * (size_t)p->mtu +
           n_streams * 512;
}

enum session_end session_end(const struct session *s)
{
    return s->end;
}

const char *session_end_text(const struct session *s)
{
    static const char *const text[] = {
        [SESSION_ALIVE] = "alive",
        [SESSION_SILENT] = "the peer answers no more",
        [SESSION_LOST_STATE] = "the peer has lost its state (restarted?)",
        [SESSION_PROTOCOL] = "protocol error: do key, compression (nocomp) and smuxver agree on both ends?",
        [SESSION_NO_MEMORY] = "out of memory",
    };

    return text[s->end];
}

uint32_t session_conv(const struct session *s)
{
    return s->p.conv;
}

bool session_fec_differs(const struct session *s)
{
    return s->fec_differs;
}

void session_moved(struct session *s, struct tick now)
{
    arq_resend(s->arq, tick_ms(now));
}

bool session_is_news(const struct session *s, struct bytes segs)
{
    return arq_is_news(s->arq, segs);
}

bool session_is_drained(const struct session *s)
{
    return !arq_state(s->arq)->n_inflight && !smux_has_output(s->smux) && s->z.at == s->z.len && !s->emitting;
}

void session_info(const struct session *s, struct session_info *out, struct tick now)
{
    const struct arq_state *a = arq_state(s->arq);
    unsigned d = 0, p = 0;
    bool sure = false;

    if (s->dec)
        fec_decoder_shape(s->dec, &d, &p, &sure);
    *out = (struct session_info){
        .conv = s->p.conv,
        .srtt_ms = a->srtt_ms,
        .rto_ms = a->rto_ms,
        .inflight = a->n_inflight,
        .rmt_wnd = a->rmt_wnd,
        .cwnd = a->cwnd,
        .streams = smux_streams(s->smux),
        .queued = smux_backlog(s->smux),
        .in_bytes = s->in_bytes,
        .out_bytes = s->out_bytes,
        .retrans = s->retrans,
        .age_ms = tick_since_us(now, s->born) / 1000,
        .heard_ms = tick_since_us(now, s->heard) / 1000,
        .fec_data = (uint16_t)(sure ? d : 0),
        .fec_parity = (uint16_t)(sure ? p : 0),
        .peer_is_ours = smux_peer_is_ours(s->smux),
        .memory = sizeof *s + arq_memory(s->arq) + smux_memory(s->smux) + (s->enc ? fec_encoder_memory(s->enc) : 0) +
                  (s->dec ? fec_decoder_memory(s->dec) : 0) + (s->unpack ? snappy_unpack_memory(s->unpack) : 0),
    };
}
