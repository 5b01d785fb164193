/* crypto/cfb_lanes.h - CFB encryption of several packets side by side. Inside a packet each block waits for the one
 * before it, so a kernel runs one chain per lane; here the packets of a batch are dealt to the lanes.
 * Private to crypto/. */
#ifndef CRYPTO_CFB_LANES_H
#define CRYPTO_CFB_LANES_H

#include "crypto/cipher.h"

enum { CFB_LANES_MAX = 32, CFB_BLOCK = 16 };

struct cfb_lanes {
    _Alignas(64) uint8_t f[CFB_LANES_MAX][CFB_BLOCK]; /* feedback: what the lane's next block is xored with */
    uint8_t *p[CFB_LANES_MAX]; /* the lane's next block */
};

struct cfb_kernel {
    unsigned n_lanes;
    /* Encrypts `blocks` blocks in the first n_used lanes, or in more, and updates f; p is the caller's to move on. */
    void (*run)(const void *key, struct cfb_lanes *l, unsigned n_used, size_t blocks);
};

/* first: the encrypted IV. key: passed to the kernel. Packets are up to CIPHER_PKT_MAX bytes, in any mix of lengths. */
void cfb_lanes_seal(const struct cfb_kernel *kernel, const void *key, const uint8_t first[CFB_BLOCK],
                    struct cipher_pkt v[], size_t n);

/* p[0..n) ^= ks[0..n), n up to a block. */
static inline void cfb_xor_short(uint8_t *p, const uint8_t *ks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] ^= ks[i];
}

#endif
