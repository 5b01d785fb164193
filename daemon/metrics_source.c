/* daemon/metrics_source.c - the numbers of this process, for metrics.h. */
#include "daemon/metrics_source.h"

#include <time.h>

static uint64_t start_s;

static struct metrics_now now(void *ctx)
{
    const struct shared *sh = ctx;

    return (struct metrics_now){
        .identity = sh->conf,
        .n_profiles = sh->conf->n_profiles,
        .n_workers = sh->n_workers,
        .io = sh->io->name,
        .buffer_limit = sh->memory,
        .start_s = start_s,
    };
}

static struct metrics_profile profile(void *ctx, unsigned i)
{
    const struct conf_profile *p = &((const struct shared *)ctx)->conf->profiles[i];

    return (struct metrics_profile){p->name, p->role == CONF_SERVER ? "server" : "client"};
}

static const struct stats *stats(void *ctx, unsigned worker, unsigned i)
{
    return worker_profile_stats(((const struct shared *)ctx)->workers[worker], i);
}

static const struct worker_stats *of_worker(void *ctx, unsigned worker)
{
    return worker_stats(((const struct shared *)ctx)->workers[worker]);
}

struct metrics_source metrics_source(struct shared *sh)
{
    start_s = (uint64_t)time(NULL);
    return (struct metrics_source){sh, now, profile, stats, of_worker};
}
