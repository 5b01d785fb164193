/* core/smux_table.c - streams by id: chained hash table that grows and shrinks with their number. */
#include "core/smux_priv.h"

#include <errno.h>
#include <stdlib.h>

enum { TABLE_MIN = 8 };

/* The peer chooses ids: mixing in the address of m keeps it from choosing ids of one chain. Order never shows. */
static struct smux_stream **slot(const struct smux *m, uint32_t id)
{
    uint32_t h = id ^ (uint32_t)((uintptr_t)m >> 4);

    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    h ^= h >> 16;
    return &m->table[h & (m->table_size - 1)];
}

struct smux_stream *smux_table_find(const struct smux *m, uint32_t id)
{
    struct smux_stream *s;

    if (!m->table)
        return NULL;
    for (s = *slot(m, id); s && s->id != id; s = s->hash_next)
        ;
    return s;
}

static void insert(struct smux *m, struct smux_stream *s)
{
    struct smux_stream **at = slot(m, s->id);

    s->hash_next = *at;
    *at = s;
}

/* Out of memory leaves the table as it is: slower, not wrong. */
static void resize(struct smux *m, uint32_t size)
{
    struct smux_stream **old = m->table;
    uint32_t n = m->table_size;
    struct smux_stream **table = calloc(size, sizeof *table);

    if (!table)
        return;
    m->table = table;
    m->table_size = size;
    for (uint32_t i = 0; i < n; i++)
        for (struct smux_stream *s = old[i], *next; s; s = next) {
            next = s->hash_next;
            insert(m, s);
        }
    free(old);
}

int smux_table_add(struct smux *m, struct smux_stream *s)
{
    if (m->table_n >= m->table_size)
        resize(m, m->table_size ? m->table_size * 2 : TABLE_MIN);
    if (!m->table)
        return -ENOMEM;
    insert(m, s);
    m->table_n++;
    return 0;
}

void smux_table_del(struct smux *m, struct smux_stream *s)
{
    struct smux_stream **at = slot(m, s->id);

    while (*at != s)
        at = &(*at)->hash_next;
    *at = s->hash_next;
    m->table_n--;
    if (m->table_size > TABLE_MIN && m->table_n < m->table_size / 8)
        resize(m, m->table_size / 2);
}

void smux_table_fini(struct smux *m)
{
    free(m->table);
    m->table = NULL;
    m->table_size = m->table_n = 0;
}
