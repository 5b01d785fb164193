/* daemon/peer.h - one session of a tunnel and where it lives: its other end, socket, timer, the local sides of its streams.
 * A turn of the worker's loop serves every session that something happened to once, by peer_serve(). */
#ifndef DAEMON_PEER_H
#define DAEMON_PEER_H

#include "core/deal.h"
#include "core/session.h"
#include "daemon/faketcp.h"
#include "daemon/net.h"
#include "daemon/worker.h"

struct fake_dial;
struct listener;
struct route;
struct tunnel;
struct tunnel_key;

struct peer {
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

/* A session on top of conv, in t->peers; its addresses and its socket are still to be set. smux_ver: with smuxver = auto; 0
 * at a server. NULL: no memory. */
struct peer *peer_new(struct tunnel *t, struct tunnel_key *key, uint32_t conv, uint8_t smux_ver);
/* Ends it: every stream is reset, its local side too. Freed when its socket is. */
void peer_close(struct peer *p, const char *why);
/* What is due: events of its streams, datagrams, timer. Called once a turn for touched peers. */
void peer_serve(struct peer *p);
/* No new streams; it ends once those it has are over. */
void peer_retire(struct peer *p);
void peer_gone(struct peer *p);                       /* its own socket is closed */
const char *peer_text(const struct peer *p);          /* "s1 1.2.3.4:5 conv 1a2b3c4d" for the log; this thread's buffer */

#endif
