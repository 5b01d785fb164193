/* daemon/ctl.h - the control socket: a few local clients, each with lines of JSON (conf/ctl_proto.h) both ways. Main
 * thread only. It knows no command: requests are handed out, answers come when the daemon has them, and one for a client
 * that has gone goes nowhere. What a client sends or does not read can neither stall nor grow the daemon. */
#ifndef DAEMON_CTL_H
#define DAEMON_CTL_H

#include "conf/ctl_proto.h"
#include "core/base/tick.h"

#include <sys/types.h>

enum {
    CTL_CLIENTS = 32,
    CTL_PENDING = 16,             /* requests of one client that wait for an answer; more are not read meanwhile */
    CTL_OUT_MAX = 4 << 20,        /* bytes of answers a client has not read; beyond, it is cut off */
    CTL_IDLE_S = 60,              /* seconds without a byte either way, with no request open */
};

struct ctl;

struct ctl_params {
    const char *path;             /* copied */
    mode_t mode;                  /* of the socket: 0660 */
    const char *group;            /* the socket's, where there is a group of that name; NULL: the process's. Borrowed */
    int fd;                       /* what listens there already (taken); 0: nothing does */
};

/* Replaces a socket that nobody listens on any more; anything else at the path is left alone.
 * 0, -EADDRINUSE, -EEXIST (not a socket), other -errno. */
int ctl_new(struct ctl **cp, const struct ctl_params *p);
/* Removes the socket. Every query must be done. */
struct ctl *ctl_free(struct ctl *c);
void ctl_renew(struct ctl *c);                 /* to be called now and then: where the socket's file is gone, makes it anew */
int ctl_listener(const struct ctl *c);
/* Takes no new clients. stays: another process listens there, so the path is not removed. */
void ctl_let_go(struct ctl *c, bool stays);
int ctl_fd(const struct ctl *c);               /* readable: call ctl_step() */
struct tick ctl_deadline(const struct ctl *c); /* call it then at the latest; TICK_NEVER */
/* Accepts, reads, writes and expires; then ctl_next() may have requests. */
void ctl_step(struct ctl *c, struct tick now);

struct ctl_query {
    struct ctl *ctl;
    uint64_t client;              /* never used again by another */
    struct ctl_request rq;
};

/* 0: *q is the caller's until ctl_done(). CTL_AGAIN: none, or others should have their turn before the next. */
int ctl_next(struct ctl *c, struct ctl_query *q);
/* A ctl_emit_fn whose ctx is the query: ctl_answer(&q->rq, data, false, ctl_send, q). Never waits.
 * 0, -EPIPE: the client has gone, or was cut off just now; -ENOMEM: so it was. */
int ctl_send(void *query, struct bytes line);
void ctl_done(struct ctl_query *q);            /* the last line was sent, or there is none */

#endif
