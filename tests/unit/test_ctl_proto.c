/* tests/unit/test_ctl_proto.c - the control protocol's lines: what is a request, what is an answer, and that an answer in
 * many lines is the same answer. */
#include "conf/ctl_proto.h"

#include "core/base/err.h"

#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>

static int parse(struct ctl_request *rq, const char *text, size_t n)
{
    char *copy = memcpy(malloc(n + !n), text, n);
    int r = ctl_request_parse(rq, bytes_of(copy, n));

    free(copy);
    return r;
}

static void test_requests(void **state)
{
    static const struct {
        const char *text;
        int want; /* 0, or 1 + the code */
    } rows[] = {
        {"{\"v\":1,\"id\":7,\"cmd\":\"stats\",\"args\":{\"profile\":\"x\"}}", 0},
        {"{\"v\":1,\"id\":\"a\",\"cmd\":\"stats\"}", 0},
        {"{\"v\":1,\"cmd\":\"stats\"}", 0},
        {"{\"v\":1,\"id\":null,\"cmd\":\"stats\",\"args\":null}", 0},
        {"{\"v\":1,\"cmd\":\"stats\",\"new\":[1,{}]}", 0},
        {" {\"cmd\":\"x-1\",\"v\":1} ", 0},
        {"", 1 + CTL_MALFORMED},
        {"x", 1 + CTL_MALFORMED},
        {"[]", 1 + CTL_MALFORMED},
        {"1", 1 + CTL_MALFORMED},
        {"{\"v\":1,\"cmd\":\"a\"}{}", 1 + CTL_MALFORMED},
        {"{\"v\":1,\"v\":1,\"cmd\":\"a\"}", 1 + CTL_MALFORMED},
        {"{\"v\":1}", 1 + CTL_MALFORMED},
        {"{\"v\":1,\"cmd\":\"\"}", 1 + CTL_MALFORMED},
        {"{\"v\":1,\"cmd\":3}", 1 + CTL_MALFORMED},
        {"{\"v\":1,\"cmd\":\"Stats\"}", 1 + CTL_MALFORMED},
        {"{\"v\":1,\"cmd\":\"a\\u0000\"}", 1 + CTL_MALFORMED},
        {"{\"v\":1,\"cmd\":\"a12345678901234567890123456789012\"}", 1 + CTL_MALFORMED},
        {"{\"v\":1,\"cmd\":\"a\",\"args\":[]}", 1 + CTL_MALFORMED},
        {"{\"v\":1,\"cmd\":\"a\",\"id\":1.5}", 1 + CTL_MALFORMED},
        {"{\"v\":1,\"cmd\":\"a\",\"id\":{}}", 1 + CTL_MALFORMED},
        {"{\"v\":1,\"cmd\":\"a\",\"id\":\"12345678901234567890123456789012345678901234567890123456789012345\"}",
         1 + CTL_MALFORMED},
        {"{\"cmd\":\"a\"}", 1 + CTL_MALFORMED},
        {"{\"v\":\"1\",\"cmd\":\"a\"}", 1 + CTL_MALFORMED},
        {"{\"v\":2,\"cmd\":7}", 1 + CTL_BAD_VERSION},
        {"{\"v\":0,\"cmd\":\"a\"}", 1 + CTL_BAD_VERSION},
        {"{\"v\":1,\"cmd\":\"\xff\"}", 1 + CTL_MALFORMED},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++)
        for (size_t n = 0; n <= strlen(rows[i].text); n++) {
            bool whole = n == strlen(rows[i].text);
            struct ctl_request rq;
            int r = parse(&rq, rows[i].text, n), got = r ? 1 + (int)rq.code : 0;

            if (whole ? got != rows[i].want : r != CTL_REFUSED && rows[i].text[n] != ' ' && rows[i].want == 0)
                fail_msg("%.*s: %d %s", (int)n, rows[i].text, r, rq.text);
            assert_int_equal(!!*rq.text, !!r);
            ctl_request_fini(&rq);
        }
}

static void test_request_fields(void **state)
{
    static const char text[] = "{\"v\":1,\"id\":7,\"cmd\":\"stats\",\"args\":{\"profile\":\"x\"}}";
    static const char later[] = "{\"v\":9,\"id\":\"z\"}";
    struct ctl_request rq;

    (void)state;
    assert_int_equal(parse(&rq, text, sizeof text - 1), 0);
    assert_string_equal(rq.cmd, "stats");
    assert_int_equal(json_integer_value(rq.id), 7);
    assert_string_equal(json_string_value(json_object_get(rq.args, "profile")), "x");
    ctl_request_fini(&rq);
    assert_null(rq.id);
    assert_int_equal(parse(&rq, later, sizeof later - 1), CTL_REFUSED);
    assert_int_equal(rq.code, CTL_BAD_VERSION);
    assert_string_equal(json_string_value(rq.id), "z"); /* so that the refusal can be told apart */
    ctl_request_fini(&rq);
}

static void test_request_length(void **state)
{
    char *text = malloc(CTL_REQUEST_MAX + 2);
    struct ctl_request rq;

    (void)state;
    memset(text, ' ', CTL_REQUEST_MAX + 1);
    memcpy(text, "{\"v\":1,\"cmd\":\"a\"}", 17);
    assert_int_equal(parse(&rq, text, CTL_REQUEST_MAX), 0);
    ctl_request_fini(&rq);
    assert_int_equal(parse(&rq, text, CTL_REQUEST_MAX + 1), CTL_REFUSED);
    ctl_request_fini(&rq);
    memset(text, '[', CTL_REQUEST_MAX); /* as deep as it goes */
    assert_int_equal(parse(&rq, text, CTL_REQUEST_MAX), CTL_REFUSED);
    ctl_request_fini(&rq);
    free(text);
}

/* ---- answers: what one side emits, the other side reads ---- */

struct client {
    json_t *data; /* merged */
    unsigned lines;
    bool done;
    char *code;
    int refuse_at; /* emit fails with -EPIPE at this line; 0: never */
};

static int on_line(void *ctx, struct bytes line)
{
    struct client *c = ctx;
    struct ctl_reply re;

    assert_false(c->done);
    assert_int_equal(line.p[line.len - 1], '\n');
    assert_null(memchr(line.p, '\n', line.len - 1));
    assert_true(line.len - 1 <= CTL_ANSWER_MAX);
    c->lines++;
    if ((int)c->lines == c->refuse_at)
        return -EPIPE;
    assert_int_equal(ctl_reply_parse(&re, bytes_of(line.p, line.len - 1)), 0);
    c->done = !re.more;
    if (re.ok) {
        if (!c->data)
            c->data = json_object();
        assert_int_equal(ctl_merge(c->data, re.data), 0);
    } else {
        c->code = strdup(re.code);
    }
    ctl_reply_fini(&re);
    return 0;
}

static void client_fini(struct client *c)
{
    json_decref(c->data);
    free(c->code);
}

static void test_answers(void **state)
{
    static const char text[] = "{\"v\":1,\"id\":7,\"cmd\":\"a\"}";
    struct ctl_request rq;
    struct client c = {0}, e = {0};

    (void)state;
    assert_int_equal(parse(&rq, text, sizeof text - 1), 0);
    assert_int_equal(ctl_answer(&rq, json_pack("{si}", "x", 1), true, on_line, &c), 0);
    assert_false(c.done);
    assert_int_equal(ctl_answer(&rq, json_pack("{si}", "y", 2), false, on_line, &c), 0);
    assert_true(c.done);
    assert_int_equal(json_object_size(c.data), 2);
    for (int code = CTL_MALFORMED; code <= CTL_FAILED; code++) {
        e = (struct client){0};
        assert_int_equal(ctl_answer_error(&rq, code, "\"text\"\n", on_line, &e), 0);
        assert_true(e.done && !e.data);
        assert_string_equal(e.code, ctl_code_name(code));
        client_fini(&e);
    }
    client_fini(&c);
    ctl_request_fini(&rq);
}

static void test_answer_too_long(void **state)
{
    struct ctl_request rq = {0};
    struct client c = {0};
    char *big = memset(malloc(CTL_ANSWER_MAX), 'x', CTL_ANSWER_MAX);

    (void)state;
    assert_int_equal(ctl_answer(&rq, json_stringn(big, CTL_ANSWER_MAX), false, on_line, &c), CTL_TOO_LONG);
    assert_int_equal(c.lines, 0);
    free(big);
}

static json_t *stats(unsigned profiles, unsigned sessions)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < profiles; i++) {
        json_t *v = json_array();
        char name[32];

        snprintf(name, sizeof name, "p%u", i);
        for (unsigned j = 0; j < sessions; j++)
            json_array_append_new(v, json_pack("{si ss}", "id", i * sessions + j, "remote",
                                               "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535"));
        json_array_append_new(list, json_pack("{ss ss s{si si} so}", "name", name, "role", "server", "counters", "A", i,
                                              "B", 2, "sessions", v));
    }
    return json_pack("{so s{si} si}", "profiles", list, "total", "A", 5, "uptime_s", 9);
}

/* However it is cut into lines, the client gets the daemon's data, order included. */
static void test_profiles(void **state)
{
    static const struct {
        unsigned profiles, sessions, min_lines;
    } rows[] = {{0, 0, 1}, {1, 0, 1}, {3, 5, 1}, {1, 30000, 3}, {5000, 0, 2}, {3, 9000, 3}, {100, 200, 2}};

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        json_t *data = stats(rows[i].profiles, rows[i].sessions);
        struct ctl_request rq = {0};
        struct client c = {0};
        char *want = json_dumps(json_object_get(data, "profiles"), JSON_SORT_KEYS), *got;

        assert_int_equal(ctl_answer_profiles(&rq, json_incref(data), on_line, &c), 0);
        assert_true(c.done);
        assert_true(c.lines >= rows[i].min_lines);
        got = json_dumps(json_object_get(c.data, "profiles"), JSON_SORT_KEYS);
        assert_string_equal(got, want);
        assert_true(json_equal(c.data, data));
        free(got);
        free(want);
        client_fini(&c);
        json_decref(data);
    }
}

/* A reader that goes away ends the answer, at whatever line. */
static void test_profiles_broken_off(void **state)
{
    (void)state;
    for (int at = 1; at <= 3; at++) {
        struct client c = {.refuse_at = at};
        struct ctl_request rq = {0};

        assert_int_equal(ctl_answer_profiles(&rq, stats(3, 9000), on_line, &c), -EPIPE);
        assert_int_equal(c.lines, at);
        client_fini(&c);
    }
}

/* The same for a long array of anything. */
static void test_rows(void **state)
{
    static const struct {
        unsigned rows, min_lines;
    } rows[] = {{0, 1}, {1, 1}, {4096, 1}, {60000, 3}};

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        json_t *v = json_array(), *data = json_pack("{so sb}", "streams", v, "complete", 1);
        struct ctl_request rq = {0};
        struct client c = {0};

        for (unsigned k = 0; k < rows[i].rows; k++)
            json_array_append_new(v, json_pack("{si ss}", "id", k, "remote", "[2001:db8::1]:65535"));
        assert_int_equal(ctl_answer_rows(&rq, json_deep_copy(data), "streams", on_line, &c), 0);
        assert_true(c.done && c.lines >= rows[i].min_lines);
        assert_true(json_equal(c.data, data));
        client_fini(&c);
        json_decref(data);
    }
    assert_int_equal(ctl_answer_rows(&(struct ctl_request){0}, NULL, "streams", on_line, NULL), -ENOMEM);
}

static void test_replies(void **state)
{
    static const struct {
        const char *text;
        int want;
    } rows[] = {
        {"{\"v\":1,\"id\":1,\"ok\":true,\"data\":{},\"more\":false,\"new\":1}", 0},
        {"{\"v\":1,\"ok\":true,\"data\":null}", 0},
        {"{\"v\":1,\"ok\":false,\"error\":{\"code\":\"x\",\"text\":\"y\"}}", 0},
        {"{\"v\":1,\"ok\":false,\"error\":{\"code\":\"x\"}}", 0},
        {"{\"v\":1,\"ok\":true}", CTL_REFUSED},
        {"{\"v\":1,\"ok\":false}", CTL_REFUSED},
        {"{\"v\":1,\"ok\":false,\"error\":{}}", CTL_REFUSED},
        {"{\"v\":1,\"ok\":1,\"data\":{}}", CTL_REFUSED},
        {"{\"v\":2,\"ok\":true,\"data\":{}}", CTL_REFUSED},
        {"[]", CTL_REFUSED},
        {"", CTL_REFUSED},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct ctl_reply re;

        if (ctl_reply_parse(&re, bytes_of(rows[i].text, strlen(rows[i].text))) != rows[i].want)
            fail_msg("%s", rows[i].text);
        ctl_reply_fini(&re);
    }
}

static void test_request_print(void **state)
{
    char *line = ctl_request_print(7, "stats", json_pack("{ss}", "profile", "x\ny"));
    char *big = memset(malloc(CTL_REQUEST_MAX), 'x', CTL_REQUEST_MAX);
    struct ctl_request rq;

    (void)state;
    assert_int_equal(line[strlen(line) - 1], '\n');
    assert_int_equal(parse(&rq, line, strlen(line) - 1), 0);
    assert_string_equal(json_string_value(json_object_get(rq.args, "profile")), "x\ny");
    ctl_request_fini(&rq);
    free(line);
    line = ctl_request_print(UINT32_MAX, "a", NULL);
    assert_int_equal(parse(&rq, line, strlen(line) - 1), 0);
    assert_int_equal(json_integer_value(rq.id), UINT32_MAX);
    assert_null(rq.args);
    ctl_request_fini(&rq);
    free(line);
    assert_null(ctl_request_print(1, "a", json_pack("{ss%}", "x", big, (size_t)CTL_REQUEST_MAX)));
    free(big);
}

/* Bytes in pieces of any size give the same lines. */
static void test_lines(void **state)
{
    static const char text[] = "one\ntwo\r\n\n\r\nlast";
    static const char *const want[] = {"one", "two", "", ""};

    (void)state;
    for (size_t step = 1; step < sizeof text; step++) {
        struct ctl_lines l = {.max = 4};
        struct bytes line;
        size_t n = 0;

        for (size_t at = 0; at < sizeof text - 1; at += step) {
            assert_int_equal(ctl_lines_put(&l, bytes_of(text + at, MIN(step, sizeof text - 1 - at))), 0);
            while (!ctl_lines_next(&l, &line)) {
                assert_true(n < LEN(want));
                assert_bytes(line, bytes_of(want[n], strlen(want[n])), text);
                n++;
            }
        }
        assert_int_equal(n, LEN(want));
        assert_int_equal(ctl_lines_next(&l, &line), CTL_AGAIN); /* "last" has 4 bytes and no end yet */
        assert_int_equal(ctl_lines_put(&l, bytes_of("x", 1)), 0);
        assert_int_equal(ctl_lines_next(&l, &line), CTL_TOO_LONG);
        assert_int_equal(ctl_lines_put(&l, bytes_of("\nok\n", 4)), 0);
        assert_int_equal(ctl_lines_next(&l, &line), CTL_TOO_LONG);
        ctl_lines_fini(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_request_fields),
        cmocka_unit_test(test_request_length),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_answer_too_long),
        cmocka_unit_test(test_profiles),
        cmocka_unit_test(test_profiles_broken_off),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_request_print),
        cmocka_unit_test(test_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
