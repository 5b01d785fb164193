/* crypto/salsa_vec.h - the body of salsa_avx512.c and salsa_avx2.c: Salsa20 over as many blocks side by side as a vector
 * has words: word i of all blocks in one register. Source: Bernstein's Salsa20 specification. */
#ifndef CRYPTO_SALSA_VEC_H
#define CRYPTO_SALSA_VEC_H

#define VEC_FEATURES "sse2"

#include "core/base/vec.h"
#include "crypto/cipher_rows.h"
#include "crypto/salsa_lanes.h"

static inline VEC_FN VEC all(uint32_t word)
{
    return VEC_OP(set1_epi32)((int)word);
}

/* n bytes at p, 0..VEC_BYTES. */
static inline VEC_FN void part_xor(uint8_t *p, VEC ks, size_t n)
{
    vec_store_part(p, ks ^ vec_load_part(p, n), n);
}

/* x[to] ^= (x[a] + x[b]) rolled. Registers are written out: with sixteen of them every array in memory would show. */
#define STEP(to, a, b, bits)                                                                                           \
    {                                                                                                                  \
        VEC t = VEC_OP(add_epi32)(x##a, x##b);                                                                         \
                                                                                                                       \
        x##to = VEC_XOR_ROL(x##to, t, bits);                                                                           \
    }
/* Quarter rounds one behind another: they touch few registers at a time, and the CPU runs them side by side anyway. */
#define QUARTER(a, b, c, d) STEP(b, a, d, 7) STEP(c, b, a, 9) STEP(d, c, b, 13) STEP(a, d, c, 18)

/* Words a..d of all blocks to those words of block 4 * i + j in 128-bit part i of y(g)_j. */
#define TURN(g, a, b, c, d)                                                                                            \
    VEC l##g = VEC_OP(unpacklo_epi32)(x##a, x##b), h##g = VEC_OP(unpackhi_epi32)(x##a, x##b);                          \
    VEC m##g = VEC_OP(unpacklo_epi32)(x##c, x##d), n##g = VEC_OP(unpackhi_epi32)(x##c, x##d);                          \
    VEC y##g##_0 = VEC_OP(unpacklo_epi64)(l##g, m##g), y##g##_1 = VEC_OP(unpackhi_epi64)(l##g, m##g);                  \
    VEC y##g##_2 = VEC_OP(unpacklo_epi64)(h##g, n##g), y##g##_3 = VEC_OP(unpackhi_epi64)(h##g, n##g)

/* Parts of y to the whole blocks j, 4 + j (8 + j and 12 + j), and on to their packets. */
#if VEC_BITS == 512
enum { N_LANES = 16 };

#define LANE(j, x) part_xor(l->p[j], x, l->len[j])
#define SPREAD(j)                                                                                                      \
    do {                                                                                                               \
        VEC lo01 = _mm512_shuffle_i32x4(y0_##j, y1_##j, 0x44), hi01 = _mm512_shuffle_i32x4(y0_##j, y1_##j, 0xee);      \
        VEC lo23 = _mm512_shuffle_i32x4(y2_##j, y3_##j, 0x44), hi23 = _mm512_shuffle_i32x4(y2_##j, y3_##j, 0xee);      \
                                                                                                                       \
        LANE(j, _mm512_shuffle_i32x4(lo01, lo23, 0x88));                                                               \
        LANE(4 + j, _mm512_shuffle_i32x4(lo01, lo23, 0xdd));                                                           \
        LANE(8 + j, _mm512_shuffle_i32x4(hi01, hi23, 0x88));                                                           \
        LANE(12 + j, _mm512_shuffle_i32x4(hi01, hi23, 0xdd));                                                          \
    } while (0)
#else
enum { N_LANES = 8 };

static inline VEC_FN void lane_xor(uint8_t *p, uint32_t len, VEC lo, VEC hi)
{
    part_xor(p, lo, MIN(len, VEC_BYTES));
    if (len > VEC_BYTES)
        part_xor(p + VEC_BYTES, hi, len - VEC_BYTES);
}

#define LANE(j, lo, hi) lane_xor(l->p[j], l->len[j], lo, hi)
#define SPREAD(j)                                                                                                      \
    do {                                                                                                               \
        LANE(j, _mm256_permute2x128_si256(y0_##j, y1_##j, 0x20), _mm256_permute2x128_si256(y2_##j, y3_##j, 0x20));     \
        LANE(4 + j, _mm256_permute2x128_si256(y0_##j, y1_##j, 0x31), _mm256_permute2x128_si256(y2_##j, y3_##j, 0x31)); \
    } while (0)
#endif

#define ADD(i, word) x##i = VEC_OP(add_epi32)(x##i, word)

static VEC_FN void lanes_run(const struct salsa_state *s, const struct salsa_lanes *l)
{
    const uint32_t *k = s->key;
    VEC x0 = all(SALSA_C0), x1 = all(k[0]), x2 = all(k[1]), x3 = all(k[2]);
    VEC x4 = all(k[3]), x5 = all(SALSA_C1), x6 = vec_load(l->nonce[0]), x7 = vec_load(l->nonce[1]);
    VEC x8 = vec_load(l->number), x9 = {0}, x10 = all(SALSA_C2), x11 = all(k[4]);
    VEC x12 = all(k[5]), x13 = all(k[6]), x14 = all(k[7]), x15 = all(SALSA_C3);

    for (unsigned r = 0; r < SALSA_ROUNDS; r += 2) {
        QUARTER(0, 4, 8, 12)
        QUARTER(5, 9, 13, 1)
        QUARTER(10, 14, 2, 6)
        QUARTER(15, 3, 7, 11)
        QUARTER(0, 1, 2, 3)
        QUARTER(5, 6, 7, 4)
        QUARTER(10, 11, 8, 9)
        QUARTER(15, 12, 13, 14)
    }
    ADD(0, all(SALSA_C0));
    ADD(1, all(k[0]));
    ADD(2, all(k[1]));
    ADD(3, all(k[2]));
    ADD(4, all(k[3]));
    ADD(5, all(SALSA_C1));
    ADD(6, vec_load(l->nonce[0]));
    ADD(7, vec_load(l->nonce[1]));
    ADD(8, vec_load(l->number));
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

static const struct salsa_kernel kernel = {N_LANES, lanes_run};

static void salsa_xor(void *state, struct cipher_pkt v[], size_t n)
{
    salsa_lanes_xor(&kernel, state, v, n);
}

#define SALSA_VEC(impl_)                                                                                               \
    {                                                                                                                  \
        .name = "salsa20", .impl = impl_, .family = CIPHER_CFB, .key_len = CIPHER_KEY, .usable = vec_usable,           \
        .state_size = salsa_lanes_state_size, .init = salsa_lanes_init, .seal = salsa_xor, .open = salsa_xor,          \
        .fini = salsa_lanes_fini,                                                                                      \
    }

#endif
