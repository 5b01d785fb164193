/* core/session_priv.h - the inside of a session, shared by session.c (its life and what is said of it), session_in.c,
 * session_out.c, session_ack.c (how it acknowledges), session_alive.c (signs of life), session_proof.c (whether the peer
 * reads us), session_gap.c (what is missing of the peer's), session_count.c and session_sees.c (what the peer's settings
 * look like). */
#ifndef CORE_SESSION_PRIV_H
#define CORE_SESSION_PRIV_H

#include "core/arq_hooks.h"
#include "core/sender.h"
#include "core/session.h"
#include "core/snappy_stream.h"
#include "fec/decoder.h"
#include "fec/encoder.h"

#include <errno.h>

enum {
    SESSION_IP_UDP = 28, /* headers below ours; 20 more over IPv6 make no difference */
    SESSION_ACK_WAYS = 3,
    SESSION_GROUPS_KEPT = 8,      /* FEC groups back in which a lost packet can still be recovered */
};

/* The compressed way out: one multiplexer frame becomes one chunk, which the segments then eat. */
struct zout {
    struct snappy_pack pack;
    uint8_t *frame, *chunk; /* on demand: 8 + frame_max bytes, and room for its chunk */
    size_t at, len; /* chunk[at .. len) waits */
};

struct gauges { /* what a session adds to those of its profile */
    uint64_t snd_queue, rcv_queue, snd_buffer, fec_groups;
};

struct session {
    struct session_params p;
    struct arq *arq;
    struct sender *sender; /* NULL: the engine's own rules */
    struct smux *smux;
    struct fec_encoder *enc; /* NULL: we send no FEC */
    struct fec_decoder *dec; /* on demand */
    struct snappy_unpack *unpack; /* NULL: no compression */
    struct zout z;
    struct bufq raw, plain; /* bytes before and behind decompression that wait for room in the multiplexer */
    struct buf *held; /* chunks whose bytes are lent to the multiplexer until it settles */
    enum session_end end;
    bool emitting; /* a flush was decided and is not wholly written */
    bool fec_differs, fec_agrees; /* the peer's FEC shape is not ours, or was seen to be; neither: not known yet */
    struct way_here { /* what is lost of the peer's datagrams */
        bool known; /* newest is */
        uint32_t newest; /* data packets before the newest heard of, counted from sequence number 0 */
        uint32_t got, due; /* of late */
    } here;
    struct gap_watch { /* the peer's newest FEC group */
        uint32_t group;
        unsigned next, missing; /* position behind the last that came; missing before it */
    } gap;
    struct tick group_began; /* our FEC group */
    unsigned group_n; /* datagrams in it */
    unsigned plain_heard, fec_heard; /* datagrams without and with FEC */
    unsigned fec_sure_at; /* fec_heard when the peer's shape was last known */
    struct tick taking; /* when the peer's window was last open, or nothing waited for it */
    struct tick born, heard, behind_since, last_data, last_shard, next_nop, last_probe, active, last_io;
    struct tick moved; /* when what was in flight was last sent again for that */
    unsigned probes; /* unanswered, each sent when it was due, ... */
    struct tick probing; /* ... since then */
    unsigned refusals; /* by the peer's host, nothing heard since ... */
    struct tick refused; /* ... the first */
    struct {
        uint64_t seen; /* of them at the last look */
        unsigned n[2]; /* in this and the last OVERTAKE_US */
        struct tick since;
    } overtakes; /* small messages ahead of bulk */
    struct proof { /* that the peer reads our frames */
        enum { PROOF_NONE, PROOF_ASKED, PROOF_RESTS, PROOF_ASKED_AGAIN } step; /* none is wanted, or it has been given */
        uint32_t sn; /* asked by this segment */
        struct tick again; /* it rests until then */
    } proof;
    struct tick next_ack; /* with a sender: acknowledgements wait until then */
    struct ack_plan {
        struct tick last; /* flush that acknowledged */
        uint32_t every_us; /* between such flushes */
        unsigned way; /* of acknowledging, see session_ack.c */
        struct tick changed; /* since when */
        struct tick forget; /* when less thrift is tried again */
        struct tick asked; /* when the last question for the round-trip time left */
        bool due; /* its answer has not been looked at */
        bool asking; /* the peer has not got ... */
        uint32_t question; /* ... this sn, which asked ... */
        struct tick waiting; /* ... then */
        struct tick answered;
        uint64_t came, rate; /* segments since then; a second, when the way back was first clear */
        unsigned clogged, clear; /* answers in a row that found a queue on the way back, or none */
        uint32_t first_way; /* by the clocks of both ends, ms */
        uint32_t least_rtt[2], least_way[2]; /* smallest of this and the last span: us; ms since an unknown start */
        struct tick least_since;
    } ack;
    struct tick now, paced; /* with a rate: of this poll; the time up to which it is used up */
    uint64_t in_bytes, out_bytes, retrans, copies, spurious;
    uint32_t una; /* the engine's snd_una at the last poll, */
    struct tick una_since; /* and since when it is that, or nothing was in flight */
    struct gauges told; /* added so far */
    struct smux_counts smux_told;
    struct {
        uint64_t upto, seen; /* bytes ever queued: those that wait until the sample is taken (0: none); at the last look */
        struct tick since;
    } queue; /* the sample of the queueing delay that is being taken */
    uint32_t n_rtts; /* samples of the round trip at the last look */
};

/* Marks s as dead, for the first reason given. False. */
bool session_fail(struct session *s, enum session_end why);
/* Something comes or goes: after a pause, gives up what the flow before it needed. */
void session_stir(struct session *s, struct tick now);
/* Moves the counters of the parts to those of the profile, and brings its gauges up to date: once a turn. */
void session_count(struct session *s);
void session_count_end(struct session *s); /* s goes: takes its share of the gauges back */
void session_sample(struct session *s, struct tick now); /* of the histograms: once a turn */
/* Moves what is in order up to the streams, as far as there is room for it. False: s is dead. */
bool session_pump(struct session *s);
void session_ack_heard(struct session *s, struct tick now); /* after a datagram: its time of sending, an answer */
void session_ack_shard(struct session *s, const struct shard *sh, struct tick now); /* a datagram with FEC came */
void session_gap_shard(struct session *s, const struct shard *sh, struct tick now); /* one is about to be taken */
/* With a sender: whether acknowledgements leave with this flush, in which company, and how often each. */
void session_ack_plan(struct session *s, struct tick now, bool company);
struct tick session_ack_due(const struct session *s); /* when what came is acknowledged; TICK_NEVER: nothing waits */
/* Keepalive and probes, when they are due. False: the peer is gone. */
bool session_tend(struct session *s, struct tick now);
struct tick session_tend_due(const struct session *s);
void session_proof_tend(struct session *s, struct tick now); /* asks the peer again, if it is time */
bool session_proof_heard(struct session *s); /* after a datagram. False: s is dead */
arq_pull_fn session_pull;
/* With a rate: payload that may leave now. What does not stays due. */
int32_t session_budget(void *session);

#endif
