/* crypto/kdf.c - PBKDF2 by libgcrypt, and the start-up of both crypto libraries.
 * Source: the key derivation of kcptun (salt, rounds) and of kcp-go's "xor" cipher. */
#include "crypto/kdf.h"

#include <gcrypt.h>
#include <sodium.h>
#include <string.h>

#include "core/base/err.h"
#include "crypto/cipher_gcrypt.h"

enum { KDF_ROUNDS = 4096, XOR_ROUNDS = 32, SECMEM_POOL = 64 * 1024 };

int kdf_stretch(struct room out, struct bytes secret, const char *salt, unsigned long rounds)
{
    static const uint8_t none[1]; /* libgcrypt refuses a null pointer, even with no bytes behind it */
    gcry_error_t e = gcry_kdf_derive(secret.len ? secret.p : none, secret.len, GCRY_KDF_PBKDF2, GCRY_MD_SHA1, salt,
                                     strlen(salt), rounds, out.len, out.p);

    return e ? cipher_gcrypt_err(e, "PBKDF2") : 0;
}

int kdf_derive(uint8_t out[32], struct bytes passphrase)
{
    return kdf_stretch((struct room){out, 32}, passphrase, "kcp-go", KDF_ROUNDS);
}

int kdf_xor_table(uint8_t out[1500], const uint8_t key[32])
{
    return kdf_stretch((struct room){out, 1500}, bytes_of(key, 32), "sH3CIVoF#rWLtJo6", XOR_ROUNDS);
}

/* libgcrypt locks and marks its secure pool itself; where that is forbidden it goes on with plain pages, and the pool
 * grows by such pages when it is full. Neither is a reason to warn on stderr or to stop. */
static int gcrypt_start(void)
{
    if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
        return 0;
    if (!gcry_check_version("1.9.0")) /* the first with SM4 */
        return err_say(-ENOTSUP, "libgcrypt %s is older than 1.9", gcry_check_version(NULL));
    gcry_control(GCRYCTL_DISABLE_SECMEM_WARN);
    gcry_control(GCRYCTL_DISABLE_PRIV_DROP); /* else some builds give up every capability once the pool is locked */
    gcry_control(GCRYCTL_INIT_SECMEM, SECMEM_POOL, 0);
    gcry_control(GCRYCTL_AUTO_EXPAND_SECMEM, SECMEM_POOL, 0);
    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    return 0;
}

int crypto_init(void)
{
    int r = gcrypt_start();

    if (r)
        return err_pass(r);
    if (sodium_init() < 0)
        return err_say(-ENOTSUP, "libsodium does not start");
    cipher_gcrypt_warm();
    return 0;
}

void crypto_wipe(void *p, size_t n)
{
    sodium_memzero(p, n);
}
