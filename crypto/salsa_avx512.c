/* crypto/salsa_avx512.c - Salsa20 over sixteen blocks side by side: word i of all blocks in one 512-bit register.
 * Source: Bernstein's Salsa20 specification. Its oracle is libsodium. */
#if defined(__x86_64__)
#include "crypto/salsa_lanes.h"

#include <immintrin.h>

#include "crypto/cipher_rows.h"

#define AVX512 __attribute__((target("avx512f,avx512bw,bmi2")))

static bool avx512_usable(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("bmi2");
}

static inline AVX512 __m512i all(uint32_t word)
{
    return _mm512_set1_epi32((int)word);
}

static inline AVX512 __m512i words(const uint32_t w[SALSA_LANES_MAX])
{
    return _mm512_load_si512(w);
}

static inline AVX512 void lane_xor(const struct salsa_lanes *l, unsigned lane, __m512i ks)
{
    __mmask64 in = _bzhi_u64(UINT64_MAX, l->len[lane]); /* a block and more: all of it */
    uint8_t *p = l->p[lane];

    _mm512_mask_storeu_epi8(p, in, _mm512_xor_si512(ks, _mm512_maskz_loadu_epi8(in, p)));
}

/* Registers are written out, so that each vector stays in one of its own. */
#define STEP(to, a, b, bits) x##to = _mm512_xor_si512(x##to, _mm512_rol_epi32(_mm512_add_epi32(x##a, x##b), bits))
/* Four quarter rounds in step: each waits for itself alone. */
#define QUARTERS(a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3)                                       \
    do {                                                                                                               \
        STEP(a1, a0, a3, 7);                                                                                           \
        STEP(b1, b0, b3, 7);                                                                                           \
        STEP(c1, c0, c3, 7);                                                                                           \
        STEP(d1, d0, d3, 7);                                                                                           \
        STEP(a2, a1, a0, 9);                                                                                           \
        STEP(b2, b1, b0, 9);                                                                                           \
        STEP(c2, c1, c0, 9);                                                                                           \
        STEP(d2, d1, d0, 9);                                                                                           \
        STEP(a3, a2, a1, 13);                                                                                          \
        STEP(b3, b2, b1, 13);                                                                                          \
        STEP(c3, c2, c1, 13);                                                                                          \
        STEP(d3, d2, d1, 13);                                                                                          \
        STEP(a0, a3, a2, 18);                                                                                          \
        STEP(b0, b3, b2, 18);                                                                                          \
        STEP(c0, c3, c2, 18);                                                                                          \
        STEP(d0, d3, d2, 18);                                                                                          \
    } while (0)

/* Words a..d of all blocks to those words of block 4 * i + j in 128-bit part i of y(a)_j. */
#define TURN(g, a, b, c, d)                                                                                            \
    __m512i l##g = _mm512_unpacklo_epi32(x##a, x##b), h##g = _mm512_unpackhi_epi32(x##a, x##b);                        \
    __m512i m##g = _mm512_unpacklo_epi32(x##c, x##d), n##g = _mm512_unpackhi_epi32(x##c, x##d);                        \
    __m512i y##g##_0 = _mm512_unpacklo_epi64(l##g, m##g), y##g##_1 = _mm512_unpackhi_epi64(l##g, m##g);                \
    __m512i y##g##_2 = _mm512_unpacklo_epi64(h##g, n##g), y##g##_3 = _mm512_unpackhi_epi64(h##g, n##g)

/* Parts of y to the whole blocks j, 4 + j, 8 + j and 12 + j, and on to their packets. */
#define SPREAD(j)                                                                                                      \
    do {                                                                                                               \
        __m512i lo01 = _mm512_shuffle_i32x4(y0_##j, y1_##j, 0x44), hi01 = _mm512_shuffle_i32x4(y0_##j, y1_##j, 0xee);  \
        __m512i lo23 = _mm512_shuffle_i32x4(y2_##j, y3_##j, 0x44), hi23 = _mm512_shuffle_i32x4(y2_##j, y3_##j, 0xee);  \
                                                                                                                       \
        lane_xor(l, j, _mm512_shuffle_i32x4(lo01, lo23, 0x88));                                                        \
        lane_xor(l, 4 + j, _mm512_shuffle_i32x4(lo01, lo23, 0xdd));                                                    \
        lane_xor(l, 8 + j, _mm512_shuffle_i32x4(hi01, hi23, 0x88));                                                    \
        lane_xor(l, 12 + j, _mm512_shuffle_i32x4(hi01, hi23, 0xdd));                                                   \
    } while (0)

#define ADD(i, word) x##i = _mm512_add_epi32(x##i, word)

static AVX512 void lanes_run(const struct salsa_state *s, const struct salsa_lanes *l)
{
    const uint32_t *k = s->key;
    __m512i x0 = all(SALSA_C0), x1 = all(k[0]), x2 = all(k[1]), x3 = all(k[2]);
    __m512i x4 = all(k[3]), x5 = all(SALSA_C1), x6 = words(l->nonce[0]), x7 = words(l->nonce[1]);
    __m512i x8 = words(l->number), x9 = _mm512_setzero_si512(), x10 = all(SALSA_C2), x11 = all(k[4]);
    __m512i x12 = all(k[5]), x13 = all(k[6]), x14 = all(k[7]), x15 = all(SALSA_C3);

    for (unsigned r = 0; r < SALSA_ROUNDS; r += 2) {
        QUARTERS(0, 4, 8, 12, 5, 9, 13, 1, 10, 14, 2, 6, 15, 3, 7, 11);
        QUARTERS(0, 1, 2, 3, 5, 6, 7, 4, 10, 11, 8, 9, 15, 12, 13, 14);
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

static const struct salsa_kernel kernel = {16, lanes_run};

static void avx512_xor(void *state, struct cipher_pkt v[], size_t n)
{
    salsa_lanes_xor(&kernel, state, v, n);
}

const struct cipher_ops salsa_avx512 = {
    .name = "salsa20",
    .impl = "avx512 x16",
    .family = CIPHER_CFB,
    .key_len = CIPHER_KEY,
    .usable = avx512_usable,
    .state_size = salsa_lanes_state_size,
    .init = salsa_lanes_init,
    .seal = avx512_xor,
    .open = avx512_xor,
    .fini = salsa_lanes_fini,
};
#endif
