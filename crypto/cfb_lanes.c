/* crypto/cfb_lanes.c - deals the packets of a batch to the lanes of a kernel, each lane getting the next packet as soon
 * as its last one is done. Lanes with a packet stand in front, so that a kernel can run fewer. Knows no cipher. */
#include "crypto/cfb_lanes.h"

#include <string.h>

struct deal {
    struct cfb_lanes lanes;
    size_t left[CFB_LANES_MAX]; /* whole blocks to do */
    uint32_t tail[CFB_LANES_MAX]; /* bytes behind the last whole block */
    unsigned n_used;
    const struct cipher_pkt *next, *end;
    const uint8_t *first;
    uint8_t idle[CIPHER_PKT_MAX]; /* what a lane without a packet works on; whatever is in it */
};

/* Gives lane i the next packet that has a whole block; shorter ones need no lane. False: there is none. */
static bool lane_start(struct deal *d, unsigned i)
{
    while (d->next < d->end) {
        const struct cipher_pkt *v = d->next++;

        if (v->len < CFB_BLOCK) {
            cfb_xor_short(v->p, d->first, v->len);
            continue;
        }
        d->lanes.p[i] = v->p;
        d->left[i] = v->len / CFB_BLOCK;
        d->tail[i] = v->len % CFB_BLOCK;
        memcpy(d->lanes.f[i], d->first, CFB_BLOCK);
        return true;
    }
    return false;
}

/* Lane i is done and there is no packet for it: the last used lane moves here. */
static void lane_close(struct deal *d, unsigned i)
{
    unsigned last = --d->n_used;

    memcpy(d->lanes.f[i], d->lanes.f[last], CFB_BLOCK);
    d->lanes.p[i] = d->lanes.p[last];
    d->left[i] = d->left[last];
    d->tail[i] = d->tail[last];
    d->lanes.p[last] = d->idle;
}

/* Blocks until the first lane is done. */
static size_t shortest(const struct deal *d)
{
    size_t least = CIPHER_PKT_MAX / CFB_BLOCK; /* what the idle lanes have room for */

    for (unsigned i = 0; i < d->n_used; i++)
        least = MIN(least, d->left[i]);
    return least;
}

/* After a run of `blocks` in every lane. */
static void lanes_advance(struct deal *d, size_t blocks)
{
    for (unsigned i = 0; i < d->n_used; i++) {
        d->lanes.p[i] += blocks * CFB_BLOCK;
        d->left[i] -= blocks;
    }
    for (unsigned i = 0; i < d->n_used;) {
        if (d->left[i]) {
            i++;
            continue;
        }
        cfb_xor_short(d->lanes.p[i], d->lanes.f[i], d->tail[i]);
        if (lane_start(d, i))
            i++;
        else
            lane_close(d, i);
    }
}

void cfb_lanes_seal(const struct cfb_kernel *kernel, const void *key, const uint8_t first[CFB_BLOCK],
                    struct cipher_pkt v[], size_t n)
{
    struct deal d;

    d.n_used = 0;
    d.next = v;
    d.end = v + n;
    d.first = first;
    for (unsigned i = 0; i < kernel->n_lanes; i++)
        d.lanes.p[i] = d.idle;
    while (d.n_used < kernel->n_lanes && lane_start(&d, d.n_used))
        d.n_used++;
    while (d.n_used) {
        size_t blocks = shortest(&d);

        kernel->run(key, &d.lanes, d.n_used, blocks);
        lanes_advance(&d, blocks);
    }
}
