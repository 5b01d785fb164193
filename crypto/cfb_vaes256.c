/* crypto/cfb_vaes256.c - AES-CFB with VAES on 256-bit registers, for CPUs without AVX-512 (Zen 3, Alder Lake). Its oracle is
 * libgcrypt. */
#if defined(__x86_64__)
#define VEC_BITS 256

#include "crypto/cfb_vaes.h"

const struct cipher_ops cfb_vaes256_aes = CFB_VAES("aes", "vaes256 x16", cfb_aesni_init256, 32);
const struct cipher_ops cfb_vaes256_aes128 = CFB_VAES("aes-128", "vaes256 x16", cfb_aesni_init128, 16);
const struct cipher_ops cfb_vaes256_aes192 = CFB_VAES("aes-192", "vaes256 x16", cfb_aesni_init192, 24);
#endif
