/* tests/unit/test_qpp.c - pads, generator and bytes of all three generations against the peers', in every cut. */
#include "crypto/qpp.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/kdf.h"
#include "tests/support/vectors.h"

static struct qpp *make(struct bytes key, unsigned count, unsigned generation)
{
    struct qpp *q = NULL;

    assert_int_equal(qpp_new(&q, key, count, generation), 0);
    return q;
}

static void check_hash(const json_t *o, const char *key, struct bytes b)
{
    struct bytes want = vec_hex(o, key);
    uint8_t got[32];

    crypto_hash_sha256(got, b.p, b.len);
    assert_bytes(bytes_of(got, sizeof got), want, key);
    vec_free(want);
}

static void check_front(const json_t *o, const char *key, struct bytes b)
{
    struct bytes want;

    if (!json_object_get(o, key))
        return;
    want = vec_hex(o, key);
    assert_true(want.len <= b.len);
    assert_bytes(bytes_of(b.p, want.len), want, key);
    vec_free(want);
}

static void check_pads(const struct qpp *q, const json_t *o, const char *key, unsigned count)
{
    uint8_t *all = malloc(256 * (size_t)count);

    for (unsigned i = 0; i < count; i++)
        memcpy(all + 256 * (size_t)i, qpp_pad(q, i), 256);
    check_hash(o, key, bytes_of(all, 256 * (size_t)count));
    free(all);
}

static void check_generator(const struct qpp *q, const json_t *o)
{
    const char *text = vec_str(o, "prng_state_after_first_draw_hex");
    json_t *words = json_object_get(o, "prng_first_words_hex"), *w;
    struct qpp_state st;
    uint64_t s[4];
    size_t i;

    qpp_begin(q, &st);
    assert_int_equal(sscanf(text, "%" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64, &s[0], &s[1], &s[2], &s[3]), 4);
    assert_memory_equal(st.s, s, sizeof s);
    if (!words)
        assert_int_equal(st.word, strtoull(vec_str(o, "prng_first_word_hex"), NULL, 16));
    json_array_foreach(words, i, w)
    {
        assert_int_equal(st.word, strtoull(json_string_value(w), NULL, 16));
        qpp_skip(&st, 8);
    }
}

/* plain -> cipher and back in pieces of sizes[0..n), then of whatever is left; out of place there, in place back. */
static void check_cut(const struct qpp *q, struct bytes plain, struct bytes cipher, const size_t *sizes, size_t n)
{
    uint8_t *b = malloc(plain.len + 1);
    struct qpp_state there, back;
    size_t at = 0;

    qpp_begin(q, &there);
    qpp_begin(q, &back);
    for (size_t i = 0; at < plain.len; i++) {
        size_t k = i < n ? MIN(sizes[i], plain.len - at) : plain.len - at;

        qpp_encrypt(q, &there, b + at, plain.p + at, k);
        assert_memory_equal(b + at, cipher.p + at, k);
        qpp_decrypt(q, &back, b + at, b + at, k);
        assert_memory_equal(b + at, plain.p + at, k);
        assert_memory_equal(&there, &back, sizeof there);
        at += k;
    }
    free(b);
}

static uint8_t *encrypt(const struct qpp *q, struct bytes plain)
{
    uint8_t *out = malloc(plain.len + 1);
    struct qpp_state st;

    qpp_begin(q, &st);
    qpp_encrypt(q, &st, out, plain.p, plain.len);
    return out;
}

/* ---- qpp-newest.json ---- */

static void check_write(const struct qpp *q, const json_t *w)
{
    size_t len = (size_t)vec_int(w, "len");
    uint8_t *plain = malloc(len), *cipher;

    vec_pattern(plain, 0, len);
    check_front(w, "plain_hex", bytes_of(plain, len));
    cipher = encrypt(q, bytes_of(plain, len));
    check_front(w, "cipher_hex", bytes_of(cipher, len));
    check_hash(w, "cipher_sha256", bytes_of(cipher, len));
    free(plain);
    free(cipher);
}

static void check_split(const struct qpp *q, const json_t *o)
{
    uint8_t plain[1000], *cipher;
    size_t sizes[32], i;
    json_t *v;

    vec_pattern(plain, 0, sizeof plain);
    cipher = encrypt(q, bytes_of(plain, sizeof plain));
    check_hash(o, "cipher_sha256", bytes_of(cipher, sizeof plain));
    check_front(o, "first64_hex", bytes_of(cipher, sizeof plain));
    json_array_foreach(vec_get(o, "sizes"), i, v)
    {
        assert_true(i < LEN(sizes));
        sizes[i] = (size_t)json_integer_value(v);
    }
    assert_true(i > 0);
    check_cut(q, bytes_of(plain, sizeof plain), bytes_of(cipher, sizeof plain), sizes, i);
    free(cipher);
}

static void test_newest(void **state)
{
    json_t *j = vec_load("qpp-newest.json"), *c, *w;
    size_t i, k;

    (void)state;
    json_array_foreach(vec_get(j, "cases"), i, c)
    {
        unsigned count = (unsigned)vec_int(c, "count");
        struct bytes key = vec_hex(c, "key_hex");
        struct qpp *q = make(key, count, 3);

        check_pads(q, c, "all_pads_sha256", count);
        check_front(c, "pad0_hex", bytes_of(qpp_pad(q, 0), 256));
        check_front(c, "pad1_first16_hex", bytes_of(qpp_pad(q, count > 1), 256));
        check_front(c, "last_pad_first16_hex", bytes_of(qpp_pad(q, count - 1), 256));
        check_generator(q, c);
        json_array_foreach(vec_get(c, "single_writes_fresh_stream"), k, w)
        {
            check_write(q, w);
        }
        assert_true(k > 0);
        check_split(q, vec_get(c, "split_writes"));
        qpp_free(q);
        vec_free(key);
    }
    assert_int_equal(i, 8);
    json_decref(j);
}

static void test_two_directions(void **state)
{
    json_t *j = vec_load("qpp-newest.json"), *o = vec_get(j, "two_directions"), *w;
    const char *key = vec_str(o, "key");
    struct qpp *q = make(bytes_of(key, strlen(key)), (unsigned)vec_int(o, "count"), 3);
    struct qpp_state up, down;
    size_t i;

    (void)state;
    qpp_begin(q, &up);
    qpp_begin(q, &down);
    json_array_foreach(vec_get(o, "writes_in_order"), i, w)
    {
        struct bytes plain = vec_hex(w, "plain_hex"), want = vec_hex(w, "cipher_hex");
        bool there = !strcmp(vec_str(w, "direction"), "client to server");
        uint8_t *got = malloc(plain.len);

        qpp_encrypt(q, there ? &up : &down, got, plain.p, plain.len);
        assert_bytes(bytes_of(got, plain.len), want, "two directions");
        free(got);
        vec_free(plain);
        vec_free(want);
    }
    assert_true(i > 0);
    qpp_free(q);
    json_decref(j);
}

/* ---- qpp-generations.json ---- */

static void test_generations(void **state)
{
    json_t *j = vec_load("qpp-generations.json"), *r;
    uint8_t plain[32];

    (void)state;
    for (unsigned i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)i;
    for (unsigned g = 1; g <= QPP_GENERATIONS; g++) {
        const char name[] = {(char)('A' + g - 1), 0};
        size_t i;

        json_array_foreach(vec_get(vec_get(j, name), "results"), i, r)
        {
            const char *key = vec_str(r, "key");
            unsigned count = (unsigned)vec_int(r, "count");
            struct qpp *q = make(bytes_of(key, strlen(key)), count, g);
            uint8_t *cipher = encrypt(q, bytes_of(plain, sizeof plain));

            check_pads(q, r, "all_pads_sha256", count);
            check_front(r, "pad0_first32_hex", bytes_of(qpp_pad(q, 0), 256));
            check_front(r, "cipher_hex", bytes_of(cipher, sizeof plain));
            check_generator(q, r);
            free(cipher);
            qpp_free(q);
        }
        assert_true(i > 0);
    }
    json_decref(j);
}

/* ---- qpp-live.json ---- */

/* 'hello kcptun D ' + bytes (j*7+D) mod 256 for j = 0..LAST + 'END', as the file says in words. */
static uint8_t *live_plain(const json_t *o, size_t len)
{
    unsigned d, last, d2;
    uint8_t *p = malloc(len);
    int n;

    n = sscanf(vec_str(o, "plain"), "'hello kcptun %u ' + bytes (j*7+%u) mod 256 for j = 0..%u + 'END'", &d, &d2,
               &last);
    assert_int_equal(n, 3);
    assert_int_equal(len, 15 + last + 1 + 3);
    n = snprintf((char *)p, len, "hello kcptun %u ", d);
    assert_int_equal(n, 15);
    for (unsigned k = 0; k <= last; k++)
        p[15 + k] = (uint8_t)(k * 7 + d2);
    memcpy(p + len - 3, "END", 3);
    return p;
}

static void test_live(void **state)
{
    json_t *j = vec_load("qpp-live.json"), *o;
    struct qpp *q = make(bytes_of("k", 1), 61, 3);
    const char *id;

    (void)state;
    check_pads(q, j, "pads_sha256", 61);
    json_object_foreach(vec_get(j, "streams"), id, o)
    {
        size_t len = (size_t)vec_int(o, "plain_len");
        uint8_t *plain = live_plain(o, len), *cipher = encrypt(q, bytes_of(plain, len));

        check_hash(o, "cipher_sha256", bytes_of(cipher, len));
        check_front(o, "cipher_first64_hex", bytes_of(cipher, len));
        check_front(o, "cipher_last16_hex", bytes_of(cipher + len - 16, 16));
        free(plain);
        free(cipher);
    }
    assert_int_equal(json_object_size(vec_get(j, "streams")), 2);
    qpp_free(q);
    json_decref(j);
}

/* ---- cuts ---- */

static void test_every_cut(void **state)
{
    struct qpp *q = make(bytes_of("k", 1), 61, 3);
    uint8_t plain[35], *cipher;
    struct bytes p = bytes_of(plain, sizeof plain);

    (void)state;
    vec_pattern(plain, 100, sizeof plain);
    cipher = encrypt(q, p);
    for (size_t a = 0; a <= sizeof plain; a++)
        for (size_t b = 0; a + b <= sizeof plain; b++)
            check_cut(q, p, bytes_of(cipher, sizeof plain), (const size_t[]){a, b}, 2);
    free(cipher);
    qpp_free(q);
}

static void test_skip(void **state)
{
    struct qpp *q = make(bytes_of("k", 1), 7, 1);
    uint8_t b[64] = {0};

    (void)state;
    for (size_t at = 0; at < 20; at++)
        for (size_t n = 0; n < 40; n++) {
            struct qpp_state passed, skipped;

            qpp_begin(q, &passed);
            qpp_encrypt(q, &passed, b, b, at);
            skipped = passed;
            qpp_encrypt(q, &passed, b, b, n);
            qpp_skip(&skipped, n);
            assert_memory_equal(&passed, &skipped, sizeof passed);
        }
    qpp_free(q);
}

static void test_life(void **state)
{
    struct qpp *q = NULL;

    (void)state;
    assert_true(qpp_new(&q, bytes_of("k", 1), 0, 3) < 0);
    assert_true(qpp_new(&q, bytes_of("k", 1), QPP_COUNT_MAX + 1, 3) < 0);
    assert_true(qpp_new(&q, bytes_of("k", 1), 61, 0) < 0);
    assert_true(qpp_new(&q, bytes_of("k", 1), 61, QPP_GENERATIONS + 1) < 0);
    assert_null(q);
    assert_null(qpp_free(NULL));
}

static int start(void **state)
{
    (void)state;
    return crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest), cmocka_unit_test(test_two_directions), cmocka_unit_test(test_generations),
        cmocka_unit_test(test_live),   cmocka_unit_test(test_every_cut),      cmocka_unit_test(test_skip),
        cmocka_unit_test(test_life),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
