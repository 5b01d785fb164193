/* crypto/kdf.h - the passphrase's derived key: PBKDF2-HMAC-SHA1, salt "kcp-go", 4096 rounds, 32 bytes. */
#ifndef CRYPTO_KDF_H
#define CRYPTO_KDF_H

#include "core/base/bytes.h"

/* 0, -errno. The passphrase may be empty. */
int kdf_derive(uint8_t out[32], struct bytes passphrase);
/* The table of the cipher "xor" (1500 bytes) from the derived key. 0, -errno. */
int kdf_xor_table(uint8_t out[1500], const uint8_t key[32]);
/* PBKDF2-HMAC-SHA1 over the ASCII salt. 0, -errno. The secret may be empty. */
int kdf_stretch(struct room out, struct bytes secret, const char *salt, unsigned long rounds);
/* Start-up of libgcrypt and libsodium, once, before threads. 0, -errno. */
int crypto_init(void);
void crypto_wipe(void *p, size_t n);

#endif
