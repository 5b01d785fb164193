/* daemon/event.h - what the log says of sessions and streams that come and go: in our words, or in those of kcptun, which
 * fleets search for, with logformat = kcptun. */
#ifndef DAEMON_EVENT_H
#define DAEMON_EVENT_H

#include "daemon/peers.h"

/* what: "dialled", "opened". */
void event_session(const struct peer *p, const char *what);
/* grave: more than the end of something that was over anyway. */
void event_session_end(const struct peer *p, const char *why, bool grave);
/* A dial failed, for the n-th time in a row; next: what follows. */
void event_dial_failed(const struct tunnel *t, const char *where, const char *why, unsigned n, const char *next);
/* A UDP socket has its buffers: nothing, unless the kernel gave it less than `sockbuf`. */
void event_sockbuf(const struct conf_profile *c, int fd);
/* what: "opened", "closed", "reset"; fd: the local connection, -1: there is none. Nothing with `quiet`. */
void event_stream(const struct peer *p, uint32_t id, int fd, const char *what);

#endif
