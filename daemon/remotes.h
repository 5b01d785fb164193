/* daemon/remotes.h - the servers a client may use: the configured ones by preference, the addresses behind their names, and
 * which of these did not answer lately. One per client and worker; sees no session. */
#ifndef DAEMON_REMOTES_H
#define DAEMON_REMOTES_H

#include "daemon/name.h"

struct remotes;

struct remote_pick {
    unsigned rank;                /* place in the configured list; 0 is preferred */
    struct sockaddr_any addr;
    uint8_t smux_ver;             /* with smuxver = auto: 1, 2 */
    bool smux_known;              /* it was read there, so a session may begin with streams */
    bool answered;                /* it did once */
};

struct remotes *remotes_new(const struct conf_profile *c); /* borrowed till remotes_follow(). NULL: out of memory */
/* The profile has been replaced by c: what is known of servers that are still there stays. The new one, or NULL: out of
 * memory, r is as it was. */
struct remotes *remotes_follow(struct remotes *r, const struct conf_profile *c);
struct remotes *remotes_free(struct remotes *r);

/* The best address there is: of the first server, among those before `below`, that has one which is not known to be silent,
 * else the one for which that was found out first. Names are asked for again when what is known is old.
 * 0, NAME_WAIT (an answer with `token` will come: try again then), NAME_FAILED (see remotes_why()). */
int remotes_pick(struct remotes *r, struct worker *w, unsigned below, uint64_t token, struct remote_pick *out);
void remotes_answer(struct remotes *r, const struct resolve_result *res, struct tick now);
const char *remotes_why(const struct remotes *r);

/* What came of it. A silent address is passed over for a while, longer each time. */
void remotes_silent(struct remotes *r, const struct remote_pick *p, struct tick now, uint32_t jitter);
void remotes_answered(struct remotes *r, const struct remote_pick *p);
/* smuxver = auto: each address has a version of smux of its own. It reads ver. */
void remotes_smux_read(struct remotes *r, const struct sockaddr_any *addr, uint8_t ver);
/* It dropped a session in ver, without a frame of its own. Where ver was read before it may only have begun anew. Returns the
 * version of the next one. */
uint8_t remotes_smux_dropped(struct remotes *r, const struct sockaddr_any *addr, uint8_t ver);
/* Another server may stand there by now: what it reads is to be found out again. */
void remotes_smux_doubt(struct remotes *r, const struct sockaddr_any *addr);
/* Whether another address, not known to be silent, is there to try at once. */
bool remotes_have_better(const struct remotes *r, struct tick now);
/* There is but one: it is used without waiting for its first answer. */
bool remotes_are_one(const struct remotes *r);
/* What names stood for may have changed: they are asked for again. */
void remotes_forget_names(struct remotes *r);

#endif
