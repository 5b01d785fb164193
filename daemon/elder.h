/* daemon/elder.h - the process that we take the service over from, as the one that was started for it sees it: what it hands
 * over, which sessions it keeps, how it is doing. Its counterpart over there is upgrade.h. Main thread only, but for the
 * calls for workers.
 *
 * Until elder_started() nothing that was handed over may be changed, for the elder may have to go on with it: whatever fails
 * before ends in elder_fail(), which takes nothing apart. */
#ifndef DAEMON_ELDER_H
#define DAEMON_ELDER_H

#include "daemon/upgrade_wire.h"

#include <sys/types.h>

struct elder;
struct limits;
struct roster;
struct sockets;
struct upgrade;
struct worker_stats;

#define ELDER_ENV "KCPTUND_UPGRADE" /* the number of a descriptor: its end is the elder's */

enum { ELDERS_MAX = 8 };          /* processes that finish behind each other */

struct elder_state {
    uint32_t pid, sessions, streams;
    uint64_t left_s;              /* until it ends at the latest */
};

/* *ep NULL: nobody started us for that. 0, -errno. */
int elder_open(struct elder **ep);
struct elder *elder_free(struct elder *e);
/* Takes what it offers. Its sessions will count in `limits`, borrowed for life. 0, -errno. */
int elder_meet(struct elder *e, struct limits *limits);
unsigned elder_workers(const struct elder *e);
uint64_t elder_seed(const struct elder *e);
/* Its socket for the same purpose and address, ours from now on; -1: none. NULL in, -1 out. */
int elder_take(struct elder *e, enum upgrade_type type, const char *text);
/* Its listening sockets of the same address, into s, which is complete but for them, and of the tunnel with that id. 0,
 * ELDER_HAS_NONE (also for e NULL), -ENOMEM. */
enum { ELDER_HAS_NONE = 1 };
int elder_take_sockets(struct elder *e, struct sockets *s, uint64_t tunnel);
/* Its profile of that name takes nothing new, by command: told once, so that a later one of that name is not meant. */
bool elder_take_drained(struct elder *e, const char *name);
/* All that the configuration wants is open: waits until the elder has stopped reading and told its sessions. 0, -errno. */
int elder_prepared(struct elder *e);
void elder_started(struct elder *e);
/* Tells it why, and ends the process. */
_Noreturn void elder_fail(struct elder *e, const char *why);

/* ---- while it finishes ---- */
void elder_tell(struct elder *e, struct roster *r, struct upgrade *u); /* whom its news are for */
int elder_fd(const struct elder *e);                  /* -1: it has ended; readable: elder_step() */
/* Takes its news. True, once: the service is ours. */
bool elder_step(struct elder *e, struct tick now);
void elder_end(struct elder *e, uint32_t seconds);    /* the service ends: so does it */
/* Opens the log file again, here, in it and in those before it, which all write to the same; e NULL: here. */
void elder_reopen_logs(struct elder *e);
unsigned elder_list(const struct elder *e, const struct elder_state **v); /* it, and those before it; e NULL: 0 */
struct claims *elder_claims(const struct elder *e);
/* What its worker of that number, and those before that, have counted, as it last told; e NULL: NULL. */
const struct worker_stats *elder_work(const struct elder *e, unsigned worker);

/* ---- for workers ---- */
bool elder_is_there(const struct elder *e);           /* e NULL: false */
bool elder_claims_any(const struct elder *e);         /* it has sessions; e NULL: false */
int elder_link(const struct elder *e, unsigned worker); /* what takes UPGRADE_RUN for that worker of it */

#endif
