/* crypto/cfb_aes.h - an expanded AES key, shared by the x86 kernels. Private to crypto/, x86-64 only. */
#ifndef CRYPTO_CFB_AES_H
#define CRYPTO_CFB_AES_H

#include <immintrin.h>

#include "crypto/cfb_lanes.h"

enum { AES_ROUNDS_MAX = 14 };

struct cfb_aes {
    __m128i rk[AES_ROUNDS_MAX + 1];
    __m128i first; /* the encrypted IV, with which every packet starts */
    unsigned rounds;
};

bool cfb_aesni_usable(void);
bool cfb_vaes_in_cpu(void); /* says nothing of the registers the kernel saves */
size_t cfb_aesni_state_size(void);
/* key_len: 16, 24 or 32. The init of the rows; always 0. */
int cfb_aesni_init128(void *state, const uint8_t *key);
int cfb_aesni_init192(void *state, const uint8_t *key);
int cfb_aesni_init256(void *state, const uint8_t *key);
void cfb_aesni_fini(void *state);

#endif
