/* core/base/tick.h - time as an argument, and serial-number arithmetic (kcp.md, section 2).
 * A tick counts microseconds since a start the daemon (or the test) chooses; only differences mean anything. */
#ifndef BASE_TICK_H
#define BASE_TICK_H

#include <stdbool.h>
#include <stdint.h>

struct tick {
    uint64_t us;
};

#define TICK_NEVER ((struct tick){UINT64_MAX})

static inline struct tick tick_add_us(struct tick t, uint64_t us)
{
    return t.us > UINT64_MAX - us ? TICK_NEVER : (struct tick){t.us + us};
}

static inline struct tick tick_add_ms(struct tick t, uint64_t ms)
{
    return tick_add_us(t, ms * 1000);
}

static inline bool tick_before(struct tick a, struct tick b)
{
    return a.us < b.us;
}

static inline struct tick tick_min(struct tick a, struct tick b)
{
    return a.us < b.us ? a : b;
}

static inline struct tick tick_max(struct tick a, struct tick b)
{
    return a.us > b.us ? a : b;
}

/* Microseconds from `from` to `to`; 0 if `to` lies before it. */
static inline uint64_t tick_since_us(struct tick to, struct tick from)
{
    return to.us > from.us ? to.us - from.us : 0;
}

/* The KCP clock: milliseconds modulo 2^32. */
static inline uint32_t tick_ms(struct tick t)
{
    return (uint32_t)(t.us / 1000);
}

/* a - b for 32-bit serial numbers (sn, una, ts, seqid): negative if a comes first. */
static inline int32_t serial_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static inline bool serial_before(uint32_t a, uint32_t b)
{
    return serial_diff(a, b) < 0;
}

#endif
