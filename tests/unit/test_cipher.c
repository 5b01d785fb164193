/* tests/unit/test_cipher.c - every row of the table against the peer's vectors, its captured packets, and the other
 * rows of its name; batches of every size; what must be refused. */
#include "crypto/cipher.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/cipher_rows.h"
#include "crypto/kdf.h"
#include "tests/support/vectors.h"

enum { BATCH = 64, GUARD = 48, GUARD_BYTE = 0xa5 };

static const uint8_t some_key[CIPHER_KEY] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 9, 8, 7, 6, 5, 4,  3,  2,
                                             0x0f, 0x2d, 0x4b, 0x69, 0x87, 0xa5, 0xc3, 0xe1, 1, 2, 3, 5, 8, 13, 21, 34};

/* The usable row behind `row`, or the first behind NULL; NULL at the end. */
static const struct cipher_ops *row_next(const struct cipher_ops *row)
{
    const struct cipher_ops *const *t = cipher_table;

    if (row) {
        while (*t++ != row)
            ;
    }
    while (*t && (*t)->usable && !(*t)->usable())
        t++;
    return *t;
}

/* A batch: each packet in a heap block of its own between guard bytes, at an odd address. */
struct batch {
    struct cipher_pkt v[BATCH];
    uint8_t *block[BATCH];
    uint32_t room[BATCH];
    size_t n;
};

static uint8_t *batch_add(struct batch *b, struct bytes content)
{
    uint8_t *block = malloc(content.len + 2 * GUARD + b->n % 16);
    uint8_t *p = block + GUARD + b->n % 16;

    memset(block, GUARD_BYTE, (size_t)(p - block));
    memset(p + content.len, GUARD_BYTE, GUARD);
    if (content.len)
        memcpy(p, content.p, content.len);
    b->block[b->n] = block;
    b->room[b->n] = (uint32_t)content.len;
    b->v[b->n++] = (struct cipher_pkt){.p = p, .len = (uint32_t)content.len};
    return p;
}

static void batch_check_guards(const struct batch *b, const char *what)
{
    for (size_t i = 0; i < b->n; i++) {
        const uint8_t *end = b->v[i].p + b->room[i];

        for (const uint8_t *g = b->block[i]; g < end + GUARD; g++)
            if ((g < b->v[i].p || g >= end) && *g != GUARD_BYTE)
                fail_msg("%s wrote outside packet %zu of %u bytes, at %td", what, i, b->room[i], g - b->v[i].p);
    }
}

static void batch_fini(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        free(b->block[i]);
    b->n = 0;
}

static struct cipher *cipher_of(const struct cipher_ops *ops, const uint8_t *key)
{
    struct cipher *c = NULL;

    assert_int_equal(cipher_new_impl(&c, ops, key), 0);
    assert_string_equal(cipher_impl(c), ops->impl);
    assert_int_equal(cipher_family(c), ops->family);
    return c;
}

static struct bytes payload_of(const struct cipher *c, const struct cipher_pkt *v)
{
    return bytes_of(v->p + cipher_head(c), v->len - cipher_head(c) - cipher_tail(c));
}

/* One vector entry through one row: all its cases as one batch, sealed and opened again. */
static void check_entry(const struct cipher_ops *ops, json_t *entry)
{
    struct bytes key = vec_hex(entry, "derived_key32");
    struct cipher *c = cipher_of(ops, key.p);
    struct batch b = {.n = 0};
    uint8_t nonces[BATCH][16] = {{0}};
    json_t *t;
    size_t i;

    json_array_foreach(vec_get(entry, "cases"), i, t)
    {
        struct bytes nonce = vec_hex(t, "nonce"), payload = vec_hex(t, "payload"), dgram = vec_hex(t, "datagram");
        uint8_t *p = batch_add(&b, dgram); /* for its size; then emptied */

        assert_int_equal(dgram.len, cipher_head(c) + payload.len + cipher_tail(c));
        memset(p, 0xee, dgram.len);
        memcpy(p + cipher_head(c), payload.p, payload.len);
        memcpy(nonces[i], nonce.p, nonce.len);
        vec_free(nonce);
        vec_free(payload);
        vec_free(dgram);
    }
    cipher_seal(c, b.v, b.n, nonces);
    json_array_foreach(vec_get(entry, "cases"), i, t)
    {
        struct bytes dgram = vec_hex(t, "datagram");

        assert_bytes(bytes_of(b.v[i].p, b.v[i].len), dgram, ops->name);
        vec_free(dgram);
    }
    cipher_open(c, b.v, b.n);
    json_array_foreach(vec_get(entry, "cases"), i, t)
    {
        struct bytes payload = vec_hex(t, "payload");

        assert_true(b.v[i].ok);
        assert_bytes(payload_of(c, &b.v[i]), payload, ops->name);
        vec_free(payload);
    }
    batch_check_guards(&b, ops->impl);
    batch_fini(&b);
    cipher_free(c);
    vec_free(key);
}

static unsigned check_vectors(const char *file, const struct cipher_ops *ops)
{
    json_t *j = vec_load(file), *entry;
    unsigned seen = 0;
    size_t i;

    json_array_foreach(vec_get(j, "ciphers"), i,
                       entry) if (!strcmp(vec_str(entry, "cipher"), ops->name) &&
                                  (ops->key_len == 0 || vec_int(entry, "cipher_key_len") == ops->key_len))
    {
        check_entry(ops, entry);
        seen++;
    }
    json_decref(j);
    return seen;
}

static void test_vectors(void **state)
{
    (void)state;
    for (const struct cipher_ops *ops = NULL; (ops = row_next(ops));) {
        print_message("%s by %s\n", ops->name, ops->impl);
        if (ops->family != CIPHER_NULL)
            assert_true(check_vectors(ops->family == CIPHER_AEAD ? "crypto_gcm.json" : "crypto_cfb.json", ops) > 0);
    }
}

/* Real traffic of the peer: opened it is what the file says, sealed again with its nonce it is itself. */
static void check_capture(const struct cipher_ops *ops, json_t *capture)
{
    struct bytes key = vec_hex(capture, "derived_key32");
    struct cipher *c = cipher_of(ops, key.p);
    struct batch b = {.n = 0};
    uint8_t nonces[BATCH][16];
    json_t *t;
    size_t i;

    json_array_foreach(vec_get(capture, "packets"), i, t)
    {
        struct bytes dgram = vec_hex(t, "datagram");

        batch_add(&b, dgram);
        vec_free(dgram);
    }
    cipher_open(c, b.v, b.n);
    json_array_foreach(vec_get(capture, "packets"), i, t)
    {
        struct bytes plain = vec_hex(t, "plain");

        assert_true(b.v[i].ok);
        assert_bytes(bytes_of(b.v[i].p, b.v[i].len), plain, ops->impl);
        memcpy(nonces[i], plain.p, 16);
        vec_free(plain);
    }
    cipher_seal(c, b.v, b.n, nonces);
    json_array_foreach(vec_get(capture, "packets"), i, t)
    {
        struct bytes dgram = vec_hex(t, "datagram");

        assert_bytes(bytes_of(b.v[i].p, b.v[i].len), dgram, ops->impl);
        vec_free(dgram);
    }
    batch_fini(&b);
    cipher_free(c);
    vec_free(key);
}

static void test_captured(void **state)
{
    json_t *j = vec_load("captured_kcptun_20210922.json"), *capture;
    unsigned seen = 0;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(j, "captures"), i,
                       capture) for (const struct cipher_ops *ops = NULL;
                                     (ops = row_next(ops));) if (!strcmp(ops->name, vec_str(capture, "cipher")))
    {
        check_capture(ops, capture);
        seen++;
    }
    assert_true(seen >= 2);
    json_decref(j);
}

/* The conversation id is the first field behind the crypto header, or behind the FEC header. */
static bool holds_conv(struct bytes payload, uint32_t conv, bool fec)
{
    uint8_t want[4] = {(uint8_t)conv, (uint8_t)(conv >> 8), (uint8_t)(conv >> 16), (uint8_t)(conv >> 24)};
    size_t at = fec ? 8 : 0;

    if (fec && payload.len > 4 && payload.p[4] == 0xf2) /* parity: no conv to be seen */
        return true;
    return payload.len >= at + 4 && !memcmp(payload.p + at, want, 4);
}

static void check_layout(const struct cipher_ops *ops, json_t *layout)
{
    struct bytes key = vec_hex(layout, "derived_key32");
    struct cipher *c = cipher_of(ops, key.p);
    bool fec = vec_int(layout, "data_shards") > 0;
    json_t *t;
    size_t i;

    json_array_foreach(vec_get(layout, "datagrams"), i, t)
    {
        struct bytes dgram = vec_unhex(t);
        struct batch b = {.n = 0};
        uint8_t nonce[1][16] = {{0}};

        batch_add(&b, dgram);
        cipher_open(c, b.v, 1);
        assert_true(b.v[0].ok);
        assert_true(holds_conv(payload_of(c, &b.v[0]), (uint32_t)vec_int(layout, "conv"), fec));
        memcpy(nonce, b.v[0].p, MIN(cipher_head(c), 16));
        cipher_seal(c, b.v, 1, nonce);
        assert_bytes(bytes_of(b.v[0].p, b.v[0].len), dgram, ops->name);
        batch_fini(&b);
        vec_free(dgram);
    }
    assert_true(i > 0);
    cipher_free(c);
    vec_free(key);
}

static void test_session_layouts(void **state)
{
    json_t *j = vec_load("session_layouts.json"), *layout;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(j, "cases"), i,
                       layout) for (const struct cipher_ops *ops = NULL;
                                    (ops = row_next(ops));) if (!strcmp(ops->name, vec_str(layout, "cipher")))
        check_layout(ops, layout);
    assert_true(i > 0);
    json_decref(j);
}

/* Lengths as they come, with the borders of every kernel among them. */
static size_t some_len(struct rng *rng, size_t least)
{
    static const uint16_t edges[] = {0,   1,   7,   8,    9,    15,   16,   17,   31,  32,  33,
                                     63,  64,  65,  127,  128,  129,  143,  144,  145, 255, 256,
                                     257, 271, 272, 1344, 1350, 1472, 1488, 1499, 1500};
    uint32_t kind = rng_below(rng, 4);
    size_t len = kind == 0 ? edges[rng_below(rng, LEN(edges))] : kind == 1 ? 1350 : rng_below(rng, CIPHER_PKT_MAX + 1);

    return MAX(len, least);
}

static void batch_random(struct batch *b, struct rng *rng, size_t n, size_t least)
{
    uint8_t content[CIPHER_PKT_MAX];
    bool equal = rng_below(rng, 3) == 0;
    size_t same = some_len(rng, least);

    for (size_t i = 0; i < n; i++) {
        size_t len = equal ? same : some_len(rng, least);

        rng_fill(rng, content, len);
        batch_add(b, bytes_of(content, len));
    }
}

static void batch_copy(struct batch *to, const struct batch *from)
{
    for (size_t i = 0; i < from->n; i++)
        batch_add(to, bytes_of(from->v[i].p, from->v[i].len));
}

static void assert_same(const struct batch *a, const struct batch *b, const char *what, const char *impl)
{
    char text[100];

    for (size_t i = 0; i < a->n; i++) {
        snprintf(text, sizeof text, "%s, %s, packet %zu of %zu", what, impl, i, a->n);
        assert_bytes(bytes_of(a->v[i].p, a->v[i].len), bytes_of(b->v[i].p, b->v[i].len), text);
    }
}

/* The raw row: seals `plain` as one batch; the result is what `oracle` makes of the packets one by one, and opening
 * gives `plain` back. */
static void check_row(const struct cipher_ops *ops, void *s, const struct cipher_ops *oracle, void *os,
                      const struct batch *plain)
{
    struct batch got = {.n = 0}, want = {.n = 0};

    batch_copy(&got, plain);
    batch_copy(&want, plain);
    ops->seal(s, got.v, got.n);
    for (size_t i = 0; i < want.n; i++)
        oracle->seal(os, &want.v[i], 1);
    assert_same(&got, &want, "sealed", ops->impl);
    batch_check_guards(&got, ops->impl);
    ops->open(s, got.v, got.n);
    for (size_t i = 0; i < got.n; i++)
        assert_true(got.v[i].ok);
    assert_same(&got, plain, "opened", ops->impl);
    batch_check_guards(&got, ops->impl);
    batch_fini(&got);
    batch_fini(&want);
}

/* The tag's place is the row's to fill: opened it holds the tag. */
static void batch_take_tags(struct batch *plain, const struct cipher_ops *oracle, void *os)
{
    struct batch twin = {.n = 0};

    batch_copy(&twin, plain);
    oracle->seal(os, twin.v, twin.n);
    for (size_t i = 0; i < plain->n; i++)
        memcpy(plain->v[i].p + plain->v[i].len - CIPHER_AEAD_TAG, twin.v[i].p + twin.v[i].len - CIPHER_AEAD_TAG,
               CIPHER_AEAD_TAG);
    batch_fini(&twin);
}

static void *row_state(const struct cipher_ops *ops)
{
    size_t size = (ops->state_size() + 64) / 64 * 64;
    void *s = aligned_alloc(64, size);

    memset(s, 0, size);
    assert_int_equal(ops->init(s, some_key), 0);
    return s;
}

/* The last usable row of the name: the table has the fastest first. */
static const struct cipher_ops *oracle_of(const char *name)
{
    const struct cipher_ops *last = NULL;

    for (const struct cipher_ops *ops = NULL; (ops = row_next(ops));)
        if (!strcmp(ops->name, name))
            last = ops;
    return last;
}

static void test_rows_agree(void **state)
{
    struct rng rng = rng_seed(11);

    (void)state;
    for (const struct cipher_ops *ops = NULL; (ops = row_next(ops));) {
        const struct cipher_ops *oracle = oracle_of(ops->name);
        size_t least = ops->family == CIPHER_AEAD ? CIPHER_AEAD_NONCE + CIPHER_AEAD_TAG : 0;
        void *s = row_state(ops), *os = row_state(oracle);

        for (size_t n = 1; n <= BATCH; n++) {
            struct batch plain = {.n = 0};

            batch_random(&plain, &rng, n, least);
            if (ops->family == CIPHER_AEAD)
                batch_take_tags(&plain, oracle, os);
            check_row(ops, s, oracle, os, &plain);
            batch_fini(&plain);
        }
        ops->fini(s);
        oracle->fini(os);
        free(s);
        free(os);
    }
}

/* Each length once, in batches of neighbours: no border of a kernel is left out. */
static void test_every_length(void **state)
{
    struct rng rng = rng_seed(15);
    uint8_t content[CIPHER_PKT_MAX];

    (void)state;
    for (const struct cipher_ops *ops = NULL; (ops = row_next(ops));) {
        const struct cipher_ops *oracle = oracle_of(ops->name);
        size_t len = ops->family == CIPHER_AEAD ? CIPHER_AEAD_NONCE + CIPHER_AEAD_TAG : 0;
        void *s = row_state(ops), *os = row_state(oracle);

        while (len <= CIPHER_PKT_MAX) {
            struct batch plain = {.n = 0};

            while (plain.n < 37 && len <= CIPHER_PKT_MAX) {
                rng_fill(&rng, content, len);
                batch_add(&plain, bytes_of(content, len++));
            }
            if (ops->family == CIPHER_AEAD)
                batch_take_tags(&plain, oracle, os);
            check_row(ops, s, oracle, os, &plain);
            batch_fini(&plain);
        }
        ops->fini(s);
        oracle->fini(os);
        free(s);
        free(os);
    }
}

/* Test cases 1 to 3 of McGrew and Viega, The Galois/Counter Mode of Operation. */
static const struct {
    const char *key, *nonce, *body, *sealed;
} gcm_cases[] = {
    {"00000000000000000000000000000000", "000000000000000000000000", "", "58e2fccefa7e3061367f1d57a4e7455a"},
    {"00000000000000000000000000000000", "000000000000000000000000", "00000000000000000000000000000000",
     "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"},
    {"feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
     "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985"
     "4d5c2af327cd64a62cf35abd2ba6fab4"},
};

static size_t unhex(uint8_t *to, const char *hex)
{
    size_t n = strlen(hex) / 2;

    for (size_t i = 0; i < n; i++)
        assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &to[i]), 1);
    return n;
}

static void test_gcm_cases(void **state)
{
    (void)state;
    for (const struct cipher_ops *ops = NULL; (ops = row_next(ops));)
        for (size_t i = 0; ops->family == CIPHER_AEAD && i < LEN(gcm_cases); i++) {
            uint8_t key[CIPHER_KEY] = {0}, nonce[1][16] = {{0}}, p[CIPHER_PKT_MAX] = {0}, want[CIPHER_PKT_MAX];
            struct cipher_pkt v = {.p = p};
            size_t body, sealed = unhex(want, gcm_cases[i].sealed);
            struct cipher *c;

            unhex(key, gcm_cases[i].key);
            unhex(nonce[0], gcm_cases[i].nonce);
            body = unhex(p + CIPHER_AEAD_NONCE, gcm_cases[i].body);
            v.len = (uint32_t)(CIPHER_AEAD_NONCE + body + CIPHER_AEAD_TAG);
            c = cipher_of(ops, key);
            cipher_seal(c, &v, 1, (const uint8_t(*)[16])nonce);
            assert_bytes(bytes_of(p + CIPHER_AEAD_NONCE, body + CIPHER_AEAD_TAG), bytes_of(want, sealed), ops->impl);
            cipher_open(c, &v, 1);
            assert_true(v.ok);
            unhex(want, gcm_cases[i].body);
            assert_bytes(payload_of(c, &v), bytes_of(want, body), ops->impl);
            cipher_free(c);
        }
}

/* Of a forged packet nothing can be read, whatever its length; its neighbours are as they should be. */
static void test_forged_is_wiped(void **state)
{
    static const uint8_t zeros[CIPHER_PKT_MAX];
    struct rng rng = rng_seed(16);

    (void)state;
    for (const struct cipher_ops *ops = NULL; (ops = row_next(ops));) {
        struct cipher *c = cipher_of(ops, some_key);

        for (int round = 0; ops->family == CIPHER_AEAD && round < 100; round++) {
            struct batch b = {.n = 0}, plain = {.n = 0};
            uint8_t nonces[BATCH][16];

            rng_fill(&rng, nonces, sizeof nonces);
            batch_random(&b, &rng, 1 + rng_below(&rng, BATCH), cipher_head(c) + cipher_tail(c));
            batch_copy(&plain, &b);
            cipher_seal(c, b.v, b.n, (const uint8_t(*)[16])nonces);
            for (size_t i = 0; i < b.n; i += 3)
                b.v[i].p[rng_below(&rng, b.v[i].len)] ^= (uint8_t)(1u << rng_below(&rng, 8));
            cipher_open(c, b.v, b.n);
            for (size_t i = 0; i < b.n; i++) {
                struct bytes want = payload_of(c, &plain.v[i]);

                assert_int_equal(b.v[i].ok, i % 3 != 0);
                assert_bytes(payload_of(c, &b.v[i]), b.v[i].ok ? want : bytes_of(zeros, want.len), ops->impl);
            }
            batch_check_guards(&b, ops->impl);
            batch_fini(&b);
            batch_fini(&plain);
        }
        cipher_free(c);
    }
}

static void test_bit_flips_are_refused(void **state)
{
    struct rng rng = rng_seed(12);

    (void)state;
    for (const struct cipher_ops *ops = NULL; (ops = row_next(ops));) {
        struct cipher *c = cipher_of(ops, some_key);
        uint32_t overhead = cipher_head(c) + cipher_tail(c), from = 0;

        if (ops->family == CIPHER_CFB)
            from = 16; /* a change in the nonce alone is seen by nobody */
        for (uint32_t bit = 8 * from; ops->family != CIPHER_NULL && bit < 8 * (overhead + 70); bit++) {
            struct batch b = {.n = 0};
            uint8_t nonces[3][16];

            rng_fill(&rng, nonces, sizeof nonces);
            batch_random(&b, &rng, 3, overhead + 70);
            cipher_seal(c, b.v, 3, nonces);
            b.v[1].p[bit / 8] ^= (uint8_t)(1u << bit % 8);
            cipher_open(c, b.v, 3);
            if (!b.v[0].ok || b.v[1].ok || !b.v[2].ok)
                fail_msg("%s, %s, bit %u: %d %d %d", ops->name, ops->impl, bit, b.v[0].ok, b.v[1].ok, b.v[2].ok);
            batch_fini(&b);
        }
        cipher_free(c);
    }
}

static void pkt_swap(struct cipher_pkt *a, struct cipher_pkt *b)
{
    struct cipher_pkt t = *a;

    *a = *b;
    *b = t;
}

/* Every length up to two past the overhead, and one too long, between packets that are good. */
static void test_short_and_long(void **state)
{
    struct rng rng = rng_seed(13);

    (void)state;
    for (const struct cipher_ops *ops = NULL; (ops = row_next(ops));) {
        struct cipher *c = cipher_of(ops, some_key);
        uint32_t overhead = cipher_head(c) + cipher_tail(c);
        uint8_t content[CIPHER_PKT_MAX + 1], nonces[2][16];

        for (uint32_t len = 0; len <= CIPHER_PKT_MAX + 1; len = len == overhead + 2 ? CIPHER_PKT_MAX + 1 : len + 1) {
            struct batch b = {.n = 0}, was = {.n = 0};
            bool fits = len >= overhead && len <= CIPHER_PKT_MAX;

            rng_fill(&rng, nonces, sizeof nonces);
            rng_fill(&rng, content, sizeof content);
            batch_add(&b, bytes_of(content, 100));
            batch_add(&b, bytes_of(content, 200));
            cipher_seal(c, b.v, 2, nonces);
            batch_add(&b, bytes_of(content, len));
            b.v[2].ok = true;
            if (fits)
                cipher_seal(c, &b.v[2], 1, nonces);
            batch_copy(&was, &b);
            pkt_swap(&b.v[1], &b.v[2]);
            cipher_open(c, b.v, 3);
            assert_true(b.v[0].ok && b.v[2].ok);
            assert_int_equal(b.v[1].ok, fits);
            if (!fits) /* and is left as it came */
                assert_memory_equal(b.v[1].p, was.v[2].p, len);
            batch_fini(&b);
            batch_fini(&was);
        }
        cipher_open(c, NULL, 0);
        cipher_seal(c, NULL, 0, NULL);
        cipher_free(c);
    }
}

static void test_names(void **state)
{
    static const char *const names[] = {"aes", "aes-128", "aes-192", "sm4", "twofish", "blowfish", "cast5",      "3des",
                                        "tea", "xtea",    "salsa20", "xor", "none",    "null",     "aes-128-gcm"};
    struct cipher *c = NULL;
    unsigned n = 0;

    (void)state;
    while (cipher_name_at(n))
        n++;
    assert_int_equal(n, LEN(names));
    for (size_t i = 0; i < LEN(names); i++) {
        unsigned hits = 0;

        for (unsigned k = 0; k < n; k++)
            hits += !strcmp(cipher_name_at(k), names[i]);
        assert_int_equal(hits, 1);
        assert_true(cipher_known(names[i]));
        assert_int_equal(cipher_new(&c, names[i], some_key), 0);
        c = cipher_free(c);
        assert_null(c);
    }
    assert_null(cipher_name_at(n + 1));
    assert_false(cipher_known("AES"));
    assert_false(cipher_known(""));
    assert_int_equal(cipher_new(&c, "aes-256", some_key), CIPHER_UNKNOWN);
    assert_int_equal(cipher_new(&c, "", some_key), CIPHER_UNKNOWN);
    assert_null(c);
    assert_null(cipher_free(NULL));
}

static void test_heads_and_tails(void **state)
{
    static const struct {
        const char *name;
        unsigned head, tail;
    } rows[] = {{"aes", 20, 0}, {"none", 20, 0}, {"salsa20", 20, 0}, {"null", 0, 0}, {"aes-128-gcm", 12, 16}};

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct cipher *c;

        assert_int_equal(cipher_new(&c, rows[i].name, some_key), 0);
        assert_int_equal(cipher_head(c), rows[i].head);
        assert_int_equal(cipher_tail(c), rows[i].tail);
        cipher_free(c);
    }
}

/* Keys that libraries refuse (weak for DES: all zero, all ones), and more ciphers than locked memory holds. */
static void check_key(const struct cipher_ops *ops, const uint8_t *key)
{
    uint8_t content[200] = {0}, nonces[1][16] = {{3}};
    struct cipher *c = cipher_of(ops, key);
    struct batch b = {.n = 0};

    batch_add(&b, bytes_of(content, sizeof content));
    cipher_seal(c, b.v, 1, nonces);
    cipher_open(c, b.v, 1);
    assert_true(b.v[0].ok);
    assert_memory_equal(payload_of(c, b.v).p, content, payload_of(c, b.v).len);
    batch_fini(&b);
    cipher_free(c);
}

static void test_any_key_and_many(void **state)
{
    static const uint8_t fills[] = {0, 0xff, 0x01, 0xfe};
    struct cipher *many[400];
    size_t n = 0;

    (void)state;
    for (const struct cipher_ops *ops = NULL; (ops = row_next(ops));)
        for (size_t i = 0; i < LEN(fills); i++) {
            uint8_t key[CIPHER_KEY];

            memset(key, fills[i], sizeof key);
            check_key(ops, key);
        }
    for (; n < LEN(many); n++)
        assert_int_equal(cipher_new(&many[n], cipher_name_at((unsigned)(n % 15)), some_key), 0);
    while (n)
        cipher_free(many[--n]);
}

/* Threads with a cipher each: what they make must be what one thread makes. */
static void *thread_main(void *arg)
{
    const struct batch *const *in = arg;
    size_t bad = 0;

    for (int round = 0; round < 20; round++)
        for (const struct cipher_ops *ops = NULL; (ops = row_next(ops));) {
            struct cipher *c;
            struct batch b = {.n = 0};
            uint8_t nonces[BATCH][16] = {{(uint8_t)round}};

            if (cipher_new_impl(&c, ops, some_key))
                return (void *)1;
            batch_copy(&b, in[0]);
            cipher_seal(c, b.v, b.n, nonces);
            cipher_open(c, b.v, b.n);
            for (size_t i = 0; i < b.n; i++)
                bad += !b.v[i].ok || memcmp(payload_of(c, &b.v[i]).p, in[0]->v[i].p + cipher_head(c),
                                            payload_of(c, &b.v[i]).len) != 0;
            batch_fini(&b);
            cipher_free(c);
        }
    return (void *)bad;
}

static void test_threads(void **state)
{
    struct rng rng = rng_seed(14);
    struct batch in = {.n = 0};
    const struct batch *arg = &in;
    pthread_t t[4];

    (void)state;
    batch_random(&in, &rng, 17, 28);
    for (size_t i = 0; i < LEN(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, thread_main, &arg), 0);
    for (size_t i = 0; i < LEN(t); i++) {
        void *bad;

        assert_int_equal(pthread_join(t[i], &bad), 0);
        assert_null(bad);
    }
    batch_fini(&in);
}

static int start(void **state)
{
    (void)state;
    return crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),         cmocka_unit_test(test_captured),
        cmocka_unit_test(test_session_layouts), cmocka_unit_test(test_rows_agree),
        cmocka_unit_test(test_every_length),    cmocka_unit_test(test_gcm_cases),
        cmocka_unit_test(test_forged_is_wiped), cmocka_unit_test(test_bit_flips_are_refused),
        cmocka_unit_test(test_short_and_long),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_heads_and_tails), cmocka_unit_test(test_any_key_and_many),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
