/* daemon/edition_wait.h - profiles of a new configuration that are to listen where another tunnel still has sessions. They are
 * left as they are until those have ended, and follow then. Main thread only. */
#ifndef DAEMON_EDITION_WAIT_H
#define DAEMON_EDITION_WAIT_H

#include "conf/diff.h"
#include "daemon/roster.h"

struct edition_wait {             /* one that waits: what it wants ... */
    uint64_t who;                 /* its tunnel; EDITION_WAIT_NEW: it has none yet */
    uint64_t holder;              /* ... is this tunnel's, ... */
    uint32_t set;                 /* ... by these sockets; ... */
    bool moves;                   /* ... who has to get others first, else only sessions there have to end */
    char *text;                   /* the same for people */
};
#define EDITION_WAIT_NEW UINT64_MAX

struct edition_waits {            /* zeroed: none */
    struct edition_wait *v;
    unsigned n;
};
void edition_waits_fini(struct edition_waits *w);
bool edition_waits_any_over(const struct edition_waits *w, const struct roster *r);

/* ---- for edition.c ---- */
/* The tunnel has the sockets of that profile already. e NULL: there is none. */
bool edition_has_sockets(const struct roster_entry *e, const struct conf_profile *c);

struct leaver {                   /* a tunnel that is to listen there no longer */
    const struct roster_entry *e;
    const struct sockets *s;
};
struct leavers {
    struct leaver *v;
    unsigned n;
};
/* Those of a change from running[] to c. 0, -ENOMEM. */
int leavers_init(struct leavers *l, const struct conf_diff *d, struct roster_entry *const running[], const struct conf *c);
void leavers_fini(struct leavers *l);
/* Who is in the way of c, which is to be e's, or, e NULL, a new tunnel's. NULL: nobody. */
const struct leaver *leavers_find(const struct leavers *l, const struct roster_entry *e, const struct conf_profile *c);
int edition_waits_add(struct edition_waits *w, const struct roster_entry *e, const struct leaver *x,
                      const struct conf_profile *c); /* 0, -ENOMEM */
/* Tunnels that wait for each other would for ever. 0, -EADDRINUSE. */
int edition_waits_check(const struct edition_waits *w, const struct roster *r);

#endif
