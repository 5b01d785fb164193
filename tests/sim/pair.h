/* tests/sim/pair.h - two sessions, sealed datagrams between them over two virtual links, in virtual time. */
#ifndef SIM_PAIR_H
#define SIM_PAIR_H

#include "core/session.h"
#include "tests/support/vectors.h"
#include "tools/link_model.h"

struct end {
    struct session *s;
    struct cipher *cipher;
    struct nonce_gen nonce;
    struct stats stats;
    struct buf_pool *pool;
    struct link out; /* from this end to the other */
    struct packet_batch batch;
    void (*on_stream)(struct end *e, struct smux_stream *st, unsigned events); /* the application */
    void (*on_turn)(struct end *e, struct tick now); /* may write; may be NULL */
    void *ctx;
    bool stopped; /* its process does not run: what arrives waits */
};

struct pair {
    struct tick now;
    struct rng rng;
    struct end end[2]; /* client, server */
    unsigned turns;
};

/* p[0], p[1]: parameters of client and server without conv, pool, stats, head and tail. */
void pair_init(struct pair *p, uint64_t seed, const char *crypt, const struct session_params sp[2],
               const struct link_params link[2]);
/* What changes from now on, by tools/link_text.h for instance: direction 0 is from client to server. Borrowed. */
void pair_schedule(struct pair *p, const struct link_change *v, size_t n);
void pair_fini(struct pair *p); /* fails the test if a buffer is missing */
/* Goes on until *done, or for us microseconds of virtual time. True: done. */
bool pair_run(struct pair *p, const bool *done, uint64_t us);
struct session_params pair_defaults(bool client);

#endif
