/* daemon/worker_stats.c - the numbers of a worker: their sum, and by name. */
#include "daemon/worker_stats.h"

#include <stdio.h>
#include <string.h>

void worker_count_name(size_t i, char out[STATS_NAME_MAX])
{
    if (i)
        stats_part_name("turn", i - 1, out);
    else
        snprintf(out, STATS_NAME_MAX, "turns");
}

bool worker_count_find(const char *name, size_t *i)
{
    *i = 0;
    if (!strcmp(name, "turns"))
        return true;
    *i = 1 + (strncmp(name, "turn.", 5) ? (size_t)HISTOGRAM_NUMBERS : stats_part_find(name + 5));
    return *i < WORKER_COUNTS;
}

uint64_t *worker_count_at(struct worker_stats *s, size_t i)
{
    if (i == 0)
        return &s->turns;
    return i <= HISTOGRAM_BUCKETS ? &s->turn.n[i - 1] : &s->turn.sum_us;
}

void worker_stats_sum(struct worker_stats *sum, const struct worker_stats *one)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)one;

    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += stat_read(&from[i]);
}
