/* daemon/server.h - the server end of a tunnel: which datagram belongs to which session, and who may open one. */
#ifndef DAEMON_SERVER_H
#define DAEMON_SERVER_H

#include "daemon/tunnel.h"

/* Listens on the sockets from now on; those of before go on for the sessions that use them. 0, -errno. */
int server_open(struct tunnel *t, struct sockets *s);
void server_close(struct tunnel *t);
void server_gone(struct io_src *src);                   /* one of its sockets is closed */
void server_tune(const struct tunnel *t);               /* gives its sockets what dscp and sockbuf say */
/* A segment of fake TCP arrived: true if there is a datagram for us in it. */
bool server_heard(struct io_src *sock, const struct faketcp_segment *s);
bool server_allows(const struct tunnel *t, const struct sockaddr_any *from); /* by allow and deny */
/* The process before an upgrade has sessions, perhaps on sockets that we have from it. */
bool server_reads_for_elder(const struct tunnel *t);
/* Former listeners without a session go: mark all, mark those of each session (true: a former one), drop the rest. */
void server_mark_unused(struct tunnel *t);
bool server_mark_used(struct tunnel *t, const struct peer *p);
void server_drop_unused(struct tunnel *t);
/* A datagram of it opened: its sender knows the key. */
void server_proven(struct tunnel *t, const struct io_src *sock, const struct io_event *ev);
/* Takes no more connections of fake TCP: another process listens beside us, and the kernel would share them out. */
void server_stop_accepting(const struct tunnel *t);
/* Its sockets that another process goes on with: stop reading, or go on. */
void server_pause(const struct tunnel *t, bool paused);
/* The socket of a set of that id, or what has taken its place. NULL: none. */
struct io_src *server_find_sock(struct tunnel *t, uint32_t set, unsigned port);
struct listeners *server_set_of(const struct peer *p);
/* Tells p's client, if it is our kind and does not know, that its session is over. What the session itself says of that comes
 * in its turn, and once: this comes at once, and has the client ask until it is sure. */
void server_disown(struct peer *p);
/* One opened datagram of a run; raw: as it came, empty where nobody else needs it. The session of this worker that took it,
 * or NULL. */
struct peer *server_route(struct tunnel *t, struct io_src *sock, const struct io_event *ev, struct tunnel_key *key,
                          struct bytes payload, struct bytes raw);
/* The same for one that another worker opened and looked at. */
void server_handed(struct tunnel *t, const struct mail_datagram *m, struct bytes payload);

#endif
