/* crypto/cipher_tea.c - TEA with 8 cycles (the peer asks its library for 16 rounds) and XTEA with 32, in CFB with
 * full feedback over 8-byte blocks of big-endian words. */
#include <string.h>

#include "core/base/wire.h"
#include "crypto/cipher_rows.h"

enum { KEY = 16, BLOCK = 8, TEA_CYCLES = 8, XTEA_CYCLES = 32 };

#define DELTA 0x9e3779b9u

struct tea_state {
    uint32_t k[4];
    uint8_t first[BLOCK]; /* the encrypted IV, with which every packet starts */
};

static void tea_block(const uint32_t k[4], uint8_t out[BLOCK], const uint8_t in[BLOCK])
{
    uint32_t v0 = get_be32(in), v1 = get_be32(in + 4), sum = 0;

    for (int i = 0; i < TEA_CYCLES; i++) {
        sum += DELTA;
        v0 += ((v1 << 4) + k[0]) ^ (v1 + sum) ^ ((v1 >> 5) + k[1]);
        v1 += ((v0 << 4) + k[2]) ^ (v0 + sum) ^ ((v0 >> 5) + k[3]);
    }
    put_be32(out, v0);
    put_be32(out + 4, v1);
}

static void xtea_block(const uint32_t k[4], uint8_t out[BLOCK], const uint8_t in[BLOCK])
{
    uint32_t v0 = get_be32(in), v1 = get_be32(in + 4), sum = 0;

    for (int i = 0; i < XTEA_CYCLES; i++) {
        v0 += (((v1 << 4) ^ (v1 >> 5)) + v1) ^ (sum + k[sum & 3]);
        sum += DELTA;
        v1 += (((v0 << 4) ^ (v0 >> 5)) + v0) ^ (sum + k[sum >> 11 & 3]);
    }
    put_be32(out, v0);
    put_be32(out + 4, v1);
}

typedef void block_fn(const uint32_t k[4], uint8_t out[BLOCK], const uint8_t in[BLOCK]);

static size_t tea_state_size(void)
{
    return sizeof(struct tea_state);
}

static inline int state_init(struct tea_state *s, const uint8_t *key, block_fn *block)
{
    for (size_t i = 0; i < LEN(s->k); i++)
        s->k[i] = get_be32(key + 4 * i);
    block(s->k, s->first, cipher_cfb_iv);
    return 0;
}

static inline void pkt_seal(const struct tea_state *s, uint8_t *p, size_t len, block_fn *block)
{
    uint8_t f[BLOCK];

    memcpy(f, s->first, BLOCK);
    for (; len > BLOCK; p += BLOCK, len -= BLOCK) {
        for (int i = 0; i < BLOCK; i++)
            p[i] ^= f[i];
        block(s->k, f, p);
    }
    for (size_t i = 0; i < len; i++)
        p[i] ^= f[i];
}

static inline void pkt_open(const struct tea_state *s, uint8_t *p, size_t len, block_fn *block)
{
    uint8_t f[BLOCK], next[BLOCK];

    memcpy(f, s->first, BLOCK);
    for (; len > BLOCK; p += BLOCK, len -= BLOCK) {
        block(s->k, next, p);
        for (int i = 0; i < BLOCK; i++)
            p[i] ^= f[i];
        memcpy(f, next, BLOCK);
    }
    for (size_t i = 0; i < len; i++)
        p[i] ^= f[i];
}

static void tea_fini(void *state)
{
    (void)state;
}

/* Both rows through the same three functions, with the block function inlined. */
#define ROW(id)                                                                                                        \
    static int id##_init(void *state, const uint8_t *key)                                                              \
    {                                                                                                                  \
        return state_init(state, key, id##_block);                                                                     \
    }                                                                                                                  \
    static void id##_seal(void *state, struct cipher_pkt v[], size_t n)                                                \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++)                                                                                 \
            pkt_seal(state, v[i].p, v[i].len, id##_block);                                                             \
    }                                                                                                                  \
    static void id##_open(void *state, struct cipher_pkt v[], size_t n)                                                \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            pkt_open(state, v[i].p, v[i].len, id##_block);                                                             \
            v[i].ok = true;                                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    const struct cipher_ops cipher_##id = {                                                                            \
        .name = #id,                                                                                                   \
        .impl = "portable",                                                                                            \
        .family = CIPHER_CFB,                                                                                          \
        .key_len = KEY,                                                                                                \
        .state_size = tea_state_size,                                                                                  \
        .init = id##_init,                                                                                             \
        .seal = id##_seal,                                                                                             \
        .open = id##_open,                                                                                             \
        .fini = tea_fini,                                                                                              \
    }

ROW(tea);
ROW(xtea);
