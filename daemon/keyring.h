/* daemon/keyring.h - the keys of one tunnel in one worker: those of its profile, then those that it had before and some
 * session still uses. */
#ifndef DAEMON_KEYRING_H
#define DAEMON_KEYRING_H

#include "core/base/tick.h"
#include "daemon/plan.h"

struct tunnel_key {
    uint64_t id;                  /* the same in every worker: pass phrase and cipher */
    const char *crypt;            /* a constant */
    struct secret *secret;
    struct cipher *cipher;        /* on demand */
    bool used;                    /* by a session of this worker: while looking for those that are not */
    struct tick former;           /* since then it is not the profile's any more; 0: it is */
};

enum { KEYRING_MAX = 8 };         /* each costs one more try for every datagram that the ones before do not open */

struct keyring {                  /* zeroed: empty */
    struct tunnel_key *v[KEYRING_MAX];
    unsigned n, n_current;        /* v[0..n_current) are the profile's; v[0] is `key` */
};

/* Datagrams of a session arrive at any worker, so a key stays in all of them as long as one has a use for it: each worker
 * writes down which it uses, and reads what the others wrote. */
struct key_uses {                 /* of one tunnel in one worker; zeroed: none */
    _Atomic uint64_t v[KEYRING_MAX]; /* id of a key in use, plus one */
};

/* Brings the keys of a plan to the front; the others stay behind them. 0, KEYRING_FULL (as it was), -ENOMEM. */
enum { KEYRING_FULL = 1 };
int keyring_set(struct keyring *k, const struct plan *p);
void keyring_fini(struct keyring *k);
struct tunnel_key *keyring_find(const struct keyring *k, uint64_t id); /* NULL: none */
/* Its cipher, made now if this is the first use. NULL: it cannot be made (told). */
struct cipher *keyring_cipher(struct tunnel_key *key, const char *who);
/* Drops former keys that nobody has used for a while: uses[0..n_workers), of which uses[self] is written. */
void keyring_drop_unused(struct keyring *k, struct key_uses *uses, unsigned n_workers, unsigned self, struct tick now);
void keyring_drop_oldest(struct keyring *k); /* no session of this worker may use it */

#endif
