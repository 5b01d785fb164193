/* tools/bench_work.c - the works that move bulk: one stream, many, with one that hangs, with an echo beside. */
#include "tools/bench_work.h"

#include "tools/bench_echo.h"
#include "tools/bench_load.h"
#include "tools/bench_pair.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PARALLEL = 8 };

static const double STALL_S = 10; /* without a byte: broken */
static const double STALL_STEP_S = 0.05;

struct stage { /* a tunnel and what drives it */
    struct bench_pair pair;
    struct bench_load *load;
};

struct rate { /* of some time */
    double mb_s, cpu_s_gb[BENCH_ENDS], load_s_gb;
};

/* A tunnel has slow starts, buffers to grow and caches to warm; they are not measured. */
static double warm_up(const struct bench *b)
{
    return fmin(1, b->opts.time_s / 3);
}

static void stage_close(struct stage *s)
{
    bench_pair_stop(&s->pair);
    s->load = bench_load_close(s->load);
}

static int stage_open(struct stage *s, const struct bench *b, const struct bench_case *c, const struct bench_kind *k,
                      unsigned conn, unsigned slots)
{
    int r = bench_load_open(&s->load, b, slots);

    s->pair = (struct bench_pair){.bench = b};
    if (r)
        return r;
    return bench_pair_start(&s->pair, b, c, k, conn, ntohs(bench_load_target(s->load).sin_port));
}

static int stage_run(struct stage *s, enum bench_role far, enum bench_role near, unsigned first, unsigned n)
{
    return bench_load_run(s->load, &s->pair.local, far, near, first, n);
}

struct sample {
    double at, cpu[BENCH_ENDS], load;
    uint64_t bytes;
};

static struct sample sample_of(const struct stage *s, unsigned n)
{
    struct sample a = {.at = bench_now(), .load = bench_load_cpu(s->load), .bytes = bench_load_total(s->load, 0, n)};

    for (int end = 0; end < BENCH_ENDS; end++)
        a.cpu[end] = bench_pair_cpu(&s->pair, end);
    return a;
}

static int rate_between(struct stage *s, const struct sample *a, const struct sample *b, struct rate *out)
{
    double gb = 1e-9 * (double)(b->bytes - a->bytes);
    int r = bench_pair_check(&s->pair);

    if (r)
        return r;
    if (b->bytes == a->bytes)
        return bench_fail("nothing arrived in %.1f s", b->at - a->at);
    out->mb_s = 1e3 * gb / (b->at - a->at);
    out->load_s_gb = (b->load - a->load) / gb;
    for (int end = 0; end < BENCH_ENDS; end++)
        out->cpu_s_gb[end] = (b->cpu[end] - a->cpu[end]) / gb;
    return 0;
}

/* A sample at which something has arrived since `a`: a tunnel that a busy machine holds up for longer than a short
 * measurement is slow, not broken, and its rate is that of the longer time. */
static int sample_after(const struct stage *s, const struct sample *a, unsigned n, struct sample *b)
{
    int r = 0;

    *b = sample_of(s, n);
    for (double until = b->at + STALL_S; !r && b->bytes == a->bytes && b->at < until; *b = sample_of(s, n))
        r = bench_sleep(STALL_STEP_S);
    return r;
}

/* The rate of the streams 0..n-1 over the next seconds. */
static int rate_over(struct stage *s, double seconds, unsigned n, struct rate *out)
{
    struct sample a = sample_of(s, n), b;
    int r = bench_sleep(seconds);

    r = r ? r : sample_after(s, &a, n, &b);
    return r ? r : rate_between(s, &a, &b, out);
}

/* ---- bulk, down, parallel, sessions ---- */

static const struct bench_metric rate_metrics[] = {
    {"mb_s", "MB/s", 0, 1},
    {"cpu_client_s_gb", "CPU s/GB, client", 2, -1},
    {"cpu_server_s_gb", "CPU s/GB, server", 2, -1},
    {"cpu_s_gb", "CPU s/GB, both", 2, -1},
    {"peak_client_mib", "peak MiB, client", 0, -1},
    {"peak_server_mib", "peak MiB, server", 0, -1},
    {"load_s_gb", "CPU s/GB, load generator", 2, 0},
    {0},
};

static void rate_values(const struct stage *s, const struct rate *rate, double v[])
{
    v[0] = rate->mb_s;
    v[1] = rate->cpu_s_gb[BENCH_CLIENT];
    v[2] = rate->cpu_s_gb[BENCH_SERVER];
    v[3] = v[1] + v[2];
    for (int end = 0; end < BENCH_ENDS; end++)
        v[4 + end] = bench_pair_memory(&s->pair, end).peak / 1024;
    v[6] = rate->load_s_gb;
}

static int run_rate(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, unsigned conn,
                    unsigned n, bool down, double v[])
{
    struct stage s = {0};
    struct rate rate;
    int r = stage_open(&s, b, c, k, conn, n);

    r = r ? r : stage_run(&s, down ? BENCH_FLOOD : BENCH_SINK, down ? BENCH_SINK : BENCH_FLOOD, 0, n);
    r = r ? r : bench_sleep(warm_up(b));
    r = r ? r : rate_over(&s, b->opts.time_s, n, &rate);
    if (!r)
        rate_values(&s, &rate, v);
    stage_close(&s);
    return r;
}

static int run_bulk(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, double v[])
{
    return run_rate(b, c, k, 1, 1, false, v);
}

static int run_down(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, double v[])
{
    return run_rate(b, c, k, 1, 1, true, v);
}

static int run_parallel(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, double v[])
{
    return run_rate(b, c, k, 1, PARALLEL, false, v);
}

static int run_sessions(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, double v[])
{
    return run_rate(b, c, k, PARALLEL, PARALLEL, false, v);
}

/* ---- echo, loaded-echo ---- */

static const struct bench_metric echo_metrics[] = {
    {"p50_ms", "round trip, ms, p50", 2, -1},
    {"p99_ms", "round trip, ms, p99", 2, -1},
    {"echoes", "echoes", 0, 0},
    {"load_mb_s", "MB/s of the load", 0, 1},
    {0},
};

static int run_echo_beside(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, unsigned load,
                           double v[])
{
    struct bench_echo e = {0};
    struct sample from, to;
    struct stage s = {0};
    struct rate rate = {.mb_s = NAN};
    int fd = -1, r = stage_open(&s, b, c, k, 1, load + 1);

    r = r ? r : stage_run(&s, BENCH_SINK, BENCH_FLOOD, 0, load);
    r = r ? r : bench_dial(&s.pair.local, BENCH_ECHO, load, 1, &fd);
    r = r ? r : bench_sleep(warm_up(b));
    from = sample_of(&s, load);
    if (!r) {
        r = bench_echo_run(&e, fd, b->opts.time_s);
        close(fd);
    }
    if (!r && load)
        r = sample_after(&s, &from, load, &to);
    if (!r)
        r = load ? rate_between(&s, &from, &to, &rate) : bench_pair_check(&s.pair);
    v[0] = e.p50_ms;
    v[1] = e.p99_ms;
    v[2] = e.n;
    v[3] = rate.mb_s;
    stage_close(&s);
    return r;
}

static int run_echo(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, double v[])
{
    return run_echo_beside(b, c, k, 0, v);
}

static int run_loaded_echo(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, double v[])
{
    return run_echo_beside(b, c, k, 1, v);
}

/* ---- churn ---- */

static const struct bench_metric churn_metrics[] = {
    {"conn_s", "connections/s", 0, 1},
    {"cpu_client_us", "CPU us each, client", 0, -1},
    {"cpu_server_us", "CPU us each, server", 0, -1},
    {"p99_ms", "from connect to answer, ms, p99", 1, -1},
    {"failed", "failed", 0, 0},
    {0},
};

static int run_churn(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, double v[])
{
    struct bench_churn churn = {0};
    struct sample from, to;
    struct stage s = {0};
    int r = stage_open(&s, b, c, k, 1, 1);

    r = r ? r : bench_churn_run(&churn, &s.pair.local, warm_up(b));
    from = sample_of(&s, 0);
    r = r ? r : bench_churn_run(&churn, &s.pair.local, b->opts.time_s);
    to = sample_of(&s, 0);
    r = r ? r : bench_pair_check(&s.pair);
    if (!r && !churn.n)
        r = bench_fail("no connection of %u was answered", churn.failed);
    v[0] = churn.n / (to.at - from.at);
    v[1] = 1e6 * (to.cpu[BENCH_CLIENT] - from.cpu[BENCH_CLIENT]) / churn.n;
    v[2] = 1e6 * (to.cpu[BENCH_SERVER] - from.cpu[BENCH_SERVER]) / churn.n;
    v[3] = churn.p99_ms;
    v[4] = churn.failed;
    stage_close(&s);
    return r;
}

/* ---- idle ---- */

static const struct bench_metric idle_metrics[] = {
    {"rss_client_kib", "KiB per session, client, RSS", 1, -1},
    {"rss_server_kib", "KiB per session, server, RSS", 1, -1},
    {"pss_client_kib", "KiB per session, client, PSS", 1, -1},
    {"pss_server_kib", "KiB per session, server, PSS", 1, -1},
    {"cpu_client_pct", "% of a core while idle, client", 2, -1},
    {"cpu_server_pct", "% of a core while idle, server", 2, -1},
    {0},
};

static const double KEEPALIVE_S = 10; /* both programs' default: a shorter look would miss what idling costs */

struct idle {
    struct bench_memory memory[BENCH_ENDS];
    double cpu_pct[BENCH_ENDS];
};

static int idle_over(struct stage *s, double seconds, struct idle *out)
{
    struct sample a = sample_of(s, 0), b;
    int r = bench_sleep(seconds);

    b = sample_of(s, 0);
    for (int end = 0; end < BENCH_ENDS; end++) {
        out->cpu_pct[end] = 100 * (b.cpu[end] - a.cpu[end]) / (b.at - a.at);
        out->memory[end] = bench_pair_memory(&s->pair, end);
    }
    return r ? r : bench_pair_check(&s->pair);
}

static int look_at_idle(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, unsigned n,
                        double seconds, struct idle *out)
{
    struct stage s = {0};
    int r = stage_open(&s, b, c, k, n, n);

    r = r ? r : stage_run(&s, BENCH_HOLD, BENCH_HOLD, 0, n);
    bench_progress_note("idle with %u session%s", n, n > 1 ? "s" : "");
    r = r ? r : bench_sleep(2 * warm_up(b)); /* the last acknowledgements */
    r = r ? r : idle_over(&s, seconds, out);
    stage_close(&s);
    return r;
}

static int run_idle(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, double v[])
{
    struct idle one, many;
    unsigned n = b->opts.sessions;
    int r = look_at_idle(b, c, k, 1, b->opts.quick ? 0.1 : 1, &one);

    r = r ? r : look_at_idle(b, c, k, n, b->opts.quick ? b->opts.time_s : fmax(b->opts.time_s, KEEPALIVE_S), &many);
    for (int end = 0; !r && end < BENCH_ENDS; end++) {
        v[end] = (many.memory[end].rss - one.memory[end].rss) / (n - 1);
        v[2 + end] = (many.memory[end].pss - one.memory[end].pss) / (n - 1);
        v[4 + end] = many.cpu_pct[end];
    }
    return r;
}

/* ---- fairness, starve ---- */

static const struct bench_metric fairness_metrics[] = {
    {"mb_s", "MB/s of all streams", 0, 1},
    {"least_pct", "least stream, % of an equal share", 1, 1},
    {"most_pct", "most stream, % of an equal share", 1, -1},
    {"jain", "Jain's index (1: all equal)", 3, 1},
    {0},
};

static void share_values(const struct bench_load *l, const uint64_t before[], unsigned n, double v[])
{
    double sum = 0, squares = 0, least = INFINITY, most = 0;

    for (unsigned i = 0; i < n; i++) {
        double got = (double)(bench_load_bytes(l, i) - before[i]);

        sum += got;
        squares += got * got;
        least = fmin(least, got);
        most = fmax(most, got);
    }
    v[1] = 100 * least * n / sum;
    v[2] = 100 * most * n / sum;
    v[3] = sum * sum / (n * squares);
}

static int run_fairness(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, double v[])
{
    unsigned n = b->opts.streams;
    uint64_t *before = calloc(n, sizeof *before);
    struct stage s = {0};
    struct rate rate;
    int r = before ? stage_open(&s, b, c, k, 1, n) : bench_fail("out of memory");

    r = r ? r : stage_run(&s, BENCH_SINK, BENCH_FLOOD, 0, n);
    r = r ? r : bench_sleep(warm_up(b));
    for (unsigned i = 0; !r && i < n; i++)
        before[i] = bench_load_bytes(s.load, i);
    r = r ? r : rate_over(&s, b->opts.time_s, n, &rate);
    if (!r) {
        v[0] = rate.mb_s;
        share_values(s.load, before, n, v);
    }
    stage_close(&s);
    free(before);
    return r;
}

static const struct bench_metric starve_metrics[] = {
    {"before_mb_s", "MB/s of the others, before", 0, 1},
    {"beside_mb_s", "MB/s of the others, beside it", 0, 1},
    {"kept_pct", "% kept", 0, 1},
    {0},
};

static int run_starve(const struct bench *b, const struct bench_case *c, const struct bench_kind *k, double v[])
{
    struct stage s = {0};
    struct rate before, beside = {0};
    int fd = -1, r = stage_open(&s, b, c, k, 1, PARALLEL + 1);

    r = r ? r : bench_dial(&s.pair.local, BENCH_HOLD, PARALLEL, 1, &fd);
    r = r ? r : stage_run(&s, BENCH_SINK, BENCH_FLOOD, 0, PARALLEL);
    r = r ? r : bench_sleep(warm_up(b));
    r = r ? r : rate_over(&s, b->opts.time_s / 2, PARALLEL, &before);
    if (!r) {
        r = bench_load_pump(s.load, fd, BENCH_FLOOD, PARALLEL);
        fd = -1;
    }
    r = r ? r : bench_sleep(warm_up(b)); /* until it is full */
    /* that nothing arrives any more is a result here, not a failure */
    if (!r && rate_over(&s, b->opts.time_s / 2, PARALLEL, &beside))
        r = bench_stopped() ? BENCH_STOPPED : bench_pair_check(&s.pair);
    if (!r) {
        v[0] = before.mb_s;
        v[1] = beside.mb_s;
        v[2] = 100 * beside.mb_s / before.mb_s;
    }
    if (fd >= 0)
        close(fd);
    stage_close(&s);
    return r;
}

const struct bench_work bench_works[] = {
    {"bulk", "one stream, up", rate_metrics, run_bulk},
    {"down", "one stream, down", rate_metrics, run_down},
    {"parallel", "8 streams on one session, up", rate_metrics, run_parallel},
    {"sessions", "8 sessions, one stream each, up", rate_metrics, run_sessions},
    {"echo", "64 bytes there and back, nothing else in the tunnel", echo_metrics, run_echo},
    {"loaded-echo", "the same while another stream fills the tunnel", echo_metrics, run_loaded_echo},
    {"churn", "short connections, 16 at a time", churn_metrics, run_churn},
    {"idle", "many sessions with one idle stream each", idle_metrics, run_idle},
    {"fairness", "many streams on one session, all at full speed", fairness_metrics, run_fairness},
    {"starve", "8 streams beside one whose reader has stopped", starve_metrics, run_starve},
    {0},
};

const struct bench_work *bench_work_find(const char *name, size_t len)
{
    for (const struct bench_work *w = bench_works; w->name; w++)
        if (strlen(w->name) == len && !memcmp(w->name, name, len))
            return w;
    return NULL;
}
