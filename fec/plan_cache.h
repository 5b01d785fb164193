/* fec/plan_cache.h - the plans of the last few loss patterns of one codec, so that losses that repeat cost no matrix. */
#ifndef FEC_PLAN_CACHE_H
#define FEC_PLAN_CACHE_H

#include "fec/rs.h"

enum { PLAN_CACHE_MAX = 8 };

struct plan_cache { /* zeroed: empty */
    struct {
        struct rs_plan *p;
        uint32_t used;
    } v[PLAN_CACHE_MAX];
    uint32_t clock;
};

/* The plan for rs and have, valid until the next call. rs is the same for all calls between two plan_cache_fini().
 * NULL: out of memory, or too few rows. */
const struct rs_plan *plan_cache_get(struct plan_cache *c, const struct rs *rs, const bool have[]);
void plan_cache_fini(struct plan_cache *c); /* empty again */
size_t plan_cache_memory(const struct plan_cache *c);

#endif
