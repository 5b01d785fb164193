/* crypto/cipher_sodium.c - Salsa20 by libsodium: the first 8 bytes of a datagram are its nonce and stay in clear. */
#include <sodium.h>
#include <string.h>

#include "crypto/cipher_rows.h"

enum { KEY = crypto_stream_salsa20_KEYBYTES, CLEAR = crypto_stream_salsa20_NONCEBYTES };

static size_t salsa_state_size(void)
{
    return KEY;
}

static int salsa_init(void *state, const uint8_t *key)
{
    memcpy(state, key, KEY);
    return 0;
}

static void salsa_xor(void *state, struct cipher_pkt v[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        v[i].ok = true;
        if (v[i].len > CLEAR)
            crypto_stream_salsa20_xor(v[i].p + CLEAR, v[i].p + CLEAR, v[i].len - CLEAR, v[i].p, state);
    }
}

static void salsa_fini(void *state)
{
    (void)state;
}

const struct cipher_ops cipher_salsa20 = {
    .name = "salsa20",
    .impl = "libsodium",
    .family = CIPHER_CFB,
    .key_len = KEY,
    .state_size = salsa_state_size,
    .init = salsa_init,
    .seal = salsa_xor,
    .open = salsa_xor,
    .fini = salsa_fini,
};
