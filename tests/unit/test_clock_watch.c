/* tests/unit/test_clock_watch.c - clocks that are set, slewed, or stand still while the machine sleeps. */
#include "daemon/clock_watch.h"

#include "tests/support/vectors.h"

enum { S = 1000000 };

static void test_looks(void **state)
{
    static const struct {
        const char *name;
        int64_t real_us, boot_us; /* ahead of the monotonic clock */
        int want;
    } rows[] = {
        {"the first look", INT64_C(1700000000) * S, 5 * S, CLOCK_SAME},
        {"nothing happened", INT64_C(1700000000) * S, 5 * S, CLOCK_SAME},
        {"slewed by a second", INT64_C(1700000001) * S, 5 * S, CLOCK_SAME},
        {"set forward", INT64_C(1700000091) * S, 5 * S, CLOCK_SET},
        {"set back", INT64_C(1700000001) * S, 5 * S, CLOCK_SET},
        {"slept", INT64_C(1700003601) * S, 3605 * INT64_C(1000000), CLOCK_SLEPT},
        {"and awake", INT64_C(1700003601) * S, 3605 * INT64_C(1000000), CLOCK_SAME},
    };
    struct clock_watch c = {0};

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        int r = clock_watch_look(&c, (struct tick){i}, rows[i].real_us, rows[i].boot_us);

        if (r != rows[i].want)
            fail_msg("%s: %d", rows[i].name, r);
    }
    assert_int_equal(c.jumps, 2);
    assert_int_equal(c.jump_us, INT64_C(-90) * S);
    assert_int_equal(c.jumped.us, 4);
    assert_int_equal(c.sleeps, 1);
    assert_int_equal(c.slept.us, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_looks)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
