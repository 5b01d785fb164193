/* crypto/cipher_gcrypt.h - what the libgcrypt rows share; private to crypto/. */
#ifndef CRYPTO_CIPHER_GCRYPT_H
#define CRYPTO_CIPHER_GCRYPT_H

#include <gcrypt.h>

#include "core/base/bytes.h"

/* A keyed handle in secure memory, or in plain memory where there is none left. 0, -errno. */
int cipher_gcrypt_open(gcry_cipher_hd_t *h, int algo, int mode, struct bytes key);
/* Starts a trace; what: the operation that failed. -errno. */
int cipher_gcrypt_err(gcry_error_t e, const char *what);
/* Runs every algorithm once: libgcrypt tests each at its first key, behind a plain static flag. */
void cipher_gcrypt_warm(void);

#endif
