/* crypto/salsa_avx2.c - Salsa20 over 8 blocks side by side, on 256-bit registers. Its oracle is libsodium. */
#if defined(__x86_64__)
#define VEC_BITS 256

#include "crypto/salsa_vec.h"

const struct cipher_ops salsa_avx2 = SALSA_VEC("avx2 x8");
#endif
