/* fec/group.h - the shards of one group on the way in: lent, then copied if the group outlives the loan.
 * Knows places and lengths, not what the code makes of them. */
#ifndef FEC_GROUP_H
#define FEC_GROUP_H

#include "core/base/buf.h"
#include "core/base/bytes.h"

#include <stdbool.h>

struct group {
    struct group *next; /* in the pool's list of free ones */
    uint32_t base; /* seqid of position 0 */
    unsigned n, n_data, n_parity, n_lent;
    unsigned last; /* highest position present */
    size_t data_max, parity_len; /* code bytes; 0: none of that kind yet */
    bool deferred, tested; /* the decoder's */
    struct buf **own; /* n, behind rows; NULL: lent or absent */
    struct bytes rows[]; /* n; p NULL: absent */
};

struct group_pool { /* embedded; group memory of one shape. Every group must be back before init */
    unsigned n; /* shards of a group */
    unsigned n_out, n_free; /* groups */
    unsigned n_lent; /* shards, of all groups out */
    struct group *free;
};

enum { GROUP_DUPLICATE = 1, GROUP_INCONSISTENT };

void group_pool_init(struct group_pool *p, unsigned n);
void group_pool_trim(struct group_pool *p);
size_t group_pool_memory(const struct group_pool *p);

struct group *group_get(struct group_pool *p, uint32_t base); /* NULL: out of memory */
void group_put(struct group_pool *p, struct group *g);
/* Enters a shard, lent until group_settle(). 0, GROUP_DUPLICATE, GROUP_INCONSISTENT: its length cannot go with those of
 * the others (parity has one length, no data shard is longer); the group is as it was. */
int group_lend(struct group_pool *p, struct group *g, unsigned pos, bool is_data, struct bytes code);
/* Copies what is lent into buffers. False: out of memory, the group is useless. */
bool group_settle(struct group_pool *p, struct group *g, struct buf_pool *pool);
void group_have(const struct group *g, bool have[]);
/* True if the row, filled up with zeros, is the len bytes at shard. */
bool group_row_equals(const struct bytes *row, const uint8_t *shard, size_t len);

#endif
