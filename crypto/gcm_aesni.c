/* crypto/gcm_aesni.c - AES-128-GCM with AES-NI and PCLMULQDQ, eight blocks of a packet side by side, and the key of all
 * x86 kernels. Source: NIST SP 800-38D. Its oracle is libgcrypt. */
#if defined(__x86_64__)
#include "crypto/gcm_x86.h"

#include <cpuid.h>
#include <string.h>

/* Written out, so that every lane stays in a register of its own. */
#define LANES_8(X)    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define LANE_ROUND(i) f##i = _mm_aesenc_si128(f##i, rk);
#define LANE_LAST(i)  f##i = _mm_aesenclast_si128(f##i, rk);

enum { N_LANES = 8 };

bool gcm_x86_usable(void)
{
    return cfb_aesni_usable() && __builtin_cpu_supports("pclmul");
}

/* As for VAES: clang's __builtin_cpu_supports() does not know it. */
bool gcm_vaes_in_cpu(void)
{
    unsigned a, b, c, d;

    return cfb_vaes_in_cpu() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_VPCLMULQDQ);
}

size_t gcm_x86_state_size(void)
{
    return sizeof(struct gcm_key);
}

void gcm_x86_fini(void *state)
{
    (void)state;
}

static GCM_X86 __m128i block_encrypt(const struct gcm_key *k, __m128i x)
{
    x = _mm_xor_si128(x, k->aes.rk[0]);
    for (unsigned r = 1; r < GCM_ROUNDS; r++)
        x = _mm_aesenc_si128(x, k->aes.rk[r]);
    return _mm_aesenclast_si128(x, k->aes.rk[GCM_ROUNDS]);
}

/* x times y, without a branch on what x holds. */
static GCM_X86 __m128i times_y(__m128i x)
{
    const __m128i modulus = _mm_set_epi64x((long long)0xc200000000000000, 1);
    __m128i top = _mm_shuffle_epi32(_mm_srai_epi32(x, 31), 0xff); /* the bit that leaves, in all places */
    __m128i carry = _mm_slli_si128(_mm_srli_epi64(x, 63), 8);

    x = _mm_or_si128(_mm_slli_epi64(x, 1), carry);
    return _mm_xor_si128(x, _mm_and_si128(top, modulus));
}

GCM_X86 int gcm_x86_init(void *state, const uint8_t *key)
{
    struct gcm_key *k = state;
    __m128i h, power;
    int r = cfb_aesni_init128(&k->aes, key);

    if (r)
        return r;
    h = times_y(gcm_swap(block_encrypt(k, _mm_setzero_si128())));
    power = h;
    for (unsigned i = GCM_POWERS; i-- > 0;) {
        struct gcm_sum s = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};

        k->powers[i] = power;
        gcm_add(&s, power, h);
        power = gcm_reduce(&s);
    }
    return 0;
}

#define LANE_NONCE(i) __m128i f##i = _mm_xor_si128(_mm_add_epi32(gcm_nonce(v[MIN(i, n - 1)].p), gcm_count(1)), rk);
#define LANE_OUT(i)   out[i] = f##i;

/* What the tags of up to eight packets are xored with. */
static GCM_X86 void tags_mask(const struct gcm_key *k, __m128i out[N_LANES], const struct cipher_pkt v[], size_t n)
{
    __m128i rk = k->aes.rk[0];

    LANES_8(LANE_NONCE)
    for (unsigned r = 1; r < GCM_ROUNDS; r++) {
        rk = k->aes.rk[r];
        LANES_8(LANE_ROUND)
    }
    rk = k->aes.rk[GCM_ROUNDS];
    LANES_8(LANE_LAST)
    LANES_8(LANE_OUT)
}

#define LANE_COUNT(i) __m128i f##i = _mm_xor_si128(_mm_add_epi32(counter, gcm_count(i)), rk);
#define LANE_XOR(i)                                                                                                    \
    {                                                                                                                  \
        __m128i in = gcm_load(p + GCM_BLOCK * i), to = _mm_xor_si128(in, f##i);                                        \
                                                                                                                       \
        gcm_store(p + GCM_BLOCK * i, to);                                                                              \
        gcm_add(s, gcm_swap(sealing ? to : in), power[i]);                                                             \
    }

/* Eight whole blocks at p; counter: the first one's. */
static inline GCM_X86 void eight_crypt(const struct gcm_key *k, uint8_t *p, __m128i counter, const __m128i *power,
                                       struct gcm_sum *s, bool sealing)
{
    __m128i rk = k->aes.rk[0];

    LANES_8(LANE_COUNT)
    for (unsigned r = 1; r < GCM_ROUNDS; r++) {
        rk = k->aes.rk[r];
        LANES_8(LANE_ROUND)
    }
    rk = k->aes.rk[GCM_ROUNDS];
    LANES_8(LANE_LAST)
    LANES_8(LANE_XOR)
}

/* 1..GCM_BLOCK bytes at p. */
static inline GCM_X86 void block_crypt(const struct gcm_key *k, uint8_t *p, size_t len, __m128i counter, __m128i power,
                                       struct gcm_sum *s, bool sealing)
{
    uint8_t b[GCM_BLOCK] = {0};
    __m128i in, to;

    memcpy(b, p, len);
    in = gcm_load(b);
    to = _mm_xor_si128(in, block_encrypt(k, counter));
    gcm_store(b, to);
    memcpy(p, b, len);
    if (sealing) { /* the keystream behind the end is no part of the polynomial */
        memset(b + len, 0, sizeof b - len);
        in = gcm_load(b);
    }
    gcm_add(s, gcm_swap(in), power);
}

/* Seals or opens the body in place. Its tag, not masked. */
static inline GCM_X86 __m128i body_crypt(const struct gcm_key *k, const struct cipher_pkt *v, bool sealing)
{
    struct gcm_sum s = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
    size_t len = gcm_body_len(v);
    const __m128i *power = gcm_powers_of(k, len);
    __m128i counter = _mm_add_epi32(gcm_nonce(v->p), gcm_count(2));
    uint8_t *p = v->p + CIPHER_AEAD_NONCE, *end = p + len;

    gcm_add(&s, gcm_length(len), k->powers[GCM_POWERS - 1]);
    for (; end - p >= N_LANES * GCM_BLOCK; p += N_LANES * GCM_BLOCK, power += N_LANES) {
        eight_crypt(k, p, counter, power, &s, sealing);
        counter = _mm_add_epi32(counter, gcm_count(N_LANES));
    }
    for (; p < end; p += MIN(end - p, GCM_BLOCK), power++) {
        block_crypt(k, p, (size_t)MIN(end - p, GCM_BLOCK), counter, *power, &s, sealing);
        counter = _mm_add_epi32(counter, gcm_count(1));
    }
    return gcm_swap(gcm_reduce(&s));
}

static GCM_X86 void aesni_seal(void *state, struct cipher_pkt v[], size_t n)
{
    const struct gcm_key *k = state;
    __m128i mask[N_LANES];

    for (size_t i = 0; i < n; i++) {
        if (i % N_LANES == 0)
            tags_mask(k, mask, v + i, n - i);
        gcm_store(v[i].p + v[i].len - CIPHER_AEAD_TAG, _mm_xor_si128(body_crypt(k, &v[i], true), mask[i % N_LANES]));
    }
}

static GCM_X86 void aesni_open(void *state, struct cipher_pkt v[], size_t n)
{
    const struct gcm_key *k = state;
    __m128i mask[N_LANES];

    for (size_t i = 0; i < n; i++) {
        const uint8_t *tag = v[i].p + v[i].len - CIPHER_AEAD_TAG;

        if (i % N_LANES == 0)
            tags_mask(k, mask, v + i, n - i);
        v[i].ok = gcm_equal(_mm_xor_si128(body_crypt(k, &v[i], false), mask[i % N_LANES]), gcm_load(tag));
        if (!v[i].ok)
            memset(v[i].p + CIPHER_AEAD_NONCE, 0, gcm_body_len(&v[i]));
    }
}

const struct cipher_ops gcm_aesni = {
    .name = "aes-128-gcm",
    .impl = "aesni x8",
    .family = CIPHER_AEAD,
    .key_len = GCM_KEY,
    .usable = gcm_x86_usable,
    .state_size = gcm_x86_state_size,
    .init = gcm_x86_init,
    .seal = aesni_seal,
    .open = aesni_open,
    .fini = gcm_x86_fini,
};
#endif
