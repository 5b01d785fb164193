/* tools/bench.c - kcptun-bench: measures tunnels on the user's own machine. Every program of a case takes its turn
 * in every run, so that what else the machine does meets all of them. */
#include "tools/bench.h"

#include "tools/bench_net.h"
#include "tools/bench_options.h"
#include "tools/bench_pair.h"
#include "tools/bench_place.h"
#include "tools/bench_report.h"
#include "tools/bench_work.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { EXIT_DONE, EXIT_SOME_FAILED, EXIT_STOPPED = 130 };

struct run { /* a whole one */
    struct bench_plan plan;
    struct bench bench;
    struct bench_net net;
    struct bench_place place;
    json_t *report;
    bool failed; /* some measurement */
};

static int save(const struct run *run)
{
    return run->plan.json ? bench_report_save(run->report, run->plan.json) : 0;
}

/* A failed measurement is a result, told and remembered; what follows is measured all the same. */
static int note_failure(struct run *run, json_t *result, const char *name)
{
    bench_progress_clear();
    fprintf(stderr, "kcptun-bench: %s: %s\n", name, bench_why());
    if (result)
        bench_report_failed(result, bench_why());
    run->failed = true;
    return save(run);
}

static int measure(struct run *run, const struct bench_work *w, const struct bench_case *c, const struct bench_kind *k,
                   json_t *result)
{
    double v[BENCH_VALUES];
    int r;

    for (size_t i = 0; i < LEN(v); i++)
        v[i] = NAN;
    r = w->run(&run->bench, c, k, v);
    if (bench_stopped())
        return BENCH_STOPPED;
    if (r)
        return note_failure(run, result, k->name);
    bench_report_run(result, w, v);
    return save(run);
}

/* kcptun takes an unknown cipher for aes, and would be measured with that. */
static bool can(const struct run *run, const struct bench_kind *k, const struct bench_case *c)
{
    for (int end = 0; end < BENCH_ENDS; end++)
        if (k->peer[end] && !bench_pair_peer_knows(run->bench.opts.peer[end], c->crypt))
            return false;
    return true;
}

static int run_work(struct run *run, const struct bench_work *w, const struct bench_case *c)
{
    const struct bench_plan *p = &run->plan;
    json_t *results[BENCH_KINDS_MAX] = {0};
    int r = 0;

    for (unsigned i = 0; i < p->n_kinds; i++) {
        results[i] = bench_report_result(run->report, w, c, p->kinds[i].name);
        if (!can(run, &p->kinds[i], c)) {
            bench_report_skipped(results[i], "kcptun does not know this cipher");
            results[i] = NULL;
        }
    }
    for (unsigned n = 0; n < p->opts.runs; n++)
        for (unsigned i = 0; !r && i < p->n_kinds; i++) {
            bench_progress_step("%s, crypt %s, FEC %u/%u, io %s, %u workers: run %u of %u, %s", w->name, c->crypt,
                                c->datashard, c->parityshard, c->io, c->workers, n + 1, p->opts.runs, p->kinds[i].name);
            if (results[i])
                r = measure(run, w, c, &p->kinds[i], results[i]);
        }
    return r;
}

static int run_limits(struct run *run)
{
    static const struct {
        const char *name;
        int (*measure)(const struct bench *b, double *mb_s);
    } limits[] = {{"tcp", bench_limit_tcp}, {"udp", bench_limit_udp}};
    int r = 0;

    for (unsigned n = 0; n < run->plan.opts.runs; n++)
        for (size_t i = 0; !r && i < LEN(limits); i++) {
            double mb_s;

            bench_progress_step("without a tunnel, %s: run %u of %u", limits[i].name, n + 1, run->plan.opts.runs);
            r = limits[i].measure(&run->bench, &mb_s);
            if (bench_stopped())
                return BENCH_STOPPED;
            if (r)
                r = note_failure(run, NULL, limits[i].name);
            else
                bench_report_limit(run->report, limits[i].name, mb_s);
        }
    return r;
}

static int run_all(struct run *run)
{
    const struct bench_plan *p = &run->plan;
    int r;

    bench_progress_start(p->n_cases * p->n_works * p->opts.runs * p->n_kinds + (p->limit ? 2 * p->opts.runs : 0));
    r = save(run);
    if (!r && p->limit)
        r = run_limits(run);
    for (unsigned c = 0; c < p->n_cases; c++)
        for (unsigned w = 0; !r && w < p->n_works; w++)
            r = run_work(run, p->works[w], &p->cases[c]);
    if (!r)
        json_object_set_new(run->report, "complete", json_true());
    bench_progress_end();
    return r ? r : save(run);
}

/* Thousands of sessions: several descriptors each, here and in the ends, which inherit the limit. */
static void raise_limits(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l))
        return;
    l.rlim_cur = l.rlim_max;
    setrlimit(RLIMIT_NOFILE, &l);
}

static int set_up(struct run *run)
{
    struct bench *b = &run->bench;
    unsigned workers = 0;
    int r;

    for (unsigned i = 0; i < run->plan.n_cases; i++)
        workers = run->plan.cases[i].workers ? MAX(workers, run->plan.cases[i].workers) : workers;
    b->opts = run->plan.opts;
    b->net = &run->net;
    b->place = &run->place;
    raise_limits();
    bench_catch_signals();
    r = bench_place_init(&run->place, run->plan.cpus, workers);
    r = r ? r : bench_net_open(&run->net, run->plan.netns);
    r = r ? r : bench_pair_dir_open(b);
    if (!r && bench_net_enter(&run->net, BENCH_CLIENT))
        r = bench_fail("cannot enter the client's namespace: %m");
    bench_place_take(&run->place, SEAT_NEAR);
    return r;
}

/* What was printed has to have arrived: a full disk is no success. */
static int flushed(int status)
{
    if (!fflush(stdout) && !ferror(stdout))
        return status;
    fprintf(stderr, "kcptun-bench: cannot write: %s\n", strerror(errno));
    return status ? status : EXIT_SOME_FAILED;
}

static int tell(const char *why)
{
    fprintf(stderr, "kcptun-bench: %s\n", why);
    return EXIT_SOME_FAILED;
}

static int bench_main(struct run *run, int argc, char **argv)
{
    int r = set_up(run), status = EXIT_DONE;

    if (!r) {
        run->report = bench_report_new(&run->bench, argc, argv);
        r = run->report ? run_all(run) : bench_fail("out of memory");
    }
    if (run->report)
        bench_report_print(run->report, run->plan.markdown);
    if (r == BENCH_STOPPED)
        status = EXIT_STOPPED;
    else if (r)
        status = tell(bench_why());
    else if (run->failed)
        status = EXIT_SOME_FAILED;
    json_decref(run->report);
    bench_pair_dir_close(&run->bench);
    bench_net_close(&run->net);
    return status;
}

int main(int argc, char **argv)
{
    static struct run run;
    int status;

    if (bench_options_read(&run.plan, argc, argv, &status))
        return flushed(status);
    if (!run.plan.from)
        return flushed(bench_main(&run, argc, argv));
    if (bench_report_load(&run.report, run.plan.from))
        return tell(bench_why());
    bench_report_print(run.report, run.plan.markdown);
    json_decref(run.report);
    return flushed(EXIT_DONE);
}
