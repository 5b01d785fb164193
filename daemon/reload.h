/* daemon/reload.h - configuration that changes while the daemon runs: load, check, compare, open what is new, publish,
 * retire what is old. Main thread only. A file that does not check, or a socket that cannot be opened, leaves everything
 * as it was. Workers take a change over at the end of a loop turn, so results come by callback. */
#ifndef DAEMON_RELOAD_H
#define DAEMON_RELOAD_H

#include "conf/conf.h"

struct reload;
struct roster;
struct shared;

struct reload_result {            /* of an attempt; lent to callbacks. That of the last reading is kept for status */
    bool ok;                      /* in force: every worker runs it */
    char cause[64];               /* "start", "SIGHUP", "file", "command", "set", ... */
    int64_t when_s;               /* Unix time */
    char *error;                  /* NULL if ok; one line: the first error, "FILE:LINE: KEY: what; accepted: range", or
                                   * what could not be opened */
    struct conf_problems problems; /* all errors and warnings of the file */
    unsigned added, changed, removed, kept; /* profiles */
    char **restart;               /* keys of [global] that differ from what runs: they need a restart */
    unsigned n_restart;
};

struct reload_override {          /* by reload_set(): until the next reload */
    char *profile;                /* NULL: [global], or every profile that has the key */
    char *key, *value, *why;
};

typedef void reload_done_fn(void *ctx, const struct reload_result *r);

/* Reads the configuration, as conf_load_noting(). */
typedef int reload_load_fn(void *ctx, struct conf **cp, struct conf_problems *ps, struct conf_paths *paths);

struct reload_params {
    const char *file;             /* for status; borrowed for life */
    reload_load_fn *load;         /* what reload_now() asks */
    void (*busy)(void *ctx);      /* called now and then while much is opened */
    void *ctx;                    /* of both */
    struct conf *conf;            /* taken, on failure too: what runs from the start */
    const struct conf_paths *paths; /* what it was read from, at this time by CLOCK_REALTIME; borrowed for the call */
    uint64_t read_ns;
    const char *program;          /* for the log; borrowed for life */
    struct shared *sh;            /* borrowed for life; sh->conf follows */
};
/* Opens everything conf wants, for the workers to adopt as they start. 0, -errno: err_text() says what. */
int reload_new(struct reload **rp, const struct reload_params *p);
void reload_started(struct reload *r);        /* the workers have adopted it */
struct reload *reload_free(struct reload *r); /* the workers have ended. Callbacks still open are forgotten */

/* ---- commands. done (may be NULL) is called exactly once, perhaps before the call returns; while a change is on its way
 * to the workers the next one waits. ---- */
/* Reads the file again. cause is for the log and for status; copied. */
void reload_now(struct reload *r, const char *cause, reload_done_fn *done, void *ctx);
/* Sets one live key of a profile; profile NULL: of [global], or of every profile that has it. Texts are copied. */
void reload_set(struct reload *r, const char *profile, const char *key, const char *value, const char *why,
                reload_done_fn *done, void *ctx);

/* ---- for status ---- */
const char *reload_file(const struct reload *r);
const struct conf *reload_conf(const struct reload *r);             /* what runs, overrides included */
const struct reload_result *reload_last(const struct reload *r);    /* of the last reading; never NULL */
bool reload_busy(const struct reload *r);                           /* a change is on its way */
unsigned reload_overrides(const struct reload *r, const struct reload_override **v);
struct edition_wait;
unsigned reload_waits(const struct reload *r, const struct edition_wait **v); /* profiles that could not follow yet */
struct roster *reload_roster(const struct reload *r);               /* the tunnels there are (roster.h) */

/* ---- for main's loop ---- */
struct mail_moved;
struct mail_gone;
int reload_watch_fd(const struct reload *r);  /* readable: files have changed; -1: not watching */
int reload_names_fd(const struct reload *r);  /* readable: reload_step(); -1: nothing is awaited */
void reload_on_watch(struct reload *r);
void reload_on_moved(struct reload *r, const struct mail_moved *m);
void reload_on_gone(struct reload *r, const struct mail_gone *m);
/* What is due: files that have settled, letters that found no room, names that were asked for. Milliseconds until the next
 * call, or -1: none needed. */
int reload_step(struct reload *r);
void reload_hold(struct reload *r, bool on);  /* what is asked for waits meanwhile */
void reload_stop(struct reload *r);           /* the process ends: no more changes; open callbacks learn so */

#endif
