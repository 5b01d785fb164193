/* core/smux.h - streams inside one byte stream: smux v1 and v2, both roles. No I/O, no time but keepalive ticks.
 * In: smux_input() takes the peer's byte stream in any cut; what happened to which stream is read by smux_next_event().
 * Out: smux_fill() gives the next bytes to send: control frames first, then the streams in deficit round robin with new
 * and small ones ahead, cut anywhere. Source: the smux description.
 *
 * Closing. FIN is the peer's only word. Between our own ends (each announced by NOP with stream id SMUX_HELLO) FIN
 * closes one direction, and a reset is an empty PSH followed by FIN. Toward others FIN from the peer leaves our
 * direction open: what we still send may or may not be read. We announce ourselves before our first SYN, in answer to
 * the peer's announcement, or with the first keepalive; so a server says nothing special to a foreign client before
 * that, and either end knows the meaning of every FIN it gets. Data for a stream that is not there any more is answered
 * by a reset toward our own kind (which may not know that we closed more than one direction), else discarded. */
#ifndef CORE_SMUX_H
#define CORE_SMUX_H

#include "core/base/buf.h"
#include "core/base/list.h"

#include <stdbool.h>

enum {
    SMUX_HELLO = 0x6b647464,      /* stream id of the NOP by which our ends know each other */
    SMUX_LEAVING = 0x6b647465,    /* of the one by which, after that, an end says that it will take no more streams */
};

enum {
    SMUX_AGAIN = 1,
    SMUX_PROTOCOL,                /* the peer broke the protocol: the session must end */
    SMUX_FULL,                    /* too many streams, or no stream ids left */
    SMUX_CLOSED,                  /* this direction of the stream has ended */
};

enum {                            /* smux_stream_events(), as bits */
    SMUX_EV_OPENED = 1,           /* by the peer: the owner must take or reset it */
    SMUX_EV_DATA = 2,             /* bytes to read */
    SMUX_EV_FIN = 4,              /* the peer's direction ended; after the bytes are read it is end-of-file */
    SMUX_EV_RESET = 8,            /* by the peer, or because it broke the window: nothing more comes or goes; bytes that
                                   * came before may still be read, smux_stream_eof() stays false */
    SMUX_EV_ROOM = 16,            /* the send queue fell below its low mark after being above it */
};

struct smux;
struct smux_stream;

struct smux_params {
    bool client;                  /* role: parity of the ids we open */
    uint8_t ver;                  /* 1, 2; 0 (server only): that of the peer's first frame, until which nothing is sent */
    uint32_t frame_max;           /* payload bytes of a PSH we send; 1..65535 */
    uint32_t session_buf;         /* bytes received and not yet read, all streams; >= 1 */
    uint32_t stream_buf;          /* v2: the same for a stream; 1..session_buf */
    uint32_t send_buf;            /* low mark of a stream's send queue, bytes */
    uint32_t max_streams;         /* open at a time */
    struct buf_pool *pool;        /* settled bytes live here. Borrowed for life */
};

struct smux_counts {              /* since the beginning */
    uint64_t refused;             /* streams the peer opened beyond max_streams */
    uint64_t refusals_lost;       /* answers to unknown streams that found too many others waiting */
    uint64_t discarded;           /* payload bytes for streams that were not there, or not read any more */
    uint64_t overruns;            /* v2: frames beyond the window; tolerated until session_buf is used up */
    uint64_t broken;              /* v2: streams reset because the peer acknowledged what was never sent */
    uint64_t resets;              /* by the peer */
};

struct smux *smux_new(const struct smux_params *p);   /* NULL: out of memory or bad parameters */
struct smux *smux_free(struct smux *m);               /* ends every stream without a word */

/* v2: what every stream advertises from its next UPD on, and the bytes read between two UPD (at first stream_buf and half
 * of it). The caller keeps window within session_buf. */
void smux_set_window(struct smux *m, uint32_t window, uint32_t upd_after);

void smux_set_max_streams(struct smux *m, uint32_t max); /* those that are open stay */

/* ---- in ---- */
/* Consumes the peer's bytes (lent until smux_settle()). Stops early, with *in advanced, when the session buffer is used up
 * (see smux_wants_input()). 0, SMUX_PROTOCOL, -ENOMEM; the last two are final. */
int smux_input(struct smux *m, struct bytes *in);
bool smux_wants_input(const struct smux *m);          /* the session buffer has room */
int smux_settle(struct smux *m);                      /* 0, -ENOMEM (final) */
/* A stream with events; its events are cleared by smux_stream_events(). NULL: none. */
struct smux_stream *smux_next_event(struct smux *m);

/* ---- streams ---- */
/* Queues SYN. 0, SMUX_FULL, SMUX_AGAIN (the version is not known yet), -ENOMEM. */
int smux_open(struct smux *m, struct smux_stream **sp);
bool smux_ids_left(const struct smux *m);             /* if not, more streams take another session */
uint32_t smux_stream_id(const struct smux_stream *s);
void smux_stream_set_ctx(struct smux_stream *s, void *ctx);
void *smux_stream_ctx(const struct smux_stream *s);
unsigned smux_stream_events(struct smux_stream *s);   /* and clears them */
/* Views of the received bytes, as bufq_view(). */
unsigned smux_stream_peek(const struct smux_stream *s, struct bytes *v, unsigned max);
size_t smux_stream_readable(const struct smux_stream *s);
/* The owner has passed n bytes on: frees their room, queues UPD when due. */
void smux_stream_read(struct smux_stream *s, size_t n);
bool smux_stream_eof(const struct smux_stream *s);    /* FIN received and everything read */
/* Queues bytes, lent until smux_settle(). 0, SMUX_CLOSED, -ENOMEM. May exceed the low mark: ask smux_stream_room(). */
int smux_stream_write(struct smux_stream *s, struct bytes b);
size_t smux_stream_room(const struct smux_stream *s); /* bytes to the low mark; 0: stop reading its source */
size_t smux_stream_queued(const struct smux_stream *s);
/* Ends our direction once what is queued has left: FIN. */
void smux_stream_finish(struct smux_stream *s);
/* Forgets the stream: FIN (after queued data if `deliver`), or a reset toward our own kind if !deliver and it has not
 * ended by itself. s is invalid afterwards; the rest of its queue is sent by the multiplexer. */
void smux_stream_close(struct smux_stream *s, bool deliver);
bool smux_stream_finished(const struct smux_stream *s); /* our FIN has been handed to smux_fill() */

/* ---- out ---- */
/* Writes up to room bytes of the frame stream to out; 0: nothing to send. */
size_t smux_fill(struct smux *m, uint8_t *out, size_t room);
/* The same, cut at frame borders: one whole frame into out, room >= 8 + max(frame_max, 8). 0: nothing to send. */
size_t smux_fill_frame(struct smux *m, uint8_t *out, size_t room);
bool smux_has_output(const struct smux *m);           /* smux_fill() would give something */
size_t smux_backlog(const struct smux *m);            /* bytes of stream data queued, */
uint64_t smux_queued(const struct smux *m);           /* and all that ever were */
uint64_t smux_overtakes(const struct smux *m);        /* small messages sent ahead of others that had more to send, so far */
void smux_keepalive(struct smux *m);                  /* queues a NOP; the first announces us */

/* ---- state ---- */
bool smux_peer_is_ours(const struct smux *m);
void smux_leave(struct smux *m);                      /* tells our own kind that it should open no more streams here */
bool smux_peer_leaves(const struct smux *m);          /* it has told us so */
unsigned smux_streams(const struct smux *m);          /* open now */
uint64_t smux_frames_in(const struct smux *m);        /* headers received so far: the sign of life */
uint8_t smux_version(const struct smux *m);           /* 1, 2; 0: not known yet */
/* After SMUX_PROTOCOL: the 8 bytes that were to be a frame header. */
const uint8_t *smux_refused(const struct smux *m);
struct smux_stream *smux_each(struct smux *m, struct smux_stream *prev); /* NULL starts and ends */
const struct smux_counts *smux_counts(const struct smux *m);
void smux_trim(struct smux *m);                       /* gives back what idle streams hold */
size_t smux_memory(const struct smux *m);             /* heap bytes without pool buffers */

#endif
