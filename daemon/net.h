/* daemon/net.h - sockets: opening, options, sending. Shared by both I/O backends. */
#ifndef DAEMON_NET_H
#define DAEMON_NET_H

#include "daemon/io.h"

#include <sys/uio.h>

/* "1.2.3.4:5", "[::1]:5", "unix"; valid until the second next call in this thread. */
const char *net_addr_text(const struct sockaddr_any *a);
bool net_addr_equal(const struct sockaddr_any *a, const struct sockaddr_any *b);
uint64_t net_addr_hash(const struct sockaddr_any *a, uint64_t seed); /* family, address, port */
void net_addr_ip(const struct sockaddr_any *a, uint8_t ip[16]);      /* IPv4 as v4-mapped */

struct net_udp_params {
    struct sockaddr_any bind;     /* len 0: any port of `family` */
    int family;                   /* AF_INET, AF_INET6 */
    bool reuseport, pktinfo;
    uint32_t sockbuf;             /* bytes asked of both buffers */
    uint8_t dscp;                 /* 0..63 */
    const char *interface;        /* SO_BINDTODEVICE, or NULL */
};
/* Nonblocking, close-on-exec, UDP_GRO on where the kernel has it. *got_buf: the receive buffer the kernel gave.
 * fd, -errno (err_text() says what failed). */
int net_udp_open(const struct net_udp_params *p, uint32_t *got_buf);
/* A listening or connecting stream socket, TCP (TCP_NODELAY, keepalive) or unix (path). fd, -errno; connect: in progress is
 * fine. A stale unix socket path that nobody listens on is replaced. */
int net_listen(const struct sockaddr_any *a, const char *path);
int net_connect(const struct sockaddr_any *a, const char *path);
int net_accepted(int fd);                     /* sets an accepted socket's options. 0, -errno */
int net_socket_error(int fd);                 /* SO_ERROR as 0 or -errno */
int net_bytes_in_name(const char *host, uint16_t port, struct sockaddr_any *a); /* numeric only: 0, 1 = not numeric */

/* Gathers to a stream socket. Bytes written >= 0; -EAGAIN: full; other -errno: broken. */
ssize_t net_write(int fd, const struct bytes *v, unsigned n);

/* One run of datagrams to one address: data[0..len) in pieces of seg bytes, the last may be shorter; sent by UDP_SEGMENT
 * where it works, else one by one. from: our address to send from, or len 0. Returns datagrams the kernel took; *err is the
 * -errno of the first it did not, or 0. A kernel or path that refuses segmentation is remembered in *gso. */
struct net_gso {
    bool off;
};
unsigned net_udp_send(int fd, const struct sockaddr_any *to, const struct sockaddr_any *from, const uint8_t *data,
                      size_t len, size_t seg, struct net_gso *gso, int *err);
enum { NET_GSO_SEGS = 48, NET_GSO_BYTES = 64800 };

#endif
