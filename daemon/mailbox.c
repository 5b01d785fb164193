/* daemon/mailbox.c - a bounded single-producer single-consumer ring of records between two threads.
 *
 * Positions count bytes and never wrap; position modulo size is the place. A record is | len u32 | type u32 | bytes |,
 * padded to 8. One that would straddle the end is put at the start, behind a header that says so. */
#include "daemon/mailbox.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGN = 8, LINE = 64, SIZE_MIN = 4096, TRIM_MIN = 1 << 17 };
#define SKIP UINT32_MAX /* len of the header in front of unused room at the end */

struct header {
    uint32_t len, type;
};

_Static_assert(sizeof(struct header) == ALIGN, "the room left at the end always holds a header");

struct mailbox {
    /* Each side has a cache line of its own, with its last look at the other's position. */
    _Alignas(LINE) atomic_size_t published; /* written by the producer */
    size_t tail, seen_consumed;
    size_t trimmed; /* tail when the ring was last given back */
    _Alignas(LINE) atomic_size_t consumed; /* written by the consumer */
    size_t head, seen_published;
    _Alignas(LINE) size_t size;
    uint8_t *ring;
};

struct mailbox *mailbox_new(size_t size)
{
    struct mailbox *m;

    assert(size >= SIZE_MIN && (size & (size - 1)) == 0);
    m = aligned_alloc(LINE, sizeof *m);
    if (!m)
        return NULL;
    memset(m, 0, sizeof *m);
    m->size = size;
    m->ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->ring != MAP_FAILED)
        return m;
    free(m);
    return NULL;
}

struct mailbox *mailbox_free(struct mailbox *m)
{
    if (m) {
        munmap(m->ring, m->size);
        free(m);
    }
    return NULL;
}

static bool has_room(struct mailbox *m, size_t need)
{
    if (m->size - (m->tail - m->seen_consumed) >= need)
        return true;
    m->seen_consumed = atomic_load_explicit(&m->consumed, memory_order_acquire);
    return m->size - (m->tail - m->seen_consumed) >= need;
}

static uint8_t *put_header(struct mailbox *m, uint32_t len, uint32_t type)
{
    uint8_t *at = m->ring + (m->tail & (m->size - 1));

    memcpy(at, &(struct header){len, type}, sizeof(struct header));
    return at + sizeof(struct header);
}

static size_t record_size(size_t len)
{
    return (sizeof(struct header) + len + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

int mailbox_put(struct mailbox *m, uint32_t type, struct bytes head, struct bytes body)
{
    size_t len = head.len + body.len, need = record_size(len);
    size_t to_end = m->size - (m->tail & (m->size - 1)), skip = need > to_end ? to_end : 0;
    uint8_t *at;

    assert(len < m->size / 4);
    if (!has_room(m, skip + need))
        return MAILBOX_FULL;
    if (skip) {
        put_header(m, SKIP, 0);
        m->tail += skip;
    }
    at = put_header(m, (uint32_t)len, type);
    if (head.len)
        memcpy(at, head.p, head.len);
    if (body.len)
        memcpy(at + head.len, body.p, body.len);
    m->tail += need;
    return 0;
}

bool mailbox_publish(struct mailbox *m)
{
    if (atomic_load_explicit(&m->published, memory_order_relaxed) == m->tail)
        return false;
    atomic_store_explicit(&m->published, m->tail, memory_order_release);
    return true;
}

bool mailbox_has_spare(const struct mailbox *m)
{
    return m->tail - m->trimmed >= TRIM_MIN;
}

void mailbox_trim(struct mailbox *m)
{
    if (!mailbox_has_spare(m) || atomic_load_explicit(&m->consumed, memory_order_acquire) != m->tail)
        return;
    madvise(m->ring, m->size, MADV_DONTNEED); /* nothing is in it, and only this thread puts something there */
    m->trimmed = m->tail;
}

static struct header header_at(const struct mailbox *m)
{
    struct header h;

    memcpy(&h, m->ring + (m->head & (m->size - 1)), sizeof h);
    return h;
}

int mailbox_get(struct mailbox *m, uint32_t *type, struct bytes *rec)
{
    struct header h;

    if (m->head == m->seen_published) {
        m->seen_published = atomic_load_explicit(&m->published, memory_order_acquire);
        if (m->head == m->seen_published)
            return MAILBOX_EMPTY;
    }
    h = header_at(m);
    if (h.len == SKIP) {
        m->head += m->size - (m->head & (m->size - 1));
        h = header_at(m); /* what was skipped for comes with it: both were put by one call */
    }
    *type = h.type;
    *rec = bytes_of(m->ring + (m->head & (m->size - 1)) + sizeof h, h.len);
    return 0;
}

void mailbox_done(struct mailbox *m)
{
    m->head += record_size(header_at(m).len);
    atomic_store_explicit(&m->consumed, m->head, memory_order_release);
}
