/* daemon/metrics.h - counters, gauges and histograms for Prometheus: as text (metrics_text.c), and over HTTP (metrics.c,
 * where libmicrohttpd is there). Main thread only. It reads what workers keep and never asks them for anything, so a scrape
 * costs the packet path nothing; the text is made piece by piece, as fast as the client takes it, and never held whole. */
#ifndef DAEMON_METRICS_H
#define DAEMON_METRICS_H

#include "conf/addr.h"
#include "core/base/tick.h"
#include "core/stats.h"
#include "daemon/worker.h"

struct metrics_profile {
    const char *name, *role;
};

struct metrics_now {              /* what there is at the moment */
    uint64_t identity;            /* changes with the list of profiles; not 0 */
    unsigned n_profiles, n_workers;
    const char *io;               /* backend */
    uint64_t buffer_limit;        /* bytes, of one worker */
    uint64_t start_s;             /* when the daemon began, Unix time */
};

/* Where the numbers come from. Asked anew for each piece. */
struct metrics_source {
    void *ctx;
    struct metrics_now (*now)(void *ctx);
    struct metrics_profile (*profile)(void *ctx, unsigned i);
    const struct stats *(*stats)(void *ctx, unsigned worker, unsigned profile); /* NULL: it has none */
    const struct worker_stats *(*worker)(void *ctx, unsigned worker);           /* NULL: not there */
};

/* ---- text ---- */
enum { METRICS_PIECE_MAX = 16384 }; /* most bytes of one piece: a family's head, or the samples of one profile in it */

struct metrics_cursor {           /* zeroed: at the beginning */
    uint64_t identity;
    unsigned family, worker, profile;
    bool begun;                   /* the family's head is written */
};
enum { METRICS_END = 1, METRICS_CHANGED };
/* The next piece; *len may be 0. 0, METRICS_END (nothing more), METRICS_CHANGED: profiles came or went, and what was
 * written so far is of no use. */
int metrics_text(struct metrics_cursor *c, const struct metrics_source *src, char out[METRICS_PIECE_MAX], size_t *len);

/* ---- HTTP ---- */
struct metrics;

enum { METRICS_CLIENTS = 16, METRICS_IDLE_S = 5, METRICS_WHOLE_S = 20 }; /* most at a time; seconds of rest; in all */

/* Listens at `at`; fd: a socket that does already (taken), or -1. 0, -errno (-ENOSYS: built without it); err_text() names
 * the address. */
int metrics_new(struct metrics **mp, const struct addr_text *at, int fd, const struct metrics_source *src);
/* To be called now and then: where a unix socket's file is gone, makes it anew (and metrics_fd()). */
void metrics_renew(struct metrics *m);
int metrics_listener(const struct metrics *m);
/* Takes no new clients. stays: another process listens there, so a path is not removed. */
void metrics_let_go(struct metrics *m, bool stays);
struct metrics *metrics_free(struct metrics *m);
int metrics_fd(const struct metrics *m); /* readable: call metrics_step() */
struct tick metrics_deadline(const struct metrics *m, struct tick now); /* or then at the latest; TICK_NEVER */
void metrics_step(struct metrics *m, struct tick now);

#endif
