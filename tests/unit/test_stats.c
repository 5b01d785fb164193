/* tests/unit/test_stats.c - the table of counters, their sum, and histograms. */
#include "core/stats.h"

#include "tests/support/vectors.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static void test_table(void **state)
{
    bool taken[sizeof(struct stats) / sizeof(uint64_t)] = {false};

    (void)state;
    for (size_t i = 0; i < stats_count + stats_n_histograms; i++) {
        const struct stats_info *s = i < stats_count ? &stats_info[i] : &stats_histograms[i - stats_count];
        size_t at = s->offset / sizeof(uint64_t), n = s->kind == 'H' ? sizeof(struct histogram) / sizeof(uint64_t) : 1;

        assert_true(s->name[0] && s->help[0] && !strpbrk(s->help, "\n\\"));
        for (const char *p = s->member; *p; p++)
            assert_true(islower((unsigned char)*p) || *p == '_');
        for (size_t k = at; k < at + n; k++) {
            assert_false(taken[k]);
            taken[k] = true;
        }
    }
    for (size_t i = 0; i < LEN(taken); i++)
        assert_true(taken[i]); /* struct stats holds nothing else */
}

static void test_sum(void **state)
{
    struct stats sum = {0}, one = {0};

    (void)state;
    stat_add(&one.bytes_sent, 7);
    histogram_add(&one.rtt, 1500);
    stats_sum(&sum, &one);
    stats_sum(&sum, &one);
    assert_int_equal(sum.bytes_sent, 14);
    assert_int_equal(sum.rtt.n[histogram_bucket(1500)], 2);
    assert_int_equal(sum.rtt.sum_us, 3000);
}

/* Every time is in the first bucket whose bound is not below it. */
static void test_buckets(void **state)
{
    (void)state;
    assert_int_equal(histogram_bucket(0), 0);
    assert_int_equal(histogram_bucket(1), 0);
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        uint64_t bound = histogram_bound_us(i);

        assert_int_equal(histogram_bucket(bound - 1), i);
        assert_int_equal(histogram_bucket(bound), i);
        assert_int_equal(histogram_bucket(bound + 1), i + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_sum),
        cmocka_unit_test(test_buckets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
