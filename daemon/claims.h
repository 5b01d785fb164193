/* daemon/claims.h - the sessions that another process has on sockets which this one reads: by conv, and by address for what
 * tells no conv. Main writes, workers look; they take a lock for it, but only while there are any. */
#ifndef DAEMON_CLAIMS_H
#define DAEMON_CLAIMS_H

#include "daemon/upgrade_wire.h"

struct claims;
struct limits;

enum { CLAIMS_MAX = 1 << 21 };

/* limits: where they count as long as they live; NULL: nowhere. NULL: out of memory */
struct claims *claims_new(uint64_t seed, struct limits *limits);
struct claims *claims_free(struct claims *c);
/* A session of the tunnel with that id, new or at another address. 0, -ENOMEM. */
int claims_put(struct claims *c, const struct upgrade_session *s, uint64_t tunnel);
/* It is over: late datagrams are still the other process's for a while, as they would be here (graves in peers.h). */
void claims_end(struct claims *c, const struct upgrade_session *s, struct tick now);
void claims_sweep(struct claims *c, struct tick now);     /* forgets those whose while is over */
void claims_clear(struct claims *c);                      /* the other process is no more */
/* Calls each() for every session that is not over. */
void claims_each(const struct claims *c, void (*each)(void *ctx, const struct upgrade_session *s), void *ctx);

bool claims_any(const struct claims *c);                  /* cheap */
bool claims_has(struct claims *c, uint32_t set, uint32_t conv);
/* A session of that address; *conv says which. */
bool claims_at(struct claims *c, uint32_t set, const struct sockaddr_any *a, uint32_t *conv);

#endif
