/* core/stats.c - names of the counters and their sum. */
#include "core/stats.h"

#include "core/base/bytes.h"

#define C 'C'
#define G 'G'
#define L 'L'
const struct stats_info stats_info[] = {
#define STAT(name, member, kind, help) {#name, #member, help, kind, offsetof(struct stats, member)},
#define HISTOGRAM(name, member, help)
#include "core/stats.def"
#undef STAT
#undef HISTOGRAM
};
#undef C
#undef G
#undef L

const struct stats_info stats_histograms[] = {
#define STAT(name, member, kind, help)
#define HISTOGRAM(name, member, help) {#name, #member, help, 'H', offsetof(struct stats, member)},
#include "core/stats.def"
#undef STAT
#undef HISTOGRAM
};

const size_t stats_count = LEN(stats_info);
const size_t stats_n_histograms = LEN(stats_histograms);

void stats_sum(struct stats *sum, const struct stats *one)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)one;

    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++) {
        uint64_t n = stat_read(&from[i]);

        to[i] = i < stats_count && stats_info[i].kind == 'L' ? MAX(to[i], n) : to[i] + n;
    }
}
