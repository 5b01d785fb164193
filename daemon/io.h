/* daemon/io.h - the kernel as one worker sees it, in events. Filled in by io_uring.c and io_epoll.c; the worker loop is
 * written once. What is the same for both (opening sockets, UDP send, TCP write) lives in net.h.
 *
 * Lending: the memory of an event is the backend's, valid until the next wait() of that worker. */
#ifndef DAEMON_IO_H
#define DAEMON_IO_H

#include "core/base/bytes.h"
#include "core/base/list.h"
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
    IO_READ,                      /* bytes of a stream socket; len 0: end-of-file. One read() gives one of these */
    IO_READ_ERROR,                /* res: -errno */
    IO_WRITABLE,                  /* after want_write(): room, or connected, or failed (ask SO_ERROR) */
    IO_ACCEPT,                    /* res: a new connected socket, nonblocking, close-on-exec, the receiver's; or -errno:
                                     once when the process runs out of descriptors, tried again by the backend. from: who
                                     connected, where that comes for nothing: see net_accepted_from() */
    IO_READABLE,                  /* after watch(): the descriptor is readable (level: again after every wait) */
    IO_GONE,                      /* after del(): the source is no longer used by the kernel nor by the backend */
};

/* One descriptor under watch, embedded in its owner (zeroed, then fd and kind set), which keeps it until IO_GONE. */
struct io_src {
    int fd;
    uint8_t kind;                 /* owner's tag */
    bool dying;                   /* del() was called: skip its events that are still in the batch in hand */
    /* backend's own */
    uint8_t role, want, stop, flight, n_cancels;
    bool reading, writing, paused, ready_in, ready_out, sticky, starved, told, fed;
    struct list link;
};

struct io_event {
    enum io_kind kind;
    struct io_src *src;
    int res;
    uint8_t *data;                /* writable: datagrams are opened in place */
    uint32_t len;
    uint32_t seg;                 /* IO_UDP: bytes of a datagram, never 0 (an empty datagram: len 0, seg 1) */
    struct sockaddr_any from;     /* IO_UDP, IO_ACCEPT */
    struct sockaddr_any to;       /* IO_UDP: our address the datagram was sent to (no port); len 0: not known */
};

struct io_params {
    unsigned max_events;          /* most wait() returns at once */
};

/* The thread of the first wait() is the owner: from then on only it makes calls. Every request is for one source that was
 * added by the matching call; one read() and one want_write() at a time. An event of a source that the owner has deleted
 * while handling the same batch (src->dying) must be skipped; an accepted socket in it is still the receiver's to close. */
struct io_ops {
    const char *name;
    bool (*usable)(void);                                             /* probed once; without it nothing else is called */
    int (*open)(struct io **iop, const struct io_params *p);          /* 0, -errno */
    /* Cancels what is in flight; NULL. Sources not deleted must still be there; their descriptors stay the owner's. */
    struct io *(*close)(struct io *io);
    int (*add_udp)(struct io *io, struct io_src *s);                  /* reads from now on. 0, -errno */
    int (*add_listener)(struct io *io, struct io_src *s);             /* accepts from now on. 0, -errno */
    int (*add_stream)(struct io *io, struct io_src *s);               /* a connecting or connected socket. 0, -errno */
    int (*read)(struct io *io, struct io_src *s);                     /* one IO_READ or IO_READ_ERROR. 0, -errno */
    int (*want_write)(struct io *io, struct io_src *s);               /* one IO_WRITABLE. 0, -errno */
    int (*watch)(struct io *io, struct io_src *s);                    /* IO_READABLE from now on. 0, -errno */
    void (*pause)(struct io *io, struct io_src *s, bool paused);      /* listener, UDP: stop or go on (what is
                                                                         already under way may still be told) */
    void (*del)(struct io *io, struct io_src *s);                     /* closes the fd, then IO_GONE */
    /* Sleeps until something happens or `until` (clock: io_now()); returns events written, or -errno. */
    int (*wait)(struct io *io, struct tick until, struct io_event *ev, unsigned n);
};

extern const struct io_ops io_uring_ops, io_epoll_ops;

/* "epoll", "io_uring" or "auto" (the faster of the usable ones). NULL: no such backend here. */
const struct io_ops *io_choose(const char *name);

struct tick io_now(void);         /* CLOCK_MONOTONIC */

#endif
