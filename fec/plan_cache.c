/* fec/plan_cache.c - least recently used goes first. */
#include "fec/plan_cache.h"

enum { BYTES_MAX = 32 * 1024 }; /* of all plans; the newest stays whatever it takes */

static struct rs_plan *replace(struct plan_cache *c, unsigned at, const struct rs *rs, const bool have[])
{
    size_t bytes;

    rs_plan_free(c->v[at].p);
    c->v[at].p = rs_plan_new(rs, have);
    c->v[at].used = ++c->clock;
    bytes = plan_cache_memory(c);
    for (unsigned i = 0; i < PLAN_CACHE_MAX && bytes > BYTES_MAX; i++)
        if (i != at && c->v[i].p) {
            bytes -= rs_plan_memory(c->v[i].p);
            c->v[i].p = rs_plan_free(c->v[i].p);
        }
    return c->v[at].p;
}

const struct rs_plan *plan_cache_get(struct plan_cache *c, const struct rs *rs, const bool have[])
{
    unsigned at = 0;

    for (unsigned i = 0; i < PLAN_CACHE_MAX; i++) {
        if (c->v[i].p && rs_plan_fits(c->v[i].p, have)) {
            c->v[i].used = ++c->clock;
            return c->v[i].p;
        }
        if (c->v[at].p && (!c->v[i].p || c->clock - c->v[i].used > c->clock - c->v[at].used))
            at = i;
    }
    return replace(c, at, rs, have);
}

void plan_cache_fini(struct plan_cache *c)
{
    for (unsigned i = 0; i < PLAN_CACHE_MAX; i++)
        rs_plan_free(c->v[i].p);
    *c = (struct plan_cache){0};
}

size_t plan_cache_memory(const struct plan_cache *c)
{
    size_t n = 0;

    for (unsigned i = 0; i < PLAN_CACHE_MAX; i++)
        n += c->v[i].p ? rs_plan_memory(c->v[i].p) : 0;
    return n;
}
