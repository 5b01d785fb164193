/* core/session.h - one peer: a conversation and the streams in it, over datagrams that get lost and shuffled.
 * Sees no socket, clock, thread, key or global: time comes in as `now`, opened datagrams go in through
 * session_input() and come out unsealed of session_poll(), so a test runs an hour of loss in a millisecond.
 *
 * One turn of the owner's loop: session_input() for what arrived; the streams' events and bytes through
 * session_smux(); session_poll(); session_settle(), after which lent memory may go. */
#ifndef CORE_SESSION_H
#define CORE_SESSION_H

#include "core/base/buf.h"
#include "core/base/tick.h"
#include "core/packet.h"
#include "core/smux.h"
#include "core/stats.h"

struct session;                   /* one owner, one thread */

struct session_params {
    uint32_t conv;                /* conversation id, the same on both ends */
    bool client;
    uint16_t mtu;                 /* bytes in one UDP payload, all headers included; 128..1500 */
    uint8_t head, tail;           /* of these, the cipher's */
    uint32_t snd_wnd, rcv_wnd;    /* segments; 1..32768 */
    uint8_t nodelay;              /* the four numbers of `mode` */
    uint16_t interval_ms;
    uint32_t resend;
    bool nocwnd;
    bool adaptive;                /* mode auto: a sender (core/sender.h) decides what leaves when; the four are not used */
    bool pacing;                  /* without it: a window is spread over the round-trip time */
    uint32_t redundancy;          /* with it: most bytes of a thin flow as a multiple of what it needs; 0, 1: no copies */
    uint32_t abreast;             /* with it: sessions toward the same peer that share what is sent; 0, 1: this one alone */
    uint16_t fec_data, fec_parity; /* either 0: we send no FEC */
    uint16_t fec_unsent;          /* of the parity packets of a group, the last so many are not sent */
    bool compress;
    uint8_t smux_ver;             /* 1, 2; 0 (server only): the peer's */
    uint32_t frame_max, session_buf, stream_buf, max_streams;
    uint64_t rate;                /* bytes of datagrams a second we send at most, evenly; 0: no limit */
    uint32_t keepalive_ms;        /* between our NOPs */
    uint32_t peer_timeout_ms;     /* silence, probes unanswered, after which the peer is gone */
    struct buf_pool *pool;        /* buffers >= 1500. Borrowed for life */
    struct stats *stats;          /* counted into. Borrowed for life */
};

enum {                            /* positive results */
    SESSION_AGAIN = 1,            /* nothing more to send now */
    SESSION_MALFORMED,            /* datagram refused */
    SESSION_ENDED,                /* the session is dead; see session_end() */
};

enum session_end {                /* why a session is dead */
    SESSION_ALIVE,
    SESSION_SILENT,               /* the peer answers no more */
    SESSION_LOST_STATE,           /* the server answers, but knows nothing of what it had acknowledged */
    SESSION_UNREAD,               /* the peer dropped the session with our first frame: session_prove() */
    SESSION_REFUSED,              /* its host says that nobody listens, and nothing else comes from there */
    SESSION_PROTOCOL,             /* the peer's stream is not what was agreed */
    SESSION_NO_MEMORY,
};

/* Most bytes of memory a session with these parameters can ever hold, whatever its peer does, with n_streams open and
 * pool buffers of buf_size bytes. */
size_t session_memory_max(const struct session_params *p, unsigned n_streams, size_t buf_size);
struct session *session_new(const struct session_params *p, struct tick now); /* NULL: out of memory, bad params */
struct session *session_free(struct session *s);

/* Takes over what may change while running: windows, the mode and its four numbers, rate, keepalive, timeout, the streams
 * there may be, and how much parity is sent, up to what the session began with: fec_parity - fec_unsent of p. Without
 * memory for another mode, it goes on with the one it has. */
void session_retune(struct session *s, const struct session_params *p, struct tick now);

/* Takes one datagram without its crypto header. Lent until session_settle(). 0, SESSION_MALFORMED, SESSION_ENDED. */
int session_input(struct session *s, struct bytes payload, struct tick now);
/* Appends what is to be sent now, addressed `to`. 0: the batch is full, come again; SESSION_AGAIN; SESSION_ENDED. */
int session_poll(struct session *s, struct packet_batch *out, void *to, struct tick now);
/* Copies what still points into lent memory. 0, SESSION_ENDED. */
int session_settle(struct session *s);
/* When session_poll() next has work by the clock. */
struct tick session_deadline(const struct session *s, struct tick now);

struct smux *session_smux(struct session *s);
enum session_end session_end(const struct session *s);
const char *session_end_text(const struct session *s); /* for the log */
uint32_t session_conv(const struct session *s);
enum {                            /* what the peer's settings, or its state, look like from here */
    SESSION_SEES_SMUX_VER = 1,    /* its frames are of another version */
    SESSION_SEES_PACKED = 2,      /* it compresses, we do not */
    SESSION_SEES_PLAIN = 4,       /* the reverse */
    SESSION_SEES_FEC_SHAPE = 8,   /* its groups have another shape: toward another kind than ours we send no FEC then */
    SESSION_SEES_NO_FEC = 16,     /* it has none: likewise */
    SESSION_SEES_FEC = 32,        /* it sends FEC, we do not */
    SESSION_SEES_FEC_UNSETTLED = 64, /* no shape explains its packets */
    SESSION_SEES_STALL = 128,     /* it answers, and takes nothing for long though something waits */
    SESSION_SEES_DROPPED = 256,   /* server: it took our first bytes, said nothing, and gave the session up */
    SESSION_SEES_NOTHING = 512,   /* server: never a datagram came */
};
struct session_sight {
    unsigned bits;
    uint8_t smux_ver;             /* of the peer, as far as known */
    uint16_t fec_data, fec_parity; /* likewise, with SESSION_SEES_FEC_SHAPE */
};
/* To be asked every turn, and once more when the session has ended: what kept it from working is told then. */
struct session_sight session_sees(struct session *s, struct tick now);
/* The peer's address has changed: what was sent to the old one is sent again. */
void session_moved(struct session *s, struct tick now);
/* True if a datagram's segments bring something not yet received: the peer behind it is no echo of an old datagram. */
bool session_is_news(const struct session *s, struct bytes segs);
/* The peer's host said by ICMP that nobody listens. Anybody can forge that, and a server may be about to start again: it
 * makes us ask at once, and ends the session only if it goes on and no answer comes. */
void session_refused(struct session *s, struct tick now);
/* The peer has left several probes unanswered for longer than its round trips explain. It may still come back: the session
 * goes on, but it is time to look for another. */
bool session_is_doubtful(const struct session *s, struct tick now);
/* The peer's last datagram knows nothing of what it had acknowledged, or says that it knows no such session. */
bool session_is_disowned(const struct session *s);
/* Has the peer say something, whoever it is. */
void session_greet(struct session *s);
/* Client: before a stream is entrusted to it, the peer is to prove that it reads our frames. If it does not,
 * the session ends (SESSION_UNREAD), and nothing is lost. This takes a quarter second and two round trips, but one round trip
 * where the peer sends frames of its own. */
void session_prove(struct session *s);
bool session_is_proven(const struct session *s); /* true, too, if no proof was asked for */
uint32_t session_rcv_next(const struct session *s); /* sn of the peer's segments before which all have come */
/* Everything handed over has been acknowledged by the peer, what it sent was acknowledged to it, and nothing waits. */
bool session_is_drained(const struct session *s);

struct session_info {             /* for people */
    uint32_t conv, srtt_ms, rto_ms, inflight, rmt_wnd, cwnd, streams;
    uint64_t queued, in_bytes, out_bytes, retrans, age_ms, heard_ms;
    uint64_t stalled_ms;          /* since the oldest segment in flight became the oldest; 0: none is */
    uint16_t fec_data, fec_parity; /* of the peer, as far as known */
    bool peer_is_ours;
    size_t memory;
    const char *phase;            /* mode auto; NULL: a named mode, and the rest is 0 */
    uint64_t rate, pacing;        /* bytes a second: what the path carries, what is sent at now */
    uint64_t wire_inflight, window; /* bytes */
    uint32_t min_rtt_us, srtt_us, queue_us;
    unsigned ack_thrift;          /* 0: acknowledgements are repeated; up to 2: as few as can be */
    uint32_t loss_ppm, back_ppm;  /* random loss on the way out; on the way back, 0: not known */
    unsigned parity;              /* parity packets of a group that are sent now */
    bool thin;                    /* small messages; what is lost is repeated beforehand */
    uint64_t copies, spurious;    /* segments sent so far: beforehand; again though they had arrived */
};
void session_info(const struct session *s, struct session_info *out, struct tick now);

#endif
