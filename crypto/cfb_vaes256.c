/* crypto/cfb_vaes256.c - AES-CFB with VAES on 256-bit registers, for CPUs without AVX-512 (Zen 3, Alder Lake): two
 * lanes or blocks to a register, eight registers in flight. Its oracle is libgcrypt. */
#if defined(__x86_64__)
#include "crypto/cfb_aes.h"

#include "crypto/cipher_rows.h"

#define VAES256 __attribute__((target("vaes,aes,avx2")))
/* Written out, so that every vector stays in a register of its own. */
#define VECTORS_2(X) X(0) X(1)
#define VECTORS_4(X) VECTORS_2(X) X(2) X(3)
#define VECTORS_8(X) VECTORS_4(X) X(4) X(5) X(6) X(7)

enum { N_VECTORS = 8, VECTOR = 32, GROUP_BLOCKS = N_VECTORS * VECTOR / CFB_BLOCK };

static bool vaes256_usable(void)
{
    return cfb_aesni_usable() && __builtin_cpu_supports("avx2") && cfb_vaes_in_cpu();
}

static inline VAES256 __m256i key_at(const struct cfb_aes *k, unsigned r)
{
    return _mm256_broadcastsi128_si256(k->rk[r]);
}

static inline VAES256 __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i_u *)p);
}

static inline VAES256 void store(uint8_t *p, __m128i x)
{
    _mm_storeu_si128((__m128i_u *)p, x);
}

static inline VAES256 __m256i load_2(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i_u *)p);
}

#define LANES_LOAD(i) __m256i f##i = load_2(l->f[2 * i]);
#define LANES_FEED(i)                                                                                                  \
    f##i = _mm256_xor_si256(f##i, _mm256_inserti128_si256(_mm256_castsi128_si256(load(l->p[2 * i] + off)),             \
                                                          load(l->p[2 * i + 1] + off), 1));                            \
    store(l->p[2 * i] + off, _mm256_castsi256_si128(f##i));                                                            \
    store(l->p[2 * i + 1] + off, _mm256_extracti128_si256(f##i, 1));                                                   \
    f##i = _mm256_xor_si256(f##i, rk);
#define VECTOR_ROUND(i) f##i = _mm256_aesenc_epi128(f##i, rk);
#define VECTOR_LAST(i)  f##i = _mm256_aesenclast_epi128(f##i, rk);
#define LANES_SAVE(i)   _mm256_storeu_si256((__m256i_u *)l->f[2 * i], f##i);

#define RUN_DEFINE(name, VECTORS)                                                                                      \
    static VAES256 void name(const struct cfb_aes *k, struct cfb_lanes *l, size_t blocks)                              \
    {                                                                                                                  \
        VECTORS(LANES_LOAD)                                                                                            \
        for (size_t off = 0; off < blocks * CFB_BLOCK; off += CFB_BLOCK) {                                             \
            __m256i rk = key_at(k, 0);                                                                                 \
                                                                                                                       \
            VECTORS(LANES_FEED)                                                                                        \
            for (unsigned r = 1; r < k->rounds; r++) {                                                                 \
                rk = key_at(k, r);                                                                                     \
                VECTORS(VECTOR_ROUND)                                                                                  \
            }                                                                                                          \
            rk = key_at(k, k->rounds);                                                                                 \
            VECTORS(VECTOR_LAST)                                                                                       \
        }                                                                                                              \
        VECTORS(LANES_SAVE)                                                                                            \
    }

RUN_DEFINE(run_4, VECTORS_2)
RUN_DEFINE(run_8, VECTORS_4)
RUN_DEFINE(run_16, VECTORS_8)

static void lanes_run(const void *key, struct cfb_lanes *l, unsigned n_used, size_t blocks)
{
    if (n_used <= 4)
        run_4(key, l, blocks);
    else if (n_used <= 8)
        run_8(key, l, blocks);
    else
        run_16(key, l, blocks);
}

static const struct cfb_kernel kernel = {2 * N_VECTORS, lanes_run};

static void vaes256_seal(void *state, struct cipher_pkt v[], size_t n)
{
    const struct cfb_aes *k = state;

    cfb_lanes_seal(&kernel, k, (const uint8_t *)&k->first, v, n);
}

#define BLOCKS_LOAD(i) __m256i f##i = _mm256_xor_si256(load_2(p + VECTOR * i - CFB_BLOCK), rk);
#define BLOCKS_STORE(i)                                                                                                \
    _mm256_storeu_si256((__m256i_u *)(p + VECTOR * i), _mm256_xor_si256(f##i, load_2(p + VECTOR * i)));

/* Opens whole vectors at p; the block before them is still encrypted. */
#define OPEN_DEFINE(name, VECTORS)                                                                                     \
    static inline VAES256 void name(const struct cfb_aes *k, uint8_t *p)                                               \
    {                                                                                                                  \
        __m256i rk = key_at(k, 0);                                                                                     \
                                                                                                                       \
        VECTORS(BLOCKS_LOAD)                                                                                           \
        for (unsigned r = 1; r < k->rounds; r++) {                                                                     \
            rk = key_at(k, r);                                                                                         \
            VECTORS(VECTOR_ROUND)                                                                                      \
        }                                                                                                              \
        rk = key_at(k, k->rounds);                                                                                     \
        VECTORS(VECTOR_LAST)                                                                                           \
        VECTORS(BLOCKS_STORE)                                                                                          \
    }

OPEN_DEFINE(group_open, VECTORS_8)
OPEN_DEFINE(four_open, VECTORS_2)

static VAES256 __m128i block_encrypt(const struct cfb_aes *k, const uint8_t *p)
{
    __m128i x = _mm_xor_si128(load(p), k->rk[0]);

    for (unsigned r = 1; r < k->rounds; r++)
        x = _mm_aesenc_si128(x, k->rk[r]);
    return _mm_aesenclast_si128(x, k->rk[k->rounds]);
}

/* From the end to the front: a block's keystream comes from the encrypted block before it, which is in place of its
 * plaintext until its own turn. */
static VAES256 void pkt_open(const struct cfb_aes *k, uint8_t *p, size_t len)
{
    size_t i = len / CFB_BLOCK, tail = len % CFB_BLOCK;

    if (tail) {
        uint8_t ks[CFB_BLOCK];

        store(ks, i ? block_encrypt(k, p + CFB_BLOCK * (i - 1)) : k->first);
        cfb_xor_short(p + CFB_BLOCK * i, ks, tail);
    }
    for (; i > GROUP_BLOCKS; i -= GROUP_BLOCKS)
        group_open(k, p + CFB_BLOCK * (i - GROUP_BLOCKS));
    for (; i > 4; i -= 4)
        four_open(k, p + CFB_BLOCK * (i - 4));
    for (; i > 1; i--) {
        uint8_t *at = p + CFB_BLOCK * (i - 1);

        store(at, _mm_xor_si128(load(at), block_encrypt(k, at - CFB_BLOCK)));
    }
    if (i)
        store(p, _mm_xor_si128(load(p), k->first));
}

static void vaes256_open(void *state, struct cipher_pkt v[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pkt_open(state, v[i].p, v[i].len);
        v[i].ok = true;
    }
}

#define ROW(id, name_, init_, bytes)                                                                                   \
    const struct cipher_ops cfb_vaes256_##id = {                                                                       \
        .name = name_,                                                                                                 \
        .impl = "vaes256 x16",                                                                                         \
        .family = CIPHER_CFB,                                                                                          \
        .key_len = bytes,                                                                                              \
        .usable = vaes256_usable,                                                                                      \
        .state_size = cfb_aesni_state_size,                                                                            \
        .init = init_,                                                                                                 \
        .seal = vaes256_seal,                                                                                          \
        .open = vaes256_open,                                                                                          \
        .fini = cfb_aesni_fini,                                                                                        \
    }

ROW(aes, "aes", cfb_aesni_init256, 32);
ROW(aes128, "aes-128", cfb_aesni_init128, 16);
ROW(aes192, "aes-192", cfb_aesni_init192, 24);
#endif
