/* crypto/salsa_avx2.c - Salsa20 over eight blocks side by side: word i of all blocks in one 256-bit register.
 * Source: Bernstein's Salsa20 specification. Its oracle is libsodium. */
#if defined(__x86_64__)
#include "crypto/salsa_lanes.h"

#include <immintrin.h>

#include "crypto/cipher_rows.h"

#define AVX2 __attribute__((target("avx2")))

static bool avx2_usable(void)
{
    return __builtin_cpu_supports("avx2");
}

static inline AVX2 __m256i all(uint32_t word)
{
    return _mm256_set1_epi32((int)word);
}

static inline AVX2 __m256i words(const uint32_t w[SALSA_LANES_MAX])
{
    return _mm256_load_si256((const __m256i *)w);
}

static inline AVX2 void half_xor(uint8_t *p, __m256i ks)
{
    _mm256_storeu_si256((__m256i_u *)p, _mm256_xor_si256(ks, _mm256_loadu_si256((const __m256i_u *)p)));
}

/* lo, hi: the two halves of the lane's keystream. */
static inline AVX2 void lane_xor(const struct salsa_lanes *l, unsigned lane, __m256i lo, __m256i hi)
{
    uint8_t *p = l->p[lane], ks[SALSA_BLOCK];

    if (l->len[lane] == SALSA_BLOCK) {
        half_xor(p, lo);
        half_xor(p + SALSA_BLOCK / 2, hi);
        return;
    }
    _mm256_storeu_si256((__m256i_u *)ks, lo);
    _mm256_storeu_si256((__m256i_u *)(ks + SALSA_BLOCK / 2), hi);
    for (uint32_t i = 0; i < l->len[lane]; i++)
        p[i] ^= ks[i];
}

/* Registers are written out: with sixteen of them every array in memory would show. */
#define STEP(to, a, b, bits)                                                                                           \
    do {                                                                                                               \
        __m256i t = _mm256_add_epi32(x##a, x##b);                                                                      \
                                                                                                                       \
        x##to = _mm256_xor_si256(x##to, _mm256_slli_epi32(t, bits));                                                   \
        x##to = _mm256_xor_si256(x##to, _mm256_srli_epi32(t, 32 - (bits)));                                            \
    } while (0)
/* Quarter rounds one behind another: they touch few registers at a time, and the CPU runs them side by side anyway. */
#define QUARTER(a, b, c, d)                                                                                            \
    do {                                                                                                               \
        STEP(b, a, d, 7);                                                                                              \
        STEP(c, b, a, 9);                                                                                              \
        STEP(d, c, b, 13);                                                                                             \
        STEP(a, d, c, 18);                                                                                             \
    } while (0)

/* Words a..d of all blocks to those words of block 4 * i + j in 128-bit part i of y(a)_j. */
#define TURN(g, a, b, c, d)                                                                                            \
    __m256i l##g = _mm256_unpacklo_epi32(x##a, x##b), h##g = _mm256_unpackhi_epi32(x##a, x##b);                        \
    __m256i m##g = _mm256_unpacklo_epi32(x##c, x##d), n##g = _mm256_unpackhi_epi32(x##c, x##d);                        \
    __m256i y##g##_0 = _mm256_unpacklo_epi64(l##g, m##g), y##g##_1 = _mm256_unpackhi_epi64(l##g, m##g);                \
    __m256i y##g##_2 = _mm256_unpacklo_epi64(h##g, n##g), y##g##_3 = _mm256_unpackhi_epi64(h##g, n##g)

/* Parts of y to the whole blocks j and 4 + j, and on to their packets. */
#define SPREAD(j)                                                                                                      \
    do {                                                                                                               \
        lane_xor(l, j, _mm256_permute2x128_si256(y0_##j, y1_##j, 0x20),                                                \
                 _mm256_permute2x128_si256(y2_##j, y3_##j, 0x20));                                                     \
        lane_xor(l, 4 + j, _mm256_permute2x128_si256(y0_##j, y1_##j, 0x31),                                            \
                 _mm256_permute2x128_si256(y2_##j, y3_##j, 0x31));                                                     \
    } while (0)

#define ADD(i, word) x##i = _mm256_add_epi32(x##i, word)

static AVX2 void lanes_run(const struct salsa_state *s, const struct salsa_lanes *l)
{
    const uint32_t *k = s->key;
    __m256i x0 = all(SALSA_C0), x1 = all(k[0]), x2 = all(k[1]), x3 = all(k[2]);
    __m256i x4 = all(k[3]), x5 = all(SALSA_C1), x6 = words(l->nonce[0]), x7 = words(l->nonce[1]);
    __m256i x8 = words(l->number), x9 = _mm256_setzero_si256(), x10 = all(SALSA_C2), x11 = all(k[4]);
    __m256i x12 = all(k[5]), x13 = all(k[6]), x14 = all(k[7]), x15 = all(SALSA_C3);

    for (unsigned r = 0; r < SALSA_ROUNDS; r += 2) {
        QUARTER(0, 4, 8, 12);
        QUARTER(5, 9, 13, 1);
        QUARTER(10, 14, 2, 6);
        QUARTER(15, 3, 7, 11);
        QUARTER(0, 1, 2, 3);
        QUARTER(5, 6, 7, 4);
        QUARTER(10, 11, 8, 9);
        QUARTER(15, 12, 13, 14);
    }
    ADD(0, all(SALSA_C0));
    ADD(1, all(k[0]));
    ADD(2, all(k[1]));
    ADD(3, all(k[2]));
    ADD(4, all(k[3]));
    ADD(5, all(SALSA_C1));
    ADD(6, words(l->nonce[0]));
    ADD(7, words(l->nonce[1]));
    ADD(8, words(l->number));
    ADD(10, all(SALSA_C2));
    ADD(11, all(k[4]));
    ADD(12, all(k[5]));
    ADD(13, all(k[6]));
    ADD(14, all(k[7]));
    ADD(15, all(SALSA_C3));
    TURN(0, 0, 1, 2, 3);
    TURN(1, 4, 5, 6, 7);
    TURN(2, 8, 9, 10, 11);
    TURN(3, 12, 13, 14, 15);
    SPREAD(0);
    SPREAD(1);
    SPREAD(2);
    SPREAD(3);
}

static const struct salsa_kernel kernel = {8, lanes_run};

static void avx2_xor(void *state, struct cipher_pkt v[], size_t n)
{
    salsa_lanes_xor(&kernel, state, v, n);
}

const struct cipher_ops salsa_avx2 = {
    .name = "salsa20",
    .impl = "avx2 x8",
    .family = CIPHER_CFB,
    .key_len = CIPHER_KEY,
    .usable = avx2_usable,
    .state_size = salsa_lanes_state_size,
    .init = salsa_lanes_init,
    .seal = avx2_xor,
    .open = avx2_xor,
    .fini = salsa_lanes_fini,
};
#endif
