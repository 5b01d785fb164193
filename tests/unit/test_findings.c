/* tests/unit/test_findings.c - the list of what does not fit: bounded, news once, texts for every kind. */
#include "daemon/findings.h"

#include "daemon/net.h"
#include "tests/support/vectors.h"

#include <stdio.h>
#include <string.h>

static const struct conf_profile profile = {.name = (char *)(uintptr_t) "t", .crypt = (char *)(uintptr_t) "aes"};

static struct finding finding(enum finding_kind kind, const char *from, unsigned port, uint64_t s)
{
    struct finding f = {.kind = kind, .count = 1, .last = {s * 1000000}};

    assert_int_equal(net_bytes_in_name(from, (uint16_t)port, &f.from), 0);
    return f;
}

static bool note(struct findings *f, enum finding_kind kind, const char *from, unsigned port, uint64_t s)
{
    struct finding what = finding(kind, from, port, s);

    return findings_note(f, &profile, &what);
}

/* News is told once for a kind and source, whatever its port, until an hour has passed in silence. */
static void test_news(void **state)
{
    struct findings *f = findings_new();
    struct finding v[FINDINGS_MAX];

    (void)state;
    assert_int_equal(findings_read(f, v), 0);
    assert_true(note(f, FINDING_KEY, "1.2.3.4", 1, 10));
    assert_false(note(f, FINDING_KEY, "1.2.3.4", 2, 11));
    assert_false(note(f, FINDING_KEY, "::ffff:1.2.3.4", 3, 20));
    assert_true(note(f, FINDING_STALL, "1.2.3.4", 3, 20));
    assert_true(note(f, FINDING_KEY, "1.2.3.5", 3, 21));
    assert_int_equal(findings_read(f, v), 3);
    assert_int_equal(v[0].count, 3);
    assert_int_equal(v[0].first.us, 10000000);
    assert_int_equal(v[0].last.us, 20000000);
    assert_string_equal(net_addr_text(&v[0].from), "1.2.3.4:3");
    assert_false(note(f, FINDING_KEY, "1.2.3.4", 1, 20 + 3599));
    assert_true(note(f, FINDING_KEY, "1.2.3.4", 1, 20 + 3599 + 3600));
    assert_int_equal(findings_read(f, v), 3);
    assert_int_equal(v[0].first.us, 10000000);
    findings_free(f);
    assert_null(findings_free(NULL));
}

/* Each kind keeps the sources seen last; a flood of one kind leaves the others alone. */
static void test_bounded(void **state)
{
    struct findings *f = findings_new();
    struct finding v[FINDINGS_MAX];
    char ip[32];

    (void)state;
    assert_true(note(f, FINDING_STALL, "9.9.9.9", 1, 1));
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(ip, sizeof ip, "10.0.%u.%u", i / 256, i % 256);
        assert_true(note(f, FINDING_KEY, ip, 1, 2 + i));
    }
    assert_int_equal(findings_read(f, v), 1 + FINDING_SOURCES);
    for (unsigned i = 0; i < FINDING_SOURCES; i++)
        assert_true(v[i].kind == FINDING_KEY && v[i].last.us >= (2 + 1000 - FINDING_SOURCES) * UINT64_C(1000000));
    assert_int_equal(v[FINDING_SOURCES].kind, FINDING_STALL);
    for (unsigned k = 0; k < FINDING_KINDS; k++)
        for (unsigned i = 0; i < 20; i++) {
            snprintf(ip, sizeof ip, "2001:db8::%x", i + 1);
            note(f, k, ip, 1, 5000 + i);
        }
    assert_int_equal(findings_read(f, v), FINDINGS_MAX);
    findings_free(f);
}

static void test_texts(void **state)
{
    (void)state;
    for (unsigned k = 0; k < FINDING_KINDS; k++)
        for (int role = CONF_SERVER; role <= CONF_CLIENT; role++) {
            struct conf_profile c = profile;
            struct finding f = {.kind = k, .detail = {10, 3}};
            char text[384];

            c.role = role;
            c.smuxver = k % 2 ? 2 : 0;
            c.datashard = c.parityshard = 255;
            finding_text(&f, &c, text, sizeof text);
            assert_in_range(strlen(text), 40, 310); /* kcptunctl doctor has room for 319 */
            assert_true(strlen(finding_name(k)) > 2);
            for (unsigned j = 0; j < k; j++)
                assert_string_not_equal(finding_name(j), finding_name(k));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_news),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
