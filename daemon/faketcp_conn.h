/* daemon/faketcp_conn.h - the connections of the kernel's TCP that stand behind fake TCP. Nothing is read from them but their
 * end. A server keeps one for each address that sends segments, a client one for each session. */
#ifndef DAEMON_FAKETCP_CONN_H
#define DAEMON_FAKETCP_CONN_H

#include "daemon/faketcp_sock.h"
#include "daemon/tunnel.h"

/* ---- server ---- */
/* A new connection at a TCP listener, or why there is none. */
void fake_conns_accept(struct tunnel *t, const struct io_event *ev);
/* A segment with data came from there: its connection, if there is one, is kept. */
void fake_conns_heard(struct tunnel *t, const struct sockaddr_any *from);
void fake_conns_close(struct tunnel *t);
void fake_conn_on_io(struct io_src *src, const struct io_event *ev);
void fake_conn_gone(struct io_src *src);

/* ---- client ---- */
/* Gives p the sockets of a connection under way, takes them. 0, -errno: p is to be closed. */
int fake_dial(struct peer *p, const struct faketcp_dialled *d);
/* It has a connection that is not there yet: nothing can be sent. */
bool fake_dial_waits(const struct peer *p);
/* A segment arrived: true if there is a datagram in it. If not, p may be gone. */
bool fake_dial_heard(struct peer *p, const struct io_event *ev, const struct faketcp_segment *s);
void fake_dial_close(struct peer *p);
void fake_dial_on_io(struct io_src *src, const struct io_event *ev);
void fake_dial_gone(struct io_src *src);

#endif
