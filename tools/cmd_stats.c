/* tools/cmd_stats.c - kcptunctl stats: counters and sessions as tables. */
#include "tools/ctl.h"

#include "core/base/bytes.h"
#include "tools/table.h"

#include <stdlib.h>
#include <string.h>

enum { BESIDE = 6 }; /* profiles in one table */

static const char *text(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return json_is_string(v) ? json_string_value(v) : "-";
}

static json_int_t number(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

/* "45s", "01:02:03", "3d 01:02:03". */
static const char *duration(json_int_t s, char out[48])
{
    long long t = s > 0 ? s : 0;

    if (t < 60)
        snprintf(out, 48, "%llds", t);
    else if (t < 86400)
        snprintf(out, 48, "%02lld:%02lld:%02lld", t / 3600, t / 60 % 60, t % 60);
    else
        snprintf(out, 48, "%lldd %02lld:%02lld:%02lld", t / 86400, t / 3600 % 24, t / 60 % 60, t % 60);
    return out;
}

/* "999", "1.5k", "12M": to read, not to reckon with. */
static const char *amount(json_int_t n, char out[48])
{
    static const char units[] = "kMGTPE";
    double v = (double)n;
    unsigned i = 0;

    if (n < 1000) {
        snprintf(out, 48, "%lld", (long long)n);
        return out;
    }
    for (v /= 1000; v >= 999.5 && units[i + 1]; i++)
        v /= 1000;
    snprintf(out, 48, v < 9.95 ? "%.1f%c" : "%.0f%c", v, units[i]);
    return out;
}

static void print_head(const json_t *data)
{
    char up[48];

    printf("kcptund %s, up %s, %lld workers, %s\n", text(data, "version"), duration(number(data, "uptime_s"), up),
           (long long)number(data, "workers"), text(data, "io"));
    if (json_is_false(json_object_get(data, "complete")))
        printf("(a worker did not answer in time: some sessions are missing)\n");
}

/* A counter that is zero everywhere tells nothing. */
static bool counts(const json_t *total, const json_t *profiles, const char *key)
{
    const json_t *p;
    size_t i;

    if (number(total, key))
        return true;
    json_array_foreach(profiles, i, p) if (number(json_object_get(p, "counters"), key)) return true;
    return false;
}

/* Counters of the profiles from..to, and the total's before them (NULL: without). names: an object with every counter. */
static void print_counters(const json_t *names, const json_t *total, const json_t *profiles, size_t from, size_t to)
{
    struct table t = {.columns = (unsigned)(1 + !!total + (to - from)), .left = 1};
    const char *key;
    json_t *v;

    table_add(&t, "COUNTER");
    if (total)
        table_add(&t, "TOTAL");
    for (size_t i = from; i < to; i++)
        table_add(&t, "%s", text(json_array_get(profiles, i), "name"));
    json_object_foreach((json_t *)names, key, v)
    {
        if (!counts(names, profiles, key))
            continue;
        table_add(&t, "%s", key);
        if (total)
            table_add(&t, "%lld", (long long)number(total, key));
        for (size_t i = from; i < to; i++)
            table_add(&t, "%lld", (long long)number(json_object_get(json_array_get(profiles, i), "counters"), key));
    }
    if (t.n > t.columns) {
        putchar('\n');
        table_print(&t, stdout);
    }
    table_fini(&t);
}

static void add_session(struct table *t, const json_t *profile, const json_t *s)
{
    char buf[48];

    table_add(t, "%s", text(profile, "name"));
    table_add(t, "%s", text(s, "id"));
    table_add(t, "%s", text(s, "remote"));
    table_add(t, "%s", text(s, "state"));
    table_add(t, "%lld", (long long)number(s, "worker"));
    table_add(t, "%s", duration(number(s, "age_s"), buf));
    table_add(t, "%lld", (long long)number(s, "streams"));
    table_add(t, "%lld", (long long)number(s, "srtt_ms"));
    table_add(t, "%lld", (long long)number(s, "rto_ms"));
    table_add(t, "%lld", (long long)number(s, "inflight"));
    table_add(t, "%s", amount(number(s, "queued_bytes"), buf));
    table_add(t, "%s", amount(number(s, "in_bytes"), buf));
    table_add(t, "%s", amount(number(s, "out_bytes"), buf));
}

static void print_sessions(const json_t *profiles)
{
    static const char *const heads[] = {"PROFILE", "ID",  "REMOTE", "STATE",  "WORKER", "AGE", "STREAMS",
                                        "SRTT",    "RTO", "FLIGHT", "QUEUED", "IN",     "OUT"};
    struct table t = {.columns = LEN(heads), .left = 0xf};
    const json_t *p, *s;
    size_t i, j;

    for (i = 0; i < LEN(heads); i++)
        table_add(&t, "%s", heads[i]);
    json_array_foreach(profiles, i, p) json_array_foreach(json_object_get(p, "sessions"), j, s) add_session(&t, p, s);
    putchar('\n');
    if (t.n > LEN(heads))
        table_print(&t, stdout);
    else
        puts("no sessions");
    table_fini(&t);
}

static void print_profiles(const json_t *profiles)
{
    struct table t = {.columns = 3, .left = 3};
    const json_t *p;
    size_t i;

    table_add(&t, "PROFILE");
    table_add(&t, "ROLE");
    table_add(&t, "SESSIONS");
    json_array_foreach(profiles, i, p)
    {
        table_add(&t, "%s", text(p, "name"));
        table_add(&t, "%s", text(p, "role"));
        table_add(&t, "%zu", json_array_size(json_object_get(p, "sessions")));
    }
    putchar('\n');
    table_print(&t, stdout);
    table_fini(&t);
}

/* one: the answer is about one profile, so its counters stand without the daemon's total. */
static void print_tables(const json_t *data, bool one)
{
    const json_t *profiles = json_object_get(data, "profiles"), *total = json_object_get(data, "total");
    size_t n = json_array_size(profiles);

    print_head(data);
    print_profiles(profiles);
    for (size_t from = 0; from < n || (!from && !one); from += BESIDE)
        print_counters(total, from || one ? NULL : total, profiles, from, MIN(from + BESIDE, n));
    print_sessions(profiles);
}

int cmd_stats(const struct ctl *c, int argc, char **argv)
{
    json_t *args, *data;
    int r;

    if (argc > 2)
        return CTL_EXIT_USAGE;
    args = argc > 1 ? json_pack("{ss}", "profile", argv[1]) : NULL;
    if (argc > 1 && !args) {
        fprintf(stderr, "kcptunctl: the name of a profile is UTF-8\n");
        return CTL_EXIT_USAGE;
    }
    r = ctl_call(c, "stats", args, &data);
    if (r)
        return r;
    if (c->json)
        ctl_print_json(data);
    else
        print_tables(data, argc > 1);
    json_decref(data);
    return r;
}
