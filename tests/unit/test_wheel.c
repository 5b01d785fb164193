/* tests/unit/test_wheel.c - the timer wheel against the plainest model there is: an array of times. */
#include "core/wheel.h"

#include "tests/support/vectors.h"

#include <string.h>

enum { N = 200 };
#define SPAN_MS (UINT64_C(1) << 24) /* what four levels reach */
#define MS(n)   ((struct tick){(uint64_t)(n)*1000})

struct model {
    struct wheel w;
    struct wheel_timer t[N];
    uint64_t due_ms[N]; /* 0: not armed */
    struct tick now;
    struct rng rng;
};

static uint64_t up_ms(struct tick t)
{
    return t.us / 1000 + (t.us % 1000 != 0);
}

static uint64_t model_next_ms(const struct model *m)
{
    uint64_t first = UINT64_MAX;

    for (unsigned i = 0; i < N; i++)
        if (m->due_ms[i])
            first = MIN(first, m->due_ms[i]);
    return first;
}

/* Distances of every magnitude, often right at a border of a level, now and then beyond the span or in the past. */
static struct tick some_time(struct model *m)
{
    uint64_t us = m->now.us;

    switch (rng_below(&m->rng, 8)) {
    case 0:
        return tick_add_us(m->now, rng_below(&m->rng, 5000));
    case 1:
        return (struct tick){us - MIN(us - 1000, rng_below(&m->rng, 100000))};
    case 2:
        return MS((us / 1000 / 64 + rng_below(&m->rng, 70)) * 64);
    case 3:
        return MS((us / 1000 / 4096 + rng_below(&m->rng, 70)) * 4096 + rng_below(&m->rng, 3) - 1);
    case 4:
        return MS((us / 1000 / 262144 + rng_below(&m->rng, 70)) * 262144 + rng_below(&m->rng, 3) - 1);
    case 5:
        return tick_add_ms(m->now, SPAN_MS - 3 + rng_below(&m->rng, 6));
    case 6:
        return tick_add_ms(m->now, rng_next(&m->rng) % (5 * SPAN_MS));
    default:
        return tick_add_us(m->now, rng_next(&m->rng) >> (24 + rng_below(&m->rng, 36)));
    }
}

static void arm(struct model *m, unsigned i, struct tick at)
{
    wheel_set(&m->w, &m->t[i], at);
    m->due_ms[i] = at.us == TICK_NEVER.us ? 0 : up_ms(at);
    assert_int_equal(list_linked(&m->t[i].node), m->due_ms[i] != 0);
}

/* Hands out all that is due; with `busy` the owners re-arm (also for now) and cancel others meanwhile. */
static void expire_all(struct model *m, bool busy)
{
    struct wheel_timer *t;
    uint64_t last = 0;

    for (unsigned turns = 0; (t = wheel_expire(&m->w, m->now)); turns++) {
        unsigned i = (unsigned)(t - m->t), other = rng_below(&m->rng, N);

        assert_true(i < N);
        assert_false(list_linked(&t->node));
        if (!m->due_ms[i] || m->due_ms[i] * 1000 > m->now.us)
            fail_msg("timer %u, armed for %llu ms, came at %llu us", i, (unsigned long long)m->due_ms[i],
                     (unsigned long long)m->now.us);
        if (!busy)
            assert_true(m->due_ms[i] >= last); /* in the order of their times */
        last = busy ? 0 : m->due_ms[i];
        m->due_ms[i] = 0;
        if (busy && turns < 2 * N && rng_below(&m->rng, 2))
            arm(m, i, some_time(m));
        if (busy && rng_below(&m->rng, 4) == 0) {
            wheel_cancel(&m->w, &m->t[other]);
            m->due_ms[other] = 0;
        }
    }
    if (model_next_ms(m) * 1000 <= m->now.us)
        fail_msg("a timer for %llu ms did not come by %llu us", (unsigned long long)model_next_ms(m),
                 (unsigned long long)m->now.us);
}

static void check_next(const struct model *m)
{
    uint64_t first = model_next_ms(m);
    struct tick next = wheel_next(&m->w);

    if (first == UINT64_MAX)
        assert_true(next.us == TICK_NEVER.us);
    else
        assert_true(next.us <= first * 1000);
}

static void start(struct model *m, struct rng rng, struct tick now)
{
    memset(m, 0, sizeof *m);
    m->rng = rng;
    m->now = now;
    wheel_init(&m->w, now);
    assert_true(wheel_next(&m->w).us == TICK_NEVER.us);
    assert_null(wheel_expire(&m->w, now));
}

static void test_random(void **state)
{
    static struct model m;

    (void)state;
    for (unsigned run = 1; run <= 60; run++) {
        start(&m, run > 1 ? m.rng : rng_seed(1), MS(1 + run * UINT64_C(262143)));
        for (unsigned step = 0; step < 3000; step++) {
            unsigned i = rng_below(&m.rng, N), what = rng_below(&m.rng, 10);

            if (what < 5) {
                arm(&m, i, some_time(&m));
            } else if (what < 6) {
                arm(&m, i, TICK_NEVER);
            } else if (what < 7) {
                wheel_cancel(&m.w, &m.t[i]);
                m.due_ms[i] = 0;
            } else if (what < 9) {
                struct tick to = some_time(&m); /* may also jump past every level */

                m.now = tick_before(m.now, to) ? to : m.now;
                /* a timer set for the past comes when it comes: order counts only where there are none */
                expire_all(&m, true);
            }
            check_next(&m);
        }
    }
}

static void test_order(void **state)
{
    static struct model m;

    (void)state;
    for (unsigned run = 1; run <= 30; run++) {
        start(&m, run > 1 ? m.rng : rng_seed(2), MS(run * 4095));
        for (unsigned round = 0; round < 20; round++) {
            for (unsigned i = 0; i < N; i++) {
                struct tick at = some_time(&m);

                arm(&m, i, tick_before(m.now, at) ? at : tick_add_ms(m.now, 1));
            }
            m.now = tick_add_ms(m.now, rng_next(&m.rng) % (2 * SPAN_MS));
            expire_all(&m, false);
        }
    }
}

/* Sleeping until wheel_next() again and again meets every timer at its very millisecond, in a few wake-ups. */
static void test_followed(void **state)
{
    static struct model m;
    struct rng rng = rng_seed(3);

    (void)state;
    for (unsigned run = 1; run <= 3000; run++) {
        struct tick at;
        unsigned wakes = 0, most;

        start(&m, rng, MS(1 + rng_next(&rng) % (3 * SPAN_MS)));
        at = some_time(&m);
        at = tick_before(m.now, at) ? at : tick_add_ms(m.now, 1);
        arm(&m, 0, at);
        most = WHEEL_LEVELS + (unsigned)(tick_since_us(at, m.now) / 1000 / (SPAN_MS - (SPAN_MS >> 6)));
        for (;;) {
            struct tick next = wheel_next(&m.w);
            struct wheel_timer *t;

            assert_true(next.us <= up_ms(at) * 1000);
            assert_true(!tick_before(next, m.now));
            m.now = next;
            wakes++;
            t = wheel_expire(&m.w, m.now);
            if (t) {
                assert_ptr_equal(t, &m.t[0]);
                break;
            }
        }
        assert_true(m.now.us == up_ms(at) * 1000);
        if (wakes > most)
            fail_msg("%u wake-ups, %u would do (run %u)", wakes, most, run);
    }
}

/* Within 64 ms the answer is exact, wherever the present lies. */
static void test_exact_when_near(void **state)
{
    static struct model m;

    (void)state;
    for (uint64_t now = 1; now < 300; now++)
        for (uint64_t d = 1; d <= WHEEL_SLOTS; d++) {
            start(&m, (struct rng){1}, MS(now));
            arm(&m, 0, MS(now + d));
            assert_true(wheel_next(&m.w).us == (now + d) * 1000);
        }
}

static void test_rounding(void **state)
{
    static struct model m;

    (void)state;
    start(&m, (struct rng){1}, MS(10));
    arm(&m, 0, (struct tick){20001}); /* never early: up to the next millisecond */
    assert_null(wheel_expire(&m.w, (struct tick){20999}));
    assert_ptr_equal(wheel_expire(&m.w, (struct tick){21000}), &m.t[0]);
    arm(&m, 0, (struct tick){21000}); /* due at once, in this very turn */
    assert_true(wheel_next(&m.w).us <= 21000);
    assert_ptr_equal(wheel_expire(&m.w, (struct tick){21000}), &m.t[0]);
    assert_null(wheel_expire(&m.w, (struct tick){21000}));
    wheel_set(&m.w, &m.t[0], (struct tick){0}); /* long past, then thought better of */
    wheel_cancel(&m.w, &m.t[0]);
    wheel_cancel(&m.w, &m.t[0]);
    assert_null(wheel_expire(&m.w, (struct tick){21000}));
    assert_true(wheel_next(&m.w).us == TICK_NEVER.us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),          cmocka_unit_test(test_order),    cmocka_unit_test(test_followed),
        cmocka_unit_test(test_exact_when_near), cmocka_unit_test(test_rounding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
