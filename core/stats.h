/* core/stats.h - counters: one struct per worker and profile, written by its worker alone, read by anyone.
 * The list is core/stats.def. */
#ifndef CORE_STATS_H
#define CORE_STATS_H

#include "core/histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stats {                    /* of 64-bit numbers alone */
#define STAT(name, member, kind, help) uint64_t member;
#define HISTOGRAM(name, member, help) struct histogram member;
#include "core/stats.def"
#undef STAT
#undef HISTOGRAM
};

struct stats_info {
    const char *name;             /* "BytesSent", */
    const char *member;           /* "bytes_sent" */
    const char *help;
    char kind;                    /* 'C' counts up, 'G' gauge, 'L' gauge of which the largest counts */
    size_t offset;                /* of the uint64_t, or the struct histogram, in struct stats */
};

extern const struct stats_info stats_info[];
extern const size_t stats_count;
extern const struct stats_info stats_histograms[];
extern const size_t stats_n_histograms;

/* Single-writer counters: a relaxed load and store, no locked instruction. */
static inline void stat_add(uint64_t *c, uint64_t n)
{
    __atomic_store_n(c, *c + n, __ATOMIC_RELAXED);
}

static inline void stat_sub(uint64_t *c, uint64_t n)
{
    __atomic_store_n(c, *c - n, __ATOMIC_RELAXED);
}

static inline void stat_set(uint64_t *c, uint64_t v)
{
    __atomic_store_n(c, v, __ATOMIC_RELAXED);
}

static inline uint64_t stat_read(const uint64_t *c)
{
    return __atomic_load_n(c, __ATOMIC_RELAXED);
}

static inline uint64_t stat_get(const struct stats *s, size_t i)
{
    const char *p = (const char *)s + stats_info[i].offset;
    return stat_read((const uint64_t *)(const void *)p);
}

static inline void stats_put(struct stats *s, size_t i, uint64_t v)
{
    char *p = (char *)s + stats_info[i].offset;
    stat_set((uint64_t *)(void *)p, v);
}

/* The numbers of a struct stats one by one, those of histograms too: "BytesSent", "RTT.3" (of its bucket 3), "RTT.sum". */
enum { STATS_NUMBERS = sizeof(struct stats) / sizeof(uint64_t), STATS_NAME_MAX = 64 };
void stats_number_name(size_t i, char out[STATS_NAME_MAX]);
/* False: there is none of that name. */
bool stats_number_find(const char *name, size_t *i);
/* Of a histogram alone: "NAME.3", "NAME.sum"; and which number is called "3" or "sum", HISTOGRAM_NUMBERS: none is. */
void stats_part_name(const char *histogram, size_t part, char out[STATS_NAME_MAX]);
size_t stats_part_find(const char *part);

static inline uint64_t stats_number(const struct stats *s, size_t i)
{
    return stat_read((const uint64_t *)(const void *)s + i);
}

static inline void stats_number_put(struct stats *s, size_t i, uint64_t v)
{
    stat_set((uint64_t *)(void *)s + i, v);
}

/* Adds every number of `one` to `sum` (which the caller owns alone). Of kind L the larger one stays. */
void stats_sum(struct stats *sum, const struct stats *one);

#endif
