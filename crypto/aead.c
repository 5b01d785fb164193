/* crypto/aead.c - AES-128-GCM by libgcrypt: nonce[12] in clear, the body, tag[16]; no additional data. */
#include <string.h>

#include "crypto/cipher_gcrypt.h"
#include "crypto/cipher_rows.h"

enum { KEY = 16 };

struct aead_state {
    gcry_cipher_hd_t h;
};

static size_t aead_state_size(void)
{
    return sizeof(struct aead_state);
}

static int aead_init(void *state, const uint8_t *key)
{
    struct aead_state *s = state;

    return cipher_gcrypt_open(&s->h, GCRY_CIPHER_AES128, GCRY_CIPHER_MODE_GCM, bytes_of(key, KEY));
}

static struct room body_of(const struct cipher_pkt *v)
{
    return (struct room){v->p + CIPHER_AEAD_NONCE, v->len - CIPHER_AEAD_NONCE - CIPHER_AEAD_TAG};
}

static void aead_seal(void *state, struct cipher_pkt v[], size_t n)
{
    struct aead_state *s = state;

    for (size_t i = 0; i < n; i++) {
        struct room b = body_of(&v[i]);

        if (gcry_cipher_setiv(s->h, v[i].p, CIPHER_AEAD_NONCE) || gcry_cipher_encrypt(s->h, b.p, b.len, NULL, 0) ||
            gcry_cipher_gettag(s->h, b.p + b.len, CIPHER_AEAD_TAG))
            memset(v[i].p, 0, v[i].len); /* the library has stopped itself: at least nothing leaves in clear */
    }
}

/* The body is decrypted before its tag is known to match; it is wiped if not. */
static void aead_open(void *state, struct cipher_pkt v[], size_t n)
{
    struct aead_state *s = state;

    for (size_t i = 0; i < n; i++) {
        struct room b = body_of(&v[i]);

        v[i].ok = !gcry_cipher_setiv(s->h, v[i].p, CIPHER_AEAD_NONCE) &&
                  !gcry_cipher_decrypt(s->h, b.p, b.len, NULL, 0) &&
                  !gcry_cipher_checktag(s->h, b.p + b.len, CIPHER_AEAD_TAG);
        if (!v[i].ok)
            memset(b.p, 0, b.len);
    }
}

static void aead_fini(void *state)
{
    struct aead_state *s = state;

    gcry_cipher_close(s->h);
}

const struct cipher_ops aead_gcm128 = {
    .name = "aes-128-gcm",
    .impl = "libgcrypt",
    .family = CIPHER_AEAD,
    .key_len = KEY,
    .state_size = aead_state_size,
    .init = aead_init,
    .seal = aead_seal,
    .open = aead_open,
    .fini = aead_fini,
};
