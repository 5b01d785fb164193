/* daemon/clock_watch.h - whether the clock was set, or the machine slept, while the daemon ran. Sees no clock: a test can set
 * any. */
#ifndef DAEMON_CLOCK_WATCH_H
#define DAEMON_CLOCK_WATCH_H

#include "core/base/tick.h"

struct clock_watch {              /* zeroed: nothing seen yet */
    int64_t real_us, boot_us;     /* ahead of the monotonic clock at the last look */
    unsigned jumps, sleeps;
    int64_t jump_us;              /* by how much the last time */
    struct tick jumped, slept;    /* when */
};

enum { CLOCK_SAME, CLOCK_SET, CLOCK_SLEPT };

/* A look at the clocks at `now`: how far CLOCK_REALTIME and CLOCK_BOOTTIME are ahead of CLOCK_MONOTONIC. What happened since
 * the last look. */
int clock_watch_look(struct clock_watch *c, struct tick now, int64_t real_us, int64_t boot_us);

#endif
