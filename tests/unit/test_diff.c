/* tests/unit/test_diff.c - what differs between configurations, copies of them, and one with another value in it. */
#include "conf/diff.h"

#include "conf/schema.h"
#include "tests/support/conf_text.h"

#include <stdio.h>

#define S(name, port, more) "[server " name "]\nlisten = :" port "\nkey = k\n" more "\n"
#define C(name, port, more) "[client " name "]\nlocaladdr = :" port "\nremoteaddr = h:1\nkey = k\n" more "\n"

static struct conf_diff diff(const struct conf *from, const struct conf *to)
{
    const struct conf_profile *v[16];
    struct conf_diff d;

    for (unsigned i = 0; i < from->n_profiles; i++)
        v[i] = &from->profiles[i];
    assert_int_equal(conf_diff(&d, v, from->n_profiles, to), 0);
    return d;
}

static const struct {
    const char *name, *from, *to;
    unsigned added, changed, removed, kept;
    bool renew; /* of the first of the new ones */
} rows[] = {
    {"nothing at all", "", "", 0, 0, 0, 0, false},
    {"the same, in another order", S("a", "1", "") C("b", "2", ""), C("b", "2", "") S("a", "1", ""), 0, 0, 0, 2, false},
    {"a new one", S("a", "1", ""), S("a", "1", "") S("b", "2", ""), 1, 0, 0, 1, false},
    {"one that is gone", S("a", "1", "") S("b", "2", ""), S("a", "1", ""), 0, 0, 1, 1, false},
    {"a live key", S("a", "1", ""), S("a", "1", "sndwnd = 7"), 0, 1, 0, 0, false},
    {"a key for new sessions", S("a", "1", ""), S("a", "1", "datashard = 7"), 0, 1, 0, 0, true},
    {"both", S("a", "1", ""), S("a", "1", "sndwnd = 7\nmtu = 1000"), 0, 1, 0, 0, true},
    {"a preset is live", S("a", "1", "mode = fast"), S("a", "1", "mode = fast3"), 0, 1, 0, 0, false},
    {"to auto, whose buffers are not", S("a", "1", "mode = fast"), S("a", "1", "mode = auto"), 0, 1, 0, 0, true},
    {"to auto, buffers given", S("a", "1", "mode = fast\nsmuxbuf = 4M\nstreambuf = 1M"),
     S("a", "1", "mode = auto\nsmuxbuf = 4M\nstreambuf = 1M"), 0, 1, 0, 0, false},
    {"another port", S("a", "1", ""), S("a", "2", ""), 0, 1, 0, 0, false},
    {"another name at the same port", S("a", "1", ""), S("b", "1", ""), 0, 1, 0, 0, false},
    {"names count before ports", S("a", "1", "") S("b", "2", ""), S("a", "2", "") S("b", "1", ""), 0, 2, 0, 0, false},
    {"a server is no client", S("a", "1", ""), C("a", "1", ""), 1, 0, 1, 0, false},
    {"a list grew", S("a", "1", "allow = 10.0.0.0/8"), S("a", "1", "allow = 10.0.0.0/8, 11.0.0.0/8"), 0, 1, 0, 0,
     false},
    {"another passphrase", S("a", "1", ""), "[server a]\nlisten = :1\nkey = j\n", 0, 1, 0, 0, true},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct conf *a = must_load(rows[i].from), *b = must_load(rows[i].to);
        struct conf_diff d = diff(a, b);
        const struct conf_change *first = d.n ? &d.v[0] : NULL;

        if (d.added != rows[i].added || d.changed != rows[i].changed || d.removed != rows[i].removed ||
            d.kept != rows[i].kept)
            fail_msg("%s: %u added, %u changed, %u removed, %u kept", rows[i].name, d.added, d.changed, d.removed,
                     d.kept);
        if (first && first->from != CONF_NONE && first->to == 0 && first->renew != rows[i].renew)
            fail_msg("%s: renew %d", rows[i].name, first->renew);
        for (unsigned k = 0; k < b->n_profiles; k++)
            assert_int_equal(d.v[k].to, k); /* in the order of the file */
        conf_diff_fini(&d);
        conf_free(a);
        conf_free(b);
    }
}

/* Every key of a profile counts: a copy with another value differs, and says from when that counts. */
static void test_copy(void **state)
{
    struct conf *a = must_load(S("a", "1", "oldkey = o\nallow = 10.0.0.0/8") C("b", "2", "bind = ::1")), *b = NULL;
    struct conf_diff d;

    (void)state;
    assert_int_equal(conf_copy(&b, a), 0);
    assert_true(conf_equal(a, b));
    d = diff(a, b);
    assert_int_equal(d.kept, 2);
    conf_diff_fini(&d);
    conf_free(a); /* nothing is shared */
    assert_string_equal(b->profiles[0].oldkey.text, "o");
    conf_free(b);
}

static void test_unchangeable(void **state)
{
    struct conf *a = must_load("[global]\nmemory = 64M\ncpus = 0\n" S("a", "1", ""));
    struct conf *b = must_load("[global]\nloglevel = debug\nworkers = 3\n" S("a", "1", ""));
    const char *names[CONF_NAMES_MAX];

    (void)state;
    assert_int_equal(conf_keep_unchangeable(&b->global, &a->global, names), 3);
    assert_string_equal(names[0], "workers");
    assert_string_equal(names[1], "cpus");
    assert_string_equal(names[2], "memory");
    assert_int_equal(b->global.workers, 0);
    assert_int_equal(b->global.n_cpus, 1);
    assert_int_equal(b->global.memory, 64 << 20);
    assert_int_equal(b->global.loglevel, CONF_LOG_DEBUG);
    assert_int_equal(conf_keep_unchangeable(&b->global, &a->global, names), 0);
    conf_free(a);
    conf_free(b);
}

static const struct {
    const char *profile, *key, *value;
    const char *why; /* NULL: it is set */
} sets[] = {
    {"a", "sndwnd", "77", NULL},
    {NULL, "sndwnd", "77", NULL},
    {NULL, "loglevel", "debug", NULL},
    {"a", "mode", "fast3", NULL},
    {"a", "allow", "10.0.0.0/8", NULL},
    {"a", "sndwnd", "0", "accepted: 1..32768"},
    {"x", "sndwnd", "7", "no profile of that name"},
    {"a", "nothing", "7", "no such key"},
    {"b", "allow", "10.0.0.0/8", "no such key"},
    {"a", "datashard", "7", "cannot be set while running"},
    {"a", "key", "7", "cannot be set while running"},
    {"a", "mode", "auto", NULL},
    {NULL, "workers", "7", "cannot be set while running"},
    {NULL, "include", "x", "cannot be set while running"},
};

static void test_assign(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(sets); i++) {
        struct conf *c = must_load(S("a", "1", "mode = fast") C("b", "2", "mode = fast"));
        struct conf_problems ps = {0};
        int r = conf_assign(c, sets[i].profile, sets[i].key, sets[i].value, &ps);

        if (r != (sets[i].why ? CONF_INVALID : 0))
            fail_msg("%s = %s: %d, %s", sets[i].key, sets[i].value, r, gravest(&ps));
        if (sets[i].why && !strstr(gravest(&ps), sets[i].why))
            fail_msg("%s = %s: %s", sets[i].key, sets[i].value, gravest(&ps));
        if (i < 2)
            assert_int_equal(c->profiles[0].sndwnd, 77);
        if (i < 2)
            assert_int_equal(c->profiles[1].sndwnd, sets[i].profile ? 128 : 77);
        if (i == 3)
            assert_int_equal(c->profiles[0].interval, 10); /* what the mode stands for */
        conf_problems_fini(&ps);
        conf_free(c);
    }
}

static void assign(struct conf *c, const char *key, const char *value)
{
    struct conf_problems ps = {0};

    assert_int_equal(conf_assign(c, "a", key, value, &ps), 0);
    conf_problems_fini(&ps);
}

/* Auto has its own windows and buffers only where nobody gave any, and its going takes them away. */
static void test_assign_auto(void **state)
{
    struct conf *c = must_load(S("a", "1", "mode = fast\nrcvwnd = 77"));
    const struct conf_profile *p = &c->profiles[0];

    (void)state;
    assign(c, "mode", "auto");
    assert_int_equal(p->sndwnd, 32768);
    assert_int_equal(p->rcvwnd, 77);
    assert_int_equal(p->smuxbuf, 64 << 20);
    assert_int_equal(p->streambuf, 16 << 20);
    assert_int_equal(p->resend, 0);
    assign(c, "mode", "fast2");
    assert_int_equal(p->sndwnd, 1024);
    assert_int_equal(p->rcvwnd, 77);
    assert_int_equal(p->smuxbuf, 4 << 20);
    assert_int_equal(p->streambuf, 2 << 20);
    assert_int_equal(p->resend, 2);
    assign(c, "sndwnd", "99");
    assign(c, "mode", "auto");
    assert_int_equal(p->sndwnd, 99);
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),   cmocka_unit_test(test_copy),        cmocka_unit_test(test_unchangeable),
        cmocka_unit_test(test_assign), cmocka_unit_test(test_assign_auto),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
