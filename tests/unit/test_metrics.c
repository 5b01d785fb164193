/* tests/unit/test_metrics.c - the text for Prometheus, over numbers of our own. */
#include "daemon/metrics.h"

#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 2, PROFILES = 2 };

static struct stats stats[WORKERS][PROFILES];
static struct worker_stats workers[WORKERS];
static unsigned n_profiles;
static unsigned which;

static struct metrics_now now(void *ctx)
{
    (void)ctx;
    return (struct metrics_now){which + 1, n_profiles, WORKERS, "epoll", 1000, 123456789};
}

static struct metrics_profile profile(void *ctx, unsigned i)
{
    static const char longest[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl";

    (void)ctx;
    return i ? (struct metrics_profile){longest, "client"} : (struct metrics_profile){"web", "server"};
}

static const struct stats *stats_of(void *ctx, unsigned worker, unsigned i)
{
    (void)ctx;
    return worker == 1 && i == 1 ? NULL : &stats[worker][i];
}

static const struct worker_stats *worker_of(void *ctx, unsigned worker)
{
    (void)ctx;
    return &workers[worker];
}

static const struct metrics_source source = {NULL, now, profile, stats_of, worker_of};

/* The whole text, on the heap. */
static char *whole(void)
{
    struct metrics_cursor c = {0};
    static char piece[METRICS_PIECE_MAX];
    char *text = calloc(1, 1 << 20);
    size_t at = 0, len;
    int r;

    assert_non_null(text);
    while ((r = metrics_text(&c, &source, piece, &len)) == 0) {
        assert_true(len < METRICS_PIECE_MAX - 1);
        assert_true(!len || piece[len - 1] == '\n');
        memcpy(text + at, piece, len);
        at += len;
        assert_true(at < (1 << 20) - METRICS_PIECE_MAX);
    }
    assert_int_equal(r, METRICS_END);
    return text;
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static void test_samples(void **state)
{
    char *text;

    (void)state;
    n_profiles = PROFILES;
    memset(stats, 0, sizeof stats);
    stats[0][0].bytes_sent = UINT64_MAX;
    stats[0][0].streams_now = 5;
    stats[1][0].bytes_sent = 3;
    histogram_add(&stats[0][0].rtt, 4);
    histogram_add(&stats[0][0].rtt, 1500);
    histogram_add(&stats[0][0].rtt, UINT64_C(100) * 1000000);
    workers[1].turns = 77;
    text = whole();
    assert_non_null(strstr(text, "\n# HELP kcptund_bytes_sent_total bytes accepted for sending, compressed\n"
                                 "# TYPE kcptund_bytes_sent_total counter\n"
                                 "kcptund_bytes_sent_total{profile=\"web\",role=\"server\",worker=\"0\"} "
                                 "18446744073709551615\n"
                                 "kcptund_bytes_sent_total{profile=\"web\",role=\"server\",worker=\"1\"} 3\n"));
    assert_non_null(strstr(text, "# TYPE kcptund_streams_now gauge\n"
                                 "kcptund_streams_now{profile=\"web\",role=\"server\",worker=\"0\"} 5\n"));
    assert_non_null(strstr(text, "kcptund_rtt_seconds_bucket{profile=\"web\",role=\"server\",worker=\"0\",le="
                                 "\"0.000004\"} 1\n"));
    assert_non_null(strstr(text, "worker=\"0\",le=\"0.001024\"} 1\n"));
    assert_non_null(strstr(text, "worker=\"0\",le=\"0.002048\"} 2\n"));
    assert_non_null(strstr(text, "worker=\"0\",le=\"8.388608\"} 2\n"));
    assert_non_null(strstr(text, "kcptund_rtt_seconds_bucket{profile=\"web\",role=\"server\",worker=\"0\",le="
                                 "\"+Inf\"} 3\n"
                                 "kcptund_rtt_seconds_sum{profile=\"web\",role=\"server\",worker=\"0\"} 100.001504\n"
                                 "kcptund_rtt_seconds_count{profile=\"web\",role=\"server\",worker=\"0\"} 3\n"));
    assert_non_null(strstr(text, "kcptund_worker_turns_total{worker=\"1\"} 77\n"));
    assert_non_null(strstr(text, "kcptund_build_info{version=\"" KCPTUND_VERSION "\",io=\"epoll\"} 1\n"));
    assert_non_null(strstr(text, "process_start_time_seconds 123456789\n"));
    free(text);
}

/* Each family once, each with every worker of every profile that has it. */
static void test_families(void **state)
{
    char *text, line[256];

    (void)state;
    n_profiles = PROFILES;
    text = whole();
    for (size_t i = 0; i < stats_count; i++) {
        snprintf(line, sizeof line, "\nkcptund_%s%s{", stats_info[i].member, stats_info[i].kind == 'C' ? "_total" : "");
        assert_int_equal(count(text, line), WORKERS * PROFILES - 1);
        snprintf(line, sizeof line, "# TYPE kcptund_%s%s ", stats_info[i].member,
                 stats_info[i].kind == 'C' ? "_total" : "");
        assert_int_equal(count(text, line), 1);
    }
    free(text);
    n_profiles = 0;
    text = whole();
    assert_non_null(strstr(text, "# TYPE kcptund_bytes_sent_total counter\n# HELP"));
    free(text);
}

static void test_change(void **state)
{
    struct metrics_cursor c = {0};
    static char piece[METRICS_PIECE_MAX];
    size_t len;

    (void)state;
    n_profiles = PROFILES;
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(metrics_text(&c, &source, piece, &len), 0);
    which = 1;
    assert_int_equal(metrics_text(&c, &source, piece, &len), METRICS_CHANGED);
    assert_int_equal(len, 0);
    which = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
