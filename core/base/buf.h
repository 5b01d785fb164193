/* core/base/buf.h - pools of equal packet buffers, and queues of byte pieces that are owned or only lent.
 *
 * Lend and settle: on the way in, bytes are first lent by whoever received them (a kernel buffer, an opened datagram).
 * What is consumed in the same loop turn is never copied. Before the lender takes its memory back, the owner of every
 * queue that may still point there calls its settle function, which copies the rest into pool buffers.
 *
 * A pool and what comes from it belong to one thread. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "core/base/bytes.h"
#include "core/base/list.h"

#include <stdbool.h>

struct buf_pool;

struct buf {                      /* one buffer; exactly one owner */
    struct buf *next;             /* the owner's to use */
    uint32_t off, len;            /* the bytes in use: mem[off .. off+len) */
    uint8_t mem[];                /* buf_pool_size() bytes, 16-aligned */
};

/* size: bytes of one buffer; limit: most bytes of memory the pool takes, 0 = none. NULL: out of memory. */
struct buf_pool *buf_pool_new(size_t size, size_t limit);
/* Every buffer must be back. NULL in, NULL out. */
struct buf_pool *buf_pool_free(struct buf_pool *p);
size_t buf_pool_size(const struct buf_pool *p);    /* bytes one buffer holds */
size_t buf_pool_in_use(const struct buf_pool *p);  /* buffers out */
size_t buf_pool_memory(const struct buf_pool *p);  /* bytes held from the system */
size_t buf_pool_used(const struct buf_pool *p);    /* those of them that hold a buffer which is out */
/* Memory that was in use once stays with the pool for the next burst until it has aged: each call gives back what exceeds
 * the use since the last call, and half of what was kept before. Due from time to time while there is spare memory. */
void buf_pool_age(struct buf_pool *p);
bool buf_pool_has_spare(const struct buf_pool *p);
void buf_pool_set_limit(struct buf_pool *p, size_t limit);
/* Lets p serve short requests from `small`, whose buffers are smaller (borrowed for life). */
void buf_pool_set_small(struct buf_pool *p, struct buf_pool *small);
/* As buf_get(), for len bytes (<= buf_pool_size(p)): a small buffer where that does. */
struct buf *buf_get_for(struct buf_pool *p, size_t len);
/* An empty buffer (off = len = 0), or NULL at the limit or out of memory. */
struct buf *buf_get(struct buf_pool *p);
void buf_put(struct buf *b);                       /* NULL is fine */

/* A queue of byte pieces in order. A piece is owned (a buf) or lent. */
struct buf_piece {
    const uint8_t *p;
    uint32_t len;
    struct buf *own;              /* NULL: lent */
};

struct bufq {                     /* zeroed: empty */
    struct buf_piece *v;
    uint32_t head, n, cap;        /* ring; cap is a power of two */
    uint32_t n_lent;
    size_t bytes;                 /* sum of the pieces */
};

/* Appends bytes lent until bufq_settle(). 0, -ENOMEM. */
int bufq_lend(struct bufq *q, struct bytes b);
/* Copies bytes to the end, filling the last buffer first. Settles what is lent, so that this always stands behind what is
 * owned. 0, -ENOMEM (what fitted is in; see bufq_settle()). */
int bufq_copy_in(struct bufq *q, struct buf_pool *pool, struct bytes b);
/* Copies every lent piece into pool buffers. 0, -ENOMEM: the lent bytes that did not fit and all behind them are gone
 * from the queue, so the stream they belong to must end. */
int bufq_settle(struct bufq *q, struct buf_pool *pool);
/* Fills v with up to max views from the front. Returns their number. */
unsigned bufq_view(const struct bufq *q, struct bytes *v, unsigned max);
/* Removes n bytes (<= q->bytes) from the front. */
void bufq_drop(struct bufq *q, size_t n);
/* Copies n bytes (<= q->bytes) from the front to dst and removes them. */
void bufq_take(struct bufq *q, uint8_t *dst, size_t n);
/* Drops everything and frees the ring. */
void bufq_fini(struct bufq *q);

#endif
