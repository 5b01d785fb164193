/* core/arq.h - the KCP engine: selective-repeat ARQ over datagrams that get lost and shuffled.
 * Sees no socket, clock or cipher: time comes in as the KCP clock (ms modulo 2^32), datagrams go in through
 * arq_input(), are decided on by arq_flush() and come out of arq_emit(). Both windows are rings indexed by sn that
 * grow on demand, so the cost of a call does not depend on the window.
 * Wire and rules: the KCP description, sections 1-13; where the known cores differ this engine follows C 2.1.1, and
 * what a session needs beyond it is a knob. core/ikcp.h is the reference's API over this. */
#ifndef CORE_ARQ_H
#define CORE_ARQ_H

#include "core/base/buf.h"
#include "core/base/tick.h"

#include <stdbool.h>

enum {
    ARQ_HEADER = 24,              /* bytes of a segment header */
    ARQ_FAR_BEHIND = 1 << 29,     /* segments; no window reaches as far */
    ARQ_WND_MAX = 32768,
    ARQ_MIN_RTO_MS = 100,         /* arq_knobs.min_rto_ms to begin with; with nodelay: */
    ARQ_MIN_RTO_EAGER_MS = 30,
};

enum {                            /* positive results */
    ARQ_AGAIN = 1,                /* nothing there now */
    ARQ_ALIEN,                    /* another conversation, or too short for a header */
    ARQ_MALFORMED,                /* length runs past the end */
    ARQ_BAD_CMD,
};

enum {                            /* arq_input() flags */
    ARQ_RECOVERED = 1,            /* rebuilt by FEC: stale window, no RTT sample, duplicates not counted */
};

enum arq_flush_kind { ARQ_FLUSH_FULL, ARQ_FLUSH_ACKS };

/* One segment's worth of bytes, in (pull) or out (recv). */
struct arq_chunk {
    const uint8_t *p;
    uint32_t len;                 /* out of pull: 0..mss */
    uint8_t frg;
    struct buf *own;              /* holds p; NULL in recv: lent by the caller of arq_input() until arq_settle() */
};

struct arq;

/* Called by a full flush while the window has room. Gives one segment: *c, whose buf the engine takes.
 * 0, ARQ_AGAIN (nothing to send now). */
typedef int arq_pull_fn(void *ctx, struct arq *a, struct arq_chunk *c);

struct arq_params {
    uint32_t conv;
    uint16_t mtu;                 /* bytes of segments in one datagram, headers included; 50..1500 */
    uint16_t snd_wnd, rcv_wnd;    /* segments; 1..ARQ_WND_MAX */
    uint8_t nodelay;              /* 0..2 */
    uint16_t interval_ms;         /* 10..5000 */
    uint32_t resend;              /* fast retransmission after this many later acks; 0 = off */
    bool nocwnd;                  /* no congestion window */
    bool ack_all;                 /* acknowledge every segment; else only what una does not cover, and the last */
    struct buf_pool *pool;        /* for segments that arrive out of order; buffers >= mtu. Borrowed for life */
    arq_pull_fn *pull;
    void *ctx;
};

/* What is set while running. Every field may be written between calls. */
struct arq_knobs {
    uint32_t snd_wnd, rcv_wnd;
    uint32_t min_rto_ms;
    uint32_t interval_ms;
    uint32_t resend;              /* 0 = off */
    bool early;                   /* what a later ack has passed need not wait for `resend` of them: it leaves again at the
                                   * next multiple of interval_ms, unless something new is to be sent then */
    uint32_t fast_limit;          /* transmissions after which a segment no longer leaves again for later acks; 0 = none */
    uint32_t dead_link;           /* transmissions of one segment after which arq_state.dead is set */
    uint8_t nodelay;
    bool nocwnd, ack_all;
    bool lazy_acks;               /* what una covers and comes again is acknowledged only where nothing that carries una leaves */
    bool hold_acks;               /* flushes leave acknowledgements waiting */
    uint8_t ack_repeats;          /* further datagrams that carry each acknowledgement, until una covers it */
    uint16_t repeats_max;         /* of these in one flush */
    bool keep_fastack;            /* C 2.1.1: a timeout leaves the count of later acks as it is, so that a segment may
                                   * be sent again in the very next flush */
    uint16_t probe_first_ms;      /* first wait for a peer whose window is closed */
};

/* What may be read at any time. */
struct arq_state {
    uint32_t conv;
    uint32_t snd_una, snd_nxt;    /* oldest unacknowledged; next new */
    uint32_t rcv_nxt;             /* next expected in order */
    uint32_t rcv_read;            /* next to hand out: rcv_nxt - rcv_read segments wait for the reader */
    uint32_t rmt_wnd, cwnd, ssthresh, incr;
    uint32_t srtt_ms, rttvar_ms, rto_ms; /* srtt 0: no sample yet */
    uint32_t rtt_ms, n_rtts;      /* the newest sample; samples so far */
    uint32_t n_inflight;          /* segments sent and not acknowledged */
    uint32_t n_rcv_buf;           /* segments that arrived out of order */
    uint32_t n_acks, n_fresh;     /* acknowledgements waiting for a flush; of these, for what came the first time */
    bool came_again;              /* lazy_acks: something that una covers did, and una has not been said since */
    uint32_t xmit;                /* timeouts so far */
    uint32_t behind;              /* datagrams in a row whose una lies before what it was, and stays there: > 0 while
                                   * the peer seems to have lost its state; 1 while late ones arrive */
    uint32_t rmt_ts;              /* latest time the peer wrote into a PUSH; ... */
    bool rmt_ts_known;            /* ... if there was one */
    uint32_t heard_ms;            /* KCP clock when a datagram of this conversation last arrived */
    bool dead;                    /* a segment reached dead_link transmissions */
};

/* Counters of one engine since it began; the owner moves them to where it counts. */
struct arq_counts {
    uint64_t in_segs, out_segs, lost_segs, fast_segs, early_segs, repeat_segs, spurious_segs;
};

/* NULL: out of memory, or parameters outside their ranges. */
struct arq *arq_new(const struct arq_params *p);
struct arq *arq_free(struct arq *a);

struct arq_knobs *arq_knobs(struct arq *a);
const struct arq_state *arq_state(const struct arq *a);
struct arq_counts arq_take_counts(struct arq *a);         /* and zeroes them */

/* Takes the segments of one datagram. Segments before a bad one stay processed.
 * 0, ARQ_ALIEN, ARQ_MALFORMED, ARQ_BAD_CMD. Payload is lent: see arq_settle(). */
int arq_input(struct arq *a, struct bytes dgram, unsigned flags, uint32_t now);

/* The next segment in order; the caller owns c->own. Reading a full queue announces the window. 0, ARQ_AGAIN. */
int arq_recv(struct arq *a, struct arq_chunk *c);
/* The i-th segment that arq_recv() would give, not consumed. 0, ARQ_AGAIN. */
int arq_peek(const struct arq *a, uint32_t i, struct arq_chunk *c);
/* Copies what still points into memory lent to arq_input(). 0, -ENOMEM: what did not fit is forgotten; an acknowledged
 * segment is lost then, so the session must end. */
int arq_settle(struct arq *a);

/* Decides what is due at now: acknowledgements, probes, (ARQ_FLUSH_FULL:) retransmissions, and new segments pulled while
 * the window has room. 0, -ENOMEM (nothing new was pulled). */
int arq_flush(struct arq *a, enum arq_flush_kind kind, uint32_t now);
/* Writes the next datagram of what arq_flush() decided, at most mtu bytes (after arq_set_mtu() a segment cut before
 * leaves as long as it was, so `out` holds the largest mtu there ever was). Its length; 0: no more. */
size_t arq_emit(struct arq *a, uint8_t *out);
/* True if a full flush now would pull: the windows have room. */
bool arq_has_room(const struct arq *a);
/* When arq_flush() next has something due by the clock (retransmission, window probe), as ms from now; UINT32_MAX: never. */
uint32_t arq_due_in_ms(const struct arq *a, uint32_t now);
/* Makes the next flush send a WASK, whatever the peer's window: every peer answers with a WINS. */
void arq_probe(struct arq *a);
/* The path has changed and what is in flight may be gone: all of it is due with the next flush, backoff forgotten. */
void arq_resend(struct arq *a, uint32_t now);
/* True if no datagram from the past says what this one does: it holds a PUSH not received yet, or sent later (by the
 * peer's clock) than any received: a peer whose acknowledgements are lost repeats what we have. Changes nothing. */
bool arq_is_news(const struct arq *a, struct bytes dgram);

/* 0, -EINVAL below 50. Segments already cut keep their size. */
int arq_set_mtu(struct arq *a, uint16_t mtu);
uint32_t arq_mss(const struct arq *a);
/* Gives unused ring memory back (an idle session holds a few hundred bytes). */
void arq_trim(struct arq *a);
/* Bytes of heap held: rings and lists, without pool buffers. */
size_t arq_memory(const struct arq *a);
/* Of those, what acknowledgements that wait may take at most. */
size_t arq_acks_max(uint32_t rcv_wnd, uint32_t repeats_max);

#endif
