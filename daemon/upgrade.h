/* daemon/upgrade.h - handing the service over to a new process without dropping anything: it is started from the same path
 * with the same arguments, told what there is (elder.h is its side), and once it works we only finish our sessions. Until
 * then any failure leaves everything as it was. Main thread only. */
#ifndef DAEMON_UPGRADE_H
#define DAEMON_UPGRADE_H

#include "daemon/elder.h"

struct ctl;
struct mail_frozen;
struct mail_news;
struct metrics;
struct notify;
struct reload;
struct shared;
struct upgrade;

struct upgrade_params {           /* all borrowed for life */
    struct shared *sh;
    struct reload *reload;
    struct ctl *control, *stats;  /* NULL: none */
    struct metrics *metrics;      /* NULL: none */
    struct notify *notify;
    char **argv;                  /* ours */
    const char *program;          /* what to run */
};

struct upgrade_result {
    bool ok;
    uint32_t pid;                 /* of the new process */
    int64_t when_s;               /* Unix time; 0: there has been none */
    char error[512];
};

typedef void upgrade_done_fn(void *ctx, const struct upgrade_result *r);

int upgrade_new(struct upgrade **up, const struct upgrade_params *p); /* 0, -errno */
struct upgrade *upgrade_free(struct upgrade *u); /* a new process that has not taken over is ended */
/* The path to run: argv[0] if it is one, else that of our file, as the process begins. On the heap; NULL: not known. */
char *upgrade_program(const char *argv0);

/* done (may be NULL) is called exactly once, perhaps before the call returns. */
void upgrade_begin(struct upgrade *u, const char *cause, upgrade_done_fn *done, void *ctx);
/* The daemon ends: so does an attempt under way, and none begins any more. u NULL: nothing. */
void upgrade_stop(struct upgrade *u);
bool upgrade_is_under_way(const struct upgrade *u);   /* begun, and neither over nor failed */
bool upgrade_is_over(const struct upgrade *u);                  /* the service is the new process's */
const struct upgrade_result *upgrade_last(const struct upgrade *u); /* never NULL */

/* ---- for main's loop ---- */
int upgrade_fd(const struct upgrade *u);         /* -1: none */
short upgrade_events(const struct upgrade *u);   /* to poll for; upgrade_step() takes them */
/* Milliseconds until the next call, or -1: none needed. */
int upgrade_step(struct upgrade *u, struct tick now);
/* The new process wants the service to end; *seconds is the time for it. True once. */
bool upgrade_told_to_end(struct upgrade *u, uint32_t *seconds);
bool upgrade_is_orphaned(const struct upgrade *u); /* the new process has ended, and we still finish */
void upgrade_on_frozen(struct upgrade *u, const struct mail_frozen *m); /* takes m->sessions */
void upgrade_on_news(struct upgrade *u, const struct mail_news *m);

/* ---- from elder.c: what a process before us said, for the one behind us ---- */
void upgrade_session_changed(struct upgrade *u, const struct upgrade_session *s, bool ended);
void upgrade_state_changed(struct upgrade *u, const struct elder_state *s);

#endif
