/* daemon/rest.h - receive coalescing: when a worker lets what arrives gather a little before it looks again.
 *
 * Datagrams that come thick but one at a time cost a turn each: a wake-up, a write to a connection, an acknowledgement.
 * A rest of a tenth of a millisecond, as network cards moderate their interrupts, makes one turn of many. */
#ifndef DAEMON_REST_H
#define DAEMON_REST_H

#include "core/base/tick.h"

#include <stddef.h>

enum {
    REST_US = 100,
    REST_RATE = 24,            /* bytes per microsecond from which there is something to gather */
    REST_AFTER = 8,            /* turns in a row at that rate: a short exchange does not wait */
    REST_ENOUGH = 32 * 1024,   /* bytes of a turn that gains nothing from more */
};

struct rest {
    struct tick last;          /* when the turn before this one began */
    unsigned thick;            /* turns in a row at the rate, up to REST_AFTER */
};

/* A turn that began now received this many bytes. Should the next one wait REST_US before it looks? */
static inline bool rest_is_due(struct rest *r, struct tick now, size_t bytes)
{
    if (bytes < tick_since_us(now, r->last) * REST_RATE)
        r->thick = 0;
    else if (r->thick < REST_AFTER)
        r->thick++;
    r->last = now;
    return r->thick == REST_AFTER && bytes < REST_ENOUGH;
}

#endif
