/* core/wheel.c - hierarchical timer wheel.
 *
 * A slot of level l spans 64^l ms. With "unit" for a time divided by that span, a timer sits on the lowest level where
 * its unit is less than 64 ahead of the present one, in slot unit mod 64. On level 0 the distance is 0..63; above it is
 * 1..63, because a slot is dealt out to the levels below as soon as its first millisecond is reached. What lies beyond
 * the top level waits in its farthest slot and is dealt out again from there. */
#include "core/wheel.h"

#include <string.h>

enum { BITS = 6, TOP = WHEEL_LEVELS - 1 };

_Static_assert(WHEEL_SLOTS == 1 << BITS, "one word of bits per level");

static uint64_t unit_of(uint64_t ms, unsigned level)
{
    return ms >> (BITS * level);
}

void wheel_init(struct wheel *w, struct tick now)
{
    memset(w, 0, sizeof *w);
    w->now_ms = now.us / 1000;
    for (unsigned l = 0; l < WHEEL_LEVELS; l++)
        for (unsigned s = 0; s < WHEEL_SLOTS; s++)
            list_init(&w->slots[l][s]);
    list_init(&w->due);
}

static void put(struct wheel *w, struct wheel_timer *t)
{
    unsigned level = 0;
    uint64_t unit;

    if (t->at_ms < w->now_ms) { /* its slot has been handed out already */
        list_push(&w->due, &t->node);
        return;
    }
    while (level < TOP && unit_of(t->at_ms, level) - unit_of(w->now_ms, level) >= WHEEL_SLOTS)
        level++;
    unit = MIN(unit_of(t->at_ms, level), unit_of(w->now_ms, level) + WHEEL_SLOTS - 1);
    t->level = (uint8_t)level;
    t->slot = unit % WHEEL_SLOTS;
    w->used[level] |= UINT64_C(1) << t->slot;
    list_push(&w->slots[level][t->slot], &t->node);
}

void wheel_cancel(struct wheel *w, struct wheel_timer *t)
{
    if (!list_linked(&t->node))
        return;
    list_del(&t->node);
    /* one in w->due has left its slot already: then this changes nothing */
    if (list_empty(&w->slots[t->level][t->slot]))
        w->used[t->level] &= ~(UINT64_C(1) << t->slot);
}

void wheel_set(struct wheel *w, struct wheel_timer *t, struct tick at)
{
    wheel_cancel(w, t);
    if (at.us == TICK_NEVER.us)
        return;
    t->at_ms = at.us / 1000 + (at.us % 1000 != 0);
    put(w, t);
}

/* The first millisecond of the earliest slot in use; UINT64_MAX: none. */
static uint64_t earliest_slot(const struct wheel *w)
{
    uint64_t first = UINT64_MAX;

    for (unsigned l = 0; l < WHEEL_LEVELS; l++) {
        uint64_t unit = unit_of(w->now_ms, l), used = w->used[l];
        unsigned here = unit % WHEEL_SLOTS;

        if (!used)
            continue;
        used = used >> here | used << (-here % WHEEL_SLOTS); /* bit k: k units ahead */
        first = MIN(first, (unit + (unsigned)__builtin_ctzll(used)) << (BITS * l));
    }
    return first;
}

/* Sets the time, no farther than to the earliest slot in use, and deals out the slots that begin there. */
static void move_to(struct wheel *w, uint64_t ms)
{
    w->now_ms = ms;
    for (unsigned l = TOP; l > 0; l--) {
        unsigned here = unit_of(ms, l) % WHEEL_SLOTS;
        struct list dealt;

        if (!(w->used[l] >> here & 1))
            continue;
        list_init(&dealt);
        list_splice(&dealt, &w->slots[l][here]);
        w->used[l] &= ~(UINT64_C(1) << here);
        LIST_EACH(t, &dealt, struct wheel_timer, node) {
            list_del(&t->node);
            put(w, t);
        }
    }
}

/* Moves on to the next slot that holds due timers, or to the end of `to`. */
static void turn(struct wheel *w, uint64_t to)
{
    while (list_empty(&w->due) && w->now_ms <= to) {
        uint64_t at = earliest_slot(w);
        unsigned s;

        if (at > to) {
            move_to(w, to + 1);
            return;
        }
        move_to(w, at);
        s = at % WHEEL_SLOTS;
        if (!(w->used[0] >> s & 1))
            continue;
        list_splice(&w->due, &w->slots[0][s]);
        w->used[0] &= ~(UINT64_C(1) << s);
        move_to(w, at + 1);
    }
}

struct wheel_timer *wheel_expire(struct wheel *w, struct tick now)
{
    struct wheel_timer *t;

    turn(w, now.us / 1000);
    t = LIST_FIRST(&w->due, struct wheel_timer, node);
    if (t)
        list_del(&t->node);
    return t;
}

struct tick wheel_next(const struct wheel *w)
{
    uint64_t ms;

    if (!list_empty(&w->due))
        return (struct tick){0};
    ms = earliest_slot(w);
    return ms == UINT64_MAX ? TICK_NEVER : (struct tick){ms * 1000};
}
