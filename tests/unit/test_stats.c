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

/* Each number has a name of its own by which it is found again, and nothing else is found. */
static void test_names(void **state)
{
    static const char *const none[] = {"",
                                       "bytes_sent",
                                       "RTT",
                                       "RTT.",
                                       "RTT.23",
                                       "RTT.-1",
                                       "RTT. 1",
                                       "RTT.1x",
                                       "RTT.SUM",
                                       "BytesSent.0",
                                       "BytesSent.sum",
                                       ".sum",
                                       "RTT.99999999999999999999"};
    char name[STATS_NAME_MAX];
    struct stats s = {0};
    size_t i;

    (void)state;
    for (size_t k = 0; k < STATS_NUMBERS; k++) {
        stats_number_name(k, name);
        assert_true(stats_number_find(name, &i));
        assert_int_equal(i, k);
    }
    for (size_t k = 0; k < LEN(none); k++)
        assert_false(stats_number_find(none[k], &i));
    assert_true(stats_number_find("QueueDelay.sum", &i));
    stats_number_put(&s, i, 7);
    assert_int_equal(s.queue_delay.sum_us, 7);
    assert_true(stats_number_find("RTT.2", &i));
    stats_number_put(&s, i, 8);
    assert_int_equal(s.rtt.n[2], 8);
    assert_int_equal(stats_number(&s, i), 8);
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
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_buckets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
