/* crypto/nonce.h - nonces and other unpredictable bytes from a seed the daemon brings: ChaCha20 (libsodium).
 * For AEAD a nonce is 8 bytes drawn per generator and 4 bytes of counter, so none repeats under one generator, and two
 * generators meet with probability 2^-64. Deterministic from its seed: tests replay. */
#ifndef CRYPTO_NONCE_H
#define CRYPTO_NONCE_H

#include "core/base/bytes.h"

enum { NONCE_SEED = 32 };

struct nonce_gen {
    uint8_t key[32];
    uint64_t block;               /* keystream position; re-keyed from the stream itself every 2^20 blocks */
    uint8_t prefix[8];
    uint32_t count;
    uint8_t pool[1024];
    uint32_t used;
};

void nonce_init(struct nonce_gen *g, const uint8_t seed[NONCE_SEED]);
void nonce_random(struct nonce_gen *g, void *out, size_t n);          /* uniform bytes */
uint32_t nonce_u32(struct nonce_gen *g);
/* n nonces of 16 bytes: random, or (unique) 12 bytes that never repeat followed by 4 of zero. */
void nonce_fill(struct nonce_gen *g, uint8_t (*out)[16], size_t n, int unique);
void nonce_fini(struct nonce_gen *g);                                 /* wipes */

#endif
