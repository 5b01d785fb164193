/* daemon/plan.h - what main publishes to the workers: one profile as they are to run it, immutable, and a change of several
 * of them at once. Whoever lets go of a plan last frees it and wipes its secrets. */
#ifndef DAEMON_PLAN_H
#define DAEMON_PLAN_H

#include "conf/conf.h"
#include "core/stats.h"
#include "crypto/cipher.h"
#include "daemon/secret.h"
#include "daemon/sockets.h"

struct deal;
struct findings;
struct key_uses;

struct plan {
    atomic_uint refs;
    uint64_t id;                  /* of its tunnel: slot in the low half. Never used for another */
    struct conf_profile conf;
    struct secret *keys[2];       /* key, oldkey (or NULL) */
    struct sockets *sockets;
    struct stats **stats;         /* of the tunnel in each worker; main's, and there until all have ended it */
    struct findings **findings;   /* likewise */
    struct key_uses *uses;        /* likewise */
    struct deal *deal;            /* client: where new streams go; told by all workers. A new plan begins with nothing told */
    bool renew;                   /* clients: sessions make way for new ones */
    bool drained;                 /* it begins as one that takes nothing new */
};

/* Copies conf; takes references to the secrets, takes sockets. NULL: out of memory (sockets are taken all the same). */
struct plan *plan_new(uint64_t id, const struct conf_profile *conf, struct secrets *secrets, struct sockets *sockets);
struct plan *plan_ref(struct plan *p);
struct plan *plan_put(struct plan *p);                /* NULL in, NULL out */

struct edition {                  /* main's, until every worker has moved on */
    unsigned number, n;
    struct {
        struct plan *plan;        /* a reference */
        bool remove;              /* the tunnel drains, under whatever plan it has */
    } v[];
};
struct edition *edition_free(struct edition *e);

#endif
