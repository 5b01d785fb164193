/* crypto/gcm_x86.h - what the x86 kernels of AES-128-GCM share: the key, and the arithmetic of the tag.
 * A block of the tag's polynomial counts its bits from the other end than the CPU does; with its bytes swapped it is the
 * same polynomial in y = 1/x, modulo y^128 + y^127 + y^126 + y^121 + 1. A product of two such blocks comes out one y
 * short, and the reduction below divides by y^128: the powers of H carry that y. Private to crypto/, x86-64 only. */
#ifndef CRYPTO_GCM_X86_H
#define CRYPTO_GCM_X86_H

#include "crypto/cfb_aes.h"
#include "crypto/cipher_rows.h"

#define GCM_X86 __attribute__((target("aes,pclmul,sse4.1")))

enum {
    GCM_BLOCK = 16,
    GCM_KEY = 16,
    GCM_ROUNDS = 10,
    GCM_POWERS = (CIPHER_PKT_MAX + GCM_BLOCK - 1) / GCM_BLOCK + 1, /* a packet's blocks and the one of its length */
    GCM_PAD = 3, /* a vector of four may start with the last power */
};

/* Powers for all blocks of a packet: its whole polynomial is one sum, reduced once. */
struct gcm_key {
    struct cfb_aes aes;
    __m128i powers[GCM_POWERS + GCM_PAD]; /* H^GCM_POWERS down to H^1, then zeros */
};

/* A sum of products, not reduced: mid counts 64 bits up. */
struct gcm_sum {
    __m128i lo, mid, hi;
};

bool gcm_x86_usable(void);
bool gcm_vaes_in_cpu(void); /* VAES and VPCLMULQDQ; says nothing of the registers the kernel saves */
size_t gcm_x86_state_size(void);
int gcm_x86_init(void *state, const uint8_t *key); /* 0 */
void gcm_x86_fini(void *state);

/* Where the blocks of a packet meet their powers: the first of n with H^(n + 1), the length with H. */
static inline const __m128i *gcm_powers_of(const struct gcm_key *k, size_t body_len)
{
    return k->powers + GCM_POWERS - 1 - (body_len + GCM_BLOCK - 1) / GCM_BLOCK;
}

static inline size_t gcm_body_len(const struct cipher_pkt *v)
{
    return v->len - CIPHER_AEAD_NONCE - CIPHER_AEAD_TAG;
}

static inline GCM_X86 __m128i gcm_load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i_u *)p);
}

static inline GCM_X86 void gcm_store(uint8_t *p, __m128i x)
{
    _mm_storeu_si128((__m128i_u *)p, x);
}

static inline GCM_X86 __m128i gcm_swap(__m128i x)
{
    return _mm_shuffle_epi8(x, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/* n as the counter of a block, to be added: a packet has so few that its last byte holds them all. */
static inline GCM_X86 __m128i gcm_count(unsigned n)
{
    return _mm_set_epi32((int)(n << 24), 0, 0, 0);
}

/* The nonce in front of a packet, counter 0. The 4 bytes behind the nonce are there: a tag is longer. */
static inline GCM_X86 __m128i gcm_nonce(const uint8_t *p)
{
    return _mm_insert_epi32(gcm_load(p), 0, 3);
}

/* The last block of the polynomial, swapped: no additional data, and the bits of the body. */
static inline GCM_X86 __m128i gcm_length(size_t body_len)
{
    return _mm_set_epi64x(0, (long long)(8 * body_len));
}

/* x: swapped. */
static inline GCM_X86 void gcm_add(struct gcm_sum *s, __m128i x, __m128i power)
{
    s->lo = _mm_xor_si128(s->lo, _mm_clmulepi64_si128(x, power, 0x00));
    s->hi = _mm_xor_si128(s->hi, _mm_clmulepi64_si128(x, power, 0x11));
    s->mid = _mm_xor_si128(s->mid, _mm_clmulepi64_si128(x, power, 0x01));
    s->mid = _mm_xor_si128(s->mid, _mm_clmulepi64_si128(x, power, 0x10));
}

/* Divided by y^128: adds the multiple of the modulus that clears the low half, 64 bits and then the next. */
static inline GCM_X86 __m128i gcm_reduce(const struct gcm_sum *s)
{
    const __m128i modulus = _mm_set1_epi64x((long long)0xc200000000000000); /* y^121, 126 and 127, less y^64 */
    __m128i lo = _mm_xor_si128(s->lo, _mm_slli_si128(s->mid, 8)), hi = _mm_xor_si128(s->hi, _mm_srli_si128(s->mid, 8));

    for (unsigned half = 0; half < 2; half++)
        lo = _mm_xor_si128(_mm_shuffle_epi32(lo, 0x4e), _mm_clmulepi64_si128(lo, modulus, 0x00));
    return _mm_xor_si128(hi, lo);
}

/* Takes as long whatever the two hold. */
static inline GCM_X86 bool gcm_equal(__m128i a, __m128i b)
{
    __m128i diff = _mm_xor_si128(a, b);

    return _mm_testz_si128(diff, diff);
}

#endif
