/* daemon/worker.h - one loop per core: its I/O, timers, buffers, and its part of every tunnel. Share-nothing: threads
 * talk through mailboxes (mail.h) and read each other's counters. */
#ifndef DAEMON_WORKER_H
#define DAEMON_WORKER_H

#include "conf/conf.h"
#include "core/base/buf.h"
#include "core/packet.h"
#include "core/wheel.h"
#include "crypto/nonce.h"
#include "daemon/io.h"
#include "daemon/limits.h"
#include "daemon/mail.h"
#include "daemon/rest.h"
#include "daemon/resolve.h"
#include "daemon/shared.h"
#include "daemon/worker_stats.h"

#include <pthread.h>
#include <semaphore.h>

struct edition;
struct elder;
struct io_event;
struct listener;
struct tunnel;
struct tunnel_key;
struct peer;

enum src_kind {                   /* io_src.kind: what owns a descriptor */
    SRC_WAKE,
    SRC_RESOLVER,
    SRC_LISTENER,                 /* struct listener */
    SRC_FLOW,                     /* struct listener: a connected socket */
    SRC_RAW,                      /* struct listener: segments of fake TCP */
    SRC_TCP,                      /* struct listener: connections of fake TCP */
    SRC_FAKE,                     /* struct fake_conn: a server's connection */
    SRC_DIALLED,                  /* struct fake_dial: a client's connection */
    SRC_CLIENT,                   /* struct client: where local connections arrive */
    SRC_PEER,                     /* struct peer: a client's own socket */
    SRC_RELAY,                    /* struct relay */
    SRC_HEIR,                     /* worker.finish.src */
};

struct timer {                    /* embedded in its owner; zeroed but for fire: not armed */
    struct wheel_timer t;
    void (*fire)(struct timer *);
};

struct forward {                  /* datagrams for the elder that lie one behind the other (forward.h) */
    const struct io_event *ev;    /* NULL: none */
    const struct listener *from;
    struct bytes data;
    int link;
    unsigned n;
};

struct finish {                   /* of the old process of an upgrade (finish.h) */
    struct io_src src;            /* where datagrams come from, in_use till it is gone */
    bool in_use;
    uint8_t *mem;                 /* for them */
    struct timer tick;
    struct tick since;
    bool on;                      /* the new process has taken over */
};

struct worker {
    struct shared *sh;
    unsigned id;                  /* also its address in the post */
    pthread_t thread;
    struct io *io;
    const struct io_ops *ops;
    struct wheel wheel;
    struct buf_pool *pool;        /* PACKET_MTU_MAX-byte buffers, backed for short bytes by ... */
    struct buf_pool *small;
    struct timer age;             /* of memory kept for bursts; armed while there is some */
    struct nonce_gen nonce;
    struct packet_batch batch;
    struct tunnel *batch_tunnel;  /* whose datagrams the batch holds, and by which of its keys they are sealed */
    struct tunnel_key *batch_key;
    struct tick now;              /* of this turn */
    struct tick busy;             /* of the last turn with something to do */
    struct rest rest;
    bool rests;                   /* the next turn waits until more has come */
    struct list dirty;            /* peers with something to do before the turn ends */
    struct io_src wake, answers;
    struct resolver_client *resolver;
    struct tunnel **tunnels;      /* by slot; NULL: none there */
    unsigned n_tunnels;           /* slots */
    struct list leaving, closing; /* tunnels of removed profiles; those of which something is still open */
    bool look_leaving;            /* one of the former may be over */
    uint64_t next_peer;           /* id of the next session */
    uint64_t last_relay;          /* serial of the newest local connection */
    unsigned n_peers, n_relays;   /* sessions, local connections */
    unsigned n_srcs;              /* descriptors not yet IO_GONE */
    uint8_t *scratch;             /* a copy of a run for a second key; on demand */
    bool draining, stop;
    bool frozen;                  /* another process takes over what is new; see finish.h */
    struct forward forward;
    struct finish finish;
    sem_t ready;                  /* the start is over: */
    int result;
    char why[256];
    struct tick drain_until;
    struct worker_stats stats;
};

/* Starts a worker's thread, which opens its I/O, pools and its part of every tunnel; returns once it runs or has failed.
 * 0, -errno: err_text() says why. *wp is set, and to be freed, whenever the thread was started. */
int worker_start(struct worker **wp, struct shared *sh, unsigned id);
/* Waits for its thread, which ends after MAIL_STOP, MAIL_DRAIN, or a failed start. */
struct worker *worker_free(struct worker *w);
const struct worker_stats *worker_stats(const struct worker *w); /* for other threads, while it exists. NULL: none */

/* ---- for the parts of a worker ---- */
void worker_touch(struct worker *w, struct peer *p); /* p has something to do before the turn ends */
void worker_set(struct worker *w, struct timer *t, struct tick at);
void worker_cancel(struct worker *w, struct timer *t);
/* Watches s as kind by one of the calls of io_ops that add. 0, -errno (s is as it was, the descriptor still the caller's). */
int worker_add(struct worker *w, struct io_src *s, enum src_kind kind, int fd, int (*add)(struct io *, struct io_src *));
/* To main, which never waits for us, so there will be room. */
void worker_tell_main(struct worker *w, enum mail_type type, struct bytes rec);
unsigned worker_of_conv(const struct shared *sh, uint32_t conv);
/* Sends what is in the batch. */
void worker_flush(struct worker *w);
/* The batch, ready for datagrams of tunnel t under `key`: flushed first if it holds others, or is full. */
struct packet_batch *worker_batch(struct worker *w, struct tunnel *t, struct tunnel_key *key);
struct tunnel *worker_tunnel(const struct worker *w, uint64_t id); /* NULL: not here, or no more */
int worker_enter(struct worker *w, struct tunnel *t);              /* into the table. 0, -ENOMEM */
/* Something is kept that may be given back when it has not been used for a while. */
void worker_tidy_later(struct worker *w);
bool worker_is_tight(const struct worker *w);       /* memory: no new sessions */

#endif
