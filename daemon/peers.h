/* daemon/peers.h - the sessions of one tunnel in one worker, found by (address, conv), and what is known of addresses:
 * which conversation a datagram without a conv (parity) belongs to, and which worker owns it. */
#ifndef DAEMON_PEERS_H
#define DAEMON_PEERS_H

#include "daemon/peer.h"

struct route {                    /* what an address last said */
    struct list bucket, lru;
    struct sockaddr_any addr;
    uint32_t conv;
    struct peer *peer;            /* if it is this worker's */
    struct tick seen, mixed_until; /* until then two conversations share the address: parity cannot be told apart */
};

struct grave {                    /* a conversation that ended: late datagrams must not open it again */
    uint32_t conv;
    uint64_t addr;                /* hash */
    struct tick until;
};

enum { PEERS_GRAVES = 256, ROUTES_MAX = 65536 };

struct peers {                    /* zeroed but for seed: empty */
    uint64_t seed;
    struct list *convs, *routes;  /* tables; powers of two, grown on demand */
    unsigned n_convs, n_routes;   /* slots */
    unsigned count, route_count;
    struct list all, lru;
    struct grave *graves;         /* ring, on demand */
    unsigned next_grave;
};

void peers_init(struct peers *ps, uint64_t seed);
void peers_fini(struct peers *ps);            /* must hold no peer */
int peers_add(struct peers *ps, struct peer *p, uint32_t conv); /* 0, -ENOMEM */
void peers_del(struct peers *ps, struct peer *p);
struct peer *peers_find(struct peers *ps, uint32_t conv, const struct sockaddr_any *a);
/* A session with this conv at whatever address; NULL: none. */
struct peer *peers_find_conv(struct peers *ps, uint32_t conv);

/* The route of an address; NULL: not known. */
struct route *routes_find(struct peers *ps, const struct sockaddr_any *a, struct tick now);
/* Notes that `a` speaks conv. NULL: out of memory. */
struct route *routes_learn(struct peers *ps, const struct sockaddr_any *a, uint32_t conv, struct tick now);
/* Forgets addresses long silent, and the oldest when there are too many. True: some are left. */
bool routes_age(struct peers *ps, struct tick now);

void graves_add(struct peers *ps, uint32_t conv, const struct sockaddr_any *a, struct tick now);
bool graves_has(const struct peers *ps, uint32_t conv, const struct sockaddr_any *a, struct tick now);

#endif
