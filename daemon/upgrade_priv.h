/* daemon/upgrade_priv.h - what the two files of the upgrade share: upgrade.c (its steps) and upgrade_offer.c (the new process,
 * and all that is said to it). */
#ifndef DAEMON_UPGRADE_PRIV_H
#define DAEMON_UPGRADE_PRIV_H

#include "daemon/upgrade.h"
#include "daemon/worker.h"

enum upgrade_step {
    UPGRADE_IDLE,
    UPGRADE_BOOTING,              /* the new process reads and opens */
    UPGRADE_FREEZING,             /* our workers stop reading */
    UPGRADE_STARTING,             /* its workers start to */
    UPGRADE_OVER,                 /* the service is its */
};

/* Numbers of what is no set of sockets. */
enum { UPGRADE_NO_CONTROL = 0xffffff01u, UPGRADE_NO_STATS, UPGRADE_NO_METRICS, UPGRADE_NUMBERS = 0xffffff00u };

struct upgrade {
    struct upgrade_params p;
    enum upgrade_step step;
    const char *cause;
    upgrade_done_fn *done;
    void *ctx;
    struct upgrade_result result; /* of the last attempt */
    char why[512];                /* the new process said it fails */
    int fd;                       /* to it; -1: none */
    pid_t pid;
    int *links;                   /* our ends, until workers have them; -1: not there */
    struct tick deadline;         /* of the step */
    struct tick news, until;      /* after it: when to tell it how we are doing; when we end */
    unsigned to_freeze;           /* workers */
    uint32_t attempt;             /* of freezing them: one may answer when the next is under way */
    bool took_control, took_stats, took_metrics;
    bool stopped, end, orphaned;
    uint32_t end_s;
    struct list out;              /* messages that wait */
    uint64_t *told;               /* by slot of the roster: digest of the counters as last told */
    unsigned n_told;
};

int upgrade_spawn(struct upgrade *u);                 /* 0, -errno */
int upgrade_offer(struct upgrade *u);                 /* 0, -errno */
void upgrade_note_taken(struct upgrade *u, uint32_t number);
void upgrade_let_go_names(struct upgrade *u);         /* control sockets and metrics go on over there */
/* Queues a message with copies of descriptors. 0, -errno (told; the attempt is over at its next step). */
int upgrade_send(struct upgrade *u, const struct upgrade_msg *m, const int *fds, unsigned n_fds);
void upgrade_flush(struct upgrade *u);
void upgrade_drop_queue(struct upgrade *u);
void upgrade_close_links(struct upgrade *u);
void upgrade_tell_sessions(struct upgrade *u, enum upgrade_type type, const struct upgrade_session *v, unsigned n);
void upgrade_tell_counters(struct upgrade *u);        /* those that have changed */
void upgrade_tell_state(struct upgrade *u, struct tick now);

#endif
