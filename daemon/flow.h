/* daemon/flow.h - sees to it that the datagrams of an established session arrive at the worker that owns it: by the map
 * of steer.h or by a connected socket. */
#ifndef DAEMON_FLOW_H
#define DAEMON_FLOW_H

#include "daemon/tunnel.h"

/* Another worker handed over a datagram of p, which came to port number `port` and our address `to`. */
void flow_handed(struct peer *p, unsigned port, const struct sockaddr_any *to);
/* p is about to move to another address, or to end. */
void flow_end(struct peer *p);
void flow_gone(struct io_src *src);                     /* a connected socket is closed */

#endif
