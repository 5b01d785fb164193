/* core/wheel.h - hierarchical timer wheel: 1 ms slots, four levels of 64, so 4.6 hours; longer waits are re-armed.
 * Insertion, removal and expiry are O(1); an empty wheel costs nothing. */
#ifndef CORE_WHEEL_H
#define CORE_WHEEL_H

#include "core/base/list.h"
#include "core/base/tick.h"

enum { WHEEL_LEVELS = 4, WHEEL_SLOTS = 64 };

struct wheel_timer {              /* embedded in its owner; zeroed: not armed */
    struct list node;
    uint64_t at_ms;
    uint8_t level, slot;
};

struct wheel {
    uint64_t now_ms;              /* slots before this one have been handed out */
    uint64_t used[WHEEL_LEVELS];  /* bit s: slot s holds a timer */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
    struct list due;
};

void wheel_init(struct wheel *w, struct tick now);
/* Arms t for `at`, rounded up to the millisecond; moves it if it was armed. TICK_NEVER disarms. */
void wheel_set(struct wheel *w, struct wheel_timer *t, struct tick at);
void wheel_cancel(struct wheel *w, struct wheel_timer *t);
/* The next timer due at now, disarmed; NULL: none. Call until NULL. */
struct wheel_timer *wheel_expire(struct wheel *w, struct tick now);
/* A time not later than the earliest timer (exact within 64 ms, coarser beyond); TICK_NEVER if empty. */
struct tick wheel_next(const struct wheel *w);

#endif
