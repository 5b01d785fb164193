/* daemon/steer.h - which worker's socket of a shared UDP port gets the datagrams of an address. One for every server
 * tunnel whose ports several workers share; made before they start, used by all of them at once.
 *
 * Where bpf(2) is permitted, an sk_reuseport program looks the sender up in a map that the owners of sessions keep: one
 * system call when a session turns out to arrive at the wrong worker, moves or ends, none per datagram. Elsewhere the
 * owner opens a connected socket (flow.h), which makes every datagram of an unknown address dearer for the kernel:
 * so they are counted here. Knows no sessions. */
#ifndef DAEMON_STEER_H
#define DAEMON_STEER_H

#include "daemon/io.h"

struct steer;

enum { STEER_FDS = 3 };
enum { STEER_TAKEN = 1 };         /* another session of that address came first, or there are enough */
enum { STEER_FLOWS_MAX = 100 };   /* connected sockets of a port: half a microsecond per unknown datagram */

/* For n_ports ports from port_min on, each bound once by every worker. NULL: out of memory. */
struct steer *steer_new(uint16_t port_min, unsigned n_ports, unsigned n_workers);
/* What another process needs to go on with it: maps and program. False: there is no map. */
bool steer_fds(const struct steer *s, int fds[STEER_FDS]);
/* The same on the other side: takes fds (NULL: no map). Its sockets have joined already. NULL: out of memory. */
struct steer *steer_inherit(uint16_t port_min, unsigned n_ports, unsigned n_workers, const int *fds);
struct steer *steer_free(struct steer *s);
/* A worker's socket, bound with SO_REUSEPORT to port number `port` of the range. It leaves when it is closed. */
void steer_join(struct steer *s, unsigned port, unsigned worker, int fd);
/* 0: the map is in force; -errno: why not. Settled when the last worker has joined. */
int steer_refusal(const struct steer *s);

/* With the map: the address belongs to worker until steer_del() by the same caller. 0, STEER_TAKEN, -errno. */
int steer_add(struct steer *s, const struct sockaddr_any *from, unsigned worker);
void steer_del(struct steer *s, const struct sockaddr_any *from);

/* Without: leave to open one more connected socket on a port. 0, STEER_TAKEN. */
int steer_flow_begin(struct steer *s, unsigned port);
void steer_flow_end(struct steer *s, unsigned port);

#endif
