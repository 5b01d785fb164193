/* daemon/uring_pool.c - receive buffers the kernel picks from. Registered by hand: liburing has a call only from 2.4 on. */
#include "daemon/uring_pool.h"

#include <assert.h>
#include <sys/mman.h>

#include "core/base/err.h"

enum { BUFFER_ALIGN = 64 };

static void *map(size_t len)
{
    void *m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return m == MAP_FAILED ? NULL : m;
}

int uring_pool_init(struct uring_pool *p, struct io_uring *ring, uint16_t group, unsigned n, uint32_t size)
{
    struct io_uring_buf_reg reg = {.ring_entries = n, .bgid = group};
    int r;

    p->n = n;
    p->size = size;
    p->stride = (size + BUFFER_ALIGN - 1) & ~(uint32_t)(BUFFER_ALIGN - 1);
    p->ring = map(n * sizeof *p->ring->bufs);
    p->mem = map((size_t)p->n * p->stride);
    if (!p->ring || !p->mem)
        return err_say(-ENOMEM, "receive buffers");
    reg.ring_addr = (uintptr_t)p->ring;
    r = io_uring_register_buf_ring(ring, &reg, 0);
    if (r)
        return err_say(r, "give receive buffers to io_uring");
    io_uring_buf_ring_init(p->ring);
    for (unsigned i = 0; i < n; i++)
        uring_pool_take(p, i);
    uring_pool_refill(p);
    return 0;
}

void uring_pool_fini(struct uring_pool *p)
{
    if (p->ring)
        munmap(p->ring, p->n * sizeof *p->ring->bufs);
    if (p->mem)
        munmap(p->mem, (size_t)p->n * p->stride);
}

uint8_t *uring_pool_take(struct uring_pool *p, unsigned id)
{
    assert(p->n_used < p->n && id < p->n);
    p->used[p->n_used++] = (uint16_t)id;
    return p->mem + (size_t)id * p->stride;
}

void uring_pool_refill(struct uring_pool *p)
{
    for (unsigned i = 0; i < p->n_used; i++)
        io_uring_buf_ring_add(p->ring, p->mem + (size_t)p->used[i] * p->stride, p->size, p->used[i],
                              io_uring_buf_ring_mask(p->n), (int)i);
    if (p->n_used)
        io_uring_buf_ring_advance(p->ring, (int)p->n_used);
    p->n_used = 0;
}
