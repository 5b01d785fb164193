/* daemon/io.h - the kernel as one worker sees it, in events. Filled in by io_uring.c and io_epoll.c; the worker loop is
 * written once. What is the same for both (opening sockets, UDP send, TCP write) lives in net.h.
 *
 * Lending: the memory of an event is the backend's, valid until the next io_wait() of that worker. */
#ifndef DAEMON_IO_H
#define DAEMON_IO_H

#include "core/base/bytes.h"
#include "core/base/tick.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

struct io;

struct sockaddr_any {             /* an address of any family we use; len 0: none */
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
    socklen_t len;
};

enum io_kind {
    IO_UDP = 1,                   /* a run of datagrams: data[0..len) in pieces of seg bytes, the last may be shorter */
    IO_UDP_ERROR,                 /* res: -errno of a receive; the socket goes on being read */
    IO_UDP_CUT,                   /* a run was truncated by the kernel and dropped; res: how many times */
    IO_READ,                      /* bytes of a stream socket; len 0: end-of-file. One io_read() gives one of these */
    IO_READ_ERROR,                /* res: -errno */
    IO_WRITABLE,                  /* after io_want_write(): room, or connected, or failed (ask SO_ERROR) */
    IO_ACCEPT,                    /* res: a new connected socket, nonblocking, close-on-exec, the receiver's; or -errno */
    IO_READABLE,                  /* after io_watch(): the descriptor is readable (level: again after every wait) */
    IO_GONE,                      /* after io_del(): the source is no longer used by the kernel nor by the backend */
};

/* One descriptor under watch, embedded in its owner, which keeps it until IO_GONE. */
struct io_src {
    int fd;
    uint8_t kind;                 /* owner's tag */
    /* backend's own */
    bool udp, reading, writing, listening, watching, dying, ready_in, ready_out;
    uint8_t pending;              /* requests in the kernel */
    uint32_t gen;
};

struct io_event {
    enum io_kind kind;
    struct io_src *src;
    int res;
    uint8_t *data;                /* writable: datagrams are opened in place */
    uint32_t len;
    uint32_t seg;                 /* IO_UDP: bytes of a datagram */
    struct sockaddr_any from;     /* IO_UDP */
    struct sockaddr_any to;       /* IO_UDP: our address the datagram was sent to (no port); len 0: not known */
};

struct io_params {
    unsigned max_events;          /* most io_wait() returns at once */
};

struct io_ops {
    const char *name;
    bool (*usable)(void);                                             /* probed once */
    int (*open)(struct io **iop, const struct io_params *p);          /* 0, -errno */
    struct io *(*close)(struct io *io);                               /* cancels what is in flight; NULL */
    int (*add_udp)(struct io *io, struct io_src *s);                  /* reads from now on. 0, -errno */
    int (*add_listener)(struct io *io, struct io_src *s);             /* accepts from now on. 0, -errno */
    int (*add_stream)(struct io *io, struct io_src *s);               /* a connecting or connected socket. 0, -errno */
    int (*read)(struct io *io, struct io_src *s);                     /* one IO_READ or IO_READ_ERROR. 0, -errno */
    int (*want_write)(struct io *io, struct io_src *s);               /* one IO_WRITABLE. 0, -errno */
    int (*watch)(struct io *io, struct io_src *s);                    /* IO_READABLE from now on. 0, -errno */
    void (*pause)(struct io *io, struct io_src *s, bool paused);      /* listener: stop or go on accepting */
    void (*del)(struct io *io, struct io_src *s);                     /* closes the fd, then IO_GONE */
    /* Sleeps until something happens or `until` (clock: io_now()); returns events written, or -errno. */
    int (*wait)(struct io *io, struct tick until, struct io_event *ev, unsigned n);
};

extern const struct io_ops io_uring_ops, io_epoll_ops;

struct tick io_now(void);         /* CLOCK_MONOTONIC */

#endif
