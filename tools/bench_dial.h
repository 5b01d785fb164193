/* tools/bench_dial.h - streams as an application opens them at the client's end. A stream begins with eight bytes that
 * say what the target shall do with it; the target answers with one, so whoever holds an open stream knows that it
 * reaches all the way. */
#ifndef TOOLS_BENCH_DIAL_H
#define TOOLS_BENCH_DIAL_H

#include "tools/bench.h"

#include <netinet/in.h>

enum bench_role { /* what one side does with a stream */
    BENCH_SINK = 'S',  /* reads and counts */
    BENCH_FLOOD = 'F', /* writes without end */
    BENCH_ECHO = 'E',  /* sends back what comes */
    BENCH_HOLD = 'H'   /* holds it open, reads nothing */
};

enum { BENCH_HELLO = 8 };

/*  | 'k' 'b' | role u8 | 0 | slot u32, little-endian |  */
void bench_dial_hello(uint8_t out[BENCH_HELLO], enum bench_role far, unsigned slot);

/* Connects n streams, of the slots first, first + 1, ...; fds: n of them, blocking, with a receive timeout short
 * enough to notice bench_stopped() by. On failure none is left. 0, BENCH_FAILED, BENCH_STOPPED. */
int bench_dial(const struct sockaddr_in *to, enum bench_role far, unsigned first, unsigned n, int fds[]);

#endif
