/* crypto/cfb_vaes.c - AES-CFB with VAES on 512-bit registers. Its oracle is libgcrypt. */
#if defined(__x86_64__)
#define VEC_BITS 512

#include "crypto/cfb_vaes.h"

const struct cipher_ops cfb_vaes_aes = CFB_VAES("aes", "vaes x32", cfb_aesni_init256, 32);
const struct cipher_ops cfb_vaes_aes128 = CFB_VAES("aes-128", "vaes x32", cfb_aesni_init128, 16);
const struct cipher_ops cfb_vaes_aes192 = CFB_VAES("aes-192", "vaes x32", cfb_aesni_init192, 24);
#endif
