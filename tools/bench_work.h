/* tools/bench_work.h - what can be measured: each work once, with the numbers it yields. */
#ifndef TOOLS_BENCH_WORK_H
#define TOOLS_BENCH_WORK_H

#include "tools/bench.h"

enum { BENCH_VALUES = 10 };

struct bench_metric {
    const char *key, *label; /* in JSON; in tables, with the unit */
    int decimals;
    int better; /* 1: more is better, -1: less is, 0: neither, and no ratio is shown */
};

struct bench_work {
    const char *name, *what;
    const struct bench_metric *metrics; /* up to one without a key; at most BENCH_VALUES */
    /* v: one value per metric, NAN where there is none. 0, BENCH_FAILED, BENCH_STOPPED. */
    int (*run)(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, double v[BENCH_VALUES]);
};

extern const struct bench_work bench_works[]; /* up to one without a name */

const struct bench_work *bench_work_find(const char *name, size_t len); /* NULL: none */

/* What this machine's loopback (or veth pair) carries without a tunnel, MB/s: one TCP stream; UDP in runs of equal
 * datagrams, sent and received with segmentation offload. 0, BENCH_FAILED, BENCH_STOPPED. */
int bench_limit_tcp(const struct bench *b, double *mb_s);
int bench_limit_udp(const struct bench *b, double *mb_s);

#endif
