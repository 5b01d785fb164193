/* crypto/gcm_vaes256.c - AES-128-GCM with VAES and VPCLMULQDQ on 256-bit registers, for CPUs without AVX-512 (Zen 3,
 * Alder Lake): eight vectors of two blocks in flight. Source: NIST SP 800-38D. Its oracle is libgcrypt. */
#if defined(__x86_64__)
#include "crypto/gcm_x86.h"

#include <string.h>

#define VAES256 __attribute__((target("vaes,vpclmulqdq,aes,pclmul,sse4.1,avx2")))
/* Written out, so that every vector stays in a register of its own. */
#define VECTORS_8(X)    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define VECTOR_ROUND(i) f##i = _mm256_aesenc_epi128(f##i, rk);
#define VECTOR_LAST(i)  f##i = _mm256_aesenclast_epi128(f##i, rk);

enum { VECTOR = 32, BLOCKS = VECTOR / GCM_BLOCK, N_VECTORS = 8, GROUP = N_VECTORS * VECTOR, N_MASKS = 16 };

struct sum {
    __m256i lo, mid, hi; /* as gcm_sum, in two parts */
};

static bool vaes256_usable(void)
{
    return gcm_x86_usable() && __builtin_cpu_supports("avx2") && gcm_vaes_in_cpu();
}

static inline VAES256 __m256i key_at(const struct gcm_key *k, unsigned r)
{
    return _mm256_broadcastsi128_si256(k->aes.rk[r]);
}

static inline VAES256 __m256i counts(unsigned n)
{
    return _mm256_broadcastsi128_si256(gcm_count(n));
}

static inline VAES256 __m256i load_2(const void *p)
{
    return _mm256_loadu_si256((const __m256i_u *)p);
}

static inline VAES256 void store_2(void *p, __m256i x)
{
    _mm256_storeu_si256((__m256i_u *)p, x);
}

/* x: two blocks as in the packet. */
static inline VAES256 void sum_add(struct sum *s, __m256i x, const __m128i *power)
{
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    __m256i h = load_2(power);

    x = _mm256_shuffle_epi8(x, order);
    s->lo = _mm256_xor_si256(s->lo, _mm256_clmulepi64_epi128(x, h, 0x00));
    s->hi = _mm256_xor_si256(s->hi, _mm256_clmulepi64_epi128(x, h, 0x11));
    s->mid = _mm256_xor_si256(s->mid, _mm256_clmulepi64_epi128(x, h, 0x01));
    s->mid = _mm256_xor_si256(s->mid, _mm256_clmulepi64_epi128(x, h, 0x10));
}

static inline VAES256 __m128i parts_xor(__m256i x)
{
    return _mm_xor_si128(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}

#define MASK_NONCE(i) __m256i f##i = _mm256_xor_si256(_mm256_add_epi32(load_2(out + BLOCKS * i), counts(1)), rk);
#define MASK_OUT(i)   store_2(out + BLOCKS * i, f##i);

/* What the tags of up to sixteen packets are xored with. */
static VAES256 void tags_mask(const struct gcm_key *k, __m128i out[N_MASKS], const struct cipher_pkt v[], size_t n)
{
    __m256i rk = key_at(k, 0);

    for (size_t i = 0; i < N_MASKS; i++)
        out[i] = gcm_nonce(v[MIN(i, n - 1)].p);
    VECTORS_8(MASK_NONCE)
    for (unsigned r = 1; r < GCM_ROUNDS; r++) {
        rk = key_at(k, r);
        VECTORS_8(VECTOR_ROUND)
    }
    rk = key_at(k, GCM_ROUNDS);
    VECTORS_8(VECTOR_LAST)
    VECTORS_8(MASK_OUT)
}

#define GROUP_COUNT(i) __m256i f##i = _mm256_xor_si256(_mm256_add_epi32(counter, counts(BLOCKS * i)), rk);
#define GROUP_XOR(i)                                                                                                   \
    {                                                                                                                  \
        __m256i in = load_2(p + VECTOR * i), to = _mm256_xor_si256(in, f##i);                                          \
                                                                                                                       \
        store_2(p + VECTOR * i, to);                                                                                   \
        sum_add(s, sealing ? to : in, power + BLOCKS * i);                                                             \
    }

/* GROUP bytes at p; counter: those of the first vector. */
static inline VAES256 void group_crypt(const struct gcm_key *k, uint8_t *p, __m256i counter, const __m128i *power,
                                       struct sum *s, bool sealing)
{
    __m256i rk = key_at(k, 0);

    VECTORS_8(GROUP_COUNT)
    for (unsigned r = 1; r < GCM_ROUNDS; r++) {
        rk = key_at(k, r);
        VECTORS_8(VECTOR_ROUND)
    }
    rk = key_at(k, GCM_ROUNDS);
    VECTORS_8(VECTOR_LAST)
    VECTORS_8(GROUP_XOR)
}

/* 1..VECTOR bytes at p, touching no others. Behind them zeros enter the sum, whatever powers they meet. */
static inline VAES256 void part_crypt(const struct gcm_key *k, uint8_t *p, size_t len, __m256i counter,
                                      const __m128i *power, struct sum *s, bool sealing)
{
    uint8_t b[VECTOR] = {0};
    __m256i in, f = _mm256_xor_si256(counter, key_at(k, 0));

    memcpy(b, p, len);
    in = load_2(b);
    for (unsigned r = 1; r < GCM_ROUNDS; r++)
        f = _mm256_aesenc_epi128(f, key_at(k, r));
    store_2(b, _mm256_xor_si256(in, _mm256_aesenclast_epi128(f, key_at(k, GCM_ROUNDS))));
    memcpy(p, b, len);
    if (sealing) { /* the keystream behind the end is no part of the polynomial */
        memset(b + len, 0, sizeof b - len);
        in = load_2(b);
    }
    sum_add(s, in, power);
}

/* Seals or opens the body in place. Its tag, not masked. */
static inline VAES256 __m128i body_crypt(const struct gcm_key *k, const struct cipher_pkt *v, bool sealing)
{
    struct sum s = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    size_t len = gcm_body_len(v);
    const __m128i *power = gcm_powers_of(k, len);
    __m256i counter = _mm256_broadcastsi128_si256(gcm_nonce(v->p));
    uint8_t *p = v->p + CIPHER_AEAD_NONCE, *end = p + len;
    struct gcm_sum all;

    counter = _mm256_add_epi32(counter, _mm256_set_epi32(3 << 24, 0, 0, 0, 2 << 24, 0, 0, 0)); /* 1 is the tag's */
    for (; end - p >= GROUP; p += GROUP, power += GROUP / GCM_BLOCK) {
        group_crypt(k, p, counter, power, &s, sealing);
        counter = _mm256_add_epi32(counter, counts(GROUP / GCM_BLOCK));
    }
    for (; p < end; p += MIN(end - p, VECTOR), power += BLOCKS) {
        part_crypt(k, p, (size_t)MIN(end - p, VECTOR), counter, power, &s, sealing);
        counter = _mm256_add_epi32(counter, counts(BLOCKS));
    }
    all = (struct gcm_sum){parts_xor(s.lo), parts_xor(s.mid), parts_xor(s.hi)};
    gcm_add(&all, gcm_length(len), k->powers[GCM_POWERS - 1]);
    return gcm_swap(gcm_reduce(&all));
}

static VAES256 void vaes256_seal(void *state, struct cipher_pkt v[], size_t n)
{
    const struct gcm_key *k = state;
    __m128i mask[N_MASKS];

    for (size_t i = 0; i < n; i++) {
        if (i % N_MASKS == 0)
            tags_mask(k, mask, v + i, n - i);
        gcm_store(v[i].p + v[i].len - CIPHER_AEAD_TAG, _mm_xor_si128(body_crypt(k, &v[i], true), mask[i % N_MASKS]));
    }
}

static VAES256 void vaes256_open(void *state, struct cipher_pkt v[], size_t n)
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

const struct cipher_ops gcm_vaes256 = {
    .name = "aes-128-gcm",
    .impl = "vaes256 x16",
    .family = CIPHER_AEAD,
    .key_len = GCM_KEY,
    .usable = vaes256_usable,
    .state_size = gcm_x86_state_size,
    .init = gcm_x86_init,
    .seal = vaes256_seal,
    .open = vaes256_open,
    .fini = gcm_x86_fini,
};
#endif
