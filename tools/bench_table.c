/* tools/bench_table.c - a report's results as tables: a row per metric, a column per program. */
#include "tools/bench_report.h"

#include "tools/bench_work.h"
#include "tools/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PROGRAMS = 8, RATIO_AFTER = 1 }; /* the ratio is the first program's by the second's, and stands behind it */

struct group { /* the results of one work and case: one per program */
    const struct bench_work *work;
    const json_t *result[PROGRAMS];
    size_t n;
};

static const char *string(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return json_is_string(v) ? json_string_value(v) : "?";
}

static double number(const json_t *o, const char *part, const char *key)
{
    const json_t *v = json_object_get(json_object_get(o, part), key);

    return json_is_number(v) ? json_number_value(v) : NAN;
}

static bool same_case(const json_t *a, const json_t *b)
{
    static const char *const keys[] = {"work", "crypt", "fec", "io", "workers"};

    for (size_t i = 0; i < LEN(keys); i++)
        if (!json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i])))
            return false;
    return true;
}

/* "312 (300 to 320)"; "-" where nothing was measured. */
static void add_value(struct table *t, const json_t *result, const struct bench_metric *m)
{
    double median = number(result, "median", m->key), least = number(result, "min", m->key);
    double most = number(result, "max", m->key);

    if (isnan(median))
        table_add(t, "-");
    else if (json_array_size(json_object_get(result, "runs")) < 2)
        table_add(t, "%.*f", m->decimals, median);
    else
        table_add(t, "%.*f (%.*f to %.*f)", m->decimals, median, m->decimals, least, m->decimals, most);
}

static bool measured(const struct group *g, const struct bench_metric *m)
{
    for (size_t i = 0; i < g->n; i++)
        if (!isnan(number(g->result[i], "median", m->key)))
            return true;
    return false;
}

/* Ours by kcptun's, both ends each. */
static void add_ratio(struct table *t, const struct group *g, const struct bench_metric *m)
{
    double ours = number(g->result[0], "median", m->key), theirs = number(g->result[1], "median", m->key);

    if (!m->better || isnan(ours) || isnan(theirs) || !(theirs > 0))
        table_add(t, "-");
    else
        table_add(t, ours / theirs < 0.1 ? "%.3f" : "%.2f", ours / theirs);
}

/* What share of the limit a rate is. */
static void add_share(struct table *t, const struct group *g, const json_t *report, const char *which, const char *name,
                      bool ratio)
{
    double limit = number(json_object_get(json_object_get(report, "loopback"), which), "median", "mb_s");

    if (isnan(limit))
        return;
    table_add(t, "%% of %s without a tunnel", name);
    for (size_t i = 0; i < g->n; i++) {
        double rate = number(g->result[i], "median", "mb_s");

        if (isnan(rate))
            table_add(t, "-");
        else
            table_add(t, "%.1f", 100 * rate / limit);
        if (ratio && i == RATIO_AFTER)
            table_add(t, "-");
    }
}

static void print_markdown(const struct table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        bool last = (i + 1) % t->columns == 0;

        printf(i % t->columns ? " %s |" : "| %s |", t->cells[i] && *t->cells[i] ? t->cells[i] : " ");
        if (last)
            putchar('\n');
        if (i + 1 == t->columns) {
            for (size_t c = 0; c < t->columns; c++)
                fputs(c ? "--:|" : "|---|", stdout);
            putchar('\n');
        }
    }
}

static void print_gaps(const struct group *g, bool markdown)
{
    for (size_t i = 0; i < g->n; i++) {
        const json_t *failed = json_object_get(g->result[i], "failed"), *why;
        const char *before = markdown ? "\n" : "", *name = string(g->result[i], "program");
        size_t j;

        if (json_object_get(g->result[i], "skipped"))
            printf("%s%s: not measured: %s\n", before, name, string(g->result[i], "skipped"));
        json_array_foreach(failed, j, why)
            printf("%s%s: failed: %s\n", before, name, json_is_string(why) ? json_string_value(why) : "?");
    }
}

static void fill(struct table *t, const struct group *g, const json_t *report, bool ratio)
{
    table_add(t, "%s", "");
    for (size_t i = 0; i < g->n; i++) {
        table_add(t, "%s", string(g->result[i], "program"));
        if (ratio && i == RATIO_AFTER)
            table_add(t, "ratio");
    }
    for (const struct bench_metric *m = g->work->metrics; m->key; m++) {
        if (!measured(g, m))
            continue;
        table_add(t, "%s", m->label);
        for (size_t i = 0; i < g->n; i++) {
            add_value(t, g->result[i], m);
            if (ratio && i == RATIO_AFTER)
                add_ratio(t, g, m);
        }
        if (!strcmp(m->key, "mb_s")) {
            add_share(t, g, report, "tcp", "TCP", ratio);
            add_share(t, g, report, "udp", "UDP", ratio);
        }
    }
}

static void print_group(const struct group *g, const json_t *report, bool markdown)
{
    const json_t *r = g->result[0];
    bool ratio =
        g->n > 1 && !strcmp(string(r, "program"), "kcptund") && !strcmp(string(g->result[1], "program"), "kcptun");
    long long workers = json_integer_value(json_object_get(r, "workers"));
    struct table t = {.columns = (unsigned)(1 + g->n + ratio), .left = 1};

    printf(markdown ? "\n### %s\n\n" : "\n%s: ", g->work->name);
    printf("%s; crypt %s, FEC %s, io %s, %lld worker%s\n%s", g->work->what, string(r, "crypt"), string(r, "fec"),
           string(r, "io"), workers, workers == 1 ? "" : "s", markdown ? "\n" : "");
    fill(&t, g, report, ratio);
    if (markdown)
        print_markdown(&t);
    else
        table_print(&t, stdout);
    print_gaps(g, markdown);
    table_fini(&t);
}

static void print_head(const json_t *report, bool markdown)
{
    const json_t *m = json_object_get(report, "machine"), *s = json_object_get(report, "settings");
    const json_t *cores = json_object_get(s, "cores");
    long long runs = json_integer_value(json_object_get(s, "runs"));
    const char *tick = markdown ? "`" : "";

    printf("%s, %lld cores, Linux %s, load average %.1f at the start; %s; %s%s%s\n", string(m, "processor"),
           (long long)json_integer_value(json_object_get(m, "cores")), string(m, "linux"),
           number(report, "machine", "load"), string(report, "date"), tick, string(report, "command"), tick);
    printf(
        "%smode %s, windows %lld, smux %lld, no compression; %s; medians of %lld run%s of %g s (range in brackets)\n",
        markdown ? "\n" : "", string(s, "mode"), (long long)json_integer_value(json_object_get(s, "window")),
        (long long)json_integer_value(json_object_get(s, "smuxver")),
        json_is_true(json_object_get(s, "netns")) ? "two namespaces and a veth pair" : "loopback", runs,
        runs == 1 ? "" : "s", json_number_value(json_object_get(s, "time_s")));
    if (json_is_object(cores))
        printf("%scores: client %s, server %s, load generator %s beside the client and %s beside the server\n",
               markdown ? "\n" : "", string(cores, "client"), string(cores, "server"), string(cores, "load_near"),
               string(cores, "load_far"));
    if (!json_is_true(json_object_get(report, "complete")))
        printf("%sthe run did not get to its end\n", markdown ? "\n" : "");
}

static void print_limits(const json_t *report)
{
    const json_t *all = json_object_get(report, "loopback");

    if (json_object_size(all))
        printf("\nwithout a tunnel: TCP %.0f MB/s, one stream; UDP %.0f MB/s, in runs of 48 datagrams of 1350 bytes\n",
               number(json_object_get(all, "tcp"), "median", "mb_s"),
               number(json_object_get(all, "udp"), "median", "mb_s"));
}

void bench_report_print(const json_t *report, bool markdown)
{
    const json_t *results = json_object_get(report, "results"), *r;
    struct group g = {0};
    size_t i;

    print_head(report, markdown);
    print_limits(report);
    json_array_foreach(results, i, r)
    {
        if (g.n && (!same_case(r, g.result[0]) || g.n == PROGRAMS)) {
            print_group(&g, report, markdown);
            g.n = 0;
        }
        g.work = bench_work_find(string(r, "work"), strlen(string(r, "work")));
        if (g.work)
            g.result[g.n++] = r;
    }
    if (g.n)
        print_group(&g, report, markdown);
}
