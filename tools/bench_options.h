/* tools/bench_options.h - the command line of kcptun-bench. */
#ifndef TOOLS_BENCH_OPTIONS_H
#define TOOLS_BENCH_OPTIONS_H

#include "tools/bench.h"

#include <stdio.h>

enum { BENCH_WORKS_MAX = 16, BENCH_CASES_MAX = 64, BENCH_KINDS_MAX = 4 };

struct bench_work;

struct bench_plan { /* what is run, in this order */
    struct bench_opts opts;
    const struct bench_work *works[BENCH_WORKS_MAX];
    struct bench_case cases[BENCH_CASES_MAX];
    struct bench_kind kinds[BENCH_KINDS_MAX];
    unsigned n_works, n_cases, n_kinds;
    const char *cpus, *json, *from; /* NULL: not given */
    bool netns, limit, markdown;
};

enum {
    BENCH_OPTIONS_DONE = 3, /* --help or --version; or a mistake, told: *status is the exit status */
};

/* 0, BENCH_OPTIONS_DONE. */
int bench_options_read(struct bench_plan *p, int argc, char **argv, int *status);

#endif
