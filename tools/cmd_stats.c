/* tools/cmd_stats.c - kcptunctl stats and status. */
#include "tools/ctl.h"

#include "core/base/bytes.h"
#include "tools/ctl_list.h"
#include "tools/ctl_text.h"
#include "tools/table.h"

#include <stdio.h>
#include <time.h>

enum { BESIDE = 6 }; /* profiles in one table */

static void print_head(const json_t *data)
{
    char up[CTL_TEXT];

    printf("kcptund %s, up %s, %lld workers, %s\n", ctl_str(data, "version"),
           ctl_duration(ctl_num(data, "uptime_s"), up), (long long)ctl_num(data, "workers"), ctl_str(data, "io"));
}

/* A counter that is zero everywhere tells nothing. */
static bool counts(const json_t *total, const json_t *profiles, const char *key)
{
    const json_t *p;
    size_t i;

    if (ctl_num(total, key))
        return true;
    json_array_foreach(profiles, i, p) if (ctl_num(json_object_get(p, "counters"), key)) return true;
    return false;
}

/* Counters of the profiles from..to, and the total's before them (NULL: without). names: an object with every counter. */
static void print_counters(const struct ctl *c, const json_t *names, const json_t *total, const json_t *profiles,
                           size_t from, size_t to)
{
    struct table t = {.columns = (unsigned)(1 + !!total + (to - from)), .left = 1, .bold = c->color};
    const char *key;
    json_t *v;

    table_add(&t, "COUNTER");
    if (total)
        table_add(&t, "TOTAL");
    for (size_t i = from; i < to; i++)
        table_add(&t, "%s", ctl_str(json_array_get(profiles, i), "name"));
    json_object_foreach((json_t *)names, key, v)
    {
        if (!counts(names, profiles, key))
            continue;
        table_add(&t, "%s", key);
        if (total)
            table_add(&t, "%lld", (long long)ctl_num(total, key));
        for (size_t i = from; i < to; i++)
            table_add(&t, "%lld", (long long)ctl_num(json_object_get(json_array_get(profiles, i), "counters"), key));
    }
    if (t.n > t.columns) {
        putchar('\n');
        table_print(&t, stdout);
    }
    table_fini(&t);
}

static void print_profiles(const struct ctl *c, const json_t *profiles)
{
    struct table t = {.columns = 3, .left = 3, .bold = c->color};
    const json_t *p;
    size_t i;

    table_head(&t, (const char *const[]){"PROFILE", "ROLE", "SESSIONS", NULL});
    json_array_foreach(profiles, i, p)
    {
        table_add(&t, "%s", ctl_str(p, "name"));
        table_add(&t, "%s", ctl_str(p, "role"));
        table_add(&t, "%zu", json_array_size(json_object_get(p, "sessions")));
    }
    putchar('\n');
    table_print(&t, stdout);
    table_fini(&t);
}

static void print_sessions(const struct ctl *c, const json_t *profiles)
{
    json_t *all = json_array(), *s;
    const json_t *p;
    size_t i, j;

    json_array_foreach(profiles, i, p)
    {
        json_array_foreach(json_object_get(p, "sessions"), j, s) json_array_append(all, s);
    }
    putchar('\n');
    ctl_list_print(c, ctl_session_columns, all, "no sessions");
    json_decref(all);
}

/* one: the answer is about one profile, so its counters stand without the daemon's total. */
static void print_tables(const struct ctl *c, const json_t *data, bool one)
{
    const json_t *profiles = json_object_get(data, "profiles"), *total = json_object_get(data, "total");
    size_t n = json_array_size(profiles);

    print_head(data);
    ctl_list_note(data);
    print_profiles(c, profiles);
    for (size_t from = 0; from < n || (!from && !one); from += BESIDE)
        print_counters(c, total, from || one ? NULL : total, profiles, from, MIN(from + BESIDE, n));
    print_sessions(c, profiles);
}

int cmd_stats(const struct ctl *c, int argc, char **argv)
{
    json_t *args = NULL, *data;
    int r;

    if (!ctl_args(&args, "profile", argv[1]))
        return CTL_EXIT_USAGE;
    r = ctl_call(c, "stats", args, &data);
    if (r)
        return r;
    if (c->json)
        ctl_print_json(data);
    else
        print_tables(c, data, argc > 1);
    json_decref(data);
    return r;
}

/* ---- status ---- */

static void print_conf(const json_t *conf)
{
    char when[CTL_TEXT];
    const json_t *v;
    size_t i;

    if (!json_is_object(conf))
        return;
    printf("%s, read %s ago (%s)%s", ctl_str(conf, "file"), ctl_duration(ctl_num(conf, "age_s"), when),
           ctl_str(conf, "cause"), ctl_is(conf, "ok") ? "" : ", NOT TAKEN OVER: ");
    if (!ctl_is(conf, "ok"))
        ctl_say(stdout, ctl_str(conf, "error"));
    putchar('\n');
    json_array_foreach(json_object_get(conf, "restart"), i, v)
    {
        fputs("changed, and takes a restart: ", stdout);
        ctl_say(stdout, json_is_string(v) ? json_string_value(v) : "-");
        putchar('\n');
    }
}

static void print_overrides(const json_t *overrides)
{
    const json_t *o;
    size_t i;

    json_array_foreach(overrides, i, o)
    {
        fputs("set until the next reload: ", stdout);
        if (json_object_get(o, "profile")) {
            ctl_say(stdout, ctl_str(o, "profile"));
            fputs(": ", stdout);
        }
        ctl_say(stdout, ctl_str(o, "key"));
        fputs(" = ", stdout);
        ctl_say(stdout, ctl_str(o, "value"));
        putchar('\n');
    }
}

static void print_upgrades(const json_t *data)
{
    const json_t *failed = json_object_get(data, "upgrade"), *f;
    char left[CTL_TEXT];
    size_t i;

    json_array_foreach(json_object_get(data, "finishing"), i, f)
    {
        printf("finishing in pid %lld: %lld sessions, %lld streams, %s left\n", (long long)ctl_num(f, "pid"),
               (long long)ctl_num(f, "sessions"), (long long)ctl_num(f, "streams"),
               ctl_duration(ctl_num(f, "left_s"), left));
    }
    if (!json_is_object(failed))
        return;
    printf("the last upgrade failed, %s ago: ",
           ctl_duration(MAX((long long)time(NULL) - ctl_num(failed, "when"), 0), left));
    ctl_say(stdout, ctl_str(failed, "error"));
    putchar('\n');
}

int cmd_status(const struct ctl *c, int argc, char **argv)
{
    json_t *data;
    int r = ctl_call(c, "status", NULL, &data);

    (void)argc;
    (void)argv;
    if (r)
        return r;
    if (c->json) {
        ctl_print_json(data);
    } else {
        print_head(data);
        print_conf(json_object_get(data, "conf"));
        print_overrides(json_object_get(data, "overrides"));
        print_upgrades(data);
        putchar('\n');
        ctl_list_print(c, ctl_profile_columns, json_object_get(data, "profiles"), "no profiles");
    }
    json_decref(data);
    return r;
}
