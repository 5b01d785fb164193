/* crypto/gcm_vaes.c - AES-128-GCM with VAES and VPCLMULQDQ on 512-bit registers: four vectors of four blocks in flight.
 * Source: NIST SP 800-38D. Its oracle is libgcrypt. */
#if defined(__x86_64__)
#include "crypto/gcm_x86.h"

#include <cpuid.h>
#include <string.h>

#define VAES __attribute__((target("vaes,vpclmulqdq,aes,pclmul,sse4.1,avx512f,avx512bw,bmi2")))
/* Written out, so that every vector stays in a register of its own. */
#define VECTORS_4(X)    X(0) X(1) X(2) X(3)
#define VECTOR_ROUND(i) f##i = _mm512_aesenc_epi128(f##i, rk);
#define VECTOR_LAST(i)  f##i = _mm512_aesenclast_epi128(f##i, rk);

enum { VECTOR = 64, BLOCKS = VECTOR / GCM_BLOCK, N_VECTORS = 4, GROUP = N_VECTORS * VECTOR, N_MASKS = 16 };

struct sum {
    __m512i lo, mid, hi; /* as gcm_sum, in four parts */
};

/* As for VAES: clang's __builtin_cpu_supports() does not know it. */
bool gcm_vaes_in_cpu(void)
{
    unsigned a, b, c, d;

    return cfb_vaes_in_cpu() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_VPCLMULQDQ);
}

static bool vaes_usable(void)
{
    return gcm_x86_usable() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("bmi2") && gcm_vaes_in_cpu();
}

static inline VAES __m512i key_at(const struct gcm_key *k, unsigned r)
{
    return _mm512_broadcast_i32x4(k->aes.rk[r]);
}

static inline VAES __m512i counts(unsigned n)
{
    return _mm512_broadcast_i32x4(gcm_count(n));
}

/* x: four blocks as in the packet. */
static inline VAES void sum_add(struct sum *s, __m512i x, const __m128i *power)
{
    const __m512i order = _mm512_broadcast_i32x4(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    __m512i h = _mm512_loadu_si512(power);

    x = _mm512_shuffle_epi8(x, order);
    s->lo = _mm512_xor_si512(s->lo, _mm512_clmulepi64_epi128(x, h, 0x00));
    s->hi = _mm512_xor_si512(s->hi, _mm512_clmulepi64_epi128(x, h, 0x11));
    s->mid = _mm512_ternarylogic_epi64(s->mid, _mm512_clmulepi64_epi128(x, h, 0x01),
                                       _mm512_clmulepi64_epi128(x, h, 0x10), 0x96); /* xor of the three */
}

static inline VAES __m128i parts_xor(__m512i x)
{
    __m256i y = _mm256_xor_si256(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));

    return _mm_xor_si128(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
}

#define MASK_NONCE(i)                                                                                                  \
    __m512i f##i = _mm512_xor_si512(_mm512_add_epi32(_mm512_loadu_si512(out + BLOCKS * i), counts(1)), rk);
#define MASK_OUT(i) _mm512_storeu_si512(out + BLOCKS * i, f##i);

/* What the tags of up to sixteen packets are xored with. */
static VAES void tags_mask(const struct gcm_key *k, __m128i out[N_MASKS], const struct cipher_pkt v[], size_t n)
{
    __m512i rk = key_at(k, 0);

    for (size_t i = 0; i < N_MASKS; i++)
        out[i] = gcm_nonce(v[MIN(i, n - 1)].p);
    VECTORS_4(MASK_NONCE)
    for (unsigned r = 1; r < GCM_ROUNDS; r++) {
        rk = key_at(k, r);
        VECTORS_4(VECTOR_ROUND)
    }
    rk = key_at(k, GCM_ROUNDS);
    VECTORS_4(VECTOR_LAST)
    VECTORS_4(MASK_OUT)
}

#define GROUP_COUNT(i) __m512i f##i = _mm512_xor_si512(_mm512_add_epi32(counter, counts(BLOCKS * i)), rk);
#define GROUP_XOR(i)                                                                                                   \
    {                                                                                                                  \
        __m512i in = _mm512_loadu_si512(p + VECTOR * i), to = _mm512_xor_si512(in, f##i);                              \
                                                                                                                       \
        _mm512_storeu_si512(p + VECTOR * i, to);                                                                       \
        sum_add(s, sealing ? to : in, power + BLOCKS * i);                                                             \
    }

/* GROUP bytes at p; counter: those of the first vector. */
static inline VAES void group_crypt(const struct gcm_key *k, uint8_t *p, __m512i counter, const __m128i *power,
                                    struct sum *s, bool sealing)
{
    __m512i rk = key_at(k, 0);

    VECTORS_4(GROUP_COUNT)
    for (unsigned r = 1; r < GCM_ROUNDS; r++) {
        rk = key_at(k, r);
        VECTORS_4(VECTOR_ROUND)
    }
    rk = key_at(k, GCM_ROUNDS);
    VECTORS_4(VECTOR_LAST)
    VECTORS_4(GROUP_XOR)
}

/* 1..VECTOR bytes at p, touching no others. Behind them zeros enter the sum, whatever powers they meet. */
static inline VAES void part_crypt(const struct gcm_key *k, uint8_t *p, size_t len, __m512i counter,
                                   const __m128i *power, struct sum *s, bool sealing)
{
    __mmask64 mask = _bzhi_u64(UINT64_MAX, (unsigned)len);
    __m512i in = _mm512_maskz_loadu_epi8(mask, p), f = _mm512_xor_si512(counter, key_at(k, 0)), to;

    for (unsigned r = 1; r < GCM_ROUNDS; r++)
        f = _mm512_aesenc_epi128(f, key_at(k, r));
    to = _mm512_maskz_mov_epi8(mask, _mm512_xor_si512(in, _mm512_aesenclast_epi128(f, key_at(k, GCM_ROUNDS))));
    _mm512_mask_storeu_epi8(p, mask, to);
    sum_add(s, sealing ? to : in, power);
}

/* Seals or opens the body in place. Its tag, not masked. */
static inline VAES __m128i body_crypt(const struct gcm_key *k, const struct cipher_pkt *v, bool sealing)
{
    struct sum s = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    size_t len = gcm_body_len(v);
    const __m128i *power = gcm_powers_of(k, len);
    __m512i counter = _mm512_broadcast_i32x4(gcm_nonce(v->p));
    uint8_t *p = v->p + CIPHER_AEAD_NONCE, *end = p + len;
    struct gcm_sum all;

    counter = _mm512_add_epi32(counter, _mm512_set_epi32(5 << 24, 0, 0, 0, 4 << 24, 0, 0, 0, 3 << 24, 0, 0, 0, 2 << 24,
                                                         0, 0, 0)); /* 1 is the tag's */
    for (; end - p >= GROUP; p += GROUP, power += GROUP / GCM_BLOCK) {
        group_crypt(k, p, counter, power, &s, sealing);
        counter = _mm512_add_epi32(counter, counts(GROUP / GCM_BLOCK));
    }
    for (; p < end; p += MIN(end - p, VECTOR), power += BLOCKS) {
        part_crypt(k, p, (size_t)MIN(end - p, VECTOR), counter, power, &s, sealing);
        counter = _mm512_add_epi32(counter, counts(BLOCKS));
    }
    all = (struct gcm_sum){parts_xor(s.lo), parts_xor(s.mid), parts_xor(s.hi)};
    gcm_add(&all, gcm_length(len), k->powers[GCM_POWERS - 1]);
    return gcm_swap(gcm_reduce(&all));
}

static VAES void vaes_seal(void *state, struct cipher_pkt v[], size_t n)
{
    const struct gcm_key *k = state;
    __m128i mask[N_MASKS];

    for (size_t i = 0; i < n; i++) {
        if (i % N_MASKS == 0)
            tags_mask(k, mask, v + i, n - i);
        gcm_store(v[i].p + v[i].len - CIPHER_AEAD_TAG, _mm_xor_si128(body_crypt(k, &v[i], true), mask[i % N_MASKS]));
    }
}

static VAES void vaes_open(void *state, struct cipher_pkt v[], size_t n)
{
    const struct gcm_key *k = state;
    __m128i mask[N_MASKS];

    for (size_t i = 0; i < n; i++) {
        const uint8_t *tag = v[i].p + v[i].len - CIPHER_AEAD_TAG;

        if (i % N_MASKS == 0)
            tags_mask(k, mask, v + i, n - i);
        v[i].ok = gcm_equal(_mm_xor_si128(body_crypt(k, &v[i], false), mask[i % N_MASKS]), gcm_load(tag));
        if (!v[i].ok)
            memset(v[i].p + CIPHER_AEAD_NONCE, 0, gcm_body_len(&v[i]));
    }
}

const struct cipher_ops gcm_vaes = {
    .name = "aes-128-gcm",
    .impl = "vaes x16",
    .family = CIPHER_AEAD,
    .key_len = GCM_KEY,
    .usable = vaes_usable,
    .state_size = gcm_x86_state_size,
    .init = gcm_x86_init,
    .seal = vaes_seal,
    .open = vaes_open,
    .fini = gcm_x86_fini,
};
#endif
