/* core/histogram.h - how often something took how long, in buckets that double: written by one thread with relaxed
 * stores, read by any. */
#ifndef CORE_HISTOGRAM_H
#define CORE_HISTOGRAM_H

#include "core/base/bytes.h"

enum {
    HISTOGRAM_BUCKETS = 23,       /* the last takes whatever is longer than the others */
    HISTOGRAM_FIRST_LOG2 = 2,     /* the first takes up to 2^2 us, the next up to 2^3 us, ... the last but one 8.4 s */
};

struct histogram {                /* zeroed: nothing happened */
    uint64_t n[HISTOGRAM_BUCKETS];
    uint64_t sum_us;
};

enum { HISTOGRAM_NUMBERS = sizeof(struct histogram) / sizeof(uint64_t) }; /* the buckets, and the sum */

/* The longest time that bucket i < HISTOGRAM_BUCKETS - 1 takes. */
static inline uint64_t histogram_bound_us(unsigned i)
{
    return UINT64_C(1) << (i + HISTOGRAM_FIRST_LOG2);
}

static inline unsigned histogram_bucket(uint64_t us)
{
    unsigned log2_up = us > 1 ? 64 - (unsigned)__builtin_clzll(us - 1) : 0; /* us <= 2^log2_up */
    unsigned i = log2_up > HISTOGRAM_FIRST_LOG2 ? log2_up - HISTOGRAM_FIRST_LOG2 : 0;

    return MIN(i, HISTOGRAM_BUCKETS - 1u);
}

static inline void histogram_add(struct histogram *h, uint64_t us)
{
    uint64_t *n = &h->n[histogram_bucket(us)];

    __atomic_store_n(n, *n + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&h->sum_us, h->sum_us + us, __ATOMIC_RELAXED);
}

#endif
