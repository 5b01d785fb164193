/* daemon/edition.h - from a checked configuration to what the workers get: profiles compared with the tunnels there are,
 * everything opened that is new. Until edition_commit() nothing that runs is touched. Main thread only. */
#ifndef DAEMON_EDITION_H
#define DAEMON_EDITION_H

#include "conf/diff.h"
#include "daemon/plan.h"
#include "daemon/roster.h"

struct edition_waits;
struct elder;
struct own_names;

struct edition_params {
    struct roster *roster;
    struct secrets *secrets;
    unsigned n_workers, number;
    struct elder *elder;          /* has perhaps what is to be opened; NULL: nobody has */
    struct own_names *names;      /* of what is to be opened */
    void (*busy)(void *ctx);      /* called between one opening and the next: thousands take a while. NULL: nothing to do */
    void *ctx;
    struct edition_waits *waits;  /* empty: takes those that edition_new() leaves as they are */
};
/* Asks p->names for all names that edition_new() will look for. 0, -errno. */
int edition_names(const struct conf *c, const struct edition_params *p);
/* 0; -errno: err_text() says what could not be opened; *d is the caller's on 0 only. */
int edition_new(struct edition **ep, struct conf_diff *d, const struct conf *c, const struct edition_params *p);
void edition_abandon(struct edition *e, struct roster *r);       /* instead of committing; frees e. NULL: nothing */
void edition_commit(struct edition *e, struct roster *r);        /* the roster shows it from now on */

#endif
