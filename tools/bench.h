/* tools/bench.h - what the parts of kcptun-bench share: the settings of a run, the wait that a signal ends, messages. */
#ifndef TOOLS_BENCH_H
#define TOOLS_BENCH_H

#include "core/base/bytes.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum bench_end {
    BENCH_CLIENT,
    BENCH_SERVER,
    BENCH_ENDS
};

enum { /* positive results of everything that can fail here */
    BENCH_FAILED = 1, /* bench_why() says what; the next measurement may still succeed */
    BENCH_STOPPED     /* a signal asked for the end */
};

struct bench_case { /* one setting of both ends */
    char crypt[16];
    unsigned datashard, parityshard; /* 0 and 0: no FEC */
    char io[12];
    unsigned workers;
};

struct bench_kind { /* whose program runs at each end */
    const char *name;
    bool peer[BENCH_ENDS]; /* kcptun's */
};

struct bench_opts {
    double time_s; /* of one measurement; 0.2..3600 */
    unsigned runs;
    unsigned sessions; /* of work idle; at least 2 */
    unsigned streams;  /* of work fairness */
    unsigned smuxver, window;
    char mode[16];
    bool quick;
    char kcptund[PATH_MAX];
    char peer[BENCH_ENDS][PATH_MAX]; /* kcptun's client and server; "": not needed */
};

struct bench {
    struct bench_opts opts;
    struct bench_net *net;
    struct bench_place *place;
    char dir[512]; /* private to us: configurations and logs */
    char key[33];
};

double bench_now(void); /* seconds, monotonic */
bool bench_stopped(void);
void bench_catch_signals(void);

/* Waits; 0, BENCH_STOPPED. */
int bench_sleep(double seconds);

/* Remembers why; the value is BENCH_FAILED. A second call replaces the text. */
int bench_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const char *bench_why(void);

/* Progress on standard error: of n steps one more begins, named by the text. Where that is a terminal, the line is
 * rewritten and shows an estimate of the time that is left; else every step gets a line of its own. */
void bench_progress_start(unsigned n_steps);
void bench_progress_step(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void bench_progress_note(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* what the step does right now */
void bench_progress_clear(void); /* for a message of another kind */
void bench_progress_end(void);

#endif
