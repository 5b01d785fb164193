/* daemon/answer.h - what the control socket is told: counters summed over workers, sessions asked of them. */
#ifndef DAEMON_ANSWER_H
#define DAEMON_ANSWER_H

#include "daemon/ctl.h"
#include "daemon/worker.h"

struct answers;

/* ctl may be NULL: nobody asks. 0, -errno. */
int answers_new(struct answers **ap, struct shared *sh, struct ctl *ctl);
struct answers *answers_free(struct answers *a);
/* Takes the requests of ctl, and ends those whose workers do not answer in time. */
void answers_serve(struct answers *a, struct tick now);
/* A worker's sessions; takes m->rows. */
void answers_listed(struct answers *a, const struct mail_listed *m);
/* One line in the log with every counter. */
void answers_log_counters(struct answers *a);

#endif
