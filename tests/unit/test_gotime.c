/* tests/unit/test_gotime.c - names of files as kcptun makes them, for 7 March 2026, 05:06:09.123456789, CET. */
#include "daemon/gotime.h"

#include "core/base/bytes.h"
#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>

static struct tm at(int hour, long offset, const char *zone)
{
    return (struct tm){
        .tm_year = 126,
        .tm_mon = 2,
        .tm_mday = 7,
        .tm_hour = hour,
        .tm_min = 6,
        .tm_sec = 9,
        .tm_wday = 6,
        .tm_yday = 65,
        .tm_gmtoff = offset,
        .tm_zone = zone,
    };
}

static const struct {
    const char *layout, *name;
} rows[] = {
    /* as recorded from the peer */
    {"snmp-20060102.log", "snmp-20260307.log"},
    {"snmp-2006-01-02T15.csv", "snmp-2026-03-07T05.csv"},
    {"kcptun-1.log", "kcptun-3.log"},
    {"snmp2.csv", "snmp7.csv"},
    {"stat_2006.csv", "stat_2026.csv"},
    {"stat_2.csv", "stat 7.csv"},
    {"stat__2.csv", "stat 66.csv"},
    {"x002.csv", "x066.csv"},
    {"Monitor.log", "Monitor.log"},
    {"snmp.log", "snmp.log"},
    {"k8s.csv", "k8s.csv"},
    {"Mon.log", "Sat.log"},
    {"snmp.000.log", "snmp.123.log"},
    {"06-1-2 3PM4m5s.csv", "26-3-7 5AM6m9s.csv"},
    {"zMST-0700.csv", "zCET+0100.csv"},
    {"server-29900.csv", "server-79900.csv"},
    {"port4000.log", "port6000.log"},
    /* every other token */
    {"January Jan", "March Mar"},
    {"Januaryx", "Marchx"},
    {"Janx", "Janx"},
    {"JanX", "MarX"},
    {"Monday, Mondays", "Saturday, Saturdays"},
    {"03:04:05 pm", "05:06:09 am"},
    {"-07:00 -07 -070000 -07:00:00", "+01:00 +01 +010000 +01:00:00"},
    {"Z0700 Z07:00 Z07 Z070000 Z07:00:00", "+0100 +01:00 +01 +010000 +01:00:00"},
    {"a,00b", "a,12b"},
    {"a.000000000", "a.123456789"},
    {"a.000000000000", "a.123456789"},
    {"a.999999999", "a.123456789"},
    {"a.9", "a.1"},
    {"a.0001", "a.0003"}, /* a digit follows: no fraction */
    {"a.90", "a.90"},
    {"07 08 09 00", "07 08 09 00"},
    {"0", "0"},
    {"_", "_"},
    {"P p M J Z -", "P p M J Z -"},
    {"", ""},
};

static void test_rows(void **state)
{
    const struct tm tm = at(5, 3600, "CET");
    char name[128];

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        size_t n = gotime_format(name, sizeof name, rows[i].layout, &tm, 123456789);

        if (strcmp(name, rows[i].name) != 0 || n != strlen(name))
            fail_msg("%s: %s", rows[i].layout, name);
    }
}

static void test_other_times(void **state)
{
    const struct tm noon = at(12, 0, "UTC"), night = at(0, -12600 - 7, "NST"), evening = at(23, 0, "UTC");
    char name[128];

    (void)state;
    gotime_format(name, sizeof name, "3PM 15 Z0700 -0700 Z07:00:00", &noon, 0);
    assert_string_equal(name, "12PM 12 Z +0000 Z");
    gotime_format(name, sizeof name, "03pm -0700 -07:00:00 Z07", &night, 0);
    assert_string_equal(name, "12am -0330 -03:30:07 -03");
    gotime_format(name, sizeof name, "3 a.999 a.900 a.000", &evening, 120000000);
    assert_string_equal(name, "11 a.12 a.900 a.120");
    gotime_format(name, sizeof name, "a.999b", &evening, 0);
    assert_string_equal(name, "ab");
}

static void test_cut(void **state)
{
    const struct tm tm = at(5, 3600, "CET");

    (void)state;
    for (size_t n = 0; n < 20; n++) {
        char *out = malloc(n + !n);

        assert_int_equal(gotime_format(out, n, "x2006January.csv", &tm, 0), strlen("x2026March.csv"));
        if (n)
            assert_int_equal(strncmp(out, "x2026March.csv", n - 1), 0);
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_other_times),
                                       cmocka_unit_test(test_cut)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
