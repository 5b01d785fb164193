/* daemon/clock_watch.c - whether the clock was set, or the machine slept. */
#include "daemon/clock_watch.h"

#include <stdlib.h>

enum { JUMP_US = 2000000 }; /* more than a clock that is being slewed gains between two looks, however busy the loop */

int clock_watch_look(struct clock_watch *c, struct tick now, int64_t real_us, int64_t boot_us)
{
    bool first = !c->real_us && !c->boot_us;
    int64_t slept = boot_us - c->boot_us, jump = real_us - c->real_us - slept;
    int r = CLOCK_SAME;

    c->real_us = real_us;
    c->boot_us = boot_us;
    if (first)
        return r;
    if (slept >= JUMP_US) {
        c->sleeps++;
        c->slept = now;
        r = CLOCK_SLEPT;
    }
    if (llabs(jump) >= JUMP_US) {
        c->jumps++;
        c->jump_us = jump;
        c->jumped = now;
        r = CLOCK_SET;
    }
    return r;
}
