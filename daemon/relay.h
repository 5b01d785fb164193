/* daemon/relay.h - the local side of a stream: a TCP or unix connection and the stream it feeds and drains.
 * Half-close goes both ways between our own ends. A stream that is cut short ends in a reset, never in an end-of-file. */
#ifndef DAEMON_RELAY_H
#define DAEMON_RELAY_H

#include "daemon/tunnel.h"

struct relay;

/* Client: opens a stream for an accepted connection; takes fd. */
void relay_accept(struct peer *p, int fd);
/* Events of a stream. */
void relay_on_stream(struct peer *p, struct smux_stream *st);
/* Events of its socket. */
void relay_on_io(struct relay *r, const struct io_event *ev);
void relay_gone(struct relay *r);
/* The session is dead: closes the local side with a reset. */
void relay_abort_all(struct peer *p);
/* The target's name has been resolved, or could not be. */
void relay_on_resolved(struct tunnel *t);
struct relay *relay_of_src(struct io_src *s);
bool relay_owes(const struct peer *p);                /* a local connection still takes what p's streams brought */
struct tick relay_oldest(const struct peer *p);       /* when the oldest of p's was opened; TICK_NEVER: there is none */

struct relay_info {               /* for people */
    uint32_t id;                  /* of the stream */
    uint64_t serial;              /* grows within a worker; not 0 */
    int fd;                       /* of the connection; -1: none now */
    const char *state;            /* a constant */
    uint64_t age_ms, in_bytes, out_bytes; /* into the connection; out of it */
    uint64_t readable, queued;    /* bytes that wait for either way */
};
typedef void relay_tell_fn(void *ctx, const struct relay_info *i, struct peer *p);
/* Tells of every stream of p, in the order of their serials. */
void relay_list(struct peer *p, relay_tell_fn *tell, void *ctx);

#endif
