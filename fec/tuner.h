/* fec/tuner.h - which shapes the packet types seen so far leave possible.
 * Every packet says "seqid s is data" or "is parity"; a shape D + P with N = D + P survives while (s mod N < D) agrees
 * with all of them. For each N the surviving D are an interval, so all shapes together are a small table that each
 * packet narrows: no history is kept, and no packet seen since the start is forgotten. Knows nothing of bytes. */
#ifndef FEC_TUNER_H
#define FEC_TUNER_H

#include "fec/shard.h"

#include <stdbool.h>

struct tuner { /* embedded; tuner_init() first */
    uint64_t alive[4]; /* bit N - 1: a shape with N = D + P is possible */
    uint8_t lo[SHARD_MAX_N], hi[SHARD_MAX_N]; /* [N - 1]: smallest and largest D possible with that N */
};

enum { TUNER_SAME, TUNER_NARROWED, TUNER_RESTARTED };

/* Anything is possible. */
void tuner_init(struct tuner *t);
/* RESTARTED: no shape explains all packets seen, so the peer must have changed; only this one counts from now on. */
int tuner_sample(struct tuner *t, uint32_t seqid, bool is_data);
bool tuner_allows(const struct tuner *t, unsigned data, unsigned parity);
/* False unless every possible shape has a group that starts at seqid base and reaches to base + last at least; then *lo
 * and *hi bound its D. The code depends on that start and on D alone, not on P. */
bool tuner_bounds(const struct tuner *t, uint32_t base, unsigned last, unsigned *lo, unsigned *hi);
/* Rules out that such a group has fewer than `data` data shards. */
void tuner_rule_out_fewer(struct tuner *t, uint32_t base, unsigned last, unsigned data);
/* The shape to adopt: all possible ones have the same D and a multiple of one N. False: not known yet. */
bool tuner_verdict(const struct tuner *t, unsigned *data, unsigned *parity);

#endif
