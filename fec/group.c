/* fec/group.c - shards of one group, and the memory groups live in. */
#include "fec/group.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static size_t group_bytes(unsigned n)
{
    return sizeof(struct group) + n * (sizeof(struct bytes) + sizeof(struct buf *));
}

void group_pool_init(struct group_pool *p, unsigned n)
{
    *p = (struct group_pool){.n = n};
}

void group_pool_trim(struct group_pool *p)
{
    while (p->free) {
        struct group *g = p->free;

        p->free = g->next;
        free(g);
    }
    p->n_free = 0;
}

size_t group_pool_memory(const struct group_pool *p)
{
    return (p->n_out + p->n_free) * group_bytes(p->n);
}

struct group *group_get(struct group_pool *p, uint32_t base)
{
    struct group *g = p->free;

    if (g) {
        p->free = g->next;
        p->n_free--;
    } else {
        g = malloc(group_bytes(p->n));
    }
    if (!g)
        return NULL;
    memset(g, 0, group_bytes(p->n));
    g->base = base;
    g->n = p->n;
    g->own = (struct buf **)(g->rows + g->n);
    p->n_out++;
    return g;
}

void group_put(struct group_pool *p, struct group *g)
{
    for (unsigned i = 0; i < g->n; i++)
        buf_put(g->own[i]);
    p->n_lent -= g->n_lent;
    p->n_out--;
    p->n_free++;
    g->next = p->free;
    p->free = g;
}

int group_lend(struct group_pool *p, struct group *g, unsigned pos, bool is_data, struct bytes code)
{
    assert(pos < g->n && code.len);
    if (g->rows[pos].p)
        return GROUP_DUPLICATE;
    if (is_data ? g->parity_len && code.len > g->parity_len
                : code.len < g->data_max || (g->parity_len && code.len != g->parity_len))
        return GROUP_INCONSISTENT;
    if (is_data) {
        g->n_data++;
        g->data_max = MAX(g->data_max, code.len);
    } else {
        g->n_parity++;
        g->parity_len = code.len;
    }
    g->rows[pos] = code;
    g->last = MAX(g->last, pos);
    g->n_lent++;
    p->n_lent++;
    return 0;
}

bool group_settle(struct group_pool *p, struct group *g, struct buf_pool *pool)
{
    for (unsigned i = 0; i < g->n && g->n_lent; i++) {
        if (!g->rows[i].p || g->own[i])
            continue;
        g->own[i] = buf_get_for(pool, g->rows[i].len);
        if (!g->own[i])
            return false;
        memcpy(g->own[i]->mem, g->rows[i].p, g->rows[i].len);
        g->rows[i].p = g->own[i]->mem;
        g->n_lent--;
        p->n_lent--;
    }
    return true;
}

void group_have(const struct group *g, bool have[])
{
    for (unsigned i = 0; i < g->n; i++)
        have[i] = g->rows[i].p != NULL;
}

bool group_row_equals(const struct bytes *row, const uint8_t *shard, size_t len)
{
    if (memcmp(row->p, shard, row->len))
        return false;
    for (size_t i = row->len; i < len; i++)
        if (shard[i])
            return false;
    return true;
}
