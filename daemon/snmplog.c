/* daemon/snmplog.c - counters as kcptun tells them. Its two generations share the first twenty; behind them, the line and
 * the file have different orders, and one counter two names.
 * Source: the program description, sections 8.1 and 8.2. */
#include "daemon/snmplog.h"

#include "core/base/err.h"
#include "daemon/gotime.h"
#include "daemon/log.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { COLUMNS_MAX = 32 };

#define AT(member) offsetof(struct stats, member)
#define SHARED                                                                                                         \
    {"BytesSent", AT(bytes_sent)}, {"BytesReceived", AT(bytes_received)}, {"MaxConn", AT(max_conn)},                   \
        {"ActiveOpens", AT(active_opens)}, {"PassiveOpens", AT(passive_opens)}, {"CurrEstab", AT(curr_estab)},         \
        {"InErrs", AT(in_errs)}, {"InCsumErrors", AT(in_csum_errors)}, {"KCPInErrors", AT(kcp_in_errors)},             \
        {"InPkts", AT(in_pkts)}, {"OutPkts", AT(out_pkts)}, {"InSegs", AT(in_segs)}, {"OutSegs", AT(out_segs)},        \
        {"InBytes", AT(in_bytes)}, {"OutBytes", AT(out_bytes)}, {"RetransSegs", AT(retrans_segs)},                     \
        {"FastRetransSegs", AT(fast_retrans_segs)}, {"EarlyRetransSegs", AT(early_retrans_segs)},                      \
        {"LostSegs", AT(lost_segs)},                                                                                   \
    {                                                                                                                  \
        "RepeatSegs", AT(repeat_segs)                                                                                  \
    }
#define RINGS                                                                                                          \
    {"RingBufferSndQueue", AT(ring_snd_queue)}, {"RingBufferRcvQueue", AT(ring_rcv_queue)},                            \
        {"RingBufferSndBuffer", AT(ring_snd_buffer)},                                                                  \
    {                                                                                                                  \
        "OOBPackets", AT(oob_packets)                                                                                  \
    }

/* clang-format off */
static const struct column {
    const char *name;
    size_t at;
} in_file[][COLUMNS_MAX] = {
    [CONF_SNMP_2021] = {SHARED, {"FECParityShards", AT(fec_parity_shards)}, {"FECErrs", AT(fec_errs)},
        {"FECRecovered", AT(fec_recovered)}, {"FECShortShards", AT(fec_short_shards)}},
    [CONF_SNMP_2025] = {SHARED, {"FECFullShards", AT(fec_full_shards)}, {"FECParityShards", AT(fec_parity_shards)},
        {"FECErrs", AT(fec_errs)}, {"FECRecovered", AT(fec_recovered)}, {"FECShardSet", AT(fec_shard_set)},
        {"FECShardMin", AT(fec_shard_min)}, RINGS},
}, in_line[][COLUMNS_MAX] = {
    [CONF_SNMP_2021] = {SHARED, {"FECRecovered", AT(fec_recovered)}, {"FECErrs", AT(fec_errs)},
        {"FECParityShards", AT(fec_parity_shards)}, {"FECShortShards", AT(fec_short_shards)}},
    [CONF_SNMP_2025] = {SHARED, {"FECFullShardSet", AT(fec_full_shards)}, {"FECRecovered", AT(fec_recovered)},
        {"FECErrs", AT(fec_errs)}, {"FECParityShards", AT(fec_parity_shards)}, {"FECShardSet", AT(fec_shard_set)},
        {"FECShardMin", AT(fec_shard_min)}, RINGS},
};
/* clang-format on */

/* 31 columns of a name and twenty digits each are far less. */
_Static_assert((COLUMNS_MAX + 1) * (24 + 22) < SNMP_TEXT_MAX, "the room suffices");

static unsigned long long value_of(const struct column *c, const struct stats *s)
{
    return stat_read((const uint64_t *)(const void *)((const char *)s + c->at));
}

void snmp_dump(char out[SNMP_TEXT_MAX], enum conf_snmp columns, const struct stats *s)
{
    int n = sprintf(out, "KCP SNMP:&{");

    for (const struct column *c = in_line[columns]; c->name; c++)
        n += sprintf(out + n, "%s%s:%llu", c == in_line[columns] ? "" : " ", c->name, value_of(c, s));
    strcpy(out + n, "}");
}

void snmp_header(char out[SNMP_TEXT_MAX], enum conf_snmp columns)
{
    int n = sprintf(out, "Unix");

    for (const struct column *c = in_file[columns]; c->name; c++)
        n += sprintf(out + n, ",%s", c->name);
    strcpy(out + n, "\n");
}

void snmp_row(char out[SNMP_TEXT_MAX], enum conf_snmp columns, const struct stats *s, int64_t unix_s)
{
    int n = sprintf(out, "%" PRId64, unix_s);

    for (const struct column *c = in_file[columns]; c->name; c++)
        n += sprintf(out + n, ",%llu", value_of(c, s));
    strcpy(out + n, "\n");
}

/* ---- the file ---- */

/* Dates are in the name alone: the directory is what it is. False: too long. */
static bool path_for(char out[PATH_MAX], const char *path, const struct timespec *now)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t dir = (size_t)(name - path);
    struct tm tm;

    if (dir >= PATH_MAX)
        return false;
    localtime_r(&now->tv_sec, &tm);
    memcpy(out, path, dir);
    return gotime_format(out + dir, PATH_MAX - dir, name, &tm, now->tv_nsec) < PATH_MAX - dir;
}

/* A file that was begun with other columns goes on with those. */
static enum conf_snmp columns_of(int fd, enum conf_snmp wanted)
{
    char first[SNMP_TEXT_MAX] = "", header[SNMP_TEXT_MAX];
    ssize_t n = pread(fd, first, sizeof first - 1, 0);

    for (enum conf_snmp c = CONF_SNMP_2021; n > 0 && c <= CONF_SNMP_2025; c++) {
        snmp_header(header, c);
        if (!strncmp(first, header, strlen(header)))
            return c;
    }
    return wanted;
}

/* 0, -errno. */
static int append(int fd, const char *text)
{
    size_t len = strlen(text);
    ssize_t n = write(fd, text, len);

    return n == (ssize_t)len ? 0 : n < 0 ? -errno : -ENOSPC;
}

static int add_row(const struct conf_global *g, const struct stats *s)
{
    enum conf_snmp columns = g->snmpcolumns;
    char path[PATH_MAX], text[SNMP_TEXT_MAX];
    struct timespec now;
    struct stat st;
    int fd, r = 0;

    clock_gettime(CLOCK_REALTIME, &now);
    if (!path_for(path, g->snmplog, &now))
        return err_say(-ENAMETOOLONG, "snmplog %s", g->snmplog);
    fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0)
        return err_say(-errno, "snmplog %s", path);
    if (!fstat(fd, &st) && st.st_size)
        columns = columns_of(fd, columns);
    else {
        snmp_header(text, columns);
        r = append(fd, text);
    }
    snmp_row(text, columns, s, now.tv_sec);
    if (!r)
        r = append(fd, text);
    close(fd);
    return r ? err_say(r, "snmplog %s", path) : 0;
}

struct tick snmplog_deadline(struct snmplog *l, const struct conf_global *g, struct tick now)
{
    uint32_t period = *g->snmplog ? g->snmpperiod : 0;

    if (period != l->period) {
        l->period = period;
        l->next = tick_add_ms(now, period * UINT64_C(1000));
    }
    return period ? l->next : TICK_NEVER;
}

void snmplog_write(struct snmplog *l, const struct conf_global *g, const struct stats *s, struct tick now)
{
    int r = add_row(g, s);

    if (r && !l->failed)
        log_error("%s", err_text());
    l->failed = r;
    while (!tick_before(now, l->next))
        l->next = tick_add_ms(l->next, l->period * UINT64_C(1000));
}
