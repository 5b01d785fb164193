/* tests/unit/test_snmplog.c - counters in kcptun's forms, and the file they are added to. */
#include "daemon/snmplog.h"

#include "core/base/err.h"
#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/test_snmplog.XXXXXX", path[256], text[SNMP_TEXT_MAX];

/* As recorded from kcptun 20210922, and described of its last tree. */
static const char header_2021[] =
    "Unix,BytesSent,BytesReceived,MaxConn,ActiveOpens,PassiveOpens,CurrEstab,InErrs,InCsumErrors,KCPInErrors,InPkts,"
    "OutPkts,"
    "InSegs,OutSegs,InBytes,OutBytes,RetransSegs,FastRetransSegs,EarlyRetransSegs,LostSegs,RepeatSegs,FECParityShards,"
    "FECErrs,FECRecovered,FECShortShards\n";
static const char header_2025[] =
    "Unix,BytesSent,BytesReceived,MaxConn,ActiveOpens,PassiveOpens,CurrEstab,InErrs,InCsumErrors,KCPInErrors,InPkts,"
    "OutPkts,"
    "InSegs,OutSegs,InBytes,OutBytes,RetransSegs,FastRetransSegs,EarlyRetransSegs,LostSegs,RepeatSegs,FECFullShards,"
    "FECParityShards,FECErrs,FECRecovered,FECShardSet,FECShardMin,RingBufferSndQueue,RingBufferRcvQueue,"
    "RingBufferSndBuffer,OOBPackets\n";

/* Every counter another number. */
static struct stats numbered(void)
{
    struct stats s = {0};

    for (size_t i = 0; i < stats_count; i++)
        stat_set((uint64_t *)(void *)((char *)&s + stats_info[i].offset), 100 + i);
    return s;
}

static uint64_t by_name(const struct stats *s, const char *name)
{
    if (!strcmp(name, "FECFullShardSet"))
        name = "FECFullShards";
    for (size_t i = 0; i < stats_count; i++)
        if (!strcmp(stats_info[i].name, name))
            return stat_get(s, i);
    fail_msg("no counter %s", name);
    return 0;
}

static unsigned count(const char *s, char c)
{
    unsigned n = 0;

    for (; *s; s++)
        n += *s == c;
    return n;
}

static void test_header(void **state)
{
    (void)state;
    snmp_header(text, CONF_SNMP_2021);
    assert_string_equal(text, header_2021);
    snmp_header(text, CONF_SNMP_2025);
    assert_string_equal(text, header_2025);
    assert_int_equal(count(header_2021, ',') + 1, 25);
    assert_int_equal(count(header_2025, ',') + 1, 31);
}

/* Every value stands below its name. */
static void test_row(void **state)
{
    const struct stats s = numbered();

    (void)state;
    for (enum conf_snmp c = CONF_SNMP_2021; c <= CONF_SNMP_2025; c++) {
        char names[SNMP_TEXT_MAX], *name, *value, *more = NULL, *most = NULL;

        snmp_header(names, c);
        snmp_row(text, c, &s, 1700000000);
        name = strtok_r(names, ",\n", &more);
        value = strtok_r(text, ",\n", &most);
        assert_string_equal(value, "1700000000");
        while ((name = strtok_r(NULL, ",\n", &more))) {
            value = strtok_r(NULL, ",\n", &most);
            assert_non_null(value);
            assert_int_equal(strtoull(value, NULL, 10), by_name(&s, name));
        }
        assert_null(strtok_r(NULL, ",\n", &most));
    }
}

static void test_dump(void **state)
{
    static const char *const ends[] = {
        [CONF_SNMP_2021] = " RepeatSegs:119 FECRecovered:",
        [CONF_SNMP_2025] = " RepeatSegs:119 FECFullShardSet:",
    };
    const struct stats s = numbered();

    (void)state;
    for (enum conf_snmp c = CONF_SNMP_2021; c <= CONF_SNMP_2025; c++) {
        char *more = NULL;

        snmp_dump(text, c, &s);
        assert_int_equal(strncmp(text, "KCP SNMP:&{BytesSent:100 BytesReceived:101 ", 42), 0);
        assert_non_null(strstr(text, ends[c]));
        assert_int_equal(text[strlen(text) - 1], '}');
        for (char *pair = strtok_r(text + strlen("KCP SNMP:&{"), " }", &more); pair;
             pair = strtok_r(NULL, " }", &more)) {
            char *colon = strchr(pair, ':');

            *colon = 0;
            assert_int_equal(strtoull(colon + 1, NULL, 10), by_name(&s, pair));
        }
    }
}

/* Twenty digits in each still fit. */
static void test_room(void **state)
{
    struct stats s;

    (void)state;
    memset(&s, 0xff, sizeof s);
    for (enum conf_snmp c = CONF_SNMP_2021; c <= CONF_SNMP_2025; c++) {
        snmp_dump(text, c, &s);
        assert_true(strlen(text) < SNMP_TEXT_MAX);
        snmp_row(text, c, &s, INT64_MIN);
        assert_true(strlen(text) < SNMP_TEXT_MAX);
    }
}

/* ---- the file ---- */

static const char *content(const char *file)
{
    static char all[8192];
    FILE *f = fopen(file, "r");
    size_t n;

    if (!f)
        return "";
    n = fread(all, 1, sizeof all - 1, f);
    all[n] = 0;
    fclose(f);
    return all;
}

static struct conf_global asks(const char *name, enum conf_snmp columns)
{
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return (struct conf_global){.snmplog = path, .snmpperiod = 60, .snmpcolumns = columns};
}

static void test_file(void **state)
{
    const struct conf_global g = asks("a.csv", CONF_SNMP_2021);
    const struct stats s = numbered();
    struct conf_global later = g;
    struct snmplog l = {0};
    const char *all;

    (void)state;
    snmplog_deadline(&l, &g, (struct tick){0});
    snmplog_write(&l, &g, &s, (struct tick){0});
    later.snmpcolumns = CONF_SNMP_2025; /* the file goes on as it began */
    snmplog_write(&l, &later, &s, (struct tick){0});
    all = content(path);
    assert_int_equal(strncmp(all, header_2021, strlen(header_2021)), 0);
    assert_int_equal(count(all, '\n'), 3);
    assert_int_equal(count(all, ','), 3 * 24);
    assert_false(l.failed);
    unlink(path);
}

static void test_file_of_another(void **state)
{
    const struct conf_global g = asks("b.csv", CONF_SNMP_2021);
    const struct stats s = numbered();
    struct snmplog l = {.period = 60};
    FILE *f = fopen(path, "w");

    (void)state;
    fputs(header_2025, f);
    fclose(f);
    snmplog_write(&l, &g, &s, (struct tick){0});
    assert_int_equal(count(content(path), ','), 2 * 30);
    unlink(path);
}

/* The date goes into the name, not into the directory; a failure ends nothing. */
static void test_dates(void **state)
{
    struct conf_global g = asks("d2006/x", CONF_SNMP_2021);
    const struct stats s = numbered();
    struct snmplog l = {.period = 60};
    char sub[256];

    (void)state;
    snmplog_write(&l, &g, &s, (struct tick){0});
    assert_true(l.failed); /* no such directory */
    snprintf(sub, sizeof sub, "%s/d2006", dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    snmplog_write(&l, &g, &s, (struct tick){0});
    assert_false(l.failed);
    assert_int_not_equal(*content(path), 0);
    unlink(path);
    rmdir(sub);
}

static void test_when(void **state)
{
    struct conf_global g = asks("w.csv", CONF_SNMP_2021);
    const struct stats s = numbered();
    struct snmplog l = {0};
    struct tick t = {5000000};

    (void)state;
    assert_int_equal(snmplog_deadline(&l, &g, t).us, 65000000); /* after one whole period */
    t.us = 66000000;
    snmplog_write(&l, &g, &s, t);
    assert_int_equal(snmplog_deadline(&l, &g, t).us, 125000000); /* without drift */
    t.us = 1000000000; /* asleep for long: one row, not many */
    snmplog_write(&l, &g, &s, t);
    assert_int_equal(snmplog_deadline(&l, &g, t).us, 1025000000);
    g.snmpperiod = 10;
    assert_int_equal(snmplog_deadline(&l, &g, t).us, 1010000000);
    g.snmpperiod = 0;
    assert_true(snmplog_deadline(&l, &g, t).us == TICK_NEVER.us);
    g.snmpperiod = 10;
    g.snmplog = (char *)(uintptr_t) "";
    assert_true(snmplog_deadline(&l, &g, t).us == TICK_NEVER.us);
    unlink(path);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header), cmocka_unit_test(test_row),  cmocka_unit_test(test_dump),
        cmocka_unit_test(test_room),   cmocka_unit_test(test_file), cmocka_unit_test(test_file_of_another),
        cmocka_unit_test(test_dates),  cmocka_unit_test(test_when),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
