/* daemon/faketcp_sock.h - the sockets of fake TCP: raw ones, which carry the segments, and the filter that keeps the
 * kernel's own TCP out of the conversation.
 *
 * A real connection is opened first, so that firewalls and address translation know of it. Then both kernels would
 * acknowledge, and wonder at, segments that their TCP has never sent. The peers let such packets die on the way, by a TTL of
 * 1 and a rule in the firewall. Here a filter on the connection drops every segment with a payload before TCP sees it: the
 * kernel has nothing to say, no rule is needed, and none can be left behind. */
#ifndef DAEMON_FAKETCP_SOCK_H
#define DAEMON_FAKETCP_SOCK_H

#include "daemon/faketcp.h"
#include "daemon/io.h"

struct faketcp_raw_params {
    struct sockaddr_any bind;     /* our address; the port does not count. len 0: any of `family` */
    int family;                   /* AF_INET, AF_INET6 */
    uint16_t port_min, port_max;  /* ours: it receives the segments to them that carry data; 0, 0: none ... */
    bool syn;                     /* ... and those that begin a connection */
    uint32_t sockbuf;
    uint8_t dscp;
    const char *interface;        /* SO_BINDTODEVICE, or NULL */
};
/* Nonblocking, close-on-exec. fd, -errno: err_text() says what is missing. */
int faketcp_raw_open(const struct faketcp_raw_params *p);
/* A listener for connections that only stand for their segments. It shares its port with others of ours. fd, -errno. */
int faketcp_listen(const struct sockaddr_any *a);

struct faketcp_dialled {
    int tcp;                      /* connecting; the io backend tells when it is connected, and when it ends */
    int raw;                      /* connected to the other end; receives what comes from there, SYN-ACK and data */
    struct sockaddr_any local;    /* address and port of both */
};
/* Begins a connection to `to`. bind, sockbuf, dscp and interface of p count. 0, -errno (nothing is open). */
int faketcp_dial(struct faketcp_dialled *d, const struct sockaddr_any *to, const struct faketcp_raw_params *p);

/* Takes apart what a raw socket delivered: *ev is then the datagram inside (data, len; from with its port, to with ours), *s
 * the segment around it. 0, FAKETCP_MALFORMED: *ev is of no use any more. */
int faketcp_unwrap(struct io_event *ev, struct faketcp_segment *s);

struct faketcp_way {              /* both with their ports */
    const struct sockaddr_any *to, *from;
    bool connected;               /* the socket is, to `to` */
    uint32_t stamp;               /* milliseconds since some time */
};
/* A run of datagrams, as net_udp_send(), each in a segment of its own. *n moves on with what was sent. */
unsigned faketcp_send(int fd, const struct faketcp_way *way, struct faketcp_numbers *n, const uint8_t *data, size_t len,
                      size_t seg, int *err);

#endif
