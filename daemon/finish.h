/* daemon/finish.h - a worker of the old process of an upgrade: it stops reading what the new process takes over, says which
 * sessions it has, gets their datagrams from there, and ends with them. */
#ifndef DAEMON_FINISH_H
#define DAEMON_FINISH_H

#include "daemon/worker.h"

struct peer;
struct tunnel;
struct upgrade_session;

/* Nothing new is taken any more; answers by MAIL_FROZEN. */
void finish_freeze(struct worker *w, const struct mail_freeze *order);
/* The new process did not come to life: everything goes on. */
void finish_thaw(struct worker *w);
/* It did: sessions end as they may, at the latest then. */
void finish_begin(struct worker *w, struct tick until);
void finish_receive(struct worker *w);                /* the link is readable */
void finish_gone(struct worker *w);                   /* it is closed */
/* A session of a server has moved or is about to end. */
void finish_tell(struct peer *p, bool ended);
/* Nothing is left that another end could still use. */
bool finish_is_over(const struct worker *w);
void finish_fini(struct worker *w);

#endif
