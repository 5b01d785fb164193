/* daemon/tunnel.h - one profile in one worker: its keys, listeners, sessions and counters; how datagrams reach sessions
 * and leave them. What is a server's or a client's alone is in server.c and client.c; streams are in relay.c. */
#ifndef DAEMON_TUNNEL_H
#define DAEMON_TUNNEL_H

#include "daemon/keyring.h"
#include "daemon/name.h"
#include "daemon/net.h"
#include "daemon/peers.h"
#include "daemon/sockets.h"
#include "daemon/trouble.h"
#include "daemon/worker.h"

struct client;
struct fake_conns;
struct findings;

struct listener {                 /* server: one UDP socket of the port range, or a connected one beside it (flow.h); with
                                   * tcp also a raw socket, or a TCP listener */
    struct io_src src;
    struct listeners *set;        /* NULL: not open */
    unsigned index;               /* of the port */
    struct faketcp_numbers heard; /* raw: of the segment in hand */
};

struct listeners {                /* server: this worker's sockets of one listen address */
    struct tunnel *tunnel;
    struct sockets *sockets;      /* a reference */
    struct list node;             /* in tunnel.old */
    unsigned n, n_srcs;           /* v has; not yet IO_GONE */
    bool used;                    /* by a session: while looking for those that are not */
    struct listener raw[SOCKETS_RAWS];
    struct listener v[];          /* UDP by port, then TCP by port */
};

struct tunnel {
    struct worker *w;
    uint64_t id;                  /* the same in every worker, see plan.h */
    struct plan *plan;            /* a reference */
    const struct conf_profile *conf; /* the plan's */
    struct stats *stats;          /* read by other threads */
    struct keyring keys;
    struct peers peers;
    struct findings *findings;    /* what does not fit; read by other threads */
    struct listeners *listeners;  /* server */
    struct list old;              /* listeners of former addresses, while sessions use them */
    struct tick changed;          /* when it got its plan */
    struct fake_conns *conns;     /* server with tcp, at its home worker */
    struct timer tidy;            /* looks for old keys and listeners that nobody uses */
    struct name target;           /* server: addresses of the target */
    struct list waiting;          /* relays that wait for them */
    struct client *client;        /* client */
    struct tick disowned;         /* server: see server.c */
    uint32_t stamp;               /* what the timestamps of fake TCP begin at */
    bool draining;                /* takes no new sessions and streams; a session ends with its last stream */
    struct trouble trouble;
    bool retired;                 /* its profile was removed: it drains, and goes with its last session */
    bool closing;                 /* to be freed with the last of ... */
    unsigned n_srcs;              /* its own descriptors that are not yet IO_GONE */
    struct list node;             /* in worker.leaving while retired, in worker.closing */
};

/* Enters it into w's table. 0, -errno: what was opened is closing. */
int tunnel_new(struct worker *w, struct plan *plan);
struct tunnel *tunnel_free(struct tunnel *t);         /* its sockets must be gone */
/* Closes sockets and sessions. Freed as the last IO_GONE arrives, at once if there is nothing to wait for. */
void tunnel_close(struct tunnel *t);
/* Takes no new sessions and streams, or does again. */
void tunnel_drain(struct tunnel *t, bool on);
/* Another plan of the same id: live keys count at once, the rest for new sessions. 0, -errno (told): it runs as it was. */
int tunnel_change(struct tunnel *t, struct plan *plan);
/* The profile is no more: takes no new sessions and streams; sessions end with their streams, and it with them. */
void tunnel_retire(struct tunnel *t);
/* One of its own descriptors is gone. */
void tunnel_src_gone(struct tunnel *t);

/* A run of datagrams from a socket. */
void tunnel_receive(struct tunnel *t, struct io_src *sock, const struct io_event *ev);
/* A socket told an error instead of a datagram. */
void tunnel_receive_failed(struct tunnel *t, struct io_src *sock, int err);
/* Addresses or routes of this machine have changed. */
void tunnel_on_network(struct tunnel *t);
void tunnel_on_resolved(struct tunnel *t, const struct resolve_result *res);
/* One run of sealed datagrams. As net_udp_send(). */
struct tunnel_way {
    int fd;
    const struct sockaddr_any *to, *from;
    bool connected;
    struct faketcp_numbers *numbers; /* NULL: UDP */
    struct net_gso *gso;
};
struct tunnel_way tunnel_way_of(struct peer *p);        /* to the other end of p; valid as long as p and its sock are */
unsigned tunnel_send_run(struct tunnel *t, const struct tunnel_way *way, const uint8_t *data, size_t len, size_t seg,
                         int *err);
/* Sends sealed datagrams v[0..n) of a batch, whose `to` is a struct peer. */
void tunnel_send(struct tunnel *t, const struct packet_batch *b);

#endif
