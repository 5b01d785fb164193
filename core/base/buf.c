/* core/base/buf.c - pools over slabs that go back to the system when they have been empty for a while; piece queues. */
#include "core/base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum {
    SLAB_SIZE = 256 * 1024, /* also its alignment: a buffer finds its slab by masking its address */
    ALIGN = 16, /* of buffers */
    KEEP_MIN = 1, /* slabs a pool keeps though they are empty */
    PIECES_MIN = 8,
};

/* Which buffers are free stands here and not in them: one that is given back or taken has left the cache, as a rule, and
 * nobody should wait for it. */
struct slab {
    struct buf_pool *pool;
    struct list node; /* in pool->partial while it has a free buffer */
    uint32_t in_use, carved; /* buffers out; buffers ever handed out of fresh memory */
    uint32_t n_free;
    uint16_t free[]; /* where they begin, in units of ALIGN; the last one given back is the first to go */
};

struct buf_pool {
    struct buf_pool *small; /* NULL, or for what fits there */
    size_t size, stride, first_at, per_slab, limit; /* first_at: of the buffers in a slab */
    size_t n_slabs, n_empty, in_use;
    size_t peak, keep; /* most slabs in use since the last call of buf_pool_age(); what remains of the peaks before */
    struct list partial;
};

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

struct buf_pool *buf_pool_new(size_t size, size_t limit)
{
    struct buf_pool *p = calloc(1, sizeof *p);

    assert(size > 0 && size <= SLAB_SIZE / 3);
    if (!p)
        return NULL;
    _Static_assert(offsetof(struct buf, mem) % ALIGN == 0, "mem must stay aligned");
    _Static_assert(SLAB_SIZE / ALIGN <= UINT16_MAX, "a place in a slab must fit slab.free");
    p->size = size;
    p->stride = aligned(offsetof(struct buf, mem) + size);
    p->per_slab = (SLAB_SIZE - sizeof(struct slab) - ALIGN) / (p->stride + sizeof(uint16_t));
    p->first_at = aligned(sizeof(struct slab) + p->per_slab * sizeof(uint16_t));
    p->limit = limit;
    list_init(&p->partial);
    return p;
}

static void slab_free(struct buf_pool *p, struct slab *s)
{
    list_del(&s->node);
    UNPOISON(s, SLAB_SIZE);
    free(s);
    p->n_slabs--;
    p->n_empty--;
}

struct buf_pool *buf_pool_free(struct buf_pool *p)
{
    if (!p)
        return NULL;
    assert(p->in_use == 0);
    LIST_EACH(s, &p->partial, struct slab, node) {
        slab_free(p, s);
    }
    free(p);
    return NULL;
}

size_t buf_pool_size(const struct buf_pool *p)
{
    return p->size;
}

size_t buf_pool_in_use(const struct buf_pool *p)
{
    return p->in_use;
}

size_t buf_pool_memory(const struct buf_pool *p)
{
    return p->n_slabs * SLAB_SIZE;
}

static size_t slabs_used(const struct buf_pool *p)
{
    return p->n_slabs - p->n_empty;
}

size_t buf_pool_used(const struct buf_pool *p)
{
    return slabs_used(p) * SLAB_SIZE;
}

bool buf_pool_has_spare(const struct buf_pool *p)
{
    return p->n_slabs > MAX(slabs_used(p), KEEP_MIN);
}

void buf_pool_age(struct buf_pool *p)
{
    p->keep = MAX(MAX(p->peak, p->keep / 2), KEEP_MIN);
    p->peak = slabs_used(p);
    while (p->n_slabs > p->keep) /* then one is empty, and empty ones are last */
        slab_free(p, CONTAINER(p->partial.prev, struct slab, node));
}

void buf_pool_set_limit(struct buf_pool *p, size_t limit)
{
    p->limit = limit;
}

static struct slab *slab_new(struct buf_pool *p)
{
    struct slab *s;

    if (p->limit && (p->n_slabs + 1) * SLAB_SIZE > p->limit)
        return NULL;
    s = aligned_alloc(SLAB_SIZE, SLAB_SIZE);
    if (!s)
        return NULL;
    memset(s, 0, sizeof *s);
    s->pool = p;
    list_init(&s->node);
    list_push(&p->partial, &s->node);
    POISON((char *)s + p->first_at, SLAB_SIZE - p->first_at);
    p->n_slabs++;
    p->n_empty++;
    return s;
}

struct buf *buf_get(struct buf_pool *p)
{
    struct slab *s = LIST_FIRST(&p->partial, struct slab, node);
    struct buf *b;
    size_t at;

    if (!s)
        s = slab_new(p);
    if (!s)
        return NULL;
    if (s->in_use++ == 0) {
        p->n_empty--;
        p->peak = MAX(p->peak, slabs_used(p));
    }
    at = s->n_free ? (size_t)s->free[--s->n_free] * ALIGN : p->first_at + s->carved++ * p->stride;
    b = (struct buf *)(void *)((char *)s + at);
    UNPOISON(b, offsetof(struct buf, mem) + p->size);
    if (s->in_use == p->per_slab)
        list_del(&s->node);
    p->in_use++;
    b->next = NULL;
    b->off = b->len = 0;
    return b;
}

void buf_pool_set_small(struct buf_pool *p, struct buf_pool *small)
{
    p->small = small;
}

struct buf *buf_get_for(struct buf_pool *p, size_t len)
{
    struct buf *b = p->small && len <= p->small->size ? buf_get(p->small) : NULL;

    return b ? b : buf_get(p);
}

void buf_put(struct buf *b)
{
    struct slab *s;
    struct buf_pool *p;

    if (!b)
        return;
    s = (struct slab *)((uintptr_t)b & ~(uintptr_t)(SLAB_SIZE - 1));
    p = s->pool;
    assert(s->in_use && s->n_free < s->carved); /* given back once */
    s->free[s->n_free++] = (uint16_t)((size_t)((char *)b - (char *)s) / ALIGN);
    POISON(b, p->stride);
    p->in_use--;
    if (s->in_use-- == p->per_slab)
        list_push_front(&p->partial, &s->node);
    if (s->in_use)
        return;
    p->n_empty++;
    /* an empty slab is used last, so that the others get a chance to empty */
    list_del(&s->node);
    list_push(&p->partial, &s->node);
}

static struct buf_piece *piece(const struct bufq *q, uint32_t i)
{
    return &q->v[(q->head + i) & (q->cap - 1)];
}

static int grow(struct bufq *q)
{
    uint32_t cap = q->cap ? q->cap * 2 : PIECES_MIN;
    struct buf_piece *v;

    if (q->n < q->cap)
        return 0;
    v = malloc(cap * sizeof *v);
    if (!v)
        return -ENOMEM;
    for (uint32_t i = 0; i < q->n; i++)
        v[i] = *piece(q, i);
    free(q->v);
    q->v = v;
    q->cap = cap;
    q->head = 0;
    return 0;
}

int bufq_lend(struct bufq *q, struct bytes b)
{
    if (!b.len)
        return 0;
    if (grow(q))
        return -ENOMEM;
    *piece(q, q->n++) = (struct buf_piece){b.p, (uint32_t)b.len, NULL};
    q->n_lent++;
    q->bytes += b.len;
    return 0;
}

/* Copies as much of b as fits behind the last owned piece; returns the number of bytes. */
static size_t top_up(struct bufq *q, size_t size, struct bytes b)
{
    struct buf_piece *last = q->n ? piece(q, q->n - 1) : NULL;
    size_t room, n;

    if (!last || !last->own)
        return 0;
    room = size - (size_t)(last->p + last->len - last->own->mem);
    n = MIN(room, b.len);
    memcpy(last->own->mem + (last->p - last->own->mem) + last->len, b.p, n);
    last->len += (uint32_t)n;
    q->bytes += n;
    return n;
}

static int append(struct bufq *q, struct buf_pool *pool, struct bytes b)
{
    size_t size = buf_pool_size(pool);

    while (b.len) {
        size_t n = top_up(q, size, b);

        b.p += n;
        b.len -= n;
        if (b.len) {
            struct buf *own = grow(q) ? NULL : buf_get(pool);

            if (!own)
                return -ENOMEM;
            *piece(q, q->n++) = (struct buf_piece){own->mem, 0, own};
        }
    }
    return 0;
}

static void piece_drop(struct bufq *q, struct buf_piece *p)
{
    if (p->own)
        buf_put(p->own);
    else
        q->n_lent--;
}

/* Goes once round the queue: each piece leaves at the front and comes back at the end, owned. Whatever is lent stands
 * behind all that is owned (bufq_copy_in() sees to it), so a copy tops up no other buffer than the one it follows. */
int bufq_settle(struct bufq *q, struct buf_pool *pool)
{
    int r = 0;

    if (!q->n_lent)
        return 0;
    for (uint32_t n = q->n; n; n--) {
        struct buf_piece p = *piece(q, 0);

        q->head = (q->head + 1) & (q->cap - 1);
        q->n--;
        q->bytes -= p.len;
        if (p.own && !r) {
            *piece(q, q->n++) = p;
            q->bytes += p.len;
            continue;
        }
        if (!r)
            r = append(q, pool, bytes_of(p.p, p.len));
        piece_drop(q, &p);
    }
    return r;
}

int bufq_copy_in(struct bufq *q, struct buf_pool *pool, struct bytes b)
{
    int r = bufq_settle(q, pool);

    return r ? r : append(q, pool, b);
}

unsigned bufq_view(const struct bufq *q, struct bytes *v, unsigned max)
{
    unsigned n = MIN(max, q->n);

    for (unsigned i = 0; i < n; i++)
        v[i] = bytes_of(piece(q, i)->p, piece(q, i)->len);
    return n;
}

void bufq_drop(struct bufq *q, size_t n)
{
    assert(n <= q->bytes);
    q->bytes -= n;
    while (q->n) {
        struct buf_piece *p = piece(q, 0);

        if (n < p->len) {
            p->p += n;
            p->len -= (uint32_t)n;
            return;
        }
        n -= p->len;
        piece_drop(q, p);
        q->head = (q->head + 1) & (q->cap - 1);
        q->n--;
    }
}

void bufq_take(struct bufq *q, uint8_t *dst, size_t n)
{
    assert(n <= q->bytes);
    while (n) {
        struct buf_piece *p = piece(q, 0);
        size_t k = MIN(n, p->len);

        memcpy(dst, p->p, k);
        dst += k;
        n -= k;
        bufq_drop(q, k);
    }
}

void bufq_fini(struct bufq *q)
{
    bufq_drop(q, q->bytes);
    free(q->v);
    *q = (struct bufq){0};
}
