/* core/arq_pool.c - an engine whose segments live in a buffer pool; libikcp does without. */
#include "core/arq_hooks.h"

#include <stdlib.h>

static struct buf *pool_get(void *ctx, uint32_t len)
{
    (void)len; /* arq_mem.seg_max has kept out what does not fit */
    return buf_get(ctx);
}

struct arq *arq_new(const struct arq_params *p)
{
    const struct arq_mem m = {.ctx = p->pool,
                              .get = pool_get,
                              .put = buf_put,
                              .alloc = malloc,
                              .free = free,
                              .seg_max = (uint32_t)buf_pool_size(p->pool)};

    return arq_new_in(p, &m);
}
