/* crypto/gcm_vaes.h - the body of gcm_vaes.c and gcm_vaes256.c: AES-128-GCM with VAES and VPCLMULQDQ, 256 bytes in flight.
 * Source: NIST SP 800-38D. */
#ifndef CRYPTO_GCM_VAES_H
#define CRYPTO_GCM_VAES_H

#define VEC_FEATURES "vaes,vpclmulqdq,aes,pclmul,sse4.1"

#include "core/base/vec.h"
#include "crypto/gcm_x86.h"

#define VECTOR_ROUND(i) f##i = VEC_OP(aesenc_epi128)(f##i, rk);
#define VECTOR_LAST(i)  f##i = VEC_OP(aesenclast_epi128)(f##i, rk);

enum { GROUP = 256, N_MASKS = GROUP / GCM_BLOCK };

struct sum {
    VEC lo, mid, hi; /* as gcm_sum, in VEC_PARTS parts */
};

static bool vaes_usable(void)
{
    return gcm_x86_usable() && vec_usable() && gcm_vaes_in_cpu();
}

static inline VEC_FN VEC key_at(const struct gcm_key *k, unsigned r)
{
    return vec_all(k->aes.rk[r]);
}

static inline VEC_FN VEC count_up(VEC counter, unsigned n)
{
    return VEC_OP(add_epi32)(counter, vec_all(gcm_count(n)));
}

/* x: blocks as in the packet. */
static inline VEC_FN void sum_add(struct sum *s, VEC x, const __m128i *power)
{
    const VEC order = vec_all(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    VEC h = vec_load(power);

    x = VEC_OP(shuffle_epi8)(x, order);
    s->lo ^= VEC_OP(clmulepi64_epi128)(x, h, 0x00);
    s->hi ^= VEC_OP(clmulepi64_epi128)(x, h, 0x11);
    s->mid = VEC_XOR_3(s->mid, VEC_OP(clmulepi64_epi128)(x, h, 0x01), VEC_OP(clmulepi64_epi128)(x, h, 0x10));
}

#define MASK_NONCE(i) VEC f##i = count_up(vec_load(out + VEC_PARTS * i), 1) ^ rk;
#define MASK_OUT(i)   vec_store(out + VEC_PARTS * i, f##i);

/* What the tags of up to sixteen packets are xored with. */
static VEC_FN void tags_mask(const struct gcm_key *k, __m128i out[N_MASKS], const struct cipher_pkt v[], size_t n)
{
    VEC rk = key_at(k, 0);

    for (size_t i = 0; i < N_MASKS; i++)
        out[i] = gcm_nonce(v[MIN(i, n - 1)].p);
    VEC_OF_256(MASK_NONCE)
    for (unsigned r = 1; r < GCM_ROUNDS; r++) {
        rk = key_at(k, r);
        VEC_OF_256(VECTOR_ROUND)
    }
    rk = key_at(k, GCM_ROUNDS);
    VEC_OF_256(VECTOR_LAST)
    VEC_OF_256(MASK_OUT)
}

#define GROUP_COUNT(i) VEC f##i = count_up(counter, VEC_PARTS * i) ^ rk;
#define GROUP_XOR(i)                                                                                                   \
    {                                                                                                                  \
        VEC in = vec_load(p + VEC_BYTES * i), to = in ^ f##i;                                                          \
                                                                                                                       \
        vec_store(p + VEC_BYTES * i, to);                                                                              \
        sum_add(s, sealing ? to : in, power + VEC_PARTS * i);                                                          \
    }

/* GROUP bytes at p; counter: those of the first vector. */
static inline VEC_FN void group_crypt(const struct gcm_key *k, uint8_t *p, VEC counter, const __m128i *power,
                                      struct sum *s, bool sealing)
{
    VEC rk = key_at(k, 0);

    VEC_OF_256(GROUP_COUNT)
    for (unsigned r = 1; r < GCM_ROUNDS; r++) {
        rk = key_at(k, r);
        VEC_OF_256(VECTOR_ROUND)
    }
    rk = key_at(k, GCM_ROUNDS);
    VEC_OF_256(VECTOR_LAST)
    VEC_OF_256(GROUP_XOR)
}

/* 1..VEC_BYTES bytes at p, touching no others. Behind them zeros enter the sum, whatever powers they meet: the keystream
 * there is no part of the polynomial. */
static inline VEC_FN void part_crypt(const struct gcm_key *k, uint8_t *p, size_t len, VEC counter, const __m128i *power,
                                     struct sum *s, bool sealing)
{
    VEC in = vec_load_part(p, len), f = counter ^ key_at(k, 0), to;

    for (unsigned r = 1; r < GCM_ROUNDS; r++)
        f = VEC_OP(aesenc_epi128)(f, key_at(k, r));
    to = vec_cut(in ^ VEC_OP(aesenclast_epi128)(f, key_at(k, GCM_ROUNDS)), len);
    vec_store_part(p, to, len);
    sum_add(s, sealing ? to : in, power);
}

/* Of the first blocks of a body: 1 is the tag's. */
static const uint32_t first_counters[] = {0, 0, 0, 2 << 24, 0, 0, 0, 3 << 24, 0, 0, 0, 4 << 24, 0, 0, 0, 5 << 24};

/* Seals or opens the body in place. Its tag, not masked. */
static inline VEC_FN __m128i body_crypt(const struct gcm_key *k, const struct cipher_pkt *v, bool sealing)
{
    struct sum s = {{0}, {0}, {0}};
    size_t len = gcm_body_len(v);
    const __m128i *power = gcm_powers_of(k, len);
    VEC counter = VEC_OP(add_epi32)(vec_all(gcm_nonce(v->p)), vec_load(first_counters));
    uint8_t *p = v->p + CIPHER_AEAD_NONCE, *end = p + len;
    struct gcm_sum all;

    for (; end - p >= GROUP; p += GROUP, power += GROUP / GCM_BLOCK) {
        group_crypt(k, p, counter, power, &s, sealing);
        counter = count_up(counter, GROUP / GCM_BLOCK);
    }
    for (; p < end; p += MIN(end - p, VEC_BYTES), power += VEC_PARTS) {
        part_crypt(k, p, (size_t)MIN(end - p, VEC_BYTES), counter, power, &s, sealing);
        counter = count_up(counter, VEC_PARTS);
    }
    all = (struct gcm_sum){vec_fold(s.lo), vec_fold(s.mid), vec_fold(s.hi)};
    gcm_add(&all, gcm_length(len), k->powers[GCM_POWERS - 1]);
    return gcm_swap(gcm_reduce(&all));
}

static VEC_FN void vaes_seal(void *state, struct cipher_pkt v[], size_t n)
{
    const struct gcm_key *k = state;
    __m128i mask[N_MASKS];

    for (size_t i = 0; i < n; i++) {
        if (i % N_MASKS == 0)
            tags_mask(k, mask, v + i, n - i);
        gcm_store(v[i].p + v[i].len - CIPHER_AEAD_TAG, _mm_xor_si128(body_crypt(k, &v[i], true), mask[i % N_MASKS]));
    }
}

static VEC_FN void vaes_open(void *state, struct cipher_pkt v[], size_t n)
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

#define GCM_VAES(impl_)                                                                                                \
    {                                                                                                                  \
        .name = "aes-128-gcm", .impl = impl_, .family = CIPHER_AEAD, .key_len = GCM_KEY, .usable = vaes_usable,        \
        .state_size = gcm_x86_state_size, .init = gcm_x86_init, .seal = vaes_seal, .open = vaes_open,                  \
        .fini = gcm_x86_fini,                                                                                          \
    }

#endif
