/* daemon/tunnel.h - one profile in one worker: its keys, listeners, sessions and counters; how datagrams reach sessions
 * and leave them. What is a server's or a client's alone is in server.c and client.c; streams are in relay.c. */
#ifndef DAEMON_TUNNEL_H
#define DAEMON_TUNNEL_H

#include "daemon/name.h"
#include "daemon/net.h"
#include "daemon/peers.h"
#include "daemon/trouble.h"
#include "daemon/worker.h"

struct client;
struct findings;
struct steer;

struct listener {                 /* server: one UDP socket of the port range, or a connected one beside it (flow.h) */
    struct io_src src;
    struct tunnel *tunnel;
    unsigned index;
};

struct tunnel {
    struct worker *w;
    const struct conf_profile *conf;
    unsigned index;
    struct stats *stats;          /* read by other threads */
    struct cipher *ciphers[2];    /* key, oldkey (or NULL) */
    struct peers peers;
    struct steer *steer;          /* server with several workers, who share it; else NULL */
    struct listener *listeners;   /* server */
    unsigned n_listeners;
    struct findings *findings;    /* what does not fit; read by other threads */
    struct name target;           /* server: addresses of the target */
    struct list waiting;          /* relays that wait for them */
    struct client *client;        /* client */
    struct tick disowned;         /* server: see server.c */
    bool draining;                /* takes no new sessions and streams; a session ends with its last stream */
    struct trouble trouble;
};

int tunnel_new(struct tunnel **tp, struct worker *w, unsigned index); /* 0, -errno */
struct tunnel *tunnel_free(struct tunnel *t);         /* its sockets must be gone */
/* Closes sockets and sessions; what they hold is freed as IO_GONE arrives. */
void tunnel_close(struct tunnel *t);
/* Takes no new sessions and streams, or does again. */
void tunnel_drain(struct tunnel *t, bool on);

/* A run of datagrams from a socket. */
void tunnel_receive(struct tunnel *t, struct io_src *sock, const struct io_event *ev);
/* A socket told an error instead of a datagram. */
void tunnel_receive_failed(struct tunnel *t, struct io_src *sock, int err);
/* Addresses or routes of this machine have changed. */
void tunnel_on_network(struct tunnel *t);
void tunnel_on_resolved(struct tunnel *t, const struct resolve_result *res);
/* Sends sealed datagrams v[0..n) of a batch, whose `to` is a struct peer. */
void tunnel_send(struct tunnel *t, const struct packet_batch *b);

/* ---- sessions ---- */
/* A session on top of conv, with its own timer, not yet in any table. NULL: no memory. */
struct peer *peer_new(struct tunnel *t, uint32_t conv, bool is_client);
/* Ends it: every stream is reset, its local side too. Freed when its socket is. */
void peer_close(struct peer *p, const char *why);
/* What is due: events of its streams, datagrams, timer. Called once a turn for touched peers. */
void peer_serve(struct peer *p);
/* No new streams; it ends once those it has are over. */
void peer_retire(struct peer *p);
void peer_on_timer(struct peer *p);
void peer_gone(struct peer *p);                       /* its own socket is closed */
const char *peer_text(const struct peer *p);          /* "s1 1.2.3.4:5 conv 1a2b3c4d" for the log; this thread's buffer */

#endif
