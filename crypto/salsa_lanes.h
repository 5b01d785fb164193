/* crypto/salsa_lanes.h - Salsa20 over several blocks side by side. Every block's keystream stands alone, so the blocks
 * of a batch are dealt to the lanes of a kernel across the borders of packets. Private to crypto/. */
#ifndef CRYPTO_SALSA_LANES_H
#define CRYPTO_SALSA_LANES_H

#include "crypto/cipher.h"

enum { SALSA_LANES_MAX = 16, SALSA_BLOCK = 64, SALSA_KEY_WORDS = 8, SALSA_ROUNDS = 20 };

struct salsa_state {
    uint32_t key[SALSA_KEY_WORDS];
};

/* A packet is so short that the upper word of a block's number is always 0. */
struct salsa_lanes {
    _Alignas(64) uint32_t nonce[2][SALSA_LANES_MAX];
    _Alignas(64) uint32_t number[SALSA_LANES_MAX]; /* of the block in its packet */
    uint8_t *p[SALSA_LANES_MAX];
    uint32_t len[SALSA_LANES_MAX]; /* bytes at p, up to a block; 0: the lane is idle, p is not to be touched */
};

struct salsa_kernel {
    unsigned n_lanes;
    void (*run)(const struct salsa_state *s, const struct salsa_lanes *l); /* xors the keystream into every lane's p */
};

/* "expand 32-byte k": words 0, 5, 10 and 15 of a block. */
enum { SALSA_C0 = 0x61707865, SALSA_C1 = 0x3320646e, SALSA_C2 = 0x79622d32, SALSA_C3 = 0x6b206574 };

size_t salsa_lanes_state_size(void);
int salsa_lanes_init(void *state, const uint8_t *key); /* 0 */
void salsa_lanes_fini(void *state);
/* Seals and opens: xors all that follows the nonce. Sets ok. Packets are up to CIPHER_PKT_MAX bytes, of any lengths. */
void salsa_lanes_xor(const struct salsa_kernel *kernel, const struct salsa_state *s, struct cipher_pkt v[], size_t n);

#endif
