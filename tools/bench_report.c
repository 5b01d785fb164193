/* tools/bench_report.c - collects what was measured as JSON. */
#include "tools/bench_report.h"

#include "tools/bench_net.h"
#include "tools/bench_place.h"
#include "tools/bench_work.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { FORMAT = 1 }; /* of the JSON; one more when a member changes its meaning */

static json_t *text(const char *s)
{
    json_t *t = json_string(s);

    return t ? t : json_string("?"); /* not UTF-8 */
}

static json_t *command_of(int argc, char **argv)
{
    char line[4096] = "kcptun-bench";
    size_t len = strlen(line);

    for (int i = 1; i < argc && len < sizeof line; i++)
        len += (size_t)snprintf(line + len, sizeof line - len, strpbrk(argv[i], " \t'\"$;|&") ? " \"%s\"" : " %s",
                                argv[i]);
    return text(line);
}

static json_t *cpu_model(void)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256], model[128] = "unknown processor";

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "model name : %127[^\n]", model) == 1)
            break;
    if (f)
        fclose(f);
    return text(model);
}

static json_t *machine(void)
{
    struct utsname u = {0};
    double load = 0;

    uname(&u);
    getloadavg(&load, 1);
    u.release[strspn(u.release, "0123456789.")] = 0;
    return json_pack("{so si ss sf}", "processor", cpu_model(), "cores", (int)sysconf(_SC_NPROCESSORS_ONLN), "linux",
                     u.release, "load", load);
}

static json_t *cores_of(const struct bench_place *p)
{
    char text[SEATS][256];

    if (!p->pinned)
        return json_null();
    for (int s = 0; s < SEATS; s++)
        bench_place_text(p, s, text[s]);
    return json_pack("{ss ss ss ss}", "client", text[SEAT_CLIENT], "server", text[SEAT_SERVER], "load_near",
                     text[SEAT_NEAR], "load_far", text[SEAT_FAR]);
}

json_t *bench_report_new(const struct bench *b, int argc, char **argv)
{
    const struct bench_opts *o = &b->opts;
    char date[32];
    time_t now = time(NULL);
    struct tm t;

    gmtime_r(&now, &t);
    strftime(date, sizeof date, "%Y-%m-%d", &t);
    return json_pack("{si ss ss so so sb s{sf si ss si si sb so si si} s{} s[]}", "format", FORMAT, "version",
                     KCPTUND_VERSION, "date", date, "command", command_of(argc, argv), "machine", machine(), "complete",
                     0, "settings", "time_s", o->time_s, "runs", (int)o->runs, "mode", o->mode, "window",
                     (int)o->window, "smuxver", (int)o->smuxver, "netns", (int)b->net->spaces, "cores",
                     cores_of(b->place), "idle_sessions", (int)o->sessions, "fair_streams", (int)o->streams, "loopback",
                     "results");
}

json_t *bench_report_result(json_t *report, const struct bench_work *w, const struct bench_case *c, const char *program)
{
    char fec[32] = "off";
    json_t *r;

    if (c->datashard)
        snprintf(fec, sizeof fec, "%u/%u", c->datashard, c->parityshard);
    r = json_pack("{ss ss ss ss si ss s[] s[] s{} s{} s{}}", "work", w->name, "crypt", c->crypt, "fec", fec, "io",
                  c->io, "workers", (int)c->workers, "program", program, "runs", "failed", "median", "min", "max");
    json_array_append_new(json_object_get(report, "results"), r);
    return r;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Median, least and most of a list's numbers; members that are null do not count. */
static void sum_up(json_t *into, const char *key, const double v[], size_t n)
{
    double *sorted = calloc(n + 1, sizeof *sorted);
    size_t k = 0;

    for (size_t i = 0; sorted && i < n; i++)
        if (isfinite(v[i]))
            sorted[k++] = v[i];
    if (k) {
        qsort(sorted, k, sizeof *sorted, by_size);
        json_object_set_new(json_object_get(into, "median"), key, json_real((sorted[(k - 1) / 2] + sorted[k / 2]) / 2));
        json_object_set_new(json_object_get(into, "min"), key, json_real(sorted[0]));
        json_object_set_new(json_object_get(into, "max"), key, json_real(sorted[k - 1]));
    }
    free(sorted);
}

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

void bench_report_run(json_t *result, const struct bench_work *w, const double v[])
{
    json_t *runs = json_object_get(result, "runs"), *run = json_object();
    size_t n = json_array_size(runs) + 1;
    double *all = calloc(n, sizeof *all);

    json_array_append_new(runs, run);
    for (size_t i = 0; w->metrics[i].key; i++)
        json_object_set_new(run, w->metrics[i].key, number(v[i]));
    for (size_t i = 0; all && w->metrics[i].key; i++) {
        for (size_t j = 0; j < n; j++) {
            const json_t *x = json_object_get(json_array_get(runs, j), w->metrics[i].key);

            all[j] = json_is_number(x) ? json_number_value(x) : NAN;
        }
        sum_up(result, w->metrics[i].key, all, n);
    }
    free(all);
}

void bench_report_failed(json_t *result, const char *why)
{
    json_array_append_new(json_object_get(result, "failed"), text(why));
}

void bench_report_skipped(json_t *result, const char *why)
{
    json_object_set_new(result, "skipped", text(why));
}

void bench_report_limit(json_t *report, const char *which, double mb_s)
{
    json_t *all = json_object_get(report, "loopback"), *one = json_object_get(all, which), *runs;
    double v[1024];
    size_t n;

    if (!one) {
        one = json_pack("{s[] s{} s{} s{}}", "runs", "median", "min", "max");
        json_object_set_new(all, which, one);
    }
    runs = json_object_get(one, "runs");
    json_array_append_new(runs, json_pack("{sf}", "mb_s", mb_s));
    n = MIN(json_array_size(runs), LEN(v));
    for (size_t i = 0; i < n; i++)
        v[i] = json_number_value(json_object_get(json_array_get(runs, i), "mb_s"));
    sum_up(one, "mb_s", v, n);
}

int bench_report_save(const json_t *report, const char *path)
{
    char tmp[PATH_MAX];

    if ((size_t)snprintf(tmp, sizeof tmp, "%s.new", path) >= sizeof tmp)
        return bench_fail("%s: the name is too long", path);
    /* not fewer digits: what is rounded twice shows otherwise from the file */
    if (json_dump_file(report, tmp, JSON_INDENT(1) | JSON_REAL_PRECISION(15)) || rename(tmp, path)) {
        bench_fail("cannot write %s: %m", path);
        unlink(tmp);
        return BENCH_FAILED;
    }
    return 0;
}

int bench_report_load(json_t **report, const char *path)
{
    json_error_t e;
    json_t *o = json_load_file(path, 0, &e);

    if (!o)
        return bench_fail("%s:%d: %s", path, e.line, e.text);
    if (json_integer_value(json_object_get(o, "format")) != FORMAT) {
        json_decref(o);
        return bench_fail("%s: not a report of this version of kcptun-bench", path);
    }
    *report = o;
    return 0;
}
