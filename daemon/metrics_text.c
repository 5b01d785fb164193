/* daemon/metrics_text.c - the text format of Prometheus, version 0.0.4: families of samples, each family in one piece
 * after the other. Names of counters come from core/stats.def: bytes_sent is kcptund_bytes_sent_total. */
#include "daemon/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

struct out {
    char *p;
    size_t len;
};

enum scope { OF_PROCESS, OF_WORKER, OF_PROFILE };

struct family {
    const char *name, *help;
    char kind; /* of struct stats_info */
    enum scope scope;
    void (*process)(struct out *o, const struct metrics_now *now); /* OF_PROCESS: writes the sample */
    size_t offset; /* else: of the number in struct worker_stats, or struct stats */
};

__attribute__((format(printf, 2, 3))) static void put(struct out *o, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(o->p + o->len, METRICS_PIECE_MAX - o->len, fmt, ap);
    va_end(ap);
    o->len = MIN(o->len + (size_t)n, METRICS_PIECE_MAX - 1u);
}

static void put_seconds(struct out *o, uint64_t us)
{
    put(o, "%" PRIu64 ".%06u", us / 1000000, (unsigned)(us % 1000000));
}

/* ---- the process ---- */

static void build_info(struct out *o, const struct metrics_now *now)
{
    put(o, "kcptund_build_info{version=\"" KCPTUND_VERSION "\",io=\"%s\"} 1\n", now->io);
}

static void cpu_seconds(struct out *o, const struct metrics_now *now)
{
    struct rusage u;

    (void)now;
    getrusage(RUSAGE_SELF, &u);
    put(o, "process_cpu_seconds_total ");
    put_seconds(o, (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
                       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec));
    put(o, "\n");
}

static void resident_bytes(struct out *o, const struct metrics_now *now)
{
    FILE *f = fopen("/proc/self/statm", "re");
    unsigned long long pages = 0;

    (void)now;
    if (f && fscanf(f, "%*u %llu", &pages) == 1)
        put(o, "process_resident_memory_bytes %llu\n", pages * (unsigned long long)sysconf(_SC_PAGESIZE));
    if (f)
        fclose(f);
}

static void max_fds(struct out *o, const struct metrics_now *now)
{
    struct rlimit l;

    (void)now;
    if (!getrlimit(RLIMIT_NOFILE, &l))
        put(o, "process_max_fds %llu\n", (unsigned long long)l.rlim_cur);
}

static void start_time(struct out *o, const struct metrics_now *now)
{
    put(o, "process_start_time_seconds %" PRIu64 "\n", now->start_s);
}

static void buffer_limit(struct out *o, const struct metrics_now *now)
{
    put(o, "kcptund_worker_buffer_limit_bytes %" PRIu64 "\n", now->buffer_limit);
}

/* ---- all of them ---- */

#define WORKER(m) OF_WORKER, NULL, offsetof(struct worker_stats, m)

static const struct family own[] = {
    {"kcptund_build_info", "1, with the version and the I/O backend as labels", 'G', OF_PROCESS, build_info, 0},
    {"process_cpu_seconds_total", "CPU time of all threads", 'C', OF_PROCESS, cpu_seconds, 0},
    {"process_resident_memory_bytes", "memory in use", 'G', OF_PROCESS, resident_bytes, 0},
    {"process_max_fds", "limit of open files", 'G', OF_PROCESS, max_fds, 0},
    {"process_start_time_seconds", "when the daemon began, in Unix time", 'G', OF_PROCESS, start_time, 0},
    {"kcptund_worker_buffer_limit_bytes", "most memory for buffers of one worker", 'G', OF_PROCESS, buffer_limit, 0},
    {"kcptund_worker_buffer_bytes", "memory for buffers in use", 'G', WORKER(buffer_bytes)},
    {"kcptund_worker_sessions", "sessions open now", 'G', WORKER(sessions)},
    {"kcptund_worker_connections", "local connections open now", 'G', WORKER(connections)},
    {"kcptund_worker_descriptors", "sockets open now", 'G', WORKER(descriptors)},
    {"kcptund_worker_turns_total", "turns of the loop", 'C', WORKER(turns)},
    {"kcptund_worker_turn_seconds", "how long a turn of the loop with something to do took", 'H', WORKER(turn)},
};

/* Family number i, its name perhaps in `name`. False: there are not so many. */
static bool family_of(unsigned i, struct family *f, char name[80])
{
    const struct stats_info *info;
    char kind;

    if (i < LEN(own)) {
        *f = own[i];
        return true;
    }
    i -= LEN(own);
    if (i >= stats_count + stats_n_histograms)
        return false;
    info = i < stats_count ? &stats_info[i] : &stats_histograms[i - stats_count];
    kind = info->kind;
    snprintf(name, 80, "kcptund_%s%s", info->member, kind == 'C' ? "_total" : kind == 'H' ? "_seconds" : "");
    *f = (struct family){name, info->help, kind, OF_PROFILE, NULL, info->offset};
    return true;
}

/* ---- samples ---- */

/* Counts are of one look at the buckets, so that the last bucket is the count. */
static void put_histogram(struct out *o, const char *name, const char *labels, const struct histogram *h)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        n += stat_read(&h->n[i]);
        put(o, "%s_bucket{%s,le=\"", name, labels);
        if (i == HISTOGRAM_BUCKETS - 1)
            put(o, "+Inf");
        else
            put_seconds(o, histogram_bound_us(i));
        put(o, "\"} %" PRIu64 "\n", n);
    }
    put(o, "%s_sum{%s} ", name, labels);
    put_seconds(o, stat_read(&h->sum_us));
    put(o, "\n%s_count{%s} %" PRIu64 "\n", name, labels, n);
}

static void put_sample(struct out *o, const struct family *f, const char *labels, const void *base)
{
    const char *p = (const char *)base + f->offset;

    if (f->kind == 'H')
        put_histogram(o, f->name, labels, (const void *)p);
    else
        put(o, "%s{%s} %" PRIu64 "\n", f->name, labels, stat_read((const void *)p));
}

enum { LABELS_MAX = 128 }; /* a profile's name has up to 64 bytes, none of which needs an escape (conf/load.c) */
_Static_assert((HISTOGRAM_BUCKETS + 2) * (LABELS_MAX + 160) < METRICS_PIECE_MAX,
               "the samples of one profile fit a piece");

static void put_worker(struct out *o, const struct family *f, const struct metrics_source *src, unsigned worker)
{
    const struct worker_stats *s = src->worker(src->ctx, worker);
    char labels[32];

    snprintf(labels, sizeof labels, "worker=\"%u\"", worker);
    if (s)
        put_sample(o, f, labels, s);
}

static void put_profile(struct out *o, const struct family *f, const struct metrics_source *src, unsigned worker,
                        unsigned profile)
{
    const struct stats *s = src->stats(src->ctx, worker, profile);
    struct metrics_profile p = src->profile(src->ctx, profile);
    char labels[LABELS_MAX];

    if (!s)
        return;
    snprintf(labels, sizeof labels, "profile=\"%s\",role=\"%s\",worker=\"%u\"", p.name, p.role, worker);
    put_sample(o, f, labels, s);
}

/* ---- the walk ---- */

static void put_head(struct out *o, const struct family *f)
{
    const char *type = f->kind == 'C' ? "counter" : f->kind == 'H' ? "histogram" : "gauge";

    put(o, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, type);
}

static void next_family(struct metrics_cursor *c)
{
    c->family++;
    c->begun = false;
    c->worker = c->profile = 0;
}

int metrics_text(struct metrics_cursor *c, const struct metrics_source *src, char out[METRICS_PIECE_MAX], size_t *len)
{
    struct metrics_now now = src->now(src->ctx);
    struct out o = {.p = out};
    struct family f;
    char name[80];

    *len = 0;
    if (!c->identity)
        c->identity = now.identity;
    if (c->identity != now.identity)
        return METRICS_CHANGED;
    if (!family_of(c->family, &f, name))
        return METRICS_END;
    if (!c->begun) {
        c->begun = true;
        put_head(&o, &f);
        if (f.scope == OF_PROCESS)
            f.process(&o, &now);
    } else if (f.scope == OF_WORKER && c->worker < now.n_workers) {
        put_worker(&o, &f, src, c->worker++);
    } else if (f.scope == OF_PROFILE && c->profile < now.n_profiles) {
        put_profile(&o, &f, src, c->worker++, c->profile);
        if (c->worker == now.n_workers) {
            c->worker = 0;
            c->profile++;
        }
    } else {
        next_family(c);
    }
    *len = o.len;
    return 0;
}
