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
/* True if every possible shape makes base the first seqid of a group with exactly `data` data shards that reaches to
 * base + last at least. The code does not depend on P, so all of them recover the same from it. */
bool tuner_proves(const struct tuner *t, uint32_t base, unsigned data, unsigned last);
/* True if some possible shape with a group from base to base + last at least has fewer than `data` data shards. */
bool tuner_allows_fewer(const struct tuner *t, uint32_t base, unsigned data, unsigned last);
/* Rules those out. */
void tuner_rule_out_fewer(struct tuner *t, uint32_t base, unsigned data, unsigned last);
/* The shape to adopt: all possible ones have the same D and a multiple of one N. False: not known yet. */
bool tuner_verdict(const struct tuner *t, unsigned *data, unsigned *parity);

#endif
