/* crypto/nonce.c - one ChaCha20 keystream, drawn through a pool; a counter behind a drawn prefix for AEAD. */
#include "crypto/nonce.h"

#include <sodium.h>

#include "core/base/wire.h"

enum { CHACHA_BLOCK = 64, REKEY_BLOCKS = 1 << 20, AEAD_PREFIX = 8 };

_Static_assert(NONCE_SEED == crypto_stream_chacha20_KEYBYTES, "the seed is the first key");
_Static_assert(sizeof((struct nonce_gen *)0)->pool % CHACHA_BLOCK == 0, "the pool is whole blocks");

/* Writes the next keystream bytes to out (whole blocks). */
static void stream_next(struct nonce_gen *g, uint8_t *out, size_t n)
{
    static const uint8_t iv[crypto_stream_chacha20_NONCEBYTES];

    memset(out, 0, n);
    crypto_stream_chacha20_xor_ic(out, out, n, iv, g->block, g->key);
    g->block += n / CHACHA_BLOCK;
}

static void pool_fill(struct nonce_gen *g)
{
    if (g->block >= REKEY_BLOCKS) { /* what was drawn so far cannot be computed from the state any more */
        uint8_t next[CHACHA_BLOCK];

        stream_next(g, next, sizeof next);
        memcpy(g->key, next, sizeof g->key);
        sodium_memzero(next, sizeof next);
        g->block = 0;
    }
    stream_next(g, g->pool, sizeof g->pool);
    g->used = 0;
}

void nonce_init(struct nonce_gen *g, const uint8_t seed[NONCE_SEED])
{
    memset(g, 0, sizeof *g);
    memcpy(g->key, seed, sizeof g->key);
    g->used = sizeof g->pool;
    nonce_random(g, g->prefix, sizeof g->prefix);
}

void nonce_random(struct nonce_gen *g, void *out, size_t n)
{
    uint8_t *p = out;

    while (n) {
        size_t take;

        if (g->used == sizeof g->pool)
            pool_fill(g);
        take = MIN(n, sizeof g->pool - g->used);
        memcpy(p, g->pool + g->used, take);
        g->used += (uint32_t)take;
        p += take;
        n -= take;
    }
}

uint32_t nonce_u32(struct nonce_gen *g)
{
    uint8_t b[4];

    nonce_random(g, b, sizeof b);
    return get_le32(b);
}

/* The prefix counts on when the counter wraps: a fresh draw could meet an earlier one. */
static void aead_next(struct nonce_gen *g, uint8_t out[16])
{
    memcpy(out, g->prefix, AEAD_PREFIX);
    put_le32(out + AEAD_PREFIX, g->count);
    memset(out + AEAD_PREFIX + 4, 0, 4);
    if (++g->count == 0)
        sodium_increment(g->prefix, sizeof g->prefix);
}

void nonce_fill(struct nonce_gen *g, uint8_t (*out)[16], size_t n, int unique)
{
    if (!unique) {
        nonce_random(g, out, n * 16);
        return;
    }
    for (size_t i = 0; i < n; i++)
        aead_next(g, out[i]);
}

void nonce_fini(struct nonce_gen *g)
{
    if (g)
        sodium_memzero(g, sizeof *g);
}
