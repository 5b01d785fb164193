/* tools/bench_echo.h - the two works whose unit is one exchange: echoes on a stream, and short connections. */
#ifndef TOOLS_BENCH_ECHO_H
#define TOOLS_BENCH_ECHO_H

#include "tools/bench.h"

#include <netinet/in.h>

struct bench_echo {
    unsigned n;
    double p50_ms, p99_ms;
};

struct bench_churn {
    unsigned n, failed;
    double p99_ms; /* from connect() to the last byte of the answer */
};

/* Echoes on a stream that bench_dial() opened as BENCH_ECHO, with 1 to 11 ms between one's answer and the
 * next, so that no timer of the tunnel's is met always in the same phase. 0, BENCH_FAILED, BENCH_STOPPED. */
int bench_echo_run(struct bench_echo *out, int fd, double seconds);

/* Opens connections, 16 at a time; each sends 64 bytes, waits for their echo and closes. 0, BENCH_FAILED,
 * BENCH_STOPPED. */
int bench_churn_run(struct bench_churn *out, const struct sockaddr_in *to, double seconds);

#endif
