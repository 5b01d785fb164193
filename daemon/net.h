/* daemon/net.h - sockets: opening, options, sending. Shared by both I/O backends. */
#ifndef DAEMON_NET_H
#define DAEMON_NET_H

#include "daemon/io.h"

#include <stddef.h>
#include <sys/types.h>

/* "1.2.3.4:5", "[::1]:5", "unix", "none" (len 0); valid until the second next call in this thread. */
const char *net_addr_text(const struct sockaddr_any *a);
/* An IPv4 address and its v4-mapped form, as a dual-stack socket tells it, are equal and hash alike. */
bool net_addr_equal(const struct sockaddr_any *a, const struct sockaddr_any *b);
uint64_t net_addr_hash(const struct sockaddr_any *a, uint64_t seed); /* address, port; seed: random, against floods */
void net_addr_ip(const struct sockaddr_any *a, uint8_t ip[16]);      /* IPv4 as v4-mapped */
bool net_addr_is_loopback(const struct sockaddr_any *a);
uint64_t net_addr_source(const struct sockaddr_any *a);              /* a number for the host, never 0, for the log */

struct net_udp_params {
    struct sockaddr_any bind;     /* len 0: any port of `family` */
    int family;                   /* AF_INET, AF_INET6 */
    bool reuseport, pktinfo;
    uint32_t sockbuf;             /* bytes asked of both buffers */
    uint8_t dscp;                 /* 0..63 */
    const char *interface;        /* SO_BINDTODEVICE, or NULL */
};
/* Nonblocking, close-on-exec, UDP_GRO on where the kernel has it. The IPv6 wildcard takes IPv4 too, and where IPv6 is
 * switched off it is the IPv4 wildcard (getsockname() tells). fd, -errno (err_text() says what failed). */
int net_udp_open(const struct net_udp_params *p);
/* Gives an open UDP socket other buffers and another DSCP. 0, -errno. */
int net_udp_tune(int fd, uint32_t sockbuf, uint8_t dscp);
/* Bytes of the smaller of its buffers, in the unit of sockbuf: less than was asked for means that the kernel clamped it. */
uint32_t net_udp_sockbuf(int fd);
/* A listening or connecting stream socket, TCP (TCP_NODELAY, keepalive: connections have them from the listener that
 * accepts them) or unix (path not NULL; "@name" is abstract). fd, -errno; connect: in progress is fine. A unix socket path
 * that nobody listens on any more is replaced; its permissions follow the umask. The wildcard as for UDP. */
int net_listen(const struct sockaddr_any *a, const char *path);
int net_connect(const struct sockaddr_any *a, const char *path);
/* After a failed bind, at start: true, after a rest of 20 ms, if the address is busy and may not be for long: the kernel keeps
 * what io_uring watched for some milliseconds after its process has died. *tries counts, from 0; half a second in all. */
bool net_bind_again(int r, unsigned *tries);
/* A TCP listener whose options `prepare` sets before it is bound. fd, -errno. */
int net_listen_as(const struct sockaddr_any *a, int (*prepare)(int fd));
/* Between programs of one machine nothing is lost and no queue stands. A congestion control that paces (BBR, the default of
 * some systems) would cost a timer every few segments there, and what it costs is ours: so what connects to loopback, or
 * was accepted from there, has one that does not. What listens on loopback passes its own on to all that it accepts; where
 * another listener accepts, net_accepted() has to be told. */
void net_accepted(int fd, const struct sockaddr_any *from);
/* Completes what IO_ACCEPT says of who connected. False: it is gone again. */
bool net_accepted_from(int fd, struct sockaddr_any *from);
int net_socket_error(int fd);                 /* SO_ERROR as 0 or -errno */
int net_bytes_in_name(const char *host, uint16_t port, struct sockaddr_any *a); /* numeric only: 0, 1 = not numeric;
                                                                                   "" is the IPv6 wildcard */

/* Gathers to a stream socket, as far as it takes them. Bytes written >= 0; -EAGAIN: full; other -errno: broken. */
ssize_t net_write(int fd, const struct bytes *v, unsigned n);

/* One run of datagrams to one address: data[0..len) in pieces of seg bytes, the last may be shorter; sent by UDP_SEGMENT
 * where it works, else one by one. from: our address to send from, or len 0 or NULL. Returns datagrams the kernel took (the
 * rest is dropped, nothing is queued); *err is the -errno of the first it did not, or 0. None of these ends the socket.
 * A kernel or path that refuses segmentation is remembered in *gso (one per peer: paths differ) and asked again after a
 * while, because paths change. */
struct net_gso {
    bool off;
    uint16_t rest;                /* while off: runs until the next try */
};
unsigned net_udp_send(int fd, const struct sockaddr_any *to, const struct sockaddr_any *from, const uint8_t *data,
                      size_t len, size_t seg, struct net_gso *gso, int *err);
enum { NET_GSO_SEGS = 48, NET_GSO_BYTES = 64800 };

/* Up to NET_GSO_SEGS messages of two parts each. As net_udp_send(), but that an *err that is set stays. */
struct net_pair {
    struct bytes head, body;
};
unsigned net_send_pairs(int fd, const struct sockaddr_any *to, const struct sockaddr_any *from, const struct net_pair *v,
                        unsigned n, int *err);

#endif
