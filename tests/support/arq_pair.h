/* tests/support/arq_pair.h - two engines and a link that loses, repeats and shuffles, in virtual time; and the
 * engine's invariants, computed the slow way. */
#ifndef SUPPORT_ARQ_PAIR_H
#define SUPPORT_ARQ_PAIR_H

#include "core/arq_priv.h"
#include "tests/support/vectors.h"

enum { ARQ_PAIR_SLOTS = 2048 };   /* ms; no datagram is on its way longer */

struct arq_pair_dgram {
    struct arq_pair_dgram *next;
    size_t len;
    uint8_t p[];
};

struct arq_pair_end {
    struct arq *a;
    uint64_t made, total;         /* bytes of the pattern given to the engine; to be given */
    uint64_t got;                 /* bytes of the peer's pattern read */
    uint32_t seg_max;             /* longest segment pulled; 0: mss */
    uint32_t read_every;          /* ms between reads; 0: at once */
    uint64_t n_sent;              /* datagrams */
    struct arq_pair_dgram *slot[ARQ_PAIR_SLOTS], **last[ARQ_PAIR_SLOTS]; /* on their way to this end */
    struct rng *rng;
};

struct arq_pair {
    struct arq_pair_end e[2];
    struct buf_pool *pool;
    struct rng rng;
    uint32_t t0, now;             /* clock at the start; ms since */
    uint32_t loss, dup, junk;     /* per thousand */
    uint32_t delay, jitter;       /* ms */
    bool check;                   /* the invariants, after every call */
};

/* conv, pull, ctx and pool of *p are set here. */
void arq_pair_init(struct arq_pair *l, const struct arq_params *p0, const struct arq_params *p1, uint64_t seed);
/* One ms: what arrives, what is due, flushes. */
void arq_pair_step(struct arq_pair *l);
/* Until everything has been read and acknowledged. Fails after max_ms. Returns ms taken. */
uint32_t arq_pair_run(struct arq_pair *l, uint32_t max_ms);
/* Frees all; fails if a buffer is missing. */
void arq_pair_fini(struct arq_pair *l);

void arq_check(struct arq *a, uint32_t now);

#endif
