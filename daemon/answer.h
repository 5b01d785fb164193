/* daemon/answer.h - the commands of the control sockets, as kcptun-control(7) describes them: one table, in answer.c. What
 * only workers know or can do is asked of them by letter; no answer waits longer than a few seconds for one. */
#ifndef DAEMON_ANSWER_H
#define DAEMON_ANSWER_H

#include "daemon/ctl.h"
#include "daemon/worker.h"

struct answers;
struct reload;
struct upgrade;

struct answers_params {
    struct shared *sh;            /* all borrowed for life */
    struct reload *reload;
    struct upgrade *upgrade;
    struct ctl *control, *stats;  /* for all commands; for those that only read. NULL: nobody asks */
};

int answers_new(struct answers **ap, const struct answers_params *p); /* 0, -errno */
struct answers *answers_free(struct answers *a);
/* Takes the requests that have come, and ends those whose workers do not answer in time. */
void answers_serve(struct answers *a, struct tick now);
/* A worker's answer; takes m->rows. */
void answers_listed(struct answers *a, const struct mail_listed *m);
/* All tunnels' counters, MaxConn that of the process: a sum over workers would count sessions that never were together. */
struct stats answers_total(const struct answers *a);
/* One line in the log with every counter. */
void answers_log_counters(struct answers *a);

#endif
