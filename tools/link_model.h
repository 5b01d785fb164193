/* tools/link_model.h - one direction of a link: packets in, packets out later, some not, some twice, in virtual time and
 * from a seed. What a packet meets, in this order: a drop-tail queue, the bottleneck behind it (so what is lost further
 * on has used the link), loss, duplication, corruption, delay and jitter.
 * Sees no socket, clock or global. kcptun-linkem and tests/sim share it. */
#ifndef TOOLS_LINK_MODEL_H
#define TOOLS_LINK_MODEL_H

#include "core/base/bytes.h"
#include "core/base/tick.h"

#include <stdbool.h>

enum { LINK_PPM = 1000000 };      /* a probability of one */

/* All of one type, so that a change is a field and a value. Zero: a link that does nothing to a packet. */
struct link_params {
    uint64_t rate;                /* bits per second, charged for `overhead` too; 0: no limit; at most 10^11 */
    uint64_t queue_us;            /* longest wait before the rate in force: so many bytes as the rate carries in it */
    uint64_t queue_bytes;         /* or a length; both 0: only the memory bounds the queue. At most a minute, 2^32 */
    uint64_t delay_us;
    uint64_t jitter_us;           /* adds 0..jitter to the delay */
    uint64_t reorder;             /* 1: each packet draws its jitter for itself and may overtake; 0: the jitter wanders,
                                   * and order is kept whatever changes */
    uint64_t loss_ppm;
    uint64_t burst;               /* packets in a run of losses, on average (Gilbert); 0, 1: independent losses */
    uint64_t dup_ppm, corrupt_ppm;
    uint64_t overhead;            /* bytes charged beside each packet's own, e.g. 28 of IP and UDP */
};

/* A setting from some moment on. */
struct link_change {
    uint64_t at_us;               /* after link_schedule() */
    uint16_t field;               /* offsetof(struct link_params, ...) */
    uint16_t ways;                /* bit i: direction i of a path */
    uint64_t value;
};

/* What happened so far. in = held now + dropped + no_memory + lost + out - duplicated. */
struct link_counts {
    uint64_t in, in_bytes;
    uint64_t dropped;             /* the queue was full */
    uint64_t no_memory;           /* more packets under way than `memory` holds */
    uint64_t passed, wire_bytes;  /* by the bottleneck, overhead included */
    uint64_t wait_us, wait_max_us; /* in the queue: sum over the packets that left it, longest */
    uint64_t lost, duplicated, corrupted;
    uint64_t out, out_bytes;
};

struct link_pkt {                 /* one packet; belongs to its link, or to who has it from link_get() or link_recv() */
    struct link_pkt *next;
    struct tick at;               /* link_recv(): when it arrived */
    uint64_t in_ns;               /* entered the queue */
    uint32_t charged;             /* bytes, overhead included */
    uint32_t len;
    uint8_t p[];                  /* packet_max bytes */
};

struct link_arrival {
    struct tick at;
    uint64_t order;               /* of ties */
    struct link_pkt *pkt;
};

struct link {                     /* embedded; link_init() first */
    struct link_params p;         /* in force; may be written between calls (the rate: for the packets still waiting) */
    struct link_counts n;
    const struct link_change *change; /* those to come */
    size_t n_changes;
    unsigned way;
    struct tick start;
    uint64_t rng;
    struct link_pkt *head, *tail; /* the queue; head is in service until head_done_ns */
    uint64_t head_done_ns, waiting; /* bytes behind the head, overhead included */
    bool bad;                     /* the state of the Gilbert chain */
    uint64_t jitter_begin_us, jitter_from, jitter_to; /* where the wandering jitter comes from and goes to */
    struct link_arrival *heap;    /* behind the bottleneck, by time of arrival */
    size_t n_heap, heap_cap;
    uint64_t next_order;
    struct tick last_at;
    struct link_pkt *unused;
    void *slabs;
    size_t packet_max, n_pkts, pkts_max;
};

struct link_setup {
    struct link_params p;
    uint64_t seed;
    size_t packet_max;            /* bytes of the longest packet */
    size_t memory;                /* most bytes held */
};

void link_init(struct link *l, const struct link_setup *s);
void link_fini(struct link *l);   /* packets still out become invalid */
/* What changes from now on: n of them in order of time, those for `way` counting; borrowed for life. */
void link_schedule(struct link *l, const struct link_change *v, size_t n, unsigned way, struct tick now);

/* An unused packet for link_take(). NULL: the memory is used up. */
struct link_pkt *link_get(struct link *l);
void link_put(struct link *l, struct link_pkt *pkt); /* NULL is fine */
/* A packet of l enters the link; takes it. now never goes backwards. */
void link_take(struct link *l, struct link_pkt *pkt, struct tick now);
/* As link_take(); copies at most packet_max bytes. */
void link_send(struct link *l, struct bytes b, struct tick now);

/* When link_recv() may next have something (a packet may turn out lost); TICK_NEVER. */
struct tick link_next(const struct link *l);
/* The next packet that has arrived at now; the caller link_put()s it. NULL: none. */
struct link_pkt *link_recv(struct link *l, struct tick now);
/* How long a packet that came at now would wait for the bottleneck. */
uint64_t link_queue_us(struct link *l, struct tick now);

#endif
