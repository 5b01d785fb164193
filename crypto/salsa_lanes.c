/* crypto/salsa_lanes.c - deals the blocks of a batch to the lanes of a kernel: the first 8 bytes of a datagram are its
 * nonce and stay in clear, block 0 starts behind them. Knows nothing of the rounds. */
#include "crypto/salsa_lanes.h"

#include <string.h>

#include "core/base/wire.h"

enum { CLEAR = 8 };

size_t salsa_lanes_state_size(void)
{
    return sizeof(struct salsa_state);
}

int salsa_lanes_init(void *state, const uint8_t *key)
{
    struct salsa_state *s = state;

    for (unsigned i = 0; i < SALSA_KEY_WORDS; i++)
        s->key[i] = get_le32(key + 4 * i);
    return 0;
}

void salsa_lanes_fini(void *state)
{
    (void)state;
}

/* One set of lanes is filled while the other waits to be run: a vector load of what was written just before, word by
 * word, would stall until all earlier writes have left the CPU. */
struct deal {
    struct salsa_lanes lanes[2];
    const struct salsa_kernel *kernel;
    const struct salsa_state *s;
    struct salsa_lanes *filling, *full; /* full: NULL if there is none */
    unsigned n_filled;
};

static void deal_switch(struct deal *d)
{
    struct salsa_lanes *next = d->filling == d->lanes ? d->lanes + 1 : d->lanes;

    if (d->full)
        d->kernel->run(d->s, d->full);
    d->full = d->filling;
    d->filling = next;
    d->n_filled = 0;
}

/* Puts n blocks of a packet into the lanes from the first free one on: the next ones from p, `left` bytes to its end. */
static void deal_blocks(struct deal *d, const uint32_t nonce[2], uint32_t number, unsigned n, uint8_t *p, uint32_t left)
{
    struct salsa_lanes *l = d->filling;
    unsigned from = d->n_filled;

    for (unsigned i = 0; i < n; i++) {
        l->nonce[0][from + i] = nonce[0];
        l->nonce[1][from + i] = nonce[1];
        l->number[from + i] = number + i;
        l->p[from + i] = p + SALSA_BLOCK * i;
        l->len[from + i] = SALSA_BLOCK;
    }
    l->len[from + n - 1] = MIN(left - SALSA_BLOCK * (n - 1), SALSA_BLOCK);
    d->n_filled += n;
}

static void deal_pkt(struct deal *d, const struct cipher_pkt *v)
{
    uint32_t nonce[2] = {get_le32(v->p), get_le32(v->p + 4)};
    uint32_t number = 0, n_blocks = (v->len - CLEAR + SALSA_BLOCK - 1) / SALSA_BLOCK;

    while (number < n_blocks) {
        uint32_t at = CLEAR + SALSA_BLOCK * number, n = MIN(n_blocks - number, d->kernel->n_lanes - d->n_filled);

        deal_blocks(d, nonce, number, n, v->p + at, v->len - at);
        number += n;
        if (d->n_filled == d->kernel->n_lanes)
            deal_switch(d);
    }
}

/* Runs what is left, with the lanes behind it idle. */
static void deal_end(struct deal *d)
{
    if (d->n_filled) {
        memset(d->filling->len + d->n_filled, 0, (d->kernel->n_lanes - d->n_filled) * sizeof d->filling->len[0]);
        deal_switch(d);
    }
    if (d->full)
        d->kernel->run(d->s, d->full);
}

void salsa_lanes_xor(const struct salsa_kernel *kernel, const struct salsa_state *s, struct cipher_pkt v[], size_t n)
{
    struct deal d;

    memset(&d, 0, sizeof d);
    d.kernel = kernel;
    d.s = s;
    d.filling = d.lanes;
    for (size_t i = 0; i < n; i++) {
        v[i].ok = true;
        if (v[i].len > CLEAR)
            deal_pkt(&d, &v[i]);
    }
    deal_end(&d);
}
