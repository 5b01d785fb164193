/* tests/unit/test_rest.c - a worker rests while much arrives in small pieces, and at no other time. */
#include "daemon/rest.h"

#include "tests/support/vectors.h"

/* Rests among so many turns of the same size, so many microseconds apart. */
static unsigned rests(struct rest *r, unsigned turns, size_t bytes, uint64_t us)
{
    unsigned n = 0;

    for (unsigned i = 0; i < turns; i++)
        n += rest_is_due(r, tick_add_us(r->last, us), bytes);
    return n;
}

static void bulk_in_single_datagrams(void **state)
{
    struct rest r = {.last = {1000000}};

    (void)state;
    assert_int_equal(rests(&r, 100, 1350, 10), 100 - REST_AFTER + 1);
    /* It goes on while rests gather enough, and ends with the flow. */
    assert_int_equal(rests(&r, 100, 12 * 1350, 160), 100);
    assert_int_equal(rests(&r, 100, 1350, 160), 0);
}

static void echo_and_short_requests(void **state)
{
    struct rest r = {.last = {1000000}};

    (void)state;
    assert_int_equal(rests(&r, 1000, 120, 50), 0);
    for (int i = 0; i < 100; i++) {
        r.last = tick_add_us(r.last, 20000);
        assert_int_equal(rests(&r, 7, 1350, 5), 0); /* a page in seven datagrams */
        assert_int_equal(rests(&r, 1, 0, 20000), 0);
    }
}

static void what_fills_a_turn(void **state)
{
    struct rest r = {.last = {1000000}};

    (void)state;
    assert_int_equal(rests(&r, 1000, REST_ENOUGH, 30), 0);
    assert_int_equal(rests(&r, 1, 1350, 30), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bulk_in_single_datagrams),
        cmocka_unit_test(echo_and_short_requests),
        cmocka_unit_test(what_fills_a_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
