/* tests/sim/link.h - one direction of a virtual path: datagrams in, datagrams out later, some not, some twice, in virtual
 * time and from a seed. */
#ifndef SIM_LINK_H
#define SIM_LINK_H

#include "core/base/tick.h"
#include "tests/support/vectors.h"

#include <stdbool.h>

struct link_params {
    uint32_t delay_us, jitter_us; /* each datagram: delay + 0..jitter, so that jitter also reorders */
    uint32_t loss_ppm, dup_ppm, corrupt_ppm;
    uint64_t rate; /* bytes per second; 0: no limit */
    uint32_t queue_bytes; /* drop-tail in front of the rate */
};

struct link_pkt {
    struct tick at; /* arrives */
    uint64_t order; /* of ties */
    uint8_t *p;
    size_t len;
};

struct link {
    struct link_params p;
    struct rng *rng;
    struct link_pkt *heap;
    size_t n, cap;
    uint64_t next_order;
    struct tick free_at; /* the bottleneck is busy until then */
    uint64_t sent, lost, bytes;
};

void link_init(struct link *l, const struct link_params *p, struct rng *rng);
void link_fini(struct link *l);
void link_send(struct link *l, struct bytes dgram, struct tick now); /* copies */
struct tick link_next(const struct link *l); /* arrival of the next; TICK_NEVER */
/* The next datagram that has arrived at now, on the heap; the caller frees it. False: none. */
bool link_recv(struct link *l, struct tick now, struct link_pkt *out);

#endif
