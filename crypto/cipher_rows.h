/* crypto/cipher_rows.h - the rows of cipher_table, each defined by its implementation; private to crypto/.
 * A row of the CFB family takes packets of 0..CIPHER_PKT_MAX bytes, an AEAD row of CIPHER_AEAD_NONCE + CIPHER_AEAD_TAG
 * and more. States are 64-aligned and zeroed before init. */
#ifndef CRYPTO_CIPHER_ROWS_H
#define CRYPTO_CIPHER_ROWS_H

#include "crypto/cipher.h"

enum { CIPHER_CFB_IV = 16, CIPHER_AEAD_NONCE = 12, CIPHER_AEAD_TAG = 16 };

extern const uint8_t cipher_cfb_iv[CIPHER_CFB_IV]; /* of every packet; 8-byte blocks use its first half */

extern const struct cipher_ops cipher_gcrypt_aes, cipher_gcrypt_aes128, cipher_gcrypt_aes192, cipher_gcrypt_sm4,
    cipher_gcrypt_twofish, cipher_gcrypt_blowfish, cipher_gcrypt_cast5, cipher_gcrypt_tdes;
extern const struct cipher_ops cipher_tea, cipher_xtea;
extern const struct cipher_ops cipher_salsa20;
extern const struct cipher_ops cipher_xor, cipher_none, cipher_null;
extern const struct cipher_ops aead_gcm128;

#if defined(__x86_64__)
extern const struct cipher_ops cfb_aesni_aes, cfb_aesni_aes128, cfb_aesni_aes192;
extern const struct cipher_ops cfb_vaes256_aes, cfb_vaes256_aes128, cfb_vaes256_aes192;
extern const struct cipher_ops cfb_vaes_aes, cfb_vaes_aes128, cfb_vaes_aes192;
extern const struct cipher_ops salsa_avx512, salsa_avx2;
extern const struct cipher_ops gcm_vaes, gcm_vaes256, gcm_aesni;
#endif

#endif
