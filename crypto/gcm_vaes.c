/* crypto/gcm_vaes.c - AES-128-GCM with VAES on 512-bit registers. Its oracle is libgcrypt. */
#if defined(__x86_64__)
#define VEC_BITS 512

#include "crypto/gcm_vaes.h"

const struct cipher_ops gcm_vaes = GCM_VAES("vaes x16");
#endif
