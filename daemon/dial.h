/* daemon/dial.h - a client's sockets, and sessions on them. When and where to is slot.h's. */
#ifndef DAEMON_DIAL_H
#define DAEMON_DIAL_H

#include "daemon/tunnel.h"

/* A session on a socket of its own, in no slot yet. smux_ver: with smuxver = auto. 0, -errno. */
int dial_session(struct peer **pp, struct tunnel *t, const struct sockaddr_any *to, uint8_t smux_ver);
/* True if the kernel would now choose another source address for p's server than the one p's socket has. */
bool dial_has_other_way(const struct peer *p);
/* The address that p's socket has is still one of this machine. */
bool dial_source_is_here(const struct peer *p);
/* Gives p's socket a new source address and port. 0, -errno. */
int dial_move(struct peer *p);

#endif
