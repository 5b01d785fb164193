/* tests/unit/test_nonce.c - the generator: it replays, does not repeat, and is unique where it must be. */
#include "crypto/nonce.h"

#include <stdlib.h>

#include "core/base/wire.h"
#include "crypto/kdf.h"
#include "tests/support/vectors.h"

static const uint8_t seed_a[NONCE_SEED] = {1}, seed_b[NONCE_SEED] = {2};

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static void assert_no_repeats(uint8_t (*v)[16], size_t n, const char *what)
{
    qsort(v, n, sizeof v[0], by_bytes);
    for (size_t i = 1; i < n; i++)
        if (!memcmp(v[i - 1], v[i], 16))
            fail_msg("%s: one of %zu nonces came twice", what, n);
}

/* RFC 8439 (A.1, test vector 1): the ChaCha20 keystream of the all-zero key and nonce from block 0. The first 8 bytes
 * drawn are the AEAD prefix, callers get what follows. */
static void test_keystream(void **state)
{
    static const uint8_t zero[NONCE_SEED];
    static const uint8_t want[32] = {0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a,
                                     0xe5, 0x53, 0x86, 0xbd, 0x28, 0xbd, 0xd2, 0x19, 0xb8, 0xa0, 0x8d,
                                     0xed, 0x1a, 0xa8, 0x36, 0xef, 0xcc, 0x8b, 0x77, 0x0d, 0xc7};
    struct nonce_gen g;
    uint8_t got[24];

    (void)state;
    nonce_init(&g, zero);
    assert_memory_equal(g.prefix, want, 8);
    nonce_random(&g, got, sizeof got);
    assert_memory_equal(got, want + 8, sizeof got);
    nonce_fini(&g);
}

static void test_replays(void **state)
{
    struct nonce_gen a, b, other;
    struct rng rng = rng_seed(3);
    uint8_t x[5000], y[5000], z[5000];
    size_t done = 0;

    (void)state;
    nonce_init(&a, seed_a);
    nonce_init(&b, seed_a);
    nonce_init(&other, seed_b);
    nonce_random(&a, x, sizeof x);
    while (done < sizeof y) { /* however it is cut */
        size_t n = rng_below(&rng, 300);

        n = MIN(n, sizeof y - done);
        nonce_random(&b, y + done, n);
        done += n;
    }
    assert_memory_equal(x, y, sizeof x);
    assert_int_equal(nonce_u32(&a), nonce_u32(&b));
    nonce_random(&other, z, sizeof z);
    assert_memory_not_equal(x, z, 64);
    for (size_t i = 1; i < sizeof x / 64; i++) /* no keystream block comes twice */
        assert_memory_not_equal(x, x + 64 * i, 64);
}

static void test_random_nonces_differ(void **state)
{
    enum { N = 1000000 };
    uint8_t(*v)[16] = malloc(N * sizeof *v);
    struct nonce_gen g;

    (void)state;
    nonce_init(&g, seed_a);
    for (size_t i = 0; i < N;) {
        size_t n = MIN(1 + i % 64, N - i);

        nonce_fill(&g, v + i, n, 0);
        i += n;
    }
    assert_no_repeats(v, N, "random");
    free(v);
}

static void test_rekey(void **state)
{
    enum { N = 4096 };
    uint8_t(*v)[16] = malloc(2 * N * sizeof *v), key[32];
    struct nonce_gen g;

    (void)state;
    nonce_init(&g, seed_a);
    memcpy(key, g.key, sizeof key);
    g.block = 0;
    g.used = sizeof g.pool;
    nonce_fill(&g, v, N, 0); /* from block 0 of the first key */
    g.block = (1 << 20) - 16;
    g.used = sizeof g.pool;
    nonce_fill(&g, v + N, N, 0); /* and over the edge: block 0 again, of another key */
    assert_memory_not_equal(key, g.key, sizeof key);
    assert_true(g.block < 1 << 20);
    assert_no_repeats(v, 2 * N, "re-key");
    free(v);
}

static void test_unique(void **state)
{
    enum { N = 400000 };
    uint8_t(*v)[16] = malloc(2 * N * sizeof *v), junk[40];
    struct nonce_gen g, other;

    (void)state;
    nonce_init(&g, seed_a);
    nonce_init(&other, seed_b);
    for (size_t i = 0; i < N; i += 100) {
        nonce_fill(&g, v + i, 100, 1);
        if (i == N / 2)
            g.block = 1 << 20; /* the next pool re-keys */
        nonce_random(&g, junk, sizeof junk);
    }
    nonce_fill(&other, v + N, N, 1);
    for (size_t i = 0; i < 2 * N; i++)
        assert_int_equal(get_le32(v[i] + 12), 0);
    assert_no_repeats(v, 2 * N, "unique");
    free(v);
}

static void test_unique_past_the_counter(void **state)
{
    uint8_t v[6][16], before[8];
    struct nonce_gen g;

    (void)state;
    nonce_init(&g, seed_a);
    memcpy(before, g.prefix, sizeof before);
    g.count = UINT32_MAX - 1;
    nonce_fill(&g, v, 4, 1);
    assert_memory_not_equal(before, g.prefix, sizeof before);
    memset(g.prefix, 0xff, sizeof g.prefix);
    g.count = UINT32_MAX;
    nonce_fill(&g, v + 4, 2, 1);
    assert_no_repeats(v, 6, "counter");
}

static void test_fini_wipes(void **state)
{
    static const struct nonce_gen zero;
    struct nonce_gen g;

    (void)state;
    nonce_init(&g, seed_a);
    nonce_fini(&g);
    assert_memory_equal(&g, &zero, sizeof g);
    nonce_fini(NULL);
}

static int start(void **state)
{
    (void)state;
    return crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keystream),
        cmocka_unit_test(test_replays),
        cmocka_unit_test(test_random_nonces_differ),
        cmocka_unit_test(test_rekey),
        cmocka_unit_test(test_unique),
        cmocka_unit_test(test_unique_past_the_counter),
        cmocka_unit_test(test_fini_wipes),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
