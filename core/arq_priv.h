/* core/arq_priv.h - the inside of the engine, shared by its files (arq*.c) and the face. Serial numbers are
 * never reduced: a ring index is sn & (cap - 1). */
#ifndef CORE_ARQ_PRIV_H
#define CORE_ARQ_PRIV_H

#include "core/arq_hooks.h"
#include "core/arq_seg.h"

#include <errno.h>

enum {
    ARQ_RING_MIN = 16,
    ARQ_WIRE_WND_MAX = 65535,     /* what the wnd field can say */
    ARQ_RTO_MAX_MS = 60000,       /* of the estimate, and the longest RTT believed */
    ARQ_SEG_RTO_MAX_MS = 1 << 29, /* a segment's own backed-off timer stays far below half the clock's range */
    ARQ_PROBE_MAX_MS = 120000,
};

enum { ARQ_ASK = 1, ARQ_TELL = 2 }; /* WASK, WINS wanted */

/* One segment on its way. In the ring from pull until snd_una passes it; `live` until it is acknowledged. */
struct arq_out {
    const uint8_t *p;
    struct buf *own;
    uint32_t len;
    uint32_t ts;                  /* of the last transmission; of the pull before the first */
    uint32_t resend_at, rto;
    uint32_t fastack, xmit;
    uint32_t older, newer;        /* neighbours by (ts, sn), as sn; the ends point at themselves */
    uint32_t tag;                 /* the driver's, of the latest transmission */
    uint8_t frg;
    bool live;
};

/* A set of sn within the send ring. */
struct arq_bits {
    uint64_t *w;
    uint32_t n;                   /* members */
    uint32_t lo;                  /* no member before this */
};

/* A timer for segments transmitted together: first .. first + n - 1 had this deadline when it was set. */
struct arq_run {
    uint32_t at, first, n;
};

struct arq_in {                   /* one received segment */
    const uint8_t *p;
    struct buf *own;              /* NULL: lent, or empty */
    uint32_t len;
    uint8_t frg;
    bool have;
};

struct arq_ack {
    uint32_t sn, ts;
};

struct arq_again {
    struct arq_ack ack;
    uint32_t left;                /* datagrams that are still to carry it */
};

struct arq {
    struct arq_state st;
    struct arq_knobs k;
    struct arq_counts n;
    struct arq_hooks hooks;
    struct arq_driver drv;        /* may_send NULL: none */
    struct arq_mem mem;
    arq_pull_fn *pull;
    void *pull_ctx;
    uint32_t mtu, mss;
    bool has_hooks;

    /* sending: [snd_una, snd_nxt) */
    struct arq_out *out;
    uint32_t out_cap;
    uint32_t snd_out;             /* no sn from here on was ever put on the wire */
    struct arq_bits due;          /* to be looked at by the next full flush */
    struct arq_bits pend;         /* decided, to be written by arq_emit() */
    struct arq_bits count;        /* whose fastack still matters: the list by ts */
    struct arq_bits passed;       /* with `early`: a later ack has come, fewer than `resend`; looked at ... */
    uint32_t early_at;            /* ... then */
    uint32_t ts_head, ts_tail;
    struct arq_run *runs;         /* heap, earliest deadline first */
    uint32_t n_runs, runs_cap;

    /* of the flush whose output is being written */
    uint32_t n_fast, n_lost, prior_cwnd;
    bool reacting;                /* the reaction to losses is still to come */
    bool announced;               /* hooks.sent was told of announced_sn, which found no room in the last datagram */
    uint32_t announced_sn;
    struct arq_ack last_ack;      /* what WASK and WINS carry along */

    /* receiving: [rcv_read, rcv_nxt) can be read, [rcv_nxt, ...) has gaps */
    struct arq_in *in;
    uint32_t in_cap;
    uint32_t *lent;               /* sn of what points into memory of the caller of arq_input() */
    uint32_t n_lent, lent_cap;
    uint32_t rmt_una;             /* highest una heard */
    uint32_t behind_una;          /* that of the newest datagram, of use while st.behind */
    struct arq_ack again_ack;     /* for what came_again */

    struct arq_ack *acks;         /* [ack_at, ack_end) is being written, [ack_end, ack_n) waits for a flush */
    uint32_t ack_at, ack_end, ack_n, ack_cap;
    struct arq_again *again;        /* written before, in that order; [again_lo, again_at) is to be repeated, newest first */
    uint32_t again_lo, again_at, again_n, again_cap;
    unsigned probe, telling;      /* ARQ_ASK | ARQ_TELL: for the next flush; being written */
    uint32_t probe_wait, probe_at;
};

static inline struct arq_out *arq_out_at(const struct arq *a, uint32_t sn)
{
    return &a->out[sn & (a->out_cap - 1)];
}

static inline struct arq_in *arq_in_at(const struct arq *a, uint32_t sn)
{
    return &a->in[sn & (a->in_cap - 1)];
}

/* ---- sets of sn; inline, because every segment passes through all three ---- */

static inline bool arq_bits_has(const struct arq *a, const struct arq_bits *b, uint32_t sn)
{
    uint32_t i = sn & (a->out_cap - 1);

    return b->w[i / 64] >> (i % 64) & 1;
}

static inline void arq_bits_add(const struct arq *a, struct arq_bits *b, uint32_t sn)
{
    uint32_t i = sn & (a->out_cap - 1);

    if (arq_bits_has(a, b, sn))
        return;
    b->w[i / 64] |= (uint64_t)1 << (i % 64);
    if (b->n++ == 0 || serial_before(sn, b->lo))
        b->lo = sn;
}

static inline void arq_bits_del(const struct arq *a, struct arq_bits *b, uint32_t sn)
{
    uint32_t i = sn & (a->out_cap - 1);

    if (!b->n || !arq_bits_has(a, b, sn))
        return;
    b->w[i / 64] &= ~((uint64_t)1 << (i % 64));
    b->n--;
}

/* The next member in the same word, or else where the next word begins: one step of a walk, whatever lies between. */
static inline uint32_t arq_bits_step(const struct arq *a, const struct arq_bits *b, uint32_t from)
{
    uint32_t i = from & (a->out_cap - 1);
    uint64_t w = b->w[i / 64] >> (i % 64);

    return from + (w ? (uint32_t)__builtin_ctzll(w) : MIN(64 - i % 64, a->out_cap - i));
}

/* The first member from `from` on; snd_nxt: none. A word may hold both ends of the window; its bits from `from` on come in
 * sn order up to the word's end, and the ring never holds more than cap, so what lies beyond snd_nxt is recognised by its
 * sn. */
static inline uint32_t arq_bits_next(const struct arq *a, const struct arq_bits *b, uint32_t from)
{
    uint32_t end = a->st.snd_nxt;

    while (serial_before(from, end) && !arq_bits_has(a, b, from)) {
        ARQ_STEP();
        from = arq_bits_step(a, b, from);
    }
    return serial_before(from, end) ? from : end;
}

static inline uint32_t arq_bits_first(const struct arq *a, struct arq_bits *b)
{
    if (!b->n)
        return a->st.snd_nxt;
    if (serial_before(b->lo, a->st.snd_una))
        b->lo = a->st.snd_una;
    return b->lo = arq_bits_next(a, b, b->lo);
}

/* sn lies in [from, to). */
static inline bool arq_within(uint32_t sn, uint32_t from, uint32_t to)
{
    return !serial_before(sn, from) && serial_before(sn, to);
}

static inline uint32_t arq_rcv_wnd(const struct arq *a)
{
    return MIN(a->k.rcv_wnd, (uint32_t)ARQ_WIRE_WND_MAX);
}

/* What the wnd field says now. */
static inline uint16_t arq_rcv_room(const struct arq *a)
{
    uint32_t queued = a->st.rcv_nxt - a->st.rcv_read, wnd = arq_rcv_wnd(a);

    return (uint16_t)(queued < wnd ? wnd - queued : 0);
}

/* Smallest ring for n elements. */
static inline uint32_t arq_ring_for(uint32_t n)
{
    uint32_t cap = ARQ_RING_MIN;

    while (cap < n)
        cap *= 2;
    return cap;
}

/* A block for `cap` elements of `size` bytes with the first n of old in it, replacing old. NULL: old is as it was. */
void *arq_regrow(const struct arq *a, void *old, uint32_t n, uint32_t cap, size_t size);

/* arq_snd.c: the send ring, acknowledgements, round-trip time. */
int arq_snd_fit(struct arq *a, uint32_t n); /* room for n segments. 0, -ENOMEM */
int arq_snd_resize(struct arq *a, uint32_t cap);
size_t arq_snd_bytes(uint32_t cap);
void arq_by_ts_add(struct arq *a, uint32_t sn);
void arq_by_ts_del(struct arq *a, uint32_t sn);
uint32_t arq_snd_una(struct arq *a, uint32_t una); /* frees what una covers. Bytes of payload */
uint32_t arq_snd_ack(struct arq *a, uint32_t sn, uint32_t now); /* frees one. Bytes of payload */
void arq_snd_slide(struct arq *a); /* snd_una to the first segment left */
void arq_snd_later_ack(struct arq *a, uint32_t sn, uint32_t ts);
void arq_snd_rtt(struct arq *a, uint32_t rtt_ms);
void arq_snd_grow(struct arq *a); /* congestion window, after an advance of snd_una */
bool arq_snd_fast_due(const struct arq *a, const struct arq_out *s);
uint32_t arq_early_after(const struct arq *a, uint32_t now); /* the next multiple of the interval */

/* arq_timer.c: retransmission deadlines. */
int arq_timer_fit(struct arq *a, uint32_t n); /* room for n more runs. 0, -ENOMEM */
void arq_timer_add(struct arq *a, struct arq_run run); /* after arq_timer_fit() */
void arq_timer_rebuild(struct arq *a); /* from the segments' deadlines; there is room for a run each */
void arq_timer_due(struct arq *a, uint32_t now); /* moves what is due to a->due */
void arq_timer_prune(struct arq *a); /* the earliest run then has a segment waiting for it */

/* arq_drive.c: transmissions that a driver decides. */
int arq_drive(struct arq *a, uint32_t now); /* 0, -ENOMEM */

uint32_t arq_rto_in_ms(const struct arq *a, uint32_t now); /* next retransmission by timeout; UINT32_MAX: none */

/* arq_ack.c: acknowledgements on their way out. */
void arq_ack_add(struct arq *a, uint32_t sn, uint32_t ts);
void arq_ack_decide(struct arq *a);
bool arq_ack_next(struct arq *a, struct arq_ack *out); /* the next to be written; it is not taken away */
void arq_ack_wrote(struct arq *a);
void arq_ack_done(struct arq *a); /* all is written */
void arq_ack_trim(struct arq *a);

/* arq_flush.c */
int arq_pull_one(struct arq *a, uint32_t now); /* one new segment, due at once. 0, ARQ_AGAIN, -ENOMEM */

/* arq_rcv.c */
int arq_rcv_resize(struct arq *a, uint32_t cap);
bool arq_rcv_has(const struct arq *a, uint32_t sn); /* sn >= rcv_read is in the ring */
int arq_rcv_push(struct arq *a, const struct arq_seg *s, const uint8_t *body, unsigned flags);

#endif
