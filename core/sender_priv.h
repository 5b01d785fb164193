/* core/sender_priv.h - the inside of a sender, shared by sender.c (what leaves and when), sender_rec.c (one record for each
 * transmission: delivered, lost, late), sender_gap.c (records spared for datagrams that may still come), sender_model.c
 * (what the path is like, and how hard to press it) and sender_thin.c (copies of what a thin flow sends). */
#ifndef CORE_SENDER_PRIV_H
#define CORE_SENDER_PRIV_H

#include "core/sender.h"

enum {
    SENDER_BW_ROUNDS = 10,        /* memory of the rate filter */
    SENDER_QLOG = 512,            /* slots of the log of queue delays, a power of two ... */
    SENDER_QLOG_SHIFT = 12,       /* ... of 4096 us each, by time of sending */
    SENDER_THIN_US = 250 * 1000,
    SENDER_THIN_BYTES = 64 * 1024, /* in twice that: 1 Mbit/s */
    SENDER_CHAIN_MAX = 32,        /* transmissions of one segment that are looked at */
};

enum rec_state {
    REC_FLYING,
    REC_ARRIVED,
    REC_LOST,
    REC_BESIDE,                   /* another transmission of its segment is known to have arrived */
};

enum { /* sender_rec.flags */
       REC_LIMITED = 1, /* sent while there was too little to send, or the peer's window was closed */
       REC_OWN_ACK = 2, /* an acknowledgement named it */
       REC_STEADY = 4, /* sent while we did not press the path: its fate tells random loss */
       REC_DOWN = 8, /* sent while we gave way */
       REC_COUNTED = 16, /* its fate is in the counts of the loss estimate */
};

struct sender_rec {
    uint64_t t_sent;
    uint64_t delivered;           /* sender.delivered when it left */
    uint32_t since_arrival, since_first; /* us before t_sent: newest arrival known; sending of what had arrived then */
    uint32_t sn, ts;
    uint32_t older;               /* record of the transmission before; 0: none */
    uint16_t bytes;               /* on the wire */
    uint8_t state, flags;
};

enum sender_phase { SENDER_STARTUP, SENDER_DRAIN, SENDER_CRUISE, SENDER_UP, SENDER_DOWN, SENDER_LEAP, SENDER_PROBE_RTT };

/* The largest value of the last SENDER_BW_ROUNDS rounds that had one. */
struct max_filter {
    uint64_t v[SENDER_BW_ROUNDS];
    unsigned at;
};
void max_filter_add(struct max_filter *f, uint64_t v);
void max_filter_next(struct max_filter *f, unsigned keep); /* a round has ended; values of so many are kept */
uint64_t max_filter_get(const struct max_filter *f);

/* Random loss, from the fate of what was sent while the queue was short. */
struct loss_est {
    uint32_t lost, all, lost_down, all_down; /* of the batch being gathered; below 0 never */
    double p, last;               /* estimate; ratio of the batch before, < 0: none yet */
    bool known;
};
void loss_est_batch(struct loss_est *e); /* after enough records */

/* Token bucket in time: what may leave when. */
struct pacer {
    uint64_t next;                /* us: all that was sent is paid for then */
};
void pacer_charge(struct pacer *p, uint64_t bytes, uint64_t rate, uint64_t now);

struct thin_copy {                /* a segment to be sent again soon */
    uint64_t due, from;           /* leaves then; or from then on with something else */
    uint64_t overdue;             /* begins anew then */
    uint64_t born;                /* when the segment first left */
    uint32_t sn, bytes, left, nth;
    uint32_t rounds;              /* how often it was overdue: who does not answer is asked ever less often */
    bool repair;                  /* not of a thin flow: beyond its budget */
};

struct sender {
    struct sender_params p;
    uint64_t now;                 /* of the call being served, us */

    /* records: [first, next) are held, what is flying lies in [scan, next), and what a gap spares in [spared, scan) */
    struct sender_rec *rec;
    uint32_t cap, first, next, scan, spared;
    uint32_t n_flying;
    uint64_t inflight;            /* bytes flying */
    uint64_t delivered;           /* bytes known to have arrived */
    uint64_t t_arrival, t_first;  /* when the newest arrival was heard of; when it was sent */
    uint64_t limited_until;       /* deliveries up to which samples say nothing of the path; 0: none */
    struct sender_counts n;

    /* of the datagram being taken */
    struct {
        bool any, has_best;
        struct sender_rec best;   /* newest sent of what arrived */
        uint64_t rtt;             /* smallest sample; 0: none */
        uint64_t answer;          /* likewise, those that una had come before among them */
        uint64_t rack_before;     /* rack_t as it was */
        uint64_t oldest;          /* sending of the first of what it named, 0: nothing */
    } in;

    /* round-trip time and reordering */
    uint64_t min_rtt, min_stamp, srtt, var;
    uint64_t recent[2], recent_since; /* smallest sample of two half windows */
    uint64_t rack_t, rack_rtt;    /* newest transmission that arrived, and how long it took */
    uint64_t reo;                 /* how late what arrives may be: seen in all but 1 % */
    uint64_t ack_gap, t_ack;      /* spacing of datagrams that acknowledge; the last of them */
    struct {
        uint32_t slot, q;
    } *qlog;

    /* model */
    struct max_filter bw;
    struct loss_est loss;
    uint64_t round_mark, round_began, round_best; /* delivered at which the round ends; largest sample in it */
    uint32_t round_lost, round_all, over_rounds;
    uint64_t best_before;         /* largest sample of the round before */
    bool round_full;              /* the round had a sample that says something of the path */
    bool known;                   /* there was one ever */
    uint64_t bw_max;
    uint32_t excess_lost, excess_all; /* of the rounds being gathered */
    double excess;                /* loss beyond what is random, averaged */

    /* phase */
    enum sender_phase phase;
    uint64_t phase_began, phase_len;
    uint64_t up_bw, up_ended;     /* rate when the last probe began; when it ended */
    bool judged;                  /* what it found has been looked at */
    uint64_t full_bw;
    unsigned flat_rounds, wnd_rounds, queue_rounds;
    uint64_t qbase, q_left[2];    /* queue that is not ours; what the last two cycles left of it */
    uint64_t cycle_min;           /* smallest sample since we gave way last */
    unsigned late_run;            /* samples in a row with a queue beyond that */
    uint64_t cruise_queue, cruise_n; /* us, summed over the samples since cruising began */
    uint64_t probe_min, probe_end;
    unsigned pressed;             /* cycles in a row in which a competitor does not give way */
    uint64_t aggressive_until;
    uint32_t rng;
    double gain;

    /* sending */
    struct pacer pacer;
    uint64_t cwnd, rate;          /* bytes; bytes a second */
    uint64_t most;                /* bytes this flush may still send */
    uint64_t sent[2], sent_since; /* bytes in this and the last SENDER_THIN_US */
    uint64_t parity_until;        /* it goes on till then, though nothing looks lost ... */
    uint64_t cramped_until;       /* ... of which, because holes had closed the peer's window */
    double parity_share;          /* parity for each packet now */
    unsigned parity;              /* ... with so many of a group */
    uint64_t wnd_closed;          /* when the peer's window last held something back; 0: never */
    bool paced, wnd_limited;      /* the pacer put something off; the peer's window did */
    bool all_sent;                /* the last flush left nothing new */
    struct thin {
        struct thin_copy v[64];
        unsigned n;
        uint64_t earned;          /* when the budget last grew */
        uint64_t spent;           /* bytes of copies since sender_sent() */
        int64_t tokens;           /* bytes that copies may still take */
        uint32_t looked;          /* records before this one have been counted */
        uint32_t fates, missing;  /* records whose time is over; without an acknowledgement of their own */
    } thin;
    struct gaps {                 /* datagrams of the peer that are missing, and may still come */
        struct gap {
            uint64_t from, to;    /* what they answer was sent within */
            uint64_t since;       /* noticed */
        } v[8];                   /* oldest first */
        unsigned n;
    } gaps;
    double back_loss;             /* of the way back, as the peer's sequence numbers show it */
    bool acks_all;                /* each transmission of a thin flow is acknowledged by itself */
    unsigned urgent;              /* transmissions that wait for nothing */
    uint64_t t_progress;          /* last sign that what flies arrives */
    unsigned n_probes;            /* probe timeouts since */
    uint64_t deaf_until;          /* samples until then come from a silence */
};

/* sender_rec.c */
static inline struct sender_rec *sender_rec_at(const struct sender *s, uint32_t no)
{
    return &s->rec[no & (s->cap - 1)];
}
void sender_rec_lose(struct sender *s, uint64_t before); /* what was sent before then and flies is lost */
unsigned sender_rec_under_way(const struct sender *s, uint32_t sn, uint64_t since); /* its transmissions after then that fly */
uint32_t sender_rec_took(void *ctx, const struct arq_sent *a, uint32_t age_ms);
uint32_t sender_rec_sent(void *ctx, const struct arq_sent *a, uint32_t tag);
void sender_rec_ack(void *ctx, uint32_t sn, uint32_t ts, uint32_t tag, unsigned flags);
void sender_rec_covered(void *ctx, uint32_t sn, uint32_t tag);
size_t sender_recs_bytes(uint32_t snd_wnd); /* of the ring, at most */

/* sender_gap.c */
void sender_gap_ends(struct sender *s); /* the datagram after it has been taken */
bool sender_gap_holds(const struct sender *s, uint64_t t_sent);
uint64_t sender_gap_due(const struct sender *s); /* us: sender_gap_forget() has something to do; UINT64_MAX: nothing is held */
void sender_gap_forget(struct sender *s); /* those that have been waited for long enough */

/* sender_thin.c */
void sender_thin_sent(struct sender *s, uint32_t sn, uint32_t bytes, unsigned lost); /* a first transmission, or a repair */
void sender_thin_flush(struct sender *s, bool company); /* what is due now; company: something leaves anyway */
void sender_thin_heard(struct sender *s); /* a datagram of the peer has been taken */
uint64_t sender_thin_due(const struct sender *s); /* us; UINT64_MAX: no copy waits */
void sender_thin_earn(struct sender *s, size_t bytes);
double sender_thin_loss(const struct sender *s);
bool sender_knows_loss(const struct sender *s);
double sender_loss(const struct sender *s); /* by whichever estimate has something to go by */

/* sender_model.c */
void sender_model_init(struct sender *s);
void sender_model_rtt(struct sender *s, uint64_t rtt); /* one sample for each datagram */
void sender_model_rate(struct sender *s); /* sample from in.best */
void sender_model_step(struct sender *s); /* phases, rate and window, after news or time */
void sender_model_late(struct sender *s, uint64_t late, unsigned weight); /* how far behind something arrived */
bool sender_is_cramped(const struct sender *s); /* the peer's window, not the path, limits us: holes hold it up */
bool sender_is_short_of_window(const struct sender *s); /* ... and it is smaller than what holes take to fill */
uint64_t sender_reo(const struct sender *s); /* us that a later transmission may arrive earlier */
uint64_t sender_queue(const struct sender *s); /* us of queue now, as far as it may be ours */
uint64_t sender_queue_at(const struct sender *s, uint64_t t_sent);
uint64_t sender_bwe(const struct sender *s); /* what we must send for the rate that arrives, bytes a second */

#endif
