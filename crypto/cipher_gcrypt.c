/* crypto/cipher_gcrypt.c - the block ciphers libgcrypt has, in CFB with full feedback. It decrypts several blocks at a
 * time; encryption is serial inside a packet. Knows nothing of nonces and checksums. */
#include "crypto/cipher_gcrypt.h"

#include <string.h>

#include "core/base/err.h"
#include "crypto/cipher_rows.h"

struct gcrypt_state {
    gcry_cipher_hd_t h;
    size_t block; /* bytes, and so those of the IV */
};

int cipher_gcrypt_err(gcry_error_t e, const char *what)
{
    int err = gcry_err_code_to_errno(gcry_err_code(e));

    if (err)
        return err_say(-err, "libgcrypt: %s", what);
    return err_say(-ENOTSUP, "libgcrypt: %s: %s", what, gcry_strerror(e));
}

int cipher_gcrypt_open(gcry_cipher_hd_t *h, int algo, int mode, struct bytes key)
{
    gcry_error_t e = gcry_cipher_open(h, algo, mode, GCRY_CIPHER_SECURE);

    if (e)
        e = gcry_cipher_open(h, algo, mode, 0);
    if (e)
        return cipher_gcrypt_err(e, gcry_cipher_algo_name(algo));
    /* The key is the passphrase's: one that is weak for DES or Blowfish is still the one the peer uses. */
    gcry_cipher_ctl(*h, GCRYCTL_SET_ALLOW_WEAK_KEY, NULL, 1);
    e = gcry_cipher_setkey(*h, key.p, key.len);
    if (e && gcry_err_code(e) != GPG_ERR_WEAK_KEY) {
        gcry_cipher_close(*h);
        return cipher_gcrypt_err(e, gcry_cipher_algo_name(algo));
    }
    return 0;
}

static size_t gcrypt_state_size(void)
{
    return sizeof(struct gcrypt_state);
}

static int gcrypt_init(void *state, int algo, const uint8_t *key, size_t key_len)
{
    struct gcrypt_state *s = state;

    s->block = gcry_cipher_get_algo_blklen(algo);
    return cipher_gcrypt_open(&s->h, algo, GCRY_CIPHER_MODE_CFB, bytes_of(key, key_len));
}

static void gcrypt_seal(void *state, struct cipher_pkt v[], size_t n)
{
    struct gcrypt_state *s = state;

    for (size_t i = 0; i < n; i++)
        if (gcry_cipher_setiv(s->h, cipher_cfb_iv, s->block) || gcry_cipher_encrypt(s->h, v[i].p, v[i].len, NULL, 0))
            memset(v[i].p, 0, v[i].len); /* the library has stopped itself: at least nothing leaves in clear */
}

static void gcrypt_open(void *state, struct cipher_pkt v[], size_t n)
{
    struct gcrypt_state *s = state;

    for (size_t i = 0; i < n; i++)
        v[i].ok =
            !gcry_cipher_setiv(s->h, cipher_cfb_iv, s->block) && !gcry_cipher_decrypt(s->h, v[i].p, v[i].len, NULL, 0);
}

static void gcrypt_fini(void *state)
{
    struct gcrypt_state *s = state;

    gcry_cipher_close(s->h); /* wipes */
}

/* init() of a row takes no algorithm, so each row has its own. */
#define ROW(id, name_, algo, bytes)                                                                                    \
    static int id##_init(void *state, const uint8_t *key)                                                              \
    {                                                                                                                  \
        return gcrypt_init(state, algo, key, bytes);                                                                   \
    }                                                                                                                  \
    const struct cipher_ops cipher_gcrypt_##id = {                                                                     \
        .name = name_,                                                                                                 \
        .impl = "libgcrypt",                                                                                           \
        .family = CIPHER_CFB,                                                                                          \
        .key_len = bytes,                                                                                              \
        .state_size = gcrypt_state_size,                                                                               \
        .init = id##_init,                                                                                             \
        .seal = gcrypt_seal,                                                                                           \
        .open = gcrypt_open,                                                                                           \
        .fini = gcrypt_fini,                                                                                           \
    }

ROW(aes, "aes", GCRY_CIPHER_AES256, 32);
ROW(aes128, "aes-128", GCRY_CIPHER_AES128, 16);
ROW(aes192, "aes-192", GCRY_CIPHER_AES192, 24);
ROW(sm4, "sm4", GCRY_CIPHER_SM4, 16);
ROW(twofish, "twofish", GCRY_CIPHER_TWOFISH, 32);
ROW(blowfish, "blowfish", GCRY_CIPHER_BLOWFISH, 32);
ROW(cast5, "cast5", GCRY_CIPHER_CAST5, 16);
ROW(tdes, "3des", GCRY_CIPHER_3DES, 24);

void cipher_gcrypt_warm(void)
{
    static const int algos[] = {GCRY_CIPHER_AES256,   GCRY_CIPHER_SM4,   GCRY_CIPHER_TWOFISH,
                                GCRY_CIPHER_BLOWFISH, GCRY_CIPHER_CAST5, GCRY_CIPHER_3DES};
    static const uint8_t key[32] = {1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53};

    for (size_t i = 0; i < LEN(algos); i++) {
        size_t key_len = gcry_cipher_get_algo_keylen(algos[i]);
        gcry_cipher_hd_t h;

        if (cipher_gcrypt_open(&h, algos[i], GCRY_CIPHER_MODE_CFB, bytes_of(key, key_len)) == 0)
            gcry_cipher_close(h); /* one that is missing (FIPS mode) is reported to who asks for it */
    }
}
