/* crypto/cfb_aesni.c - AES-CFB with AES-NI: eight packets side by side when sealing, eight blocks of one packet when
 * opening. An AES round takes three to four cycles and two can start in each: eight chains fill the unit.
 * Source: FIPS 197 for the key expansion. Its oracle is libgcrypt. */
#if defined(__x86_64__)
#include "crypto/cfb_aes.h"

#include <cpuid.h>
#include <string.h>

#include "crypto/cipher_rows.h"

#define AESNI __attribute__((target("aes,sse4.1")))
/* Written out, so that every lane stays in a register of its own. */
#define LANES_4(X) X(0) X(1) X(2) X(3)
#define LANES_8(X) LANES_4(X) X(4) X(5) X(6) X(7)

enum { N_LANES = 8 };

bool cfb_aesni_usable(void)
{
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("sse4.1");
}

/* __builtin_cpu_supports() looks at what the kernel saves (XCR0) too, but clang's does not know "vaes". */
bool cfb_vaes_in_cpu(void)
{
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_VAES);
}

size_t cfb_aesni_state_size(void)
{
    return sizeof(struct cfb_aes);
}

static AESNI __m128i block_encrypt(const struct cfb_aes *k, __m128i x)
{
    x = _mm_xor_si128(x, k->rk[0]);
    for (unsigned r = 1; r < k->rounds; r++)
        x = _mm_aesenc_si128(x, k->rk[r]);
    return _mm_aesenclast_si128(x, k->rk[k->rounds]);
}

/* SubWord of w, and RotWord of that: what AESKEYGENASSIST leaves in the two low words. */
static AESNI uint32_t word_sub(uint32_t w, bool rotate)
{
    __m128i x = _mm_aeskeygenassist_si128(_mm_set1_epi32((int)w), 0);

    return (uint32_t)(rotate ? _mm_extract_epi32(x, 1) : _mm_extract_epi32(x, 0));
}

static AESNI void key_expand(struct cfb_aes *k, const uint8_t *key, unsigned key_len)
{
    unsigned nk = key_len / 4, n_words;
    uint8_t rcon = 1;
    uint32_t w[4 * (AES_ROUNDS_MAX + 1)];

    k->rounds = nk + 6;
    n_words = 4 * (k->rounds + 1);
    memcpy(w, key, key_len);
    for (unsigned i = nk; i < n_words; i++) {
        uint32_t t = w[i - 1];

        if (i % nk == 0) {
            t = word_sub(t, true) ^ rcon;
            rcon = (uint8_t)(rcon << 1 ^ (rcon & 0x80 ? 0x1b : 0));
        } else if (nk > 6 && i % nk == 4) {
            t = word_sub(t, false);
        }
        w[i] = w[i - nk] ^ t;
    }
    memcpy(k->rk, w, n_words * sizeof w[0]);
    k->first = block_encrypt(k, _mm_loadu_si128((const __m128i *)cipher_cfb_iv));
    explicit_bzero(w, sizeof w);
}

int cfb_aesni_init128(void *state, const uint8_t *key)
{
    key_expand(state, key, 16);
    return 0;
}

int cfb_aesni_init192(void *state, const uint8_t *key)
{
    key_expand(state, key, 24);
    return 0;
}

int cfb_aesni_init256(void *state, const uint8_t *key)
{
    key_expand(state, key, 32);
    return 0;
}

void cfb_aesni_fini(void *state)
{
    (void)state;
}

static inline AESNI __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i_u *)p);
}

static inline AESNI void store(uint8_t *p, __m128i x)
{
    _mm_storeu_si128((__m128i_u *)p, x);
}

#define LANE_LOAD(i)                                                                                                   \
    uint8_t *p##i = l->p[i];                                                                                           \
    __m128i f##i = load(l->f[i]);
#define LANE_FEED(i)                                                                                                   \
    f##i = _mm_xor_si128(f##i, load(p##i + off));                                                                      \
    store(p##i + off, f##i);                                                                                           \
    f##i = _mm_xor_si128(f##i, rk);
#define LANE_ROUND(i) f##i = _mm_aesenc_si128(f##i, rk);
#define LANE_LAST(i)  f##i = _mm_aesenclast_si128(f##i, rk);
#define LANE_SAVE(i)  store(l->f[i], f##i);

#define RUN_DEFINE(name, LANES)                                                                                        \
    static AESNI void name(const struct cfb_aes *k, struct cfb_lanes *l, size_t blocks)                                \
    {                                                                                                                  \
        LANES(LANE_LOAD)                                                                                               \
        for (size_t off = 0; off < blocks * CFB_BLOCK; off += CFB_BLOCK) {                                             \
            __m128i rk = k->rk[0];                                                                                     \
                                                                                                                       \
            LANES(LANE_FEED)                                                                                           \
            for (unsigned r = 1; r < k->rounds; r++) {                                                                 \
                rk = k->rk[r];                                                                                         \
                LANES(LANE_ROUND)                                                                                      \
            }                                                                                                          \
            rk = k->rk[k->rounds];                                                                                     \
            LANES(LANE_LAST)                                                                                           \
        }                                                                                                              \
        LANES(LANE_SAVE)                                                                                               \
    }

RUN_DEFINE(run_4, LANES_4)
RUN_DEFINE(run_8, LANES_8)

/* Four chains wait for the unit, eight for each other: a lone packet is done sooner among fewer. */
static void lanes_run(const void *key, struct cfb_lanes *l, unsigned n_used, size_t blocks)
{
    if (n_used <= 4)
        run_4(key, l, blocks);
    else
        run_8(key, l, blocks);
}

static const struct cfb_kernel kernel = {N_LANES, lanes_run};

static void aesni_seal(void *state, struct cipher_pkt v[], size_t n)
{
    const struct cfb_aes *k = state;

    cfb_lanes_seal(&kernel, k, (const uint8_t *)&k->first, v, n);
}

/* Opens eight blocks at p; the block before them is still encrypted. */
static AESNI void blocks_open(const struct cfb_aes *k, uint8_t *p)
{
    __m128i rk = k->rk[0];

#define BLOCK_LOAD(i)  __m128i f##i = _mm_xor_si128(load(p + CFB_BLOCK * (i - 1)), rk);
#define BLOCK_STORE(i) store(p + CFB_BLOCK * i, _mm_xor_si128(f##i, load(p + CFB_BLOCK * i)));

    LANES_8(BLOCK_LOAD)
    for (unsigned r = 1; r < k->rounds; r++) {
        rk = k->rk[r];
        LANES_8(LANE_ROUND)
    }
    rk = k->rk[k->rounds];
    LANES_8(LANE_LAST)
    LANES_8(BLOCK_STORE)
}

/* From the end to the front: a block's keystream comes from the encrypted block before it, which is in place of its
 * plaintext until its own turn. */
static AESNI void pkt_open(const struct cfb_aes *k, uint8_t *p, size_t len)
{
    size_t i = len / CFB_BLOCK, tail = len % CFB_BLOCK;

    if (tail) {
        __m128i f = i ? block_encrypt(k, load(p + CFB_BLOCK * (i - 1))) : k->first;
        uint8_t ks[CFB_BLOCK];

        store(ks, f);
        cfb_xor_short(p + CFB_BLOCK * i, ks, tail);
    }
    for (; i > N_LANES; i -= N_LANES)
        blocks_open(k, p + CFB_BLOCK * (i - N_LANES));
    for (; i > 1; i--)
        store(p + CFB_BLOCK * (i - 1),
              _mm_xor_si128(load(p + CFB_BLOCK * (i - 1)), block_encrypt(k, load(p + CFB_BLOCK * (i - 2)))));
    if (i)
        store(p, _mm_xor_si128(load(p), k->first));
}

static void aesni_open(void *state, struct cipher_pkt v[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pkt_open(state, v[i].p, v[i].len);
        v[i].ok = true;
    }
}

#define ROW(id, name_, init_, bytes)                                                                                   \
    const struct cipher_ops cfb_aesni_##id = {                                                                         \
        .name = name_,                                                                                                 \
        .impl = "aesni x8",                                                                                            \
        .family = CIPHER_CFB,                                                                                          \
        .key_len = bytes,                                                                                              \
        .usable = cfb_aesni_usable,                                                                                    \
        .state_size = cfb_aesni_state_size,                                                                            \
        .init = init_,                                                                                                 \
        .seal = aesni_seal,                                                                                            \
        .open = aesni_open,                                                                                            \
        .fini = cfb_aesni_fini,                                                                                        \
    }

ROW(aes, "aes", cfb_aesni_init256, 32);
ROW(aes128, "aes-128", cfb_aesni_init128, 16);
ROW(aes192, "aes-192", cfb_aesni_init192, 24);
#endif
