/* crypto/salsa_avx512.c - Salsa20 over 16 blocks side by side, on 512-bit registers. Its oracle is libsodium. */
#if defined(__x86_64__)
#define VEC_BITS 512

#include "crypto/salsa_vec.h"

const struct cipher_ops salsa_avx512 = SALSA_VEC("avx512 x16");
#endif
