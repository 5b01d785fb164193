/* tests/support/arq_solo.h - one engine whose peer is the test. */
#ifndef SUPPORT_ARQ_SOLO_H
#define SUPPORT_ARQ_SOLO_H

#include "core/arq_priv.h"
#include "tests/support/vectors.h"

extern const struct arq_params solo_params;

/* One engine without a peer: segments are pulled without end, datagrams are counted and forgotten. */
struct solo {
    struct arq *a;
    struct buf_pool *pool;
    uint32_t left;                /* segments still to be pulled */
    uint32_t len;                 /* of each */
    unsigned n_dgrams;
    struct arq_seg seg[2048];     /* headers of the last emission */
    unsigned n_segs;
};

void solo_init(struct solo *s, const struct arq_params *base, uint16_t wnd);
/* Fails if a buffer is missing. */
void solo_fini(struct solo *s);
void solo_emit(struct solo *s);
void solo_flush(struct solo *s, uint32_t now);
/* Segments of one kind in the last emission. */
unsigned solo_count(const struct solo *s, uint8_t cmd);
/* A datagram of one segment; settled. */
int solo_input(struct solo *s, struct arq_seg seg, unsigned flags, uint32_t now);
void solo_ack(struct solo *s, uint32_t sn, uint32_t ts, uint32_t una, uint32_t now);
void solo_push(struct solo *s, uint32_t sn, uint32_t len, uint32_t now);
/* The peer opens its window as far as the wire can say. */
void solo_open(struct solo *s);

#endif
