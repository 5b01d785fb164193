/* crypto/gcm_vaes256.c - AES-128-GCM with VAES on 256-bit registers, for CPUs without AVX-512 (Zen 3, Alder Lake). Its
 * oracle is libgcrypt. */
#if defined(__x86_64__)
#define VEC_BITS 256

#include "crypto/gcm_vaes.h"

const struct cipher_ops gcm_vaes256 = GCM_VAES("vaes256 x16");
#endif
