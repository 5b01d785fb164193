/* crypto/cfb_lanes.c - deals the packets of a batch to the lanes of a kernel, each lane getting the next packet as soon
 * as its last one is done. Knows no cipher. */
#include "crypto/cfb_lanes.h"

#include <string.h>

struct deal {
    struct cfb_lanes lanes;
    size_t left[CFB_LANES_MAX]; /* whole blocks to do; 0: the lane has no packet */
    uint32_t tail[CFB_LANES_MAX]; /* bytes behind the last whole block */
    unsigned n_busy;
    struct cipher_pkt *next, *end;
    uint8_t idle[CIPHER_PKT_MAX]; /* what a lane without a packet works on */
};

static void lane_start(struct deal *d, unsigned i, const uint8_t *first)
{
    for (; d->next < d->end; d->next++) {
        const struct cipher_pkt *v = d->next;

        if (v->len < CFB_BLOCK) {
            cfb_xor_short(v->p, first, v->len);
            continue;
        }
        d->lanes.p[i] = v->p;
        d->left[i] = v->len / CFB_BLOCK;
        d->tail[i] = v->len % CFB_BLOCK;
        memcpy(d->lanes.f[i], first, CFB_BLOCK);
        d->n_busy++;
        d->next++;
        return;
    }
    d->lanes.p[i] = d->idle;
    d->left[i] = 0;
}

static size_t shortest(const struct deal *d, unsigned n_lanes)
{
    size_t least = CIPHER_PKT_MAX / CFB_BLOCK; /* what the idle lanes have room for */

    for (unsigned i = 0; i < n_lanes; i++)
        if (d->left[i])
            least = MIN(least, d->left[i]);
    return least;
}

/* After a run of `blocks` in every lane. */
static void lanes_advance(struct deal *d, unsigned n_lanes, size_t blocks, const uint8_t *first)
{
    for (unsigned i = 0; i < n_lanes; i++) {
        if (!d->left[i])
            continue;
        d->lanes.p[i] += blocks * CFB_BLOCK;
        d->left[i] -= blocks;
        if (d->left[i])
            continue;
        cfb_xor_short(d->lanes.p[i], d->lanes.f[i], d->tail[i]);
        d->n_busy--;
        lane_start(d, i, first);
    }
}

void cfb_lanes_seal(const struct cfb_kernel *kernel, const void *key, const uint8_t first[CFB_BLOCK],
                    struct cipher_pkt v[], size_t n)
{
    struct deal d;

    d.n_busy = 0;
    d.next = v;
    d.end = v + n;
    memset(d.idle, 0, sizeof d.idle);
    for (unsigned i = 0; i < kernel->n_lanes; i++)
        lane_start(&d, i, first);
    while (d.n_busy) {
        size_t blocks = shortest(&d, kernel->n_lanes);

        kernel->run(key, &d.lanes, blocks);
        lanes_advance(&d, kernel->n_lanes, blocks, first);
    }
}
