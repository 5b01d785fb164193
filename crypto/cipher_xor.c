/* crypto/cipher_xor.c - the ciphers that hide nothing: a fixed pad, identity with nonce and checksum, nothing. */
#include <string.h>

#include "core/base/err.h"
#include "crypto/cipher_rows.h"
#include "crypto/kdf.h"

static size_t xor_state_size(void)
{
    return CIPHER_PKT_MAX;
}

static int xor_init(void *state, const uint8_t *key)
{
    int r = kdf_xor_table(state, key);

    return r ? err_pass(r) : 0;
}

static void pad_apply(uint8_t *p, const uint8_t *pad, size_t n)
{
    uint64_t a, b;

    for (; n >= sizeof a; p += sizeof a, pad += sizeof a, n -= sizeof a) {
        memcpy(&a, p, sizeof a);
        memcpy(&b, pad, sizeof b);
        a ^= b;
        memcpy(p, &a, sizeof a);
    }
    for (size_t i = 0; i < n; i++)
        p[i] ^= pad[i];
}

static void xor_apply(void *state, struct cipher_pkt v[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pad_apply(v[i].p, state, MIN(v[i].len, CIPHER_PKT_MAX));
        v[i].ok = true;
    }
}

static size_t plain_state_size(void)
{
    return 0;
}

static int plain_init(void *state, const uint8_t *key)
{
    (void)state;
    (void)key;
    return 0;
}

static void plain_apply(void *state, struct cipher_pkt v[], size_t n)
{
    (void)state;
    for (size_t i = 0; i < n; i++)
        v[i].ok = true;
}

static void plain_fini(void *state)
{
    (void)state;
}

const struct cipher_ops cipher_xor = {
    .name = "xor",
    .impl = "portable",
    .family = CIPHER_CFB,
    .key_len = CIPHER_KEY,
    .state_size = xor_state_size,
    .init = xor_init,
    .seal = xor_apply,
    .open = xor_apply,
    .fini = plain_fini,
};

const struct cipher_ops cipher_none = {
    .name = "none",
    .impl = "portable",
    .family = CIPHER_CFB,
    .state_size = plain_state_size,
    .init = plain_init,
    .seal = plain_apply,
    .open = plain_apply,
    .fini = plain_fini,
};

const struct cipher_ops cipher_null = {
    .name = "null",
    .impl = "portable",
    .family = CIPHER_NULL,
    .state_size = plain_state_size,
    .init = plain_init,
    .seal = plain_apply,
    .open = plain_apply,
    .fini = plain_fini,
};
