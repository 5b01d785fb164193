/* tests/unit/test_options.c - every option, and one clear line for every mistake. */
#include "daemon/options.h"

#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char said[1 << 16]; /* what the call wrote to the descriptor under test */

static int parse(struct options *o, const char *line, int *status, int fd)
{
    static char words[256]; /* o->file points into it */
    char *argv[16] = {words}, *save = NULL;
    int argc = 1, r, kept = dup(fd);
    FILE *f = tmpfile(), *stream = fd == STDOUT_FILENO ? stdout : stderr;
    size_t n;

    snprintf(words, sizeof words, "%s", line);
    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    assert_non_null(f);
    fflush(stream);
    dup2(fileno(f), fd);
    r = options_parse(o, argc, argv, status);
    fflush(stream);
    dup2(kept, fd);
    close(kept);
    rewind(f);
    n = fread(said, 1, sizeof said - 1, f);
    said[n] = 0;
    fclose(f);
    return r;
}

static void test_good(void **state)
{
    static const struct {
        const char *line, *file;
        bool test, print, show_secrets;
    } rows[] = {
        {"", "/etc/kcptun.ini", false, false, false},
        {"-c=x -t", "=x", true, false, false},
        {"-tcfile", "file", true, false, false},
        {"--config f --print", "f", false, true, false},
        {"--config=f -T --show-secrets", "f", false, true, true},
        {"--show-secrets -T", "/etc/kcptun.ini", false, true, true},
        {"-c a --config=b", "b", false, false, false}, /* the last counts */
        {"--test --", "/etc/kcptun.ini", true, false, false},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct options o;
        int status;

        if (parse(&o, rows[i].line, &status, STDERR_FILENO) || *said)
            fail_msg("'%s': %s", rows[i].line, said);
        assert_string_equal(o.file, rows[i].file);
        assert_int_equal(o.test, rows[i].test);
        assert_int_equal(o.print, rows[i].print);
        assert_int_equal(o.show_secrets, rows[i].show_secrets);
    }
}

static void test_mistakes(void **state)
{
    static const struct {
        const char *line, *names;
    } rows[] = {
        {"-x", "-x"},
        {"-tx", "-x"},
        {"--nonsense", "--nonsense"},
        {"-c", "-c"},
        {"-t --config", "--config"},
        {"--test=yes", "--test=yes"},
        {"word", "word"},
        {"-t -- -c", "-c"},
        {"-t -T", "exclude"},
        {"--show-secrets", "-T"},
        {"-t --show-secrets", "-T"},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct options o = {.file = "untouched"};
        int status = -1, r = parse(&o, rows[i].line, &status, STDERR_FILENO);
        const char *end = strchr(said, '\n');

        if (r != OPTIONS_DONE || status != 64 || !strstr(said, rows[i].names) || !end || end[1])
            fail_msg("'%s': %d, %d, \"%s\"", rows[i].line, r, status, said);
        assert_string_equal(o.file, "untouched");
    }
}

static void test_help(void **state)
{
    struct options o;
    int status = -1;

    (void)state;
    assert_int_equal(parse(&o, "-h", &status, STDOUT_FILENO), OPTIONS_DONE);
    assert_int_equal(status, 0);
    assert_non_null(strstr(said, "--show-secrets"));
    assert_non_null(strstr(said, "sndwnd")); /* the keys, too */
    status = -1;
    assert_int_equal(parse(&o, "--version", &status, STDOUT_FILENO), OPTIONS_DONE);
    assert_int_equal(status, 0);
    assert_string_equal(said, "kcptund " KCPTUND_VERSION "\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_help),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
