/* tools/bench_place.h - which cores each process runs on, so that the scheduler's choice does not decide a result. */
#ifndef TOOLS_BENCH_PLACE_H
#define TOOLS_BENCH_PLACE_H

#include <sched.h>
#include <stdbool.h>

enum bench_seat {
    SEAT_CLIENT, /* the tunnel's ends, in the order of enum bench_end */
    SEAT_SERVER,
    SEAT_NEAR, /* the load generator beside the client ... */
    SEAT_FAR,  /* ... and beside the server */
    SEATS
};

struct bench_place {
    bool pinned;
    cpu_set_t cores[SEATS];
};

/* text: CLIENT:SERVER[:LOAD], each a list such as 0-3,6; without LOAD the generator shares the cores of the end it
 * talks to. "none": no pinning. NULL: of the cores we may use, the client and the server get `workers` each and the
 * generator the rest; where that leaves it nothing, it shares. 0, BENCH_FAILED. */
int bench_place_init(struct bench_place *p, const char *text, unsigned workers);
void bench_place_take(const struct bench_place *p, enum bench_seat seat); /* the calling thread sits down */
const char *bench_place_text(const struct bench_place *p, enum bench_seat seat, char out[256]);

#endif
