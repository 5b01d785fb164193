/* daemon/metrics_source.c - the numbers of this process, for metrics.h. */
#include "daemon/metrics_source.h"

#include "daemon/elder.h"

#include <stdlib.h>
#include <time.h>

static struct { /* the one there is, as there is one process */
    uint64_t start_s;
    struct shared *sh;
    struct roster *roster;
    uint64_t changes; /* of the roster, when it was listed */
    const struct roster_entry **entries;
    unsigned n;
} self;

/* Lists the roster anew if it has changed. */
static void list(void)
{
    const struct roster_entry **v;
    unsigned at = 0;

    if (self.entries && self.changes == roster_changes(self.roster))
        return;
    v = reallocarray(self.entries, roster_slots(self.roster) + 1u, sizeof(struct roster_entry *));
    self.n = 0;
    if (!v)
        return;
    self.entries = v;
    self.changes = roster_changes(self.roster);
    while ((v[self.n] = roster_next(self.roster, &at)))
        self.n++;
}

static struct metrics_now now(void *ctx)
{
    const struct shared *sh = self.sh;

    (void)ctx;
    list();
    return (struct metrics_now){
        .identity = self.changes,
        .n_profiles = self.n,
        .n_workers = sh->n_workers + roster_has_inherited(self.roster), /* behind the last: of the process before us */
        .io = sh->io->name,
        .buffer_limit = sh->memory,
        .start_s = self.start_s,
    };
}

static struct metrics_profile profile(void *ctx, unsigned i)
{
    const struct conf_profile *p = self.entries[i]->conf;

    (void)ctx;
    return (struct metrics_profile){p->name, p->role == CONF_SERVER ? "server" : "client"};
}

static const struct stats *stats(void *ctx, unsigned worker, unsigned i)
{
    (void)ctx;
    return self.entries[i]->stats[worker];
}

/* With what the worker of that number has counted in processes before an upgrade. */
static const struct worker_stats *of_worker(void *ctx, unsigned worker)
{
    const struct worker_stats *own = worker < self.sh->n_workers ? worker_stats(self.sh->workers[worker]) : NULL;
    const struct worker_stats *before = own ? elder_work(self.sh->elder, worker) : NULL;
    static struct worker_stats sum;

    (void)ctx;
    if (!before)
        return own;
    sum = (struct worker_stats){0};
    worker_stats_sum(&sum, own);
    worker_stats_sum(&sum, before);
    return &sum;
}

struct metrics_source metrics_source(struct shared *sh, struct roster *r)
{
    self.start_s = (uint64_t)time(NULL);
    self.sh = sh;
    self.roster = r;
    return (struct metrics_source){NULL, now, profile, stats, of_worker};
}
