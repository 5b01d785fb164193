/* tests/unit/test_log.c - what a line looks like, where it goes, and what is held back. */
#include "daemon/log.h"

#include "tests/support/vectors.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum log_format format = LOG_AS_TEXT;
static char dir[] = "/tmp/test_log.XXXXXX", path[64], moved[64];

static void log_to(const char *to, enum log_level level)
{
    assert_int_equal(log_init(&(struct log_params){level, to, "test", format}), 0);
}

static void to_file(enum log_level level)
{
    unlink(path);
    log_to(path, level);
}

static char *content(const char *name)
{
    static char text[1 << 20];
    FILE *f = fopen(name, "r");
    size_t n;

    assert_non_null(f);
    n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    return text;
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static void test_line(void **state)
{
    unsigned year, n = 0;
    const char *text;

    (void)state;
    to_file(LOG_AT_INFO);
    errno = EBADMSG;
    log_warning("peer said \"%s\" %d", "a\nb\x1b[2J\x7f\xc2\x9b\tz", 7);
    assert_int_equal(errno, EBADMSG);
    text = content(path);
    assert_int_equal(sscanf(text, "%4u-%*2u-%*2u %*2u:%*2u:%*2u.%*3u warning: %n", &year, &n), 1);
    assert_true(n == strlen("2000-01-01 00:00:00.000 warning: "));
    assert_string_equal(text + n, "peer said \"a\\x0ab\\x1b[2J\\x7f\\xc2\\x9b\\x09z\" 7\n");
}

static void test_long(void **state)
{
    static char big[5000];
    const char *text;

    (void)state;
    to_file(LOG_AT_INFO);
    memset(big, 1, sizeof big - 1); /* each byte becomes four */
    log_info("%s", big);
    memset(big, 'x', sizeof big - 1);
    log_info("%s", big);
    text = content(path);
    assert_int_equal(count(text, "\n"), 2);
    assert_int_equal(count(text, "...\n"), 2);
}

static int evaluated;

static void test_levels(void **state)
{
    (void)state;
    to_file(LOG_AT_WARNING);
    log_error("e");
    log_warning("w");
    log_info("i %d", evaluated++);
    log_debug("d %d", evaluated++);
    assert_int_equal(count(content(path), "\n"), 2);
    assert_int_equal(evaluated, 0);
    log_level_set(LOG_AT_DEBUG);
    log_debug("d");
    assert_int_equal(count(content(path), " debug: d\n"), 1);
}

static void test_bucket(void **state)
{
    struct log_site s = {0};
    uint64_t now = 123456789;
    uint32_t held = 77;

    (void)state;
    for (unsigned i = 0; i < LOG_BURST; i++) {
        assert_true(log_site_pass(&s, now, &held));
        assert_int_equal(held, 0);
    }
    for (unsigned i = 0; i < 500; i++)
        assert_false(log_site_pass(&s, now + i, &held));
    assert_false(log_site_pass(&s, now + LOG_REFILL_US - 1, &held));
    assert_true(log_site_pass(&s, now + LOG_REFILL_US, &held));
    assert_int_equal(held, 501);
    assert_false(log_site_pass(&s, now + LOG_REFILL_US, &held));
    now += UINT64_C(1000) * LOG_REFILL_US; /* a long rest fills it, and no more than that */
    for (unsigned i = 0; i < LOG_BURST; i++)
        assert_true(log_site_pass(&s, now, &held));
    assert_false(log_site_pass(&s, now, &held));
}

static void test_flood(void **state)
{
    const char *text;

    (void)state;
    to_file(LOG_AT_INFO);
    for (unsigned i = 0; i < 1000; i++)
        log_info("flood");
    log_info("another place");
    for (unsigned i = 0; i < 100; i++)
        log_all(LOG_AT_INFO, "all");
    text = content(path);
    assert_in_range(count(text, "flood"), LOG_BURST, 10 * LOG_BURST);
    assert_int_equal(count(text, "another place"), 1);
    assert_int_equal(count(text, "all\n"), 100);
}

/* One source that makes noise neither fills the log nor keeps others from being heard. */
static void test_sources(void **state)
{
    struct log_site s = {0}, other = {0};
    uint64_t now = 987654321;
    uint32_t held = 77;

    (void)state;
    for (unsigned i = 0; i < LOG_SOURCE_BURST; i++) {
        assert_true(log_source_pass(&s, 1, now, &held));
        assert_int_equal(held, 0);
    }
    for (unsigned i = 0; i < 1000; i++)
        assert_false(log_source_pass(&s, 1, now, &held));
    assert_true(log_source_pass(&s, 2, now, &held));
    assert_int_equal(held, 0);
    assert_true(log_source_pass(&other, 1, now, &held));
    assert_true(log_source_pass(&s, 1, now + LOG_SOURCE_REFILL_US, &held));
    assert_int_equal(held, 1000);
}

/* However many sources: memory is bounded, the place's own bucket holds, and no line goes uncounted. */
static void test_many_sources(void **state)
{
    static struct log_site s;
    const struct log_site *quiet;
    uint64_t now = UINT64_C(1) << 50; /* after all that the tests before held back, by the machine's own clock */
    uint32_t held, written = 0, told = 0, n = 100000;

    (void)state;
    while (log_limit_quiet(now, &held))
        ;
    for (uint32_t i = 0; i < n; i++) {
        held = 0;
        if (log_source_pass(&s, i % 3000 + 1, now, &held))
            written++, told += held;
        else
            log_site_list(&s, LOG_AT_INFO, "many");
    }
    assert_int_equal(written, LOG_BURST);
    assert_null(log_limit_quiet(now, &held));
    now += UINT64_C(60) * 1000000;
    quiet = log_limit_quiet(now, &held);
    assert_ptr_equal(quiet, &s);
    assert_string_equal(quiet->fmt, "many");
    assert_int_equal(written + told + held, n);
    assert_null(log_limit_quiet(now, &held));
}

static void test_json(void **state)
{
    json_error_t e;
    json_t *line;

    (void)state;
    format = LOG_AS_JSON;
    to_file(LOG_AT_INFO);
    format = LOG_AS_TEXT;
    log_warning("a \"quoted\" \\ %s", "\n\x1b\xff{");
    for (unsigned i = 0; i < LOG_BURST + 5; i++)
        log_info("flood");
    line = json_loads(strtok(content(path), "\n"), 0, &e);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "warning");
    assert_string_equal(json_string_value(json_object_get(line, "message")), "a \"quoted\" \\ \\x0a\\x1b\\xff{");
    assert_int_equal(strlen(json_string_value(json_object_get(line, "time"))), strlen("2000-01-01T00:00:00.000Z"));
    assert_int_equal(json_object_size(line), 3);
    json_decref(line);
    for (unsigned i = 0; i < LOG_BURST; i++) {
        line = json_loads(strtok(NULL, "\n"), 0, &e);
        assert_non_null(line);
        json_decref(line);
    }
}

/* "2026/03/07 05:06:09 text", whatever the level. */
static void test_kcptun(void **state)
{
    static const char like[] = "0000/00/00 00:00:00 a line\\x0a\n";
    const char *line;

    (void)state;
    assert_false(log_is_kcptun());
    format = LOG_AS_KCPTUN;
    to_file(LOG_AT_INFO);
    format = LOG_AS_TEXT;
    assert_true(log_is_kcptun());
    log_error("a line\n");
    line = content(path);
    assert_int_equal(strlen(line), strlen(like));
    for (size_t i = 0; like[i]; i++)
        if (i < 19 && like[i] == '0')
            assert_in_range(line[i], '0', '9');
        else
            assert_int_equal(line[i], like[i]);
    to_file(LOG_AT_INFO);
    assert_false(log_is_kcptun());
}

static void test_reopen(void **state)
{
    (void)state;
    to_file(LOG_AT_INFO);
    log_info("one");
    assert_int_equal(rename(path, moved), 0);
    log_info("two");
    assert_int_equal(log_reopen(), 0);
    log_info("three");
    assert_int_equal(count(content(moved), "one\n") + count(content(moved), "two\n"), 2);
    assert_int_equal(count(content(path), "\n"), 1);
    /* a place that cannot be opened leaves all as it was */
    assert_true(log_init(&(struct log_params){LOG_AT_DEBUG, "/nonexistent/x", "test", false}) < 0);
    log_info("four");
    log_debug("not at this level");
    assert_int_equal(count(content(path), "\n"), 2);
}

static void test_journal(void **state)
{
    char stream[64], name[64];
    int saved = dup(STDERR_FILENO);
    struct stat st;
    FILE *f;

    (void)state;
    snprintf(name, sizeof name, "%s/journal", dir);
    f = fopen(name, "w");
    assert_non_null(f);
    assert_int_equal(dup2(fileno(f), STDERR_FILENO), STDERR_FILENO);
    fstat(STDERR_FILENO, &st);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_to("", LOG_AT_INFO);
    log_error("e");
    log_info("i");
    /* inherited, but standard error is something else now */
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino + 1);
    setenv("JOURNAL_STREAM", stream, 1);
    log_to("", LOG_AT_INFO);
    log_error("plain");
    unsetenv("JOURNAL_STREAM");
    dup2(saved, STDERR_FILENO);
    close(saved);
    fclose(f);
    assert_int_equal(strncmp(content(name), "<3>e\n<6>i\n2", 11), 0);
    assert_int_equal(count(content(name), " error: plain\n"), 1);
    log_to("", LOG_AT_INFO);
    unlink(name);
}

/* A full disk is not the caller's problem. */
static void test_full(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK))
        skip();
    log_to("/dev/full", LOG_AT_INFO);
    errno = EBADMSG;
    log_info("lost");
    assert_int_equal(errno, EBADMSG);
}

static void *many_lines(void *arg)
{
    for (unsigned i = 0; i < 500; i++)
        log_all(LOG_AT_INFO, "thread %s says this in one piece", (const char *)arg);
    return NULL;
}

static void test_threads(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    pthread_t t[LEN(names)];

    (void)state;
    to_file(LOG_AT_INFO);
    for (unsigned i = 0; i < LEN(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, many_lines, (void *)names[i]), 0);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(log_reopen(), 0);
        log_level_set(LOG_AT_INFO);
    }
    for (unsigned i = 0; i < LEN(t); i++)
        pthread_join(t[i], NULL);
    assert_int_equal(count(content(path), " says this in one piece\n"), 1500);
    assert_int_equal(count(content(path), "\n"), 1500);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/log", dir);
    snprintf(moved, sizeof moved, "%s/log.1", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_to("", LOG_AT_INFO);
    unlink(path);
    unlink(moved);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),    cmocka_unit_test(test_long),         cmocka_unit_test(test_levels),
        cmocka_unit_test(test_bucket),  cmocka_unit_test(test_flood),        cmocka_unit_test(test_reopen),
        cmocka_unit_test(test_journal), cmocka_unit_test(test_full),         cmocka_unit_test(test_threads),
        cmocka_unit_test(test_sources), cmocka_unit_test(test_many_sources), cmocka_unit_test(test_json),
        cmocka_unit_test(test_kcptun),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
