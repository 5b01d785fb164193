/* crypto/qpp.c - see qpp.h. The pads are shuffled by AES-256 chained over the HMAC of their number; bytes then pass
 * through the pad that the generator chooses anew every eight of them. Source: the QPP description, sections 2 to 5. */
#include "crypto/qpp.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/err.h"
#include "core/base/wire.h"
#include "crypto/cipher_gcrypt.h"
#include "crypto/kdf.h"

#define SALT_DERIVE  "___QUANTUM_PERMUTATION_PAD_SEED_DERIVE___"
#define SALT_SHUFFLE "___QUANTUM_PERMUTATION_PAD_SHUFFLE_SALT___"
#define SALT_PRNG    "___QUANTUM_PERMUTATION_PAD_PRNG_SALT___"
#define PRNG_LABEL   "PERMUTATION_MATRIX_SELECTOR"

enum { SEED = 32, CHUNKS_MAX = 7, ROUNDS = 128, CHUNK_ROUNDS = 1024, WORD = 8 };
enum { ENC, DEC };

static const struct generation {
    uint8_t chunks;
    uint8_t shuffled; /* bytes of the chained state that pass through AES; the others stay what the HMAC made them */
} generations[QPP_GENERATIONS] = {{6, 16}, {7, 16}, {7, 32}};

struct qpp {
    struct qpp_state start;
    uint32_t count;
    uint32_t inverse; /* ceil(2^32 / count), see pad_of() */
    uint8_t pads[][2][256]; /* a permutation and its inverse */
};

/* What the pads are made from; on the heap, so that it can be wiped. */
struct maker {
    const struct generation *g;
    uint8_t chunk[CHUNKS_MAX][SEED];
    gcry_cipher_hd_t aes[CHUNKS_MAX];
};

static void hmac(uint8_t out[SEED], struct bytes key, const char *text)
{
    crypto_auth_hmacsha256_state st;

    crypto_auth_hmacsha256_init(&st, key.len ? key.p : out, key.len);
    crypto_auth_hmacsha256_update(&st, (const uint8_t *)text, strlen(text));
    crypto_auth_hmacsha256_final(&st, out);
    crypto_wipe(&st, sizeof st);
}

/* ---- pads ---- */

/* The pass phrase cut into chunks, cyclically; a short one is stretched first. */
static int make_chunks(struct maker *m, struct bytes pass)
{
    uint8_t seed[SEED];
    size_t at = 0;
    int r = 0;

    if (pass.len < SEED) {
        r = kdf_stretch((struct room){seed, SEED}, pass, SALT_DERIVE, ROUNDS);
        pass = bytes_of(seed, SEED);
    }
    for (unsigned c = 0; c < m->g->chunks && !r; c++) {
        uint8_t raw[SEED];

        for (unsigned j = 0; j < SEED; j++)
            raw[j] = pass.p[at++ % pass.len];
        r = kdf_stretch((struct room){m->chunk[c], SEED}, bytes_of(raw, SEED), SALT_DERIVE, CHUNK_ROUNDS);
        crypto_wipe(raw, sizeof raw);
    }
    crypto_wipe(seed, sizeof seed);
    return r;
}

static int make_ciphers(struct maker *m)
{
    int r = 0;

    for (unsigned c = 0; c < m->g->chunks && !r; c++) {
        uint8_t key[SEED];

        r = kdf_stretch((struct room){key, SEED}, bytes_of(m->chunk[c], SEED), SALT_SHUFFLE, ROUNDS);
        if (!r)
            r = cipher_gcrypt_open(&m->aes[c], GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_ECB, bytes_of(key, SEED));
        crypto_wipe(key, sizeof key);
    }
    return r;
}

static struct maker *maker_free(struct maker *m)
{
    for (unsigned c = 0; c < CHUNKS_MAX; c++)
        gcry_cipher_close(m->aes[c]);
    crypto_wipe(m, sizeof *m);
    free(m);
    return NULL;
}

/* s as one big-endian number, modulo n. */
static unsigned rest_of(const uint8_t s[SEED], unsigned n)
{
    uint64_t r = 0;

    for (unsigned i = 0; i < SEED; i += 4)
        r = (r << 32 | get_be32(s + i)) % n;
    return (unsigned)r;
}

/* "QPP_" and the number in binary digits. */
static void pad_name(char out[24], unsigned i)
{
    unsigned bits = 1;

    while (i >> bits)
        bits++;
    memcpy(out, "QPP_", 4);
    for (unsigned b = 0; b < bits; b++)
        out[4 + b] = (char)('0' + (i >> (bits - 1 - b) & 1));
    out[4 + bits] = 0;
}

static int shuffle(const struct maker *m, uint8_t pad[256], uint8_t s[SEED])
{
    for (unsigned i = 255; i > 0; i--) {
        unsigned j;
        uint8_t t;

        for (unsigned c = 0; c < m->g->chunks; c++) {
            gcry_error_t e = gcry_cipher_encrypt(m->aes[c], s, m->g->shuffled, NULL, 0);

            if (e)
                return cipher_gcrypt_err(e, "AES-256");
        }
        j = rest_of(s, i + 1);
        t = pad[i];
        pad[i] = pad[j];
        pad[j] = t;
    }
    return 0;
}

static int make_pad(const struct maker *m, uint8_t pad[2][256], unsigned index)
{
    uint8_t s[SEED];
    char name[24];
    int r;

    for (unsigned i = 0; i < 256; i++)
        pad[ENC][i] = (uint8_t)i;
    pad_name(name, index);
    hmac(s, bytes_of(m->chunk[index % m->g->chunks], SEED), name);
    r = shuffle(m, pad[ENC], s);
    for (unsigned i = 0; i < 256; i++)
        pad[DEC][pad[ENC][i]] = (uint8_t)i;
    crypto_wipe(s, sizeof s);
    return r;
}

/* ---- the generator ---- */

static inline uint64_t rotl(uint64_t x, unsigned k)
{
    return x << k | x >> (64 - k);
}

static inline void draw(struct qpp_state *st)
{
    uint64_t *s = st->s, t = s[1] << 17;

    st->word = rotl(s[1] * 5, 7) * 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    st->used = 0;
}

static int make_start(struct qpp_state *st, struct bytes pass)
{
    uint8_t m[SEED], k[SEED];
    int r;

    hmac(m, pass, PRNG_LABEL);
    r = kdf_stretch((struct room){k, SEED}, bytes_of(m, SEED), SALT_PRNG, ROUNDS);
    for (unsigned i = 0; i < 4 && !r; i++)
        st->s[i] = get_le64(k + 8 * i);
    if (!r)
        draw(st);
    crypto_wipe(m, sizeof m);
    crypto_wipe(k, sizeof k);
    return r;
}

/* ---- life ---- */

int qpp_new(struct qpp **qp, struct bytes passphrase, unsigned count, unsigned generation)
{
    struct qpp *q;
    struct maker *m;
    int r;

    if (!count || count > QPP_COUNT_MAX || !generation || generation > QPP_GENERATIONS)
        return err_here(-EINVAL);
    q = malloc(sizeof *q + count * sizeof q->pads[0]);
    m = calloc(1, sizeof *m);
    if (!q || !m) {
        free(q);
        free(m);
        return err_here(-ENOMEM);
    }
    q->count = count;
    q->inverse = UINT32_MAX / count + 1;
    m->g = &generations[generation - 1];
    r = make_start(&q->start, passphrase);
    if (!r)
        r = make_chunks(m, passphrase);
    if (!r)
        r = make_ciphers(m);
    for (unsigned i = 0; i < count && !r; i++)
        r = make_pad(m, q->pads[i], i);
    maker_free(m);
    if (r)
        qpp_free(q);
    else
        *qp = q;
    return r;
}

struct qpp *qpp_free(struct qpp *q)
{
    if (!q)
        return NULL;
    crypto_wipe(q, sizeof *q + q->count * sizeof q->pads[0]);
    free(q);
    return NULL;
}

const uint8_t *qpp_pad(const struct qpp *q, unsigned i)
{
    return q->pads[i][ENC];
}

/* ---- bytes ---- */

void qpp_begin(const struct qpp *q, struct qpp_state *st)
{
    *st = q->start;
}

/* The pad that the word chooses: x % count without a division; exact, since both fit 16 bits (a count of 1 has the
 * inverse 0, which gives 0). */
static inline const uint8_t *pad_of(const struct qpp *q, uint64_t word, int way)
{
    uint32_t low = (uint32_t)(word & 0xffff) * q->inverse;

    return q->pads[(uint64_t)low * q->count >> 32][way];
}

static inline uint64_t substitute(const uint8_t pad[256], uint64_t x)
{
    uint64_t y = 0;

    for (unsigned i = 0; i < WORD; i++)
        y |= (uint64_t)pad[x >> (8 * i) & 0xff] << (8 * i);
    return y;
}

/* Bytes before and behind whole words: up to the end of the word in use. Returns how many. */
static size_t few(const struct qpp *q, struct qpp_state *st, uint8_t *out, const uint8_t *in, size_t n, int way)
{
    const uint8_t *pad = pad_of(q, st->word, way);
    size_t done = MIN(n, (size_t)(WORD - st->used));

    for (size_t i = 0; i < done; i++) {
        uint8_t x = (uint8_t)(st->word >> (8 * st->used++));

        out[i] = way == ENC ? pad[in[i] ^ x] : pad[in[i]] ^ x;
    }
    if (st->used == WORD)
        draw(st);
    return done;
}

static inline void transform(const struct qpp *q, struct qpp_state *st, uint8_t *out, const uint8_t *in, size_t n,
                             int way)
{
    struct qpp_state g;
    size_t at = st->used ? few(q, st, out, in, n, way) : 0;

    g = *st; /* in registers */
    for (; n - at >= WORD; at += WORD) {
        const uint8_t *pad = pad_of(q, g.word, way);
        uint64_t x = get_le64(in + at);

        put_le64(out + at, way == ENC ? substitute(pad, x ^ g.word) : substitute(pad, x) ^ g.word);
        draw(&g);
    }
    *st = g;
    few(q, st, out + at, in + at, n - at, way);
}

void qpp_encrypt(const struct qpp *q, struct qpp_state *st, uint8_t *out, const uint8_t *in, size_t n)
{
    transform(q, st, out, in, n, ENC);
}

void qpp_decrypt(const struct qpp *q, struct qpp_state *st, uint8_t *out, const uint8_t *in, size_t n)
{
    transform(q, st, out, in, n, DEC);
}

void qpp_skip(struct qpp_state *st, size_t n)
{
    for (n += st->used; n >= WORD; n -= WORD)
        draw(st);
    st->used = n;
}
