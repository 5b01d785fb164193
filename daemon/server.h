/* daemon/server.h - the server end of a tunnel: which datagram belongs to which session, and who may open one. */
#ifndef DAEMON_SERVER_H
#define DAEMON_SERVER_H

#include "daemon/tunnel.h"

int server_open(struct tunnel *t);                      /* binds the port range. 0, -errno */
void server_close(struct tunnel *t);
bool server_allows(const struct tunnel *t, const struct sockaddr_any *from); /* by allow and deny */
/* One opened datagram of a run. */
void server_route(struct tunnel *t, struct io_src *sock, const struct io_event *ev, unsigned key, struct bytes payload);
/* The same for one that another worker opened and looked at. */
void server_handed(struct tunnel *t, const struct mail_datagram *m, struct bytes payload);

#endif
