/* tests/unit/test_json.c - kcptun's JSON files: a row for each rule. */
#include "conf/json.h"

#include "core/base/err.h"
#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>

static const char name[] = "t.json";

/* Reads text, from a heap block of its size, over what a command line gave. */
static int read_text(struct kopts *o, enum conf_role role, const char *text, struct conf_problems *ps)
{
    size_t len = strlen(text);
    char *copy = memcpy(malloc(len + !len), text, len);
    int r;

    *ps = (struct conf_problems){0};
    kopts_init(o, role, "kcptun-client");
    assert_int_equal(kopts_set(o, kopts_find(role, "mtu", 3), "1000", "command line"), 0);
    r = json_read_text(o, name, bytes_of(copy, len), ps);
    free(copy);
    assert_int_equal(r == CONF_INVALID, ps->n_errors > 0);
    return r;
}

static const struct {
    const char *rule, *text, *option, *value; /* NULL: not given */
    const char *warns; /* NULL: nothing */
} good[] = {
    {"text", "{\"crypt\":\"tea\"}", "crypt", "tea", NULL},
    {"whole number", "{\"conn\":4}", "conn", "4", NULL},
    {"negative", "{\"ratelimit\":-4}", "ratelimit", "-4", NULL},
    {"true", "{\"quiet\":true}", "quiet", "true", NULL},
    {"false", "{\"quiet\":false}", "quiet", "false", NULL},
    {"over the command line", "{\"mtu\":1200}", "mtu", "1200", NULL},
    {"what is absent stays", "{\"conn\":2}", "mtu", "1000", NULL},
    {"null leaves alone", "{\"mtu\":null}", "mtu", "1000", NULL},
    {"any case", "{\"MTU\":1200}", "mtu", "1200", NULL},
    {"the last of two", "{\"mtu\":1,\"mtu\":2}", "mtu", "2", NULL},
    {"the last of two cases", "{\"mtu\":1,\"MTU\":2}", "mtu", "2", NULL},
    {"qpp-count", "{\"qpp\":true,\"qpp-count\":59}", "QPPCount", "59", NULL},
    {"unknown", "{\"foo\":[1,{}]}", "mtu", "1000", "t.json: foo: unknown key"},
    {"of a wrong type, but unknown", "{\"listen\":5}", "mtu", "1000", "listen: means nothing to a client"},
    {"an option's name", "{\"QPPCount\":5}", "QPPCount", NULL,
     "t.json: QPPCount: unknown key, ignored; in a file it is qpp-count"},
    {"an alias", "{\"ds\":5}", "datashard", NULL, "t.json: ds: unknown key, ignored; in a file it is datashard"},
    {"no key at all", "{\"c\":\"x\"}", "c", NULL, "c: unknown key"},
    {"the first value alone", "{\"conn\":3} {\"conn\":4} garbage", "conn", "3", NULL},
    {"null as the whole", "null", "mtu", "1000", NULL},
    {"empty text", "{\"key\":\"\"}", "key", "", NULL},
    {"escapes", "{\"key\":\"\\u0061\\n\\\"\"}", "key", "a\n\"", NULL},
    {"blanks and lines", " \r\n\t{ \"conn\" :\n3 }", "conn", "3", NULL},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(good); i++) {
        struct conf_problems ps;
        const char *got;
        struct kopts o;
        int r = read_text(&o, CONF_CLIENT, good[i].text, &ps);

        got = kopts_text(&o, good[i].option);
        if (r || !got != !good[i].value || (got && strcmp(got, good[i].value) != 0))
            fail_msg("%s: %d, %s: %s", good[i].rule, r, got ? got : "not given", ps.n ? ps.v[0].text : "");
        if (ps.n != (good[i].warns != NULL) || (ps.n && !strstr(ps.v[0].text, good[i].warns)))
            fail_msg("%s: %s", good[i].rule, ps.n ? ps.v[0].text : "no warning");
        conf_problems_fini(&ps);
        kopts_fini(&o);
    }
}

static const struct {
    const char *text, *says;
} bad[] = {
    {"", "one JSON object"},
    {"   ", "one JSON object"},
    {"{", "too early"},
    {"{\"key\":\"sesame", "t.json:1: "},
    {"[]", "an array; accepted: one JSON object"},
    {"\"x\"", "text; accepted: one JSON object"},
    {"5", "a number; accepted: one JSON object"},
    {"{\"key\":5}", "key: a number; accepted: text in quotes"},
    {"{\"conn\":2.0}", "conn: a fraction; accepted: a whole number"},
    {"{\"conn\":1e1}", "conn: a fraction"},
    {"{\"conn\":\"2\"}", "conn: text"},
    {"{\"conn\":true}", "conn: true"},
    {"{\"conn\":99999999999999999999}", "too large"},
    {"{\"quiet\":1}", "quiet: a number; accepted: true or false"},
    {"{\"quiet\":\"true\"}", "quiet: text"},
    {"{\"mode\":[\"fast\"]}", "mode: an array"},
    {"{\"crypt\":{}}", "crypt: an object"},
    {"\xef\xbb\xbf{}", "t.json:1: a byte order mark"},
    {"// words\n{}", "t.json:1: not JSON"},
    {"{\n\"conn\": 1\n\"mtu\": 1400\n}", "t.json:3: not JSON, here or just above: a comma"},
    {"{\n\"conn\": 1, // words\n}", "t.json:2: not JSON"},
    {"{'conn':1}", "not JSON"},
    {"{\"conn\":1,}", "not JSON"},
    {"{\"key\":\"a\\u0000b\"}", "NUL"},
    {"{\"key\":\"\xff\"}", "not UTF-8"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(bad); i++) {
        struct conf_problems ps;
        struct kopts o;
        int r = read_text(&o, CONF_CLIENT, bad[i].text, &ps);

        if (r != CONF_INVALID || !strstr(ps.v[0].text, bad[i].says))
            fail_msg("%s: %d, %s", bad[i].text, r, ps.n ? ps.v[0].text : "");
        assert_null(strstr(ps.v[0].text, "sesame")); /* what may be a passphrase is not shown */
        conf_problems_fini(&ps);
        kopts_fini(&o);
    }
}

static void test_files(void **state)
{
    struct conf_problems ps = {0};
    struct kopts o;

    (void)state;
    kopts_init(&o, CONF_CLIENT, "kcptun-client");
    assert_int_equal(json_read_file(&o, "/nonexistent/x.json", &ps), CONF_INVALID);
    assert_string_equal(ps.v[0].text, "/nonexistent/x.json: No such file or directory");
    assert_int_equal(json_read_file(&o, "/", &ps), CONF_INVALID);
    conf_problems_fini(&ps);
    kopts_fini(&o);
}

static void test_role(void **state)
{
    static const struct {
        const char *text;
        bool told;
        enum conf_role role;
    } rows[] = {
        {"{\"listen\":\":1\",\"mtu\":5}", true, CONF_SERVER},
        {"{\"Target\":\":1\"}", true, CONF_SERVER},
        {"{\"localaddr\":\":1\"}", true, CONF_CLIENT},
        {"{\"conn\":1}", true, CONF_CLIENT},
        {"{\"mtu\":5}", false, CONF_SERVER},
        {"{\"listen\":\":1\",\"conn\":1}", false, CONF_SERVER},
        {"{", false, CONF_SERVER},
        {"[]", false, CONF_SERVER},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        enum conf_role role = CONF_SERVER;
        bool told = json_role(&role, bytes_of(rows[i].text, strlen(rows[i].text)));

        if (told != rows[i].told || (told && role != rows[i].role))
            fail_msg("%s: %d, %d", rows[i].text, told, role);
    }
}

/* The examples that come with kcptun: of its last tree, and of 20210922. */
static const char *const examples[] = {
    "{\n\"localaddr\": \":3000\",\n\"remoteaddr\": \"127.0.0.1:29900-29999\",\n\"key\": \"PASSWORD\",\n"
    "\"crypt\": \"aes-128\",\n\"qpp\":true,\n\"qpp-count\":61,\n\"mode\": \"fast3\",\n\"mtu\": 1400,\n"
    "\"ratelimit\": 1048576,\n\"sndwnd\": 128,\n\"rcvwnd\": 1024,\n\"datashard\": 10,\n\"parityshard\": 3,\n"
    "\"dscp\": 46,\n\"nocomp\":true,\n\"acknodelay\":false,\n\"nodelay\": 1,\n\"interval\": 40,\n\"resend\": 2,\n"
    "\"nc\": 1,\n\"sockbuf\": 16777217,\n\"smuxver\": 2,\n\"smuxbuf\": 16777217,\n\"streambuf\": 2097152,\n"
    "\"keepalive\": 10,\n\"autoexpire\": 300,\n\"quiet\":false,\n\"tcp\":false\n}\n",
    "{\n\"listen\": \":29900-29999\",\n\"target\": \"127.0.0.1:2000\",\n\"key\": \"PASSWORD\",\n"
    "\"crypt\": \"aes-128\",\n\"qpp\":true,\n\"qpp-count\":61,\n\"mode\": \"fast3\",\n\"mtu\": 1400,\n"
    "\"ratelimit\": 104857600,\n\"sndwnd\": 2048,\n\"rcvwnd\": 2048,\n\"datashard\": 10,\n\"parityshard\": 3,\n"
    "\"dscp\": 46,\n\"nocomp\":true,\n\"acknodelay\":false,\n\"nodelay\": 1,\n\"interval\": 40,\n\"resend\": 2,\n"
    "\"nc\": 1,\n\"sockbuf\": 16777217,\n\"smuxver\": 2,\n\"smuxbuf\": 16777217,\n\"streambuf\": 2097152,\n"
    "\"keepalive\": 10,\n\"pprof\":false,\n\"quiet\":false,\n\"tcp\":false\n}\n",
    "{\"localaddr\":\":2000\",\"remoteaddr\":\"11.22.33.44:2000\",\"key\":\"it's a secrect\",\"crypt\":\"aes-128\","
    "\"mode\":\"fast3\",\"mtu\":1400,\"sndwnd\":128,\"rcvwnd\":1024,\"datashard\":10,\"parityshard\":3,\"dscp\":46,"
    "\"nocomp\":true,\"acknodelay\":false,\"nodelay\":1,\"interval\":40,\"resend\":2,\"nc\":1,\"sockbuf\":16777217,"
    "\"smuxver\":1,\"smuxbuf\":16777217,\"streambuf\":2097152,\"keepalive\":10,\"autoexpire\":1800,\"quiet\":false,"
    "\"tcp\":false}",
    "{\"listen\":\":2000\",\"target\":\"127.0.0.1:9999\",\"key\":\"it's a secrect\",\"crypt\":\"aes-128\","
    "\"mode\":\"fast3\",\"mtu\":1400,\"sndwnd\":2048,\"rcvwnd\":2048,\"datashard\":10,\"parityshard\":3,\"dscp\":46,"
    "\"nocomp\":true,\"acknodelay\":false,\"nodelay\":1,\"interval\":40,\"resend\":2,\"nc\":1,\"sockbuf\":16777217,"
    "\"smuxver\":1,\"smuxbuf\":16777217,\"streambuf\":2097152,\"keepalive\":10,\"pprof\":false,\"quiet\":false,"
    "\"tcp\":false}",
};

static void test_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(examples); i++) {
        struct conf_setting v[KOPTS_MAX];
        struct conf_problems ps;
        enum conf_role role;
        struct conf *c = NULL;
        struct kopts o;

        assert_true(json_role(&role, bytes_of(examples[i], strlen(examples[i]))));
        if (read_text(&o, role, examples[i], &ps) || kopts_settle(&o, &ps) ||
            conf_load_settings(&c, role, "example", v, kopts_settings(&o, v), &ps))
            fail_msg("example %zu: %s", i, ps.v[0].text);
        assert_int_equal(c->profiles[0].mtu, 1400);
        assert_int_equal(c->profiles[0].interval, 10); /* fast3's, not the 40 of the file */
        assert_int_equal(c->profiles[0].sockbuf, 16777217);
        conf_free(c);
        conf_problems_fini(&ps);
        kopts_fini(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_bad),      cmocka_unit_test(test_files),
        cmocka_unit_test(test_role), cmocka_unit_test(test_examples),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
