/* daemon/dial.h - a client's sockets, and sessions on them. When and where to is slot.h's. */
#ifndef DAEMON_DIAL_H
#define DAEMON_DIAL_H

#include "daemon/tunnel.h"

/* A socket connected to `to`, with all that the profile says of sockets. fd, -errno. */
int dial_open(struct tunnel *t, const struct sockaddr_any *to);
/* A session on a socket of its own, in no slot yet. 0, -errno. */
int dial_session(struct peer **pp, struct tunnel *t, const struct sockaddr_any *to);

#endif
