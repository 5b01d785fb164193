/* tests/unit/test_worker_stats.c - what a worker counts, by name and summed. */
#include "daemon/worker_stats.h"

#include "tests/support/vectors.h"

#include <string.h>

/* Each number that counts up has a name of its own by which it is found again, and nothing else is found. */
static void test_names(void **state)
{
    static const char *const none[] = {"",        "turn",    "turn.", "turn.23",  "turn.-1",
                                       "turn.1x", "turns.1", "ended", "sessions", "RTT.1"};
    struct worker_stats s = {0};
    char name[STATS_NAME_MAX];
    size_t i;

    (void)state;
    for (size_t k = 0; k < WORKER_COUNTS; k++) {
        worker_count_name(k, name);
        assert_true(worker_count_find(name, &i));
        assert_int_equal(i, k);
        *worker_count_at(&s, k) = k + 1;
    }
    for (size_t k = 0; k < LEN(none); k++)
        assert_false(worker_count_find(none[k], &i));
    assert_int_equal(s.turns, 1);
    for (unsigned k = 0; k < HISTOGRAM_BUCKETS; k++)
        assert_int_equal(s.turn.n[k], k + 2);
    assert_int_equal(s.turn.sum_us, WORKER_COUNTS);
    assert_true(!s.ended && !s.buffer_bytes && !s.sessions && !s.connections && !s.descriptors);
}

static void test_sum(void **state)
{
    struct worker_stats sum = {0}, one = {.turns = 3, .sessions = 2, .descriptors = 5};

    (void)state;
    histogram_add(&one.turn, 700);
    worker_stats_sum(&sum, &one);
    worker_stats_sum(&sum, &one);
    assert_true(sum.turns == 6 && sum.sessions == 4 && sum.descriptors == 10);
    assert_int_equal(sum.turn.n[histogram_bucket(700)], 2);
    assert_int_equal(sum.turn.sum_us, 1400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_sum)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
