/* core/smux_priv.h - what the files of the multiplexer share: smux.c (life of streams, their owner's calls), smux_in.c
 * (the peer's bytes), smux_out.c (what is sent next), smux_table.c (streams by id). For them and their tests only. */
#ifndef CORE_SMUX_PRIV_H
#define CORE_SMUX_PRIV_H

#include "core/smux.h"
#include "core/smux_frame.h"

enum {
    SMUX_FIRST_WINDOW = 262144,   /* v2: what may be sent before the first UPD, whatever both ends configured */
    SMUX_QUANTUM = 8192,          /* bytes a busy stream sends per round; also its longest frame while others wait */
    SMUX_NEW_CREDIT = 4096,       /* bytes a stream may send ahead of the round after it had nothing to send */
    SMUX_SMALL = 1024,            /* bytes of a message that is taken for a person's or a game's */
    SMUX_LENT_MAX = 256,          /* lent pieces of one queue: frames of a byte each must not grow its ring */
    SMUX_REFUSALS = 256,          /* ids waiting for their refusal */
};

enum {                            /* control frames a stream owes, in this order */
    SMUX_DUE_SYN = 1,
    SMUX_DUE_UPD = 2,
    SMUX_DUE_RESET = 4,           /* empty PSH and FIN, or FIN alone toward peers that are not ours */
    SMUX_DUE_FIN = 8,
};

struct smux_stream {
    struct smux *m;
    struct smux_stream *hash_next;
    struct list all;              /* in m->open or m->closing */
    struct list ev, ctl, lent;
    struct list turn, ahead;      /* its place in m->round; in m->ahead while it may go first */
    void *ctx;
    struct bufq in, out;
    uint32_t id;
    uint32_t read_total, since_upd;
    uint32_t written, peer_consumed, peer_window;
    int32_t credit;               /* bytes it may send before its next turn; below 0: it sent too much */
    uint8_t events, due;
    bool sendable;                /* counted in m->n_sendable */
    bool above;                   /* the send queue reached its low mark: its owner waits for SMUX_EV_ROOM */
    bool fin_in, marked;          /* FIN seen; the newest PSH was empty: a FIN now is a reset */
    bool fin_wanted, fin_sent;
    bool ended;                   /* by a reset: nothing is taken or queued any more */
    bool cut;                     /* what is queued goes as soon as the frame being sent is complete */
    bool closed;                  /* its owner is gone */
};

struct smux {
    struct smux_params p;
    int failed;                   /* SMUX_PROTOCOL, -ENOMEM */
    bool peer_ours;
    bool hello_due, hello_sent, nop_due;
    bool leaving, leave_due, peer_leaves;
    uint64_t next_id;             /* 33 bits tell exhaustion from wrap-around */
    uint32_t window, upd_after;   /* v2: what we advertise; bytes read between two UPD */
    struct smux_counts counts;

    struct smux_stream **table;   /* power of two, or NULL */
    uint32_t table_size, table_n;
    struct list open, closing;
    uint32_t n_open, n_closing;
    struct list events, lent;
    size_t ring_bytes;            /* heap of all bufq rings */

    /* in */
    int64_t bucket;               /* bytes that may still be taken; headers are read while it is above 0 */
    uint8_t in_head[SMUX_FRAME_HEADER + SMUX_FRAME_UPD];
    uint8_t in_have;
    uint64_t frames_in;
    uint32_t in_left;             /* payload bytes still to come */
    struct smux_stream *in_stream; /* where they go; NULL: nowhere */

    /* out */
    struct list ctl;              /* streams with `due` */
    struct list ahead, round;     /* the two tiers of the scheduler */
    uint32_t n_sendable;
    size_t backlog;
    uint64_t queued; /* bytes that were ever added to it */
    uint64_t overtakes;
    uint8_t out_head[SMUX_FRAME_HEADER + SMUX_FRAME_UPD];
    uint8_t out_pos, out_len;
    struct smux_stream *cur;      /* whose payload the open frame carries */
    uint32_t cur_left;
    uint32_t *refused;            /* ring of SMUX_REFUSALS ids, or NULL while empty */
    uint32_t refused_head, refused_n;
    bool refused_marked;          /* the empty PSH of the first has gone */
};

/* smux_table.c */
struct smux_stream *smux_table_find(const struct smux *m, uint32_t id);
int smux_table_add(struct smux *m, struct smux_stream *s); /* 0, -ENOMEM */
void smux_table_del(struct smux *m, struct smux_stream *s);
void smux_table_fini(struct smux *m);

/* smux.c */
struct smux_stream *smux_stream_new(struct smux *m, uint32_t id); /* NULL: out of memory */
bool smux_stream_fits(const struct smux *m); /* one more may be opened */
void smux_stream_say(struct smux_stream *s, unsigned events);
void smux_stream_retire(struct smux_stream *s); /* frees it if its owner is gone and it owes nothing */
int smux_stream_lend(struct smux_stream *s, struct bufq *q, struct bytes b); /* 0, -ENOMEM */
void smux_stream_count_read(struct smux_stream *s, size_t n); /* v2: UPD when it is time */
void smux_stream_end(struct smux_stream *s, bool tell); /* by a reset: the peer's, or (tell) ours. May free s */

/* smux_out.c */
void smux_out_due(struct smux_stream *s, unsigned due);
void smux_out_update(struct smux_stream *s); /* after its queue or window changed */
void smux_out_cut(struct smux_stream *s); /* drops what is queued, but for the frame begun */
void smux_out_forget(struct smux_stream *s); /* before s is freed */
void smux_out_refuse(struct smux *m, uint32_t id); /* a stream that is not in the table */
int64_t smux_out_window(const struct smux_stream *s); /* bytes that may be sent now */

#endif
