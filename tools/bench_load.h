/* tools/bench_load.h - the load generator: a target behind the server, and threads beside the client that move what
 * its streams carry. */
#ifndef TOOLS_BENCH_LOAD_H
#define TOOLS_BENCH_LOAD_H

#include "tools/bench_dial.h"

struct bench_load;

/* slots: streams have an index below it, 1..65536. The target's threads and port are up on 0. 0, BENCH_FAILED. */
int bench_load_open(struct bench_load **lp, const struct bench *b, unsigned slots);
struct bench_load *bench_load_close(struct bench_load *l);
struct sockaddr_in bench_load_target(const struct bench_load *l); /* as seen from the server end */

/* From now on a thread beside the client does `near` with it. Takes fd. 0, BENCH_FAILED. */
int bench_load_pump(struct bench_load *l, int fd, enum bench_role near, unsigned slot);
/* Dials n streams and gives them away like that. */
int bench_load_run(struct bench_load *l, const struct sockaddr_in *to, enum bench_role far, enum bench_role near,
                   unsigned first, unsigned n);

uint64_t bench_load_bytes(const struct bench_load *l, unsigned slot); /* that arrived, whichever way */
uint64_t bench_load_total(const struct bench_load *l, unsigned first, unsigned n);
double bench_load_cpu(const struct bench_load *l); /* seconds, of all its threads */

#endif
