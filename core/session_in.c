/* core/session_in.c - from datagram to streams. */
#include "core/session_priv.h"

enum {
    BEHIND_US = 1500 * 1000, /* the peer's una stays behind ours this long, in at least ... */
    BEHIND_MIN = 4, /* ... so many datagrams in a row: it has lost its state */
};

/* Feeds the multiplexer from b until it wants no more; b advances. False: the session has ended. */
static bool feed(struct session *s, struct bytes *b)
{
    int r = smux_input(s->smux, b);

    if (r)
        return session_fail(s, r == -ENOMEM ? SESSION_NO_MEMORY : SESSION_PROTOCOL);
    return true;
}

/* The same for bytes that go away soon: settles at once, keeps what the multiplexer did not want. */
static bool feed_now(struct session *s, struct bytes b)
{
    if (!feed(s, &b))
        return false;
    if (smux_settle(s->smux) || bufq_copy_in(&s->plain, s->p.pool, b))
        return session_fail(s, SESSION_NO_MEMORY);
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
            return session_fail(s, r < 0 ? SESSION_NO_MEMORY : SESSION_PROTOCOL);
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
            return session_fail(s, SESSION_NO_MEMORY);
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
    stat_add(&s->p.stats->bytes_received, b.len);
    ok = s->unpack ? inflate(s, &b) : feed(s, &b);
    if (ok && bufq_copy_in(s->unpack ? &s->raw : &s->plain, s->p.pool, b))
        ok = session_fail(s, SESSION_NO_MEMORY);
    return ok;
}

bool session_pump(struct session *s)
{
    struct arq_chunk c;

    if (!drain(s, &s->plain, feed) || !drain(s, &s->raw, inflate))
        return false;
    while (smux_wants_input(s->smux) && arq_recv(s->arq, &c) == 0)
        if (!take_chunk(s, &c))
            return false;
    return true;
}

static void segs_in(struct session *s, struct bytes segs, unsigned flags, struct tick now)
{
    if (s->sender)
        sender_begin_input(s->sender, now);
    if (arq_input(s->arq, segs, flags, tick_ms(now)))
        stat_add(&s->p.stats->kcp_in_errors, 1);
    if (!s->sender)
        return;
    if (smux_peer_is_ours(s->smux))
        sender_peer_is_ours(s->sender);
    sender_end_input(s->sender);
    session_ack_heard(s, now);
}

/* The FEC side of a packet: its group, and what that brings back. */
static bool fec_in(struct session *s, const struct shard *sh, struct tick now)
{
    bool any = false;
    struct bytes b;

    if (!s->dec) {
        const struct fec_decoder_params p = {s->p.fec_data, s->p.fec_parity, SESSION_GROUPS_KEPT, s->p.pool};

        s->dec = fec_decoder_new(&p);
        if (!s->dec)
            return session_fail(s, SESSION_NO_MEMORY);
    }
    fec_decoder_input(s->dec, sh);
    if (s->sender)
        session_ack_shard(s, sh, now);
    while (fec_decoder_next(s->dec, &b)) {
        segs_in(s, b, ARQ_RECOVERED, now);
        if (arq_settle(s->arq)) /* b goes with the next call on the decoder */
            return session_fail(s, SESSION_NO_MEMORY);
        any = true;
    }
    if (any && s->sender)
        sender_gap_over(s->sender);
    return true;
}

/* A sign of life, and of memory: una that stays behind what it was means that the server began anew, if for longer than
 * anything is under way. Datagrams that waited, perhaps for seconds, at a worker without a processor look alike. At a
 * client their una moves up, which the engine sees (look_behind() in core/arq.c); at a server a whole flight of an
 * upload may say the same, but no client begins anew in a conversation it has: a server judges nobody. */
static bool heard(struct session *s, struct tick now)
{
    const struct arq_state *a = arq_state(s->arq);

    s->heard = now;
    s->probes = s->refusals = 0;
    if (a->behind <= 1)
        s->behind_since = now;
    else if (s->p.client && a->behind >= BEHIND_MIN &&
             tick_since_us(now, s->behind_since) >= MAX((uint64_t)BEHIND_US, 2 * a->rto_ms * UINT64_C(1000)))
        return session_fail(s, session_is_proven(s) ? SESSION_LOST_STATE : SESSION_UNREAD);
    return session_proof_heard(s);
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
    session_stir(s, now);
    if (sh.kind && s->sender)
        session_gap_shard(s, &sh, now);
    if (sh.kind != SHARD_PARITY)
        segs_in(s, sh.kind ? sh.payload : payload, 0, now);
    if (!arq_state(s->arq)->behind) { /* who has lost the session says nothing of how it was */
        s->plain_heard += !sh.kind;
        s->fec_heard += sh.kind != 0;
    }
    if (!heard(s, now) || (sh.kind && !fec_in(s, &sh, now)) || !session_pump(s))
        return SESSION_ENDED;
    if (arq_state(s->arq)->rcv_nxt != segs && payload.len >= s->p.mtu / 2)
        s->active = now;
    return 0;
}
