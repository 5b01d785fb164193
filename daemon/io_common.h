/* daemon/io_common.h - what the two backends share; nobody else includes it. */
#ifndef DAEMON_IO_COMMON_H
#define DAEMON_IO_COMMON_H

#include "daemon/io.h"

enum {
    IO_CHUNK = 65536, /* room for the largest run the kernel can deliver, 65535 bytes */
    IO_READ_MAX = 2 * IO_CHUNK, /* bytes of a stream at a time: two runs of datagrams, for one turn's work around them */
    IO_CONTROL = 128, /* >= CMSG_SPACE of UDP_GRO and of either packet info, see io_common.c */
    IO_STARVED_MS = 100, /* how long a listener rests when the process has no descriptor left */
};

enum { IO_ROLE_UDP = 1, IO_ROLE_LISTENER, IO_ROLE_STREAM, IO_ROLE_WATCH };

/* The events of one wait(). */
struct io_batch {
    struct io_event *ev;
    unsigned n, max;
};

/* The next event of the batch, which has room, with everything but kind, src and res empty. */
struct io_event *io_batch_add(struct io_batch *b, enum io_kind kind, struct io_src *s, int res);
/* Delivers IO_GONE of the sources in the list while there is room. */
void io_batch_gone(struct io_batch *b, struct list *gone);
/* Delivers one received run: h has name, control and flags as recvmsg() left them. A cut run becomes IO_UDP_CUT. */
void io_batch_run(struct io_batch *b, struct io_src *s, struct msghdr *h, uint8_t *data, uint32_t len);

/* Sets a source up for a role: the backend's fields empty, not dying. */
void io_src_init(struct io_src *s, uint8_t role);
/* True for errors of accept() that last until a descriptor or memory is free. */
bool io_starving(int err);

#endif
