/* tests/sim/traffic.h - sessions over one shared path in virtual time, with applications that fill them or measure how long
 * a message takes. Timers fire on whole milliseconds, as the daemon's do. */
#ifndef SIM_TRAFFIC_H
#define SIM_TRAFFIC_H

#include "core/session.h"
#include "tests/sim/kcptun_peer.h"
#include "tests/support/vectors.h"
#include "tools/link_model.h"

enum {
    TRAFFIC_FLOWS = 4,
    TRAFFIC_TICK_US = 10000,      /* between looks at the queue */
    TRAFFIC_ECHOES = 16384,       /* messages remembered */
};

enum {                            /* applications of a flow, as bits; the client opens a stream for each */
    APP_BULK = 1,                 /* as much as goes, to the server */
    APP_DOWN = 2,                 /* to the client */
    APP_ECHO = 4,                 /* a message every so often, which the server returns */
};

struct flow_params {
    struct session_params sp[2];  /* of client and server; see traffic_session() */
    bool kcptun;                  /* the server is the model of kcptun, with ... */
    struct kcptun_peer_params kp; /* ... these; conv and head are filled in */
    unsigned apps;
    uint64_t start_us;
    uint64_t ahead_us[2];         /* the ends' clocks, of the path's; whole milliseconds */
    uint32_t echo_bytes, echo_every_us; /* 0: 200 bytes, 20 ms */
};

struct node {                     /* one end of a flow */
    struct session *s;            /* NULL: not begun, or kcptun */
    struct kcptun_peer *k;
    struct stats stats;
    struct buf_pool *pool;
    struct packet_batch batch;
    struct tick due;
    struct link_pkt *got[64];     /* of this turn, lent to the session */
    unsigned n_got;
};

struct flow {
    struct flow_params p;
    struct traffic *t;
    struct node node[2];          /* client, server */
    struct smux_stream *bulk, *echo, *server_bulk;
    uint64_t received;            /* bytes of the bulk stream */
    uint64_t next_echo_us, echo_out, echo_in; /* bytes of messages sent, come back */
    uint64_t echo_sent_us[1024];  /* of messages under way, by number */
    uint32_t *echo_us;            /* how long messages took */
    unsigned n_echo;
};

struct traffic {
    struct tick now, start;
    struct rng rng;
    struct link way[2];           /* client to server, and back */
    struct flow flow[TRAFFIC_FLOWS];
    unsigned n_flows;
    /* since traffic_mark() */
    struct tick marked;
    uint64_t wire0, received0[TRAFFIC_FLOWS];
    uint64_t spurious0, retrans0;
    uint32_t queue_ms[1024];      /* histogram of looks */
    uint64_t queue_us;
    unsigned looks;
};

/* Parameters of an end as the daemon gives them in mode auto: cipher header of 20 bytes, FEC 10/3, ceilings. */
struct session_params traffic_session(bool client);
struct flow_params traffic_flow(unsigned apps); /* between two of ours */
struct flow_params traffic_to_kcptun(unsigned apps, uint32_t wnd); /* from ours to a kcptun in mode fast3, with such windows */
/* 100 Mbit/s, 50 ms one way, a queue of 50 ms, this loss. */
struct link_params traffic_path(double loss_percent);

void traffic_init(struct traffic *t, uint64_t seed, const struct link_params way[2], const struct flow_params *f,
                  unsigned n);
void traffic_fini(struct traffic *t);
void traffic_run(struct traffic *t, uint64_t us);
void traffic_mark(struct traffic *t); /* what is asked below counts from here on */

double traffic_bytes(const struct traffic *t, unsigned flow); /* of bulk, received */
double traffic_mbit(const struct traffic *t, unsigned flow); /* the same as a rate */
double traffic_share(const struct traffic *t, unsigned flow, double mbit, double loss_percent); /* of the path's limit, percent */
double traffic_wire(const struct traffic *t); /* bytes offered to both ways, headers included, for each byte received */
double traffic_wire_bytes(const struct traffic *t);
double traffic_queue_ms(const struct traffic *t, double percentile); /* < 0: the mean */
double traffic_spurious(const struct traffic *t); /* percent of segments received */
double traffic_echo_ms(const struct traffic *t, unsigned flow, double percentile);

#endif
