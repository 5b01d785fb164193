/* core/sender.h - the sender of `mode = auto`: what leaves when, from what the peer's acknowledgements say of the path.
 * It drives an engine (arq_hooks.h) and changes nothing on the wire. It paces at the rate that arrives, keeps a window of
 * about one bandwidth-delay product, and takes for lost what is overdue behind something sent later. docs/sender.md
 * describes the algorithm and where its numbers come from.
 * Sees no socket, clock or global: time comes in as `now`, in microseconds. O(1) for each packet, nothing allocated for
 * it but the ring of records, which grows with what is in flight. */
#ifndef CORE_SENDER_H
#define CORE_SENDER_H

#include "core/arq_hooks.h"
#include "core/base/tick.h"

struct sender;

struct sender_params {
    struct arq *arq;              /* driven from now on. Borrowed for life */
    uint32_t overhead;            /* bytes of a datagram around its segments: IP, UDP, cipher, FEC */
    uint32_t redundancy;          /* most bytes of a thin flow, copies included, as a multiple of those without; 0, 1: none */
    uint32_t abreast;             /* sessions toward the same peer, this one among them, that share what is sent; 0, 1: alone */
    uint32_t seed;                /* of the lengths of phases */
};

/* What the engine has in flight already is taken over. NULL: out of memory; the engine is as it was. */
struct sender *sender_new(const struct sender_params *p, struct tick now);
/* Gives the engine back to its own rules, whose knobs the caller sets; sender_free() may follow. False: out of memory. */
bool sender_leave(struct sender *s, struct tick now);
struct sender *sender_free(struct sender *s);

/* A datagram's segments are given to arq_input() between these two. */
void sender_begin_input(struct sender *s, struct tick now);
void sender_end_input(struct sender *s);
/* arq_flush() is called between these two. most: bytes this flush may send; company: something new is about to leave;
 * more: data is left that did not go. */
void sender_begin_flush(struct sender *s, struct tick now, uint64_t most, bool company);
void sender_end_flush(struct sender *s, bool more);
/* The application, not the path, sets the rate, and it is small. */
bool sender_is_thin(const struct sender *s);
/* ... and copies of what it sent leave soon: our own kind does not wait for acknowledgements then. */
bool sender_is_copying(const struct sender *s);
/* How many parity packets of a group of `data`, `most` at the most, are worth sending: if there is room for them, or somebody
 * is waiting for what is lost of others (urgent), and loss to repair. */
unsigned sender_parity(struct sender *s, unsigned data, unsigned most, bool urgent);
/* Bytes beside the segments (parity) that take part in the rate. */
void sender_charge(struct sender *s, size_t bytes);
void sender_retune(struct sender *s, uint32_t redundancy, uint32_t abreast);
/* Bytes of all datagrams that left since the last call. */
void sender_sent(struct sender *s, size_t bytes);
/* The peer is our own kind, which acknowledges each transmission of a thin flow. */
void sender_peer_is_ours(struct sender *s);
/* What the peer's sequence numbers show of the way here: the share of its datagrams that is lost. */
void sender_back_loss(struct sender *s, double loss);
/* Datagrams of the peer are missing before the one that is taken next, and its FEC may still bring them back: what they may
 * acknowledge is not taken for lost, until they came or sender_gap_over() says that they will not. */
void sender_gap(struct sender *s, struct tick now);
void sender_gap_over(struct sender *s);
/* Smallest round-trip time that the datagram just taken has shown; 0: none. */
uint64_t sender_rtt_us(const struct sender *s);
/* When the next flush has something to do by the clock; TICK_NEVER. */
struct tick sender_deadline(const struct sender *s);
/* The path is another one: what is in flight counts as lost. */
void sender_moved(struct sender *s, struct tick now);
/* Gives memory back while nothing is in flight. */
void sender_trim(struct sender *s);

struct sender_counts {            /* since the last sender_take_counts() */
    uint64_t lost, early;         /* overdue behind something sent later: while more was there to be sent; while nothing was */
    uint64_t probes, copies, spurious;
};
struct sender_counts sender_take_counts(struct sender *s);

struct sender_info {              /* for people */
    const char *phase;
    uint64_t rate, pacing;        /* bytes a second: what the path carries; what we send at now */
    uint32_t min_rtt_us, srtt_us, queue_us;
    uint64_t inflight, window;    /* bytes on the wire */
    unsigned parity;              /* parity packets of a group sent now */
    bool thin;
    uint32_t loss_ppm, back_ppm;  /* random loss on our way out, and on the way back (0: not known) */
};
void sender_info(const struct sender *s, struct sender_info *out);
size_t sender_memory(const struct sender *s);
size_t sender_memory_max(uint32_t snd_wnd); /* of a sender with that window */

#endif
