/* daemon/forward.h - after an upgrade: datagrams of sessions that the old process keeps go on to it, as they came. A run of
 * them goes in one piece, unless it belongs to different ones. */
#ifndef DAEMON_FORWARD_H
#define DAEMON_FORWARD_H

#include "daemon/tunnel.h"

/* raw: the datagram as it came, which stays where it is until forward_flush().
 * One that was opened; rt: what its sender last said, or NULL. True: it was the old process's. */
bool forward_opened(struct tunnel *t, const struct listener *l, const struct io_event *ev, const struct packet_info *info,
                    const struct route *rt, struct bytes raw);
/* One that no key opens: perhaps one of the old process does. */
bool forward_unopened(struct tunnel *t, const struct listener *l, const struct io_event *ev, struct bytes raw);
void forward_flush(struct worker *w);

#endif
