/* tests/unit/test_limits.c - counts of sessions, against arrays; and from several threads at once. */
#include "daemon/limits.h"

#include "tests/support/vectors.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void v4(uint8_t ip[16], uint32_t n)
{
    memset(ip, 0, 16);
    ip[10] = ip[11] = 0xff;
    memcpy(ip + 12, &n, 4);
}

static void v6(uint8_t ip[16], uint32_t prefix, uint32_t host)
{
    memset(ip, 0, 16);
    memcpy(ip, "\x20\x01\x0d\xb8", 4);
    memcpy(ip + 4, &prefix, 4);
    memcpy(ip + 12, &host, 4);
}

static void test_which(void **state)
{
    struct limits *l = limits_new(4);
    uint8_t a[16], b[16], ones[16];

    (void)state;
    v4(a, 1);
    v4(b, 2);
    memset(ones, 0xff, sizeof ones);
    assert_int_equal(limits_take(l, 1, 3, a, 2), 0);
    assert_int_equal(limits_take(l, 1, 3, a, 2), 0);
    assert_int_equal(limits_take(l, 1, 3, a, 2), LIMIT_SOURCE);
    assert_int_equal(limits_take(l, 1, 3, ones, 2), 0); /* the last of the profile */
    assert_int_equal(limits_take(l, 1, 3, b, 2), LIMIT_PROFILE);
    assert_int_equal(limits_take(l, 2, 3, a, 2), 0); /* another profile: neither its sum nor its sources */
    assert_int_equal(limits_take(l, 2, 3, b, 2), LIMIT_TOTAL);
    limits_set_total(l, 0);
    assert_int_equal(limits_take(l, 2, 0, b, 0), 0);
    limits_set_total(l, 1); /* below what is there: nothing breaks, nothing more comes */
    assert_int_equal(limits_take(l, 2, 0, b, 0), LIMIT_TOTAL);
    assert_int_equal(limits_total(l), 5);
    limits_give(l, 2, b);
    limits_give(l, 2, a);
    limits_give(l, 1, a);
    limits_give(l, 1, ones);
    limits_give(l, 1, a);
    assert_int_equal(limits_total(l), 0);
    assert_int_equal(limits_take(l, 1, 1, a, 1), 0);
    limits_give(l, 1, a);
    assert_null(limits_free(l));
    assert_null(limits_free(NULL));
}

static void test_sources(void **state)
{
    struct limits *l = limits_new(0);
    uint8_t a[16], b[16];

    (void)state;
    v6(a, 1, 1);
    v6(b, 1, 2);
    assert_int_equal(limits_take(l, 1, 0, a, 1), 0);
    assert_int_equal(limits_take(l, 1, 0, b, 1), LIMIT_SOURCE); /* one /64 */
    limits_give(l, 1, b); /* the host moved within it */
    assert_int_equal(limits_take(l, 1, 0, b, 1), 0);
    v6(b, 2, 2);
    assert_int_equal(limits_take(l, 1, 0, b, 1), 0); /* another */
    for (uint32_t i = 0; i < 300; i++) { /* every IPv4 address is its own */
        v4(a, i);
        assert_int_equal(limits_take(l, 1, 0, a, 1), 0);
        assert_int_equal(limits_take(l, 1, 0, a, 1), LIMIT_SOURCE);
    }
    limits_free(l);
}

enum { KEYS = 3, SOURCES = 3000 };

static void test_random(void **state)
{
    static uint32_t counts[KEYS][SOURCES];
    struct limits *l = limits_new(0);
    struct rng rng = rng_seed(1);
    uint32_t sums[KEYS] = {0}, total = 0;

    (void)state;
    for (unsigned step = 0; step < 300000; step++) {
        uint32_t k = rng_below(&rng, KEYS), s = rng_below(&rng, SOURCES);
        bool up = step / 50000 % 2 == 0; /* the table grows, then shrinks */
        uint8_t ip[16];

        if (s % 2)
            v4(ip, s);
        else
            v6(ip, s, (uint32_t)rng_next(&rng));
        if (rng_below(&rng, 8) < (up ? 7u : 1u)) {
            int want = sums[k] >= 6000 ? LIMIT_PROFILE : counts[k][s] >= 3 ? LIMIT_SOURCE : 0;

            assert_int_equal(limits_take(l, k, 6000, ip, 3), want);
            if (!want) {
                counts[k][s]++;
                sums[k]++;
                total++;
            }
        } else if (counts[k][s]) {
            limits_give(l, k, ip);
            counts[k][s]--;
            sums[k]--;
            total--;
        }
        assert_int_equal(limits_total(l), total);
    }
    assert_true(total > 0);
    limits_free(l);
}

/* Sessions of whatever role are counted beside the limits. */
static void test_most(void **state)
{
    struct limits *l = limits_new(1);

    (void)state;
    assert_int_equal(limits_most(l), 0);
    for (unsigned i = 0; i < 5; i++)
        limits_opened(l);
    limits_ended(l);
    limits_ended(l);
    limits_opened(l);
    assert_int_equal(limits_most(l), 5);
    limits_free(l);
}

static void *take_and_give(void *arg)
{
    struct limits *l = arg;
    uint8_t ip[16];

    for (uint32_t i = 0; i < 20000; i++) {
        v4(ip, i % 100);
        limits_opened(l);
        if (limits_take(l, i % 2, 3, ip, 2) == 0)
            limits_give(l, i % 2, ip);
        limits_ended(l);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct limits *l = limits_new(4);
    pthread_t t[4];

    (void)state;
    for (unsigned i = 0; i < LEN(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, take_and_give, l), 0);
    for (unsigned i = 0; i < LEN(t); i++)
        pthread_join(t[i], NULL);
    assert_int_equal(limits_total(l), 0);
    assert_in_range(limits_most(l), 1, LEN(t));
    limits_opened(l);
    assert_in_range(limits_most(l), 1, LEN(t)); /* none was left behind */
    limits_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which), cmocka_unit_test(test_sources), cmocka_unit_test(test_random),
        cmocka_unit_test(test_most),  cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
