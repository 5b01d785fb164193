/* core/stats.c - names of the counters and their sum. */
#include "core/stats.h"

#include "core/base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void stats_part_name(const char *histogram, size_t part, char out[STATS_NAME_MAX])
{
    if (part < HISTOGRAM_BUCKETS)
        snprintf(out, STATS_NAME_MAX, "%s.%zu", histogram, part);
    else
        snprintf(out, STATS_NAME_MAX, "%s.sum", histogram);
}

void stats_number_name(size_t i, char out[STATS_NAME_MAX])
{
    size_t k = i - stats_count;

    if (i < stats_count)
        snprintf(out, STATS_NAME_MAX, "%s", stats_info[i].name);
    else
        stats_part_name(stats_histograms[k / HISTOGRAM_NUMBERS].name, k % HISTOGRAM_NUMBERS, out);
}

size_t stats_part_find(const char *part)
{
    unsigned long n;
    char *end;

    if (!strcmp(part, "sum"))
        return HISTOGRAM_BUCKETS;
    n = *part >= '0' && *part <= '9' ? strtoul(part, &end, 10) : HISTOGRAM_NUMBERS;
    return n < HISTOGRAM_BUCKETS && !*end ? n : HISTOGRAM_NUMBERS;
}

bool stats_number_find(const char *name, size_t *i)
{
    const char *dot = strchr(name, '.');
    size_t part = dot ? stats_part_find(dot + 1) : HISTOGRAM_NUMBERS, n = dot ? (size_t)(dot - name) : 0;

    for (*i = 0; !dot && *i < stats_count; ++*i)
        if (!strcmp(stats_info[*i].name, name))
            return true;
    for (size_t h = 0; part < HISTOGRAM_NUMBERS && h < stats_n_histograms; h++) {
        *i = stats_count + h * HISTOGRAM_NUMBERS + part;
        if (strlen(stats_histograms[h].name) == n && !memcmp(stats_histograms[h].name, name, n))
            return true;
    }
    return false;
}
