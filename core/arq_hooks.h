/* core/arq_hooks.h - what a congestion controller or pacer sees of the engine, and where the engine's memory comes from.
 * For core/ikcp.c and core/sender.c; a session needs core/arq.h only. */
#ifndef CORE_ARQ_HOOKS_H
#define CORE_ARQ_HOOKS_H

#include "core/arq.h"

/* Tests compile the engine and the sender with this to bound their work without a clock: one step is one turn of a loop
 * whose length depends on the state. */
#ifdef ARQ_COUNT_STEPS
extern uint64_t arq_steps;
#define ARQ_STEP() ((void)arq_steps++)
#else
#define ARQ_STEP() ((void)0)
#endif

/* One segment of ours, as a hook sees it. */
struct arq_sent {
    uint32_t sn, ts, len, xmit;   /* ts: of the latest transmission; xmit: transmissions so far */
};

/* Calls out of the engine; any may be NULL. None may call back into it, but all may write arq_knobs(), and
 * those of the face the congestion window. */
struct arq_hooks {
    void *ctx;
    void (*tick)(void *ctx);      /* a full flush begins */
    int32_t (*budget)(void *ctx); /* payload bytes this flush may send; negative: no limit */
    void (*pulled)(void *ctx);    /* new segments, if any, have been pulled */
    void (*sent)(void *ctx, const struct arq_sent *s); /* just before a transmission is written */
    void (*acked)(void *ctx, const struct arq_sent *s, int32_t rtt_ms); /* a segment left; -1: no sample */
    void (*rtt)(void *ctx, uint32_t rtt_ms); /* the estimate has taken in a sample */
    void (*ack)(void *ctx, uint32_t segs, uint32_t bytes, uint32_t prior_inflight); /* replaces the growth of cwnd */
    void (*fast)(void *ctx, uint32_t n, uint32_t prior_cwnd); /* replaces the reduction after fast retransmissions */
    void (*timeout)(void *ctx, uint32_t prior_cwnd); /* replaces the reduction after a timeout */
    /* What the budget puts off still counts as transmitted: its timer runs and its xmit grows, as C 2.1.1 has it.
     * Without this it stays due and leaves with the next budget. */
    bool defer_counts;
};

/* A driver decides by itself what leaves and when (core/sender.c). With one, the engine has no retransmission timer, no
 * fast retransmission and no congestion window of its own, and asks before each transmission; segments to be sent again
 * (arq_again()) come before new ones, lowest sn first. Each transmission carries a ts of its own, so that an
 * acknowledgement names the transmission it answers. None of the calls may call back into the engine, but for arq_again(). */
struct arq_driver {
    void *ctx;
    bool (*may_send)(void *ctx, uint32_t len); /* len bytes of payload; of a segment not pulled yet: the most */
    /* In flight since before the driver came, oldest first; age_ms since its latest transmission. A tag; 0: there is no
     * room to remember it, and it is sent again. */
    uint32_t (*took)(void *ctx, const struct arq_sent *s, uint32_t age_ms);
    /* A transmission was decided; `tag` is what the one before returned (0: it is the first). A tag, not 0. */
    uint32_t (*sent)(void *ctx, const struct arq_sent *s, uint32_t tag);
    void (*una)(void *ctx, uint32_t sn, uint32_t tag); /* una covers a segment that no ack named so far */
    /* Any ACK segment, also of what is long acknowledged; before the segment is let go. tag 0: not known any more. */
    void (*ack)(void *ctx, uint32_t sn, uint32_t ts, uint32_t tag, unsigned flags);
};

/* Copies *d; NULL: back to the engine's own rules, whose knobs the caller sets. At any time between flushes: what is in
 * flight is handed over with its times, and nothing is sent again for the change alone. 0, -ENOMEM: nothing has changed. */
int arq_set_driver(struct arq *a, const struct arq_driver *d, uint32_t now);
/* Segment sn is to leave again with the next flush that may send. False: it is acknowledged, or waits already. */
bool arq_again(struct arq *a, uint32_t sn);
/* The driver's tag of a segment's latest transmission; 0: not known any more. */
uint32_t arq_tag(const struct arq *a, uint32_t sn);
/* Something waits for the driver's leave. */
bool arq_waits(const struct arq *a);

/* Where segments are kept and rings come from. */
struct arq_mem {
    void *ctx;
    struct buf *(*get)(void *ctx, uint32_t len); /* room for len bytes; NULL */
    void (*put)(struct buf *b);
    void *(*alloc)(size_t n);
    void (*free)(void *p);
    uint32_t seg_max;             /* longest payload get() can hold */
};

/* arq_new() with memory of one's own; p->pool is not used. Copies *m. */
struct arq *arq_new_in(const struct arq_params *p, const struct arq_mem *m);
/* Copies *h; NULL: none. */
void arq_set_hooks(struct arq *a, const struct arq_hooks *h);
/* First sequence number of each direction; only while nothing has been sent or received yet. */
void arq_set_start(struct arq *a, uint32_t snd_sn, uint32_t rcv_sn);

#endif
