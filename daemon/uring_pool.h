/* daemon/uring_pool.h - receive buffers the kernel picks from; io_uring.c's own. What it has filled is ours until refill. */
#ifndef DAEMON_URING_POOL_H
#define DAEMON_URING_POOL_H

#include <liburing.h>
#include <stdint.h>

enum { URING_POOL_MAX = 64 };

struct uring_pool {
    struct io_uring_buf_ring *ring;
    uint8_t *mem;
    uint32_t size, stride;
    unsigned n, n_used;
    uint16_t used[URING_POOL_MAX];
};

/* Registers n buffers of `size` bytes as `group` of the ring; n: a power of two, 1..URING_POOL_MAX. All are used in turn, so
 * their sum is what the cache has to hold. 0, -errno: uring_pool_fini() is still due. */
int uring_pool_init(struct uring_pool *p, struct io_uring *ring, uint16_t group, unsigned n, uint32_t size);
void uring_pool_fini(struct uring_pool *p); /* after the ring has been closed */
/* The buffer that came with a completion, lent until the next refill. */
uint8_t *uring_pool_take(struct uring_pool *p, unsigned id);
void uring_pool_refill(struct uring_pool *p); /* gives back all that was taken */

#endif
