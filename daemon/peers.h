/* daemon/peers.h - the sessions of one tunnel in one worker, found by (address, conv), and what is known of addresses:
 * which conversation a datagram without a conv (parity) belongs to, and which worker owns it. */
#ifndef DAEMON_PEERS_H
#define DAEMON_PEERS_H

#include "core/deal.h"
#include "core/session.h"
#include "daemon/faketcp.h"
#include "daemon/net.h"
#include "daemon/worker.h"

struct fake_dial;
struct listener;
struct tunnel;
struct tunnel_key;
struct route;

struct peer {                     /* a session and where it lives */
    struct session *session;
    struct tunnel *tunnel;
    uint64_t id;
    struct sockaddr_any remote;
    struct sockaddr_any local;    /* our address it talks to (server on a wildcard address); len 0: any. With a port where
                                   * it is by fake TCP */
    struct io_src *sock;          /* what it sends by: the listener's, or its own */
    struct io_src src;            /* client: its own socket */
    struct fake_dial *fake;       /* client with tcp: its connection */
    struct faketcp_numbers numbers; /* by fake TCP */
    struct net_gso gso;           /* whether its path takes runs */
    struct timer timer;
    struct list dirty;            /* in worker.dirty */
    struct list by_conv, all;     /* in peers */
    struct list relays;           /* its streams' TCP sides */
    struct route *route;          /* last used for it, if it points back here */
    struct listener *flow;        /* its connected socket, where there is no map (flow.h) */
    uint32_t handed;              /* datagrams that arrived at another worker, since it is at this address */
    uint32_t qppcount, qppgeneration; /* pads over its streams; 0: none */
    uint8_t ip[16];               /* the source its limit is counted on */
    struct tunnel_key *key;       /* which of the tunnel's keys it uses */
    unsigned slot;                /* client: its place in the pool */
    struct deal_meter meter;      /* of what its streams carry */
    struct tick expires, dies;    /* client with autoexpire: takes no new streams; is closed */
    bool limited;                 /* counted in the limits */
    bool heard;                   /* anything ever arrived that knows of it */
    unsigned told;                /* what its session sees and was noted: bits of SESSION_SEES_ */
    bool proven;                  /* client: and its slot knows */
    bool retired;                 /* ends once its streams have */
    bool steered;                 /* its address is in the map as ours */
};

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
