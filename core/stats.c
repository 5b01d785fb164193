/* core/stats.c - names of the counters and their sum. */
#include "core/stats.h"

#include "core/base/bytes.h"

#define C 'C'
#define G 'G'
#define L 'L'
const struct stats_info stats_info[] = {
#define STAT(name, member, kind, help) {#name, help, kind, offsetof(struct stats, member)},
#include "core/stats.def"
#undef STAT
};
#undef C
#undef G
#undef L

const size_t stats_count = sizeof stats_info / sizeof stats_info[0];

void stats_sum(struct stats *sum, const struct stats *one)
{
    uint64_t *to = (uint64_t *)sum;

    for (size_t i = 0; i < stats_count; i++)
        to[i] = stats_info[i].kind == 'L' ? MAX(to[i], stat_get(one, i)) : to[i] + stat_get(one, i);
}
