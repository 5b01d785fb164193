/* core/session.c - one peer: the parts it is made of, its life, and what is said of it.
 * In:  datagram -> (FEC) -> arq -> (snappy) -> smux.   Out: smux -> (snappy) -> arq -> (FEC) -> batch. */
#include "core/session_priv.h"

#include "core/smux_frame.h"

#include <stdlib.h>

enum {
    SEND_BUF = 64 * 1024, /* bytes of a stream that wait for the window; more stay in its connection */
    READ_MAX = 128 * 1024, /* and what the last read brought, if it came whole */
    REPEATS_MAX = 1024, /* acknowledgements repeated in one flush */
    REST_US = 500 * 1000, /* without a datagram either way: a pause */
};

bool session_fail(struct session *s, enum session_end why)
{
    if (s->end == SESSION_ALIVE)
        s->end = why;
    return false;
}

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
        .pull = session_pull,
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

static bool has_fec(const struct session_params *p)
{
    return p->fec_data && p->fec_parity && p->fec_data + p->fec_parity <= SHARD_MAX_N;
}

/* Bytes of a datagram around its segments. */
static unsigned overhead(const struct session_params *p)
{
    return (unsigned)p->head + p->tail + (has_fec(p) ? SHARD_DATA_HEADER : 0);
}

/* Gives the engine a sender, and our acknowledgements to it their rules. False: out of memory, nothing has changed. */
static bool adapt(struct session *s, struct tick now)
{
    const struct sender_params sp = {
        .arq = s->arq,
        .overhead = SESSION_IP_UDP + overhead(&s->p),
        .redundancy = s->p.redundancy,
        .abreast = s->p.abreast,
        .seed = s->p.conv,
    };
    struct arq_knobs *k = arq_knobs(s->arq);

    s->sender = sender_new(&sp, now);
    if (!s->sender)
        return false;
    smux_set_window(s->smux, s->p.stream_buf, s->p.stream_buf / 4);
    s->ack = (struct ack_plan){.way = SESSION_ACK_WAYS - 1};
    s->here = (struct way_here){0};
    s->gap = (struct gap_watch){0};
    s->overtakes.seen = smux_overtakes(s->smux);
    k->lazy_acks = true;
    k->repeats_max = REPEATS_MAX;
    return true;
}

/* The reverse. */
static bool unadapt(struct session *s, struct tick now)
{
    struct arq_knobs *k = arq_knobs(s->arq);

    if (!sender_leave(s->sender, now))
        return false;
    session_count(s); /* the last of what it counted */
    s->sender = sender_free(s->sender);
    smux_set_window(s->smux, s->p.stream_buf, s->p.stream_buf / 2);
    k->lazy_acks = k->hold_acks = k->ack_all = false;
    k->ack_repeats = 0;
    k->repeats_max = 0;
    return true;
}

/* With a sender the budget is asked for by the flush. */
static void set_budget(struct session *s)
{
    const struct arq_hooks h = {.ctx = s, .budget = session_budget};

    arq_set_hooks(s->arq, !s->sender && (s->p.rate || s->p.pacing) ? &h : NULL);
}

struct session *session_new(const struct session_params *p, struct tick now)
{
    struct session *s = calloc(1, sizeof *s);
    unsigned around = overhead(p);
    bool fec = has_fec(p);

    if (!s)
        return NULL;
    s->p = *p;
    s->born = s->taking = s->heard = s->active = s->last_io = now;
    s->next_nop = tick_add_ms(now, p->keepalive_ms);
    s->arq = p->mtu > around ? make_arq(s, (uint16_t)(p->mtu - around)) : NULL;
    s->smux = make_smux(p);
    if (s->arq)
        arq_knobs(s->arq)->early = !p->adaptive;
    if (s->arq && s->smux && p->adaptive && !adapt(s, now))
        return session_free(s);
    if (s->arq)
        set_budget(s);
    if (fec)
        s->enc = fec_encoder_new(p->fec_data, p->fec_parity, p->mtu - around);
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
    session_count_end(s);
    smux_free(s->smux);
    sender_free(s->sender);
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

/* The mode and its numbers, and the windows. */
static void retune_engine(struct session *s, const struct session_params *p, struct tick now)
{
    struct arq_knobs *k = arq_knobs(s->arq);

    if (p->adaptive != s->p.adaptive && !(p->adaptive ? adapt(s, now) : unadapt(s, now)))
        return; /* no memory: it goes on as it was */
    s->p.adaptive = p->adaptive;
    k->snd_wnd = s->p.snd_wnd = p->snd_wnd;
    k->rcv_wnd = s->p.rcv_wnd = p->rcv_wnd;
    k->min_rto_ms = p->nodelay ? ARQ_MIN_RTO_EAGER_MS : ARQ_MIN_RTO_MS;
    k->nodelay = s->p.nodelay = p->nodelay;
    k->interval_ms = s->p.interval_ms = p->interval_ms;
    s->p.resend = p->resend;
    k->resend = p->adaptive ? 0 : p->resend;
    k->early = !p->adaptive; /* as the peer's modes do */
    k->nocwnd = s->p.nocwnd = p->nocwnd;
}

void session_retune(struct session *s, const struct session_params *p, struct tick now)
{
    unsigned parity = p->fec_data ? (unsigned)p->fec_parity - p->fec_unsent : 0;

    retune_engine(s, p, now);
    s->p.rate = p->rate;
    s->p.pacing = p->pacing;
    s->p.redundancy = p->redundancy;
    s->p.abreast = p->abreast;
    set_budget(s);
    if (s->sender)
        sender_retune(s->sender, p->redundancy, p->abreast);
    s->p.keepalive_ms = p->keepalive_ms;
    s->next_nop = tick_min(s->next_nop, tick_add_ms(now, p->keepalive_ms));
    s->p.peer_timeout_ms = p->peer_timeout_ms;
    s->p.max_streams = p->max_streams;
    smux_set_max_streams(s->smux, p->max_streams);
    s->p.fec_unsent = (uint16_t)(s->p.fec_parity - MIN((unsigned)s->p.fec_parity, parity));
}

/* Gives up what a flow that has paused no longer needs: open FEC groups (what was lost in them has been repaired
 * otherwise, and parity over what comes seconds apart protects nothing) and rings as large as the last burst. */
static void rest(struct session *s)
{
    arq_trim(s->arq);
    if (s->sender)
        sender_trim(s->sender);
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
void session_stir(struct session *s, struct tick now)
{
    if (tick_since_us(now, s->last_io) >= REST_US && !s->emitting && s->z.at == s->z.len)
        rest(s);
    s->last_io = now;
}

int session_settle(struct session *s)
{
    if (!s->end && (arq_settle(s->arq) || smux_settle(s->smux)))
        session_fail(s, SESSION_NO_MEMORY);
    if (s->dec)
        fec_decoder_settle(s->dec);
    if (!s->end)
        drop_held(s);
    session_count(s);
    return s->end ? SESSION_ENDED : 0;
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
                  + (SESSION_GROUPS_KEPT + 2) * (size_t)shards /* open groups, and one being recovered */
                  + 2 * (p->session_buf + SMUX_FRAME_MAX) / buf_size /* received, packed; read and not taken */
                  + n_streams * (2 + (SEND_BUF + READ_MAX) / buf_size); /* sent and waiting, a partial one each way */
    size_t compressed = p->compress ? 4 * (size_t)SNAPPY_CHUNK_MAX : 0;
    size_t sender = p->adaptive ? sender_memory_max(p->snd_wnd) : 0;

    return sizeof(struct session) + 16384 + bufs * piece + compressed + p->fec_parity * (size_t)p->mtu +
           arq_acks_max(p->rcv_wnd, p->adaptive ? REPEATS_MAX : 0) + sender + n_streams * 512;
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
        [SESSION_UNREAD] = "the peer has dropped what it cannot read",
        [SESSION_REFUSED] = "nobody listens there (ICMP port unreachable)",
        [SESSION_PROTOCOL] = "protocol error: do key, compression (nocomp) and smuxver agree on both ends?",
        [SESSION_NO_MEMORY] = "out of memory",
    };

    return text[s->end];
}

uint32_t session_conv(const struct session *s)
{
    return s->p.conv;
}

/* A peer that moves on and on does not get a whole window each time, which would be a thousand datagrams for one: no sooner
 * than timeouts would send it again. */
void session_moved(struct session *s, struct tick now)
{
    if (s->moved.us && tick_since_us(now, s->moved) < arq_state(s->arq)->rto_ms * UINT64_C(1000))
        return;
    s->moved = now;
    if (s->sender)
        sender_moved(s->sender, now);
    else
        arq_resend(s->arq, tick_ms(now));
}

bool session_is_disowned(const struct session *s)
{
    return arq_state(s->arq)->behind > 0;
}

uint32_t session_rcv_next(const struct session *s)
{
    return arq_state(s->arq)->rcv_nxt;
}

bool session_is_news(const struct session *s, struct bytes segs)
{
    return arq_is_news(s->arq, segs);
}

bool session_is_drained(const struct session *s)
{
    const struct arq_state *a = arq_state(s->arq);

    return !a->n_inflight && !a->n_acks && !smux_has_output(s->smux) && s->z.at == s->z.len && !s->emitting;
}

static void tell_sender(const struct session *s, struct session_info *out)
{
    struct sender_info i;

    sender_info(s->sender, &i);
    out->phase = i.phase;
    out->rate = i.rate;
    out->pacing = i.pacing;
    out->wire_inflight = i.inflight;
    out->window = i.window;
    out->min_rtt_us = i.min_rtt_us;
    out->srtt_us = i.srtt_us;
    out->queue_us = i.queue_us;
    out->ack_thrift = s->ack.way;
    out->loss_ppm = i.loss_ppm;
    out->back_ppm = i.back_ppm;
    out->parity = i.parity;
    out->thin = i.thin;
    out->copies = s->copies;
    out->spurious = s->spurious;
    out->memory += sender_memory(s->sender);
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
        .stalled_ms = a->n_inflight && a->snd_una == s->una ? tick_since_us(now, s->una_since) / 1000 : 0,
        .fec_data = (uint16_t)(sure ? d : 0),
        .fec_parity = (uint16_t)(sure ? p : 0),
        .peer_is_ours = smux_peer_is_ours(s->smux),
        .memory = sizeof *s + arq_memory(s->arq) + smux_memory(s->smux) + (s->enc ? fec_encoder_memory(s->enc) : 0) +
                  (s->dec ? fec_decoder_memory(s->dec) : 0) + (s->unpack ? snappy_unpack_memory(s->unpack) : 0),
    };
    if (s->sender)
        tell_sender(s, out);
}
