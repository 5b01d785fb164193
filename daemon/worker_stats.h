/* daemon/worker_stats.h - what a worker says of itself: written by it at the end of a turn, read by anyone (stat_read()).
 * What counts up is told by name to the process that an upgrade starts, whose worker of that number goes on with it. */
#ifndef DAEMON_WORKER_STATS_H
#define DAEMON_WORKER_STATS_H

#include "core/stats.h"

struct worker_stats {             /* of 64-bit numbers alone */
    uint64_t turns;               /* so far */
    uint64_t ended;               /* 1: there will be no more, its thread ends */
    uint64_t buffer_bytes, sessions, connections, descriptors;
    struct histogram turn;        /* how long turns with something to do took */
};

/* Those that count up one by one, by index < WORKER_COUNTS: "turns", "turn.3" (of bucket 3), "turn.sum". */
enum { WORKER_COUNTS = 1 + HISTOGRAM_NUMBERS };
void worker_count_name(size_t i, char out[STATS_NAME_MAX]);
bool worker_count_find(const char *name, size_t *i);  /* false: there is none of that name */
uint64_t *worker_count_at(struct worker_stats *s, size_t i);
/* Adds every number of `one` to `sum` (which the caller owns alone). */
void worker_stats_sum(struct worker_stats *sum, const struct worker_stats *one);

#endif
