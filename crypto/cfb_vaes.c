/* crypto/cfb_vaes.c - AES-CFB with VAES on 512-bit registers: sixteen packets side by side when sealing, sixteen blocks
 * of one packet when opening. Four registers in flight cover the latency of a round. Its oracle is libgcrypt. */
#if defined(__x86_64__)
#include "crypto/cfb_aes.h"

#include <cpuid.h>

#include "crypto/cipher_rows.h"

#define VAES __attribute__((target("vaes,avx512f,avx512bw")))
/* Written out, so that every vector stays in a register of its own. */
#define VECTORS_1(X) X(0)
#define VECTORS_2(X) X(0) X(1)
#define VECTORS_4(X) X(0) X(1) X(2) X(3)

enum { N_VECTORS = 4, VECTOR = 64, GROUP = N_VECTORS * VECTOR };

/* __builtin_cpu_supports() looks at what the kernel saves (XCR0) too, but clang's does not know "vaes". */
bool cfb_vaes_in_cpu(void)
{
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_VAES);
}

static bool vaes_usable(void)
{
    return cfb_aesni_usable() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           cfb_vaes_in_cpu();
}

static inline VAES __m512i key_at(const struct cfb_aes *k, unsigned r)
{
    return _mm512_broadcast_i32x4(k->rk[r]);
}

static inline VAES __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i_u *)p);
}

/* The blocks at p[0..4), one per lane. */
static inline VAES __m512i lanes_load(uint8_t *const p[4], size_t off)
{
    __m512i x = _mm512_castsi128_si512(load(p[0] + off));

    x = _mm512_inserti32x4(x, load(p[1] + off), 1);
    x = _mm512_inserti32x4(x, load(p[2] + off), 2);
    return _mm512_inserti32x4(x, load(p[3] + off), 3);
}

static inline VAES void lanes_store(uint8_t *const p[4], size_t off, __m512i x)
{
    _mm_storeu_si128((__m128i_u *)(p[0] + off), _mm512_castsi512_si128(x));
    _mm_storeu_si128((__m128i_u *)(p[1] + off), _mm512_extracti32x4_epi32(x, 1));
    _mm_storeu_si128((__m128i_u *)(p[2] + off), _mm512_extracti32x4_epi32(x, 2));
    _mm_storeu_si128((__m128i_u *)(p[3] + off), _mm512_extracti32x4_epi32(x, 3));
}

#define VECTOR_ROUND(i) f##i = _mm512_aesenc_epi128(f##i, rk);
#define VECTOR_LAST(i)  f##i = _mm512_aesenclast_epi128(f##i, rk);

#define VECTOR_LOAD(i) __m512i f##i = _mm512_load_si512(l->f[4 * i]);
#define VECTOR_FEED(i)                                                                                                 \
    f##i = _mm512_xor_si512(f##i, lanes_load(l->p + 4 * i, off));                                                      \
    lanes_store(l->p + 4 * i, off, f##i);                                                                              \
    f##i = _mm512_xor_si512(f##i, rk);
#define VECTOR_SAVE(i) _mm512_store_si512(l->f[4 * i], f##i);

#define RUN_DEFINE(name, VECTORS)                                                                                      \
    static VAES void name(const struct cfb_aes *k, struct cfb_lanes *l, size_t blocks)                                 \
    {                                                                                                                  \
        VECTORS(VECTOR_LOAD)                                                                                           \
        for (size_t off = 0; off < blocks * CFB_BLOCK; off += CFB_BLOCK) {                                             \
            __m512i rk = key_at(k, 0);                                                                                 \
                                                                                                                       \
            VECTORS(VECTOR_FEED)                                                                                       \
            for (unsigned r = 1; r < k->rounds; r++) {                                                                 \
                rk = key_at(k, r);                                                                                     \
                VECTORS(VECTOR_ROUND)                                                                                  \
            }                                                                                                          \
            rk = key_at(k, k->rounds);                                                                                 \
            VECTORS(VECTOR_LAST)                                                                                       \
        }                                                                                                              \
        VECTORS(VECTOR_SAVE)                                                                                           \
    }

RUN_DEFINE(run_4, VECTORS_1)
RUN_DEFINE(run_8, VECTORS_2)
RUN_DEFINE(run_16, VECTORS_4)

static void lanes_run(const void *key, struct cfb_lanes *l, unsigned n_used, size_t blocks)
{
    if (n_used <= 4)
        run_4(key, l, blocks);
    else if (n_used <= 8)
        run_8(key, l, blocks);
    else
        run_16(key, l, blocks);
}

static const struct cfb_kernel kernel = {4 * N_VECTORS, lanes_run};

static void vaes_seal(void *state, struct cipher_pkt v[], size_t n)
{
    const struct cfb_aes *k = state;

    cfb_lanes_seal(&kernel, k, (const uint8_t *)&k->first, v, n);
}

/* Opens GROUP bytes at p; the block before them is still encrypted. */
static VAES void group_open(const struct cfb_aes *k, uint8_t *p)
{
    __m512i rk = key_at(k, 0);

#define GROUP_LOAD(i)  __m512i f##i = _mm512_xor_si512(_mm512_loadu_si512(p + VECTOR * i - CFB_BLOCK), rk);
#define GROUP_STORE(i) _mm512_storeu_si512(p + VECTOR * i, _mm512_xor_si512(f##i, _mm512_loadu_si512(p + VECTOR * i)));

    VECTORS_4(GROUP_LOAD)
    for (unsigned r = 1; r < k->rounds; r++) {
        rk = key_at(k, r);
        VECTORS_4(VECTOR_ROUND)
    }
    rk = key_at(k, k->rounds);
    VECTORS_4(VECTOR_LAST)
    VECTORS_4(GROUP_STORE)
}

/* Opens n bytes at p, 1..VECTOR, touching no others; the block before them is still encrypted. */
static VAES void part_open(const struct cfb_aes *k, uint8_t *p, size_t n)
{
    size_t before = (n + CFB_BLOCK - 1) / CFB_BLOCK * CFB_BLOCK; /* bytes of whole blocks the keystream is made of */
    __mmask64 in = UINT64_MAX >> (VECTOR - before), out = UINT64_MAX >> (VECTOR - n);
    __m512i f0 = _mm512_xor_si512(_mm512_maskz_loadu_epi8(in, p - CFB_BLOCK), key_at(k, 0));

    for (unsigned r = 1; r < k->rounds; r++)
        f0 = _mm512_aesenc_epi128(f0, key_at(k, r));
    f0 = _mm512_aesenclast_epi128(f0, key_at(k, k->rounds));
    _mm512_mask_storeu_epi8(p, out, _mm512_xor_si512(f0, _mm512_maskz_loadu_epi8(out, p)));
}

/* From the end to the front: a block's keystream comes from the encrypted block before it, which is in place of its
 * plaintext until its own turn. */
static VAES void pkt_open(const struct cfb_aes *k, uint8_t *p, size_t len)
{
    size_t at = len;

    if (len <= CFB_BLOCK) {
        cfb_xor_short(p, (const uint8_t *)&k->first, len);
        return;
    }
    while ((at - CFB_BLOCK) % GROUP) { /* down to a whole number of groups behind the first block */
        size_t n = (at - CFB_BLOCK - 1) % VECTOR + 1;

        at -= n;
        part_open(k, p + at, n);
    }
    for (; at > CFB_BLOCK; at -= GROUP)
        group_open(k, p + at - GROUP);
    _mm_storeu_si128((__m128i_u *)p, _mm_xor_si128(load(p), k->first));
}

static void vaes_open(void *state, struct cipher_pkt v[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pkt_open(state, v[i].p, v[i].len);
        v[i].ok = true;
    }
}

#define ROW(id, name_, init_, bytes)                                                                                   \
    const struct cipher_ops cfb_vaes_##id = {                                                                          \
        .name = name_,                                                                                                 \
        .impl = "vaes x16",                                                                                            \
        .family = CIPHER_CFB,                                                                                          \
        .key_len = bytes,                                                                                              \
        .usable = vaes_usable,                                                                                         \
        .state_size = cfb_aesni_state_size,                                                                            \
        .init = init_,                                                                                                 \
        .seal = vaes_seal,                                                                                             \
        .open = vaes_open,                                                                                             \
        .fini = cfb_aesni_fini,                                                                                        \
    }

ROW(aes, "aes", cfb_aesni_init256, 32);
ROW(aes128, "aes-128", cfb_aesni_init128, 16);
ROW(aes192, "aes-192", cfb_aesni_init192, 24);
#endif
