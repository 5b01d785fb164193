/* crypto/cfb_vaes.h - the body of cfb_vaes.c and cfb_vaes256.c: AES-CFB with VAES. Opening takes sixteen blocks of one
 * packet at a time: 256 bytes in flight cover the latency of a round. Sealing takes a block each of so many packets as fill
 * half the registers, because gathering them from all over stands between the rounds of two blocks. */
#ifndef CRYPTO_CFB_VAES_H
#define CRYPTO_CFB_VAES_H

#define VEC_FEATURES "vaes,aes"

#include "core/base/vec.h"
#include "crypto/cfb_aes.h"
#include "crypto/cipher_rows.h"

enum { GROUP = 256, N_LANES = VEC_BITS / 16 };

static bool vaes_usable(void)
{
    return cfb_aesni_usable() && vec_usable() && cfb_vaes_in_cpu();
}

static inline VEC_FN VEC key_at(const struct cfb_aes *k, unsigned r)
{
    return vec_all(k->rk[r]);
}

static inline VEC_FN __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i_u *)p);
}

static inline VEC_FN void store(uint8_t *p, __m128i x)
{
    _mm_storeu_si128((__m128i_u *)p, x);
}

/* The next blocks of VEC_PARTS lanes. */
static inline VEC_FN VEC lanes_load(uint8_t *const p[], size_t off)
{
#if VEC_BITS == 512
    VEC x = _mm512_castsi128_si512(load(p[0] + off));

    x = _mm512_inserti32x4(x, load(p[1] + off), 1);
    x = _mm512_inserti32x4(x, load(p[2] + off), 2);
    return _mm512_inserti32x4(x, load(p[3] + off), 3);
#else
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load(p[0] + off)), load(p[1] + off), 1);
#endif
}

static inline VEC_FN void lanes_store(uint8_t *const p[], size_t off, VEC x)
{
    store(p[0] + off, VEC_PART(x, 0));
    store(p[1] + off, VEC_PART(x, 1));
#if VEC_BITS == 512
    store(p[2] + off, VEC_PART(x, 2));
    store(p[3] + off, VEC_PART(x, 3));
#endif
}

#define VECTOR_ROUND(i) f##i = VEC_OP(aesenc_epi128)(f##i, rk);
#define VECTOR_LAST(i)  f##i = VEC_OP(aesenclast_epi128)(f##i, rk);

#define LANES_LOAD(i) VEC f##i = vec_load(l->f[VEC_PARTS * i]);
#define LANES_FEED(i)                                                                                                  \
    f##i ^= lanes_load(l->p + VEC_PARTS * i, off);                                                                     \
    lanes_store(l->p + VEC_PARTS * i, off, f##i);                                                                      \
    f##i ^= rk;
#define LANES_SAVE(i) vec_store(l->f[VEC_PARTS * i], f##i);

#define RUN_DEFINE(name, VECTORS)                                                                                      \
    static VEC_FN void name(const struct cfb_aes *k, struct cfb_lanes *l, size_t blocks)                               \
    {                                                                                                                  \
        VECTORS(LANES_LOAD)                                                                                            \
        for (size_t off = 0; off < blocks * CFB_BLOCK; off += CFB_BLOCK) {                                             \
            VEC rk = key_at(k, 0);                                                                                     \
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

RUN_DEFINE(run_4, VEC_OF_64)
RUN_DEFINE(run_8, VEC_OF_128)
RUN_DEFINE(run_16, VEC_OF_256)
#if VEC_BITS == 512
RUN_DEFINE(run_32, VEC_OF_512)
#endif

static void lanes_run(const void *key, struct cfb_lanes *l, unsigned n_used, size_t blocks)
{
    if (n_used <= 4)
        run_4(key, l, blocks);
    else if (n_used <= 8)
        run_8(key, l, blocks);
#if VEC_BITS == 512
    else if (n_used > 16)
        run_32(key, l, blocks);
#endif
    else
        run_16(key, l, blocks);
}

static const struct cfb_kernel kernel = {N_LANES, lanes_run};

static void vaes_seal(void *state, struct cipher_pkt v[], size_t n)
{
    const struct cfb_aes *k = state;

    cfb_lanes_seal(&kernel, k, (const uint8_t *)&k->first, v, n);
}

#define GROUP_LOAD(i)  VEC f##i = vec_load(p + VEC_BYTES * i - CFB_BLOCK) ^ rk;
#define GROUP_STORE(i) vec_store(p + VEC_BYTES * i, f##i ^ vec_load(p + VEC_BYTES * i));

/* Opens GROUP bytes at p; the block before them is still encrypted. */
static VEC_FN void group_open(const struct cfb_aes *k, uint8_t *p)
{
    VEC rk = key_at(k, 0);

    VEC_OF_256(GROUP_LOAD)
    for (unsigned r = 1; r < k->rounds; r++) {
        rk = key_at(k, r);
        VEC_OF_256(VECTOR_ROUND)
    }
    rk = key_at(k, k->rounds);
    VEC_OF_256(VECTOR_LAST)
    VEC_OF_256(GROUP_STORE)
}

/* Opens n bytes at p, 1..VEC_BYTES, touching no others; the block before them is still encrypted. */
static VEC_FN void part_open(const struct cfb_aes *k, uint8_t *p, size_t n)
{
    size_t before = (n + CFB_BLOCK - 1) / CFB_BLOCK * CFB_BLOCK; /* bytes of whole blocks the keystream is made of */
    VEC f = vec_load_part(p - CFB_BLOCK, before) ^ key_at(k, 0);

    for (unsigned r = 1; r < k->rounds; r++)
        f = VEC_OP(aesenc_epi128)(f, key_at(k, r));
    f = VEC_OP(aesenclast_epi128)(f, key_at(k, k->rounds));
    vec_store_part(p, f ^ vec_load_part(p, n), n);
}

/* From the end to the front: a block's keystream comes from the encrypted block before it, which is in place of its
 * plaintext until its own turn. */
static VEC_FN void pkt_open(const struct cfb_aes *k, uint8_t *p, size_t len)
{
    size_t at = len;

    if (len <= CFB_BLOCK) {
        cfb_xor_short(p, (const uint8_t *)&k->first, len);
        return;
    }
    while ((at - CFB_BLOCK) % GROUP) { /* down to a whole number of groups behind the first block */
        size_t n = (at - CFB_BLOCK - 1) % VEC_BYTES + 1;

        at -= n;
        part_open(k, p + at, n);
    }
    for (; at > CFB_BLOCK; at -= GROUP)
        group_open(k, p + at - GROUP);
    store(p, _mm_xor_si128(load(p), k->first));
}

static void vaes_open(void *state, struct cipher_pkt v[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pkt_open(state, v[i].p, v[i].len);
        v[i].ok = true;
    }
}

#define CFB_VAES(name_, impl_, init_, bytes)                                                                           \
    {                                                                                                                  \
        .name = name_, .impl = impl_, .family = CIPHER_CFB, .key_len = bytes, .usable = vaes_usable,                   \
        .state_size = cfb_aesni_state_size, .init = init_, .seal = vaes_seal, .open = vaes_open,                       \
        .fini = cfb_aesni_fini,                                                                                        \
    }

#endif
