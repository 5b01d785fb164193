/* tests/unit/test_kcptun_opts.c - kcptun's command line and what it becomes: a row for each rule. */
#include "conf/kcptun_opts.h"

#include "conf/schema.h"
#include "core/base/err.h"
#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>

enum { ARGS_MAX = 32 };

/* Splits line at blanks into argv, behind the program's name. */
static int split(char *line, char *argv[ARGS_MAX])
{
    int n = 0;

    argv[n++] = (char *)(uintptr_t) "kcptun-client";
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[n++] = word;
    return n;
}

static int parse(struct kopts *o, enum conf_role role, const char *line, char why[256], const char **rest)
{
    static char copy[512], *argv[ARGS_MAX];

    snprintf(copy, sizeof copy, "%s", line);
    *why = 0;
    kopts_init(o, role, role == CONF_SERVER ? "kcptun-server" : "kcptun-client");
    return kopts_args(o, split(copy, argv), argv, why, rest);
}

/* ---- what is taken ---- */

static const struct {
    const char *line, *option, *value; /* NULL: not given */
    const char *rest;
} taken[] = {
    {"-mtu 1200", "mtu", "1200", NULL},
    {"--mtu 1200", "mtu", "1200", NULL},
    {"-mtu=1200", "mtu", "1200", NULL},
    {"--mtu=1200", "mtu", "1200", NULL},
    {"-mtu 1 -mtu 2", "mtu", "2", NULL},
    {"-mtu 0x4b0", "mtu", "1200", NULL},
    {"-mtu 02260", "mtu", "1200", NULL},
    {"-mtu +5", "mtu", "5", NULL},
    {"-mtu -5", "mtu", "-5", NULL}, /* a value, whatever it looks like */
    {"-l :1", "localaddr", ":1", NULL},
    {"--l=:1", "localaddr", ":1", NULL},
    {"-ds 7", "datashard", "7", NULL},
    {"--ps 2", "parityshard", "2", NULL},
    {"-key a=b", "key", "a=b", NULL},
    {"-key=a=b", "key", "a=b", NULL},
    {"-key=", "key", "", NULL},
    {"-key -mtu", "key", "-mtu", NULL},
    {"-quiet", "quiet", "true", NULL},
    {"-quiet=false", "quiet", "false", NULL},
    {"-quiet=T", "quiet", "true", NULL},
    {"-QPP -QPPCount 59", "QPPCount", "59", NULL},
    {"-nodelay 1 -interval 20 -resend 2 -nc 1", "resend", "2", NULL},
    {"-acknodelay", "acknodelay", "true", NULL},
    {"-quiet false -mtu 9", "mtu", NULL, "false"}, /* the end is at "false" */
    {"-mtu 7 word -mtu 9", "mtu", "7", "word"},
    {"-mtu 7 - -mtu 9", "mtu", "7", "-"},
    {"-mtu 7 -- -mtu 9", "mtu", "7", "--"},
    {"", "mtu", NULL, NULL},
};

static void test_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(taken); i++) {
        const char *rest = "untouched", *got;
        struct kopts o;
        char why[256];
        int r = parse(&o, CONF_CLIENT, taken[i].line, why, &rest);

        got = kopts_text(&o, taken[i].option);
        if (r || !got != !taken[i].value || (got && strcmp(got, taken[i].value) != 0))
            fail_msg("'%s': %d, %s (%s)", taken[i].line, r, got ? got : "not given", why);
        if (!rest != !taken[i].rest || (rest && strcmp(rest, taken[i].rest) != 0))
            fail_msg("'%s': the rest is %s", taken[i].line, rest ? rest : "none");
        kopts_fini(&o);
    }
}

/* ---- what is not ---- */

static const struct {
    enum conf_role role;
    const char *line;
    int result;
    const char *says;
} others[] = {
    {CONF_CLIENT, "-bogus=1", CONF_INVALID, "Incorrect Usage. flag provided but not defined: -bogus\n"},
    {CONF_CLIENT, "-mtux 3", CONF_INVALID, "not defined: -mtux"},
    {CONF_CLIENT, "-MTU 3", CONF_INVALID, "not defined: -MTU"}, /* names have a case */
    {CONF_CLIENT, "---mtu 3", CONF_INVALID, "bad flag syntax: ---mtu"},
    {CONF_CLIENT, "-=3", CONF_INVALID, "bad flag syntax: -=3"},
    {CONF_CLIENT, "--mtu", CONF_INVALID, "flag needs an argument: -mtu\n"},
    {CONF_CLIENT, "-mtu=", CONF_INVALID, "invalid value \"\" for flag -mtu: parse error\n"},
    {CONF_CLIENT, "-mtu 12x", CONF_INVALID, "invalid value \"12x\" for flag -mtu: parse error"},
    {CONF_CLIENT, "-ds 1e3", CONF_INVALID, "invalid value \"1e3\" for flag -ds: parse error"},
    {CONF_CLIENT, "-mtu 08", CONF_INVALID, "parse error"},
    {CONF_CLIENT, "-mtu 99999999999999999999", CONF_INVALID, "for flag -mtu: value out of range"},
    {CONF_CLIENT, "-quiet=maybe", CONF_INVALID, "invalid boolean value \"maybe\" for -quiet: parse error"},
    {CONF_CLIENT, "-l :1 -localaddr :2", CONF_INVALID, "Cannot use two forms of the same flag: l localaddr"},
    {CONF_CLIENT, "-datashard 1 --ds 1", CONF_INVALID, "two forms of the same flag: ds datashard"},
    {CONF_CLIENT, "-listen :1", CONF_INVALID, "-listen"},
    {CONF_SERVER, "-conn 2", CONF_INVALID, "-conn"},
    {CONF_SERVER, "-l :1 -t :2", 0, ""},
    {CONF_CLIENT, "-h", KOPTS_HELP, ""},
    {CONF_CLIENT, "--help", KOPTS_HELP, ""},
    {CONF_CLIENT, "help", KOPTS_HELP, ""},
    {CONF_CLIENT, "h", KOPTS_HELP, ""},
    {CONF_CLIENT, "-mtu 3 -h", KOPTS_HELP, ""},
    {CONF_CLIENT, "-h -v", KOPTS_HELP, ""},
    {CONF_CLIENT, "-v", KOPTS_VERSION, ""},
    {CONF_CLIENT, "--version", KOPTS_VERSION, ""},
    {CONF_CLIENT, "-h -bogus", CONF_INVALID, "-bogus"},
};

static void test_others(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(others); i++) {
        const char *rest = NULL;
        struct kopts o;
        char why[256];
        int r = parse(&o, others[i].role, others[i].line, why, &rest);

        if (r != others[i].result || !strstr(why, others[i].says))
            fail_msg("'%s': %d, \"%s\"", others[i].line, r, why);
        kopts_fini(&o);
    }
}

/* As Go's strconv.ParseInt() with base 0; each row was given to a kcptun of 2021 as well. */
static const struct {
    const char *text;
    bool ok;
    int64_t n;
} numbers[] = {
    {"0", true, 0},
    {"-0", true, 0},
    {"+5", true, 5},
    {"0x10", true, 16},
    {"0X1f", true, 31},
    {"-0xAb", true, -171},
    {"0o17", true, 15},
    {"0O7", true, 7},
    {"0b101", true, 5},
    {"0B1", true, 1},
    {"017", true, 15},
    {"1_400", true, 1400},
    {"0_17", true, 15},
    {"0x_1f", true, 31},
    {"0b_1_1", true, 3},
    {"9223372036854775807", true, INT64_MAX},
    {"-9223372036854775808", true, INT64_MIN},
    {"-0x8000000000000000", true, INT64_MIN},
    {"", false, 0},
    {"-", false, 0},
    {"--5", false, 0},
    {"08", false, 0},
    {"0x", false, 0},
    {"0x_", false, 0},
    {"0b", false, 0},
    {"0b2", false, 0},
    {"0o8", false, 0},
    {"0xg", false, 0},
    {"0_x1", false, 0},
    {"_1", false, 0},
    {"-_1", false, 0},
    {"1_", false, 0},
    {"1__0", false, 0},
    {" 5", false, 0},
    {"5 ", false, 0},
    {"5.", false, 0},
    {"1e3", false, 0},
    {"a", false, 0},
    {"9223372036854775808", false, 0},
    {"-9223372036854775809", false, 0},
    {"0xffffffffffffffffffffffff", false, 0},
};

static void test_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(numbers); i++) {
        int64_t n = 0;
        bool ok = kopts_int(numbers[i].text, &n);

        if (ok != numbers[i].ok || n != numbers[i].n)
            fail_msg("'%s': %s %lld", numbers[i].text, ok ? "taken" : "refused", (long long)n);
    }
}

/* ---- what it becomes ---- */

/* As the programs do. NULL: refused. *text: all problems. */
static struct conf *become(enum conf_role role, const char *line, char text[2000])
{
    struct conf_setting v[KOPTS_MAX];
    struct conf_problems ps = {0};
    struct conf *c = NULL;
    const char *rest;
    struct kopts o;
    char why[256];

    if (parse(&o, role, line, why, &rest))
        fail_msg("'%s': %s", line, why);
    assert_int_equal(kopts_settle(&o, &ps), 0);
    conf_load_settings(&c, role, o.program, v, kopts_settings(&o, v), &ps);
    assert_int_equal(!c, ps.n_errors > 0);
    *text = 0;
    for (unsigned i = 0; i < ps.n; i++)
        snprintf(text + strlen(text), 2000 - strlen(text), "%s\n", ps.v[i].text);
    conf_problems_fini(&ps);
    kopts_fini(&o);
    return c;
}

static void test_defaults(void **state)
{
    char text[2000];
    struct conf *c = become(CONF_CLIENT, "", text);
    const struct conf_profile *p;

    (void)state;
    assert_non_null(c);
    p = &c->profiles[0];
    assert_int_equal(p->localaddr.port_min, 12948);
    assert_string_equal(p->remoteaddr[0].host, "vps");
    assert_string_equal(p->key.text, CONF_DEFAULT_KEY);
    assert_string_equal(p->crypt, "aes");
    assert_int_equal(p->mode, CONF_FAST);
    assert_int_equal(p->interval, 30);
    assert_int_equal(p->smuxver, 0);
    assert_int_equal(p->sndwnd, 128);
    assert_int_equal(p->rcvwnd, 512);
    assert_int_equal(p->closewait, 0);
    assert_non_null(strstr(text, "smuxver: not given"));
    conf_free(c);
    c = become(CONF_SERVER, "", text);
    p = &c->profiles[0];
    assert_int_equal(p->sndwnd, 1024);
    assert_int_equal(p->smuxver, 0);
    assert_int_equal(p->closewait, 30);
    assert_null(strstr(text, "smuxver"));
    conf_free(c);
}

/* What is not given is what the help says, whatever the defaults of our own configuration are. */
static void test_defaults_are_the_help(void **state)
{
    char line[64], text[2000];

    (void)state;
    for (unsigned i = 0; i < n_kopts; i++)
        for (unsigned role = CONF_SERVER; role <= CONF_CLIENT; role++) {
            const char *def = kopts[i].def[role];
            struct conf *a, *b;

            if (!def || !*def || !kopts[i].key || !strcmp(def, "auto") || !strcmp(kopts[i].name, "key"))
                continue;
            snprintf(line, sizeof line, "-%s %s", kopts[i].name, def);
            a = become((enum conf_role)role, line, text);
            b = become((enum conf_role)role, "", text);
            if (!a || !b || !conf_equal(a, b))
                fail_msg("-%s %s: not what is taken without", kopts[i].name, def);
            conf_free(a);
            conf_free(b);
        }
}

static const struct {
    enum conf_role role;
    const char *line;
    bool ok;
    const char *says;
} ends[] = {
    {CONF_CLIENT, "-mode quick", true, "'quick' is no known name and counts as manual"},
    {CONF_CLIENT, "-mode Fast", true, "counts as manual"},
    {CONF_CLIENT, "-nodelay 1 -interval 9999", true, ""}, /* mode is fast */
    {CONF_CLIENT, "-mode manual -interval 1", true, "interval: 1 counts as 10"},
    {CONF_CLIENT, "-mode manual -resend -1", true, "resend: -1 counts as 0"},
    {CONF_CLIENT, "-crypt aes-256", false, "crypt: 'aes-256'"},
    {CONF_CLIENT, "-crypt AES", false, "crypt: 'AES'"},
    {CONF_CLIENT, "-crypt null", true, "neither hides nor protects"},
    {CONF_CLIENT, "-ds 200 -ps 57", false, "together up to 256"},
    {CONF_CLIENT, "-ds 200 -ps 56", true, ""},
    {CONF_CLIENT, "-ds -1", true, "datashard: -1 counts as 0"},
    {CONF_CLIENT, "-keepalive 30", false, "keepalive: '30'"},
    {CONF_CLIENT, "-keepalive 30", false, "keepalive: the other end gives up after 30 s"},
    {CONF_CLIENT, "-keepalive 0", false, "keepalive: '0'"},
    {CONF_CLIENT, "-conn 0", false, "conn: '0'"},
    {CONF_CLIENT, "-conn 65536", false, "conn: '65536'"},
    {CONF_CLIENT, "-smuxver 3", false, "smuxver: '3'"},
    {CONF_CLIENT, "-smuxver 0x2", true, ""},
    {CONF_CLIENT, "-mtu 9000", true, "mtu: 9000 counts as 1500"},
    {CONF_CLIENT, "-mtu 10", false, "mtu: '10'"},
    {CONF_CLIENT, "-ratelimit -5", true, "ratelimit: -5 counts as 0"},
    {CONF_CLIENT, "-autoexpire -5", true, "autoexpire: -5 counts as 0"},
    {CONF_CLIENT, "-autoexpire 10", true, "scavengettl: longer than autoexpire"},
    {CONF_CLIENT, "-snmpperiod -1", true, "snmpperiod: -1 counts as 0"},
    {CONF_CLIENT, "-sndwnd 65536", true, "sndwnd: 65536 counts as 32768"},
    {CONF_CLIENT, "-sndwnd 0", false, "sndwnd: '0'"},
    {CONF_CLIENT, "-dscp 64", false, "dscp: '64'"},
    {CONF_CLIENT, "-framesize 65536", false, "framesize"},
    {CONF_CLIENT, "-streambuf 8388608", false, "streambuf: 8388608 is more than smuxbuf"},
    {CONF_CLIENT, "-QPP -QPPCount 0", false, "qppcount: '0'"},
    {CONF_CLIENT, "-QPPCount 0", true, ""}, /* there are no pads */
    {CONF_CLIENT, "-QPP=false -QPPCount 70000", true, ""},
    {CONF_CLIENT, "-QPP -QPPCount 70000", false, "qppcount: '70000': out of range"},
    {CONF_CLIENT, "-QPP -QPPCount -1", false, "qppcount: '-1': out of range"},
    {CONF_CLIENT, "-QPP -QPPCount 64", true, "shares a factor with 8"},
    {CONF_CLIENT, "-pprof", true, "pprof: does nothing"},
    {CONF_CLIENT, "-l /run/x.sock", true, ""},
    {CONF_CLIENT, "-r 1.2.3.4", false, "remoteaddr: '1.2.3.4': malformed address"},
    {CONF_CLIENT, "-r h:4000-4010", true, ""},
    {CONF_CLIENT, "-r h:2-1", false, "bad port or port range"},
    {CONF_SERVER, "-l :4000-4010 -t /run/y.sock", true, ""},
    {CONF_SERVER, "-key=", true, ""},
    {CONF_SERVER, "-log syslog", true, ""},
};

static void test_ends(void **state)
{
    char text[2000];

    (void)state;
    for (size_t i = 0; i < LEN(ends); i++) {
        struct conf *c = become(ends[i].role, ends[i].line, text);

        if (!c == ends[i].ok || !strstr(text, ends[i].says))
            fail_msg("'%s': %s\n%s", ends[i].line, c ? "taken" : "refused", text);
        if (c && strstr(ends[i].line, "syslog"))
            assert_string_equal(c->global.log, "./syslog"); /* a file, as with kcptun */
        conf_free(c);
    }
}

static void test_help(void **state)
{
    char *text = NULL;
    struct kopts o;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    (void)state;
    kopts_init(&o, CONF_SERVER, "kcptun-server");
    kopts_help(&o, "1.2.3", f);
    fclose(f);
    assert_non_null(strstr(text, "--target value, -t value"));
    assert_non_null(strstr(text, "(default: \"127.0.0.1:12948\")"));
    assert_non_null(strstr(text, "--datashard value, --ds value"));
    assert_non_null(strstr(text, "[$KCPTUN_KEY]"));
    assert_non_null(strstr(text, "1.2.3"));
    assert_non_null(strstr(text, "   -c value "));
    assert_null(strstr(text, "--remoteaddr"));
    assert_null(strstr(text, "--interval")); /* hidden */
    free(text);
}

/* Each option leads to a key of ours, or is known not to. */
static void test_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < n_kopts; i++) {
        const struct kopt *k = &kopts[i];

        if (k->key && !conf_key_find(k->key, ~0u))
            fail_msg("-%s: no key %s", k->name, k->key);
        for (unsigned role = CONF_SERVER; role <= CONF_CLIENT; role++)
            if (k->roles >> role & 1) {
                assert_int_equal(kopts_find((enum conf_role)role, k->name, strlen(k->name)), i);
                if (k->json)
                    assert_int_equal(kopts_find_json(1u << role, k->json), i);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_defaults_are_the_help),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
