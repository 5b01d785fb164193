/* tests/unit/test_rs.c - the code against the peers' matrices and a byte-wise oracle, on every region kernel. Rows end at
 * an unreadable page, so a kernel that looks one byte too far dies here. */
#include "fec/region.h"
#include "fec/rs.h"
#include "tests/support/vectors.h"

#include <jerasure.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ROW_MAX = 1500, GUARD = 0xa5 };

/* The oracle: shift and reduce, one bit at a time. */
static uint8_t gf_mul(uint8_t a, uint8_t b)
{
    unsigned r = 0, x = a;

    for (; b; b >>= 1, x = x << 1 ^ (x & 0x80 ? 0x11d : 0))
        if (b & 1)
            r ^= x;
    return (uint8_t)r;
}

/* A heap of rows: each ends `gap` bytes before a page that faults when touched. */
struct rows {
    uint8_t *map;
    size_t each, n;
};

static struct rows rows_new(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct rows r = {.each = 2 * page, .n = n};

    r.map = mmap(NULL, n * r.each, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(r.map, MAP_FAILED);
    memset(r.map, GUARD, n * r.each);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(mprotect(r.map + i * r.each + page, page, PROT_NONE), 0);
    return r;
}

static uint8_t *row(const struct rows *r, size_t i, size_t len, size_t gap)
{
    return r->map + i * r->each + r->each / 2 - gap - len;
}

/* Fails if the bytes round a row were written. */
static void check_guard(const struct rows *r, size_t i, size_t len, size_t gap)
{
    const uint8_t *p = row(r, i, len, gap);

    for (size_t k = 1; k <= 64; k++)
        assert_int_equal(p[-(ptrdiff_t)k], GUARD);
    for (size_t k = 0; k < gap; k++)
        assert_int_equal(p[len + k], GUARD);
}

static void wipe(const struct rows *r)
{
    for (size_t i = 0; i < r->n; i++)
        memset(r->map + i * r->each, GUARD, r->each / 2);
}

static void rows_free(struct rows *r)
{
    munmap(r->map, r->n * r->each);
}

static void test_matrices(void **state)
{
    json_t *root = vec_load("rs_matrices.json"), *m;
    size_t i, r, c;

    (void)state;
    json_array_foreach(vec_get(root, "matrices"), i, m)
    {
        unsigned k = (unsigned)vec_int(m, "data_shards"), p = (unsigned)vec_int(m, "parity_shards");
        struct rs *rs = rs_new(k, p);
        json_t *coefs, *coef;

        assert_non_null(rs);
        json_array_foreach(vec_get(m, "parity_rows"), r, coefs)
        {
            assert_int_equal(json_array_size(coefs), k);
            json_array_foreach(coefs, c, coef)
            {
                if (rs_parity_row(rs, (unsigned)r)[c] != json_integer_value(coef))
                    fail_msg("%u + %u, row %zu column %zu", k, p, r, c);
            }
        }
        assert_int_equal(r, p);
        rs_free(rs);
    }
    assert_true(i > 10);
    json_decref(root);
}

/* The definition, as a matrix product with jerasure's inversion: V * inverse(top square of V). */
static void check_definition(unsigned k, unsigned m)
{
    int *v = calloc((size_t)(k + m) * k, sizeof *v), *inverse = calloc((size_t)k * k, sizeof *inverse), *g;
    struct rs *rs = rs_new(k, m);

    for (unsigned pass = 0; pass < 2; pass++) { /* the inversion destroys the square */
        for (unsigned r = 0; r < k + m; r++) {
            v[r * k] = 1;
            for (unsigned c = 1; c < k; c++)
                v[r * k + c] = gf_mul((uint8_t)v[r * k + c - 1], (uint8_t)r);
        }
        if (!pass)
            assert_int_equal(jerasure_invert_matrix(v, inverse, (int)k, 8), 0);
    }
    g = jerasure_matrix_multiply(v, inverse, (int)(k + m), (int)k, (int)k, (int)k, 8);
    for (unsigned r = 0; r < k + m; r++)
        for (unsigned c = 0; c < k; c++)
            if (g[r * k + c] != (r < k ? r == c : rs_parity_row(rs, r - k)[c]))
                fail_msg("%u + %u, row %u column %u", k, m, r, c);
    rs_free(rs);
    free(v);
    free(inverse);
    free(g);
}

static void test_definition(void **state)
{
    (void)state;
    for (unsigned k = 1; k <= 40; k++)
        check_definition(k, 1 + k % 9);
    for (unsigned k = 60; k <= 250; k += 38)
        check_definition(k, 256 - k);
    check_definition(255, 1);
    check_definition(1, 255);
}

/* Codecs come and go in several threads at once; the first use sets the field up. */
static void *come_and_go(void *arg)
{
    struct rng rng = {.s = 1 + (uintptr_t)arg};
    long wrong = 0;

    for (unsigned i = 0; i < 400; i++) {
        unsigned k = 1 + rng_below(&rng, 6), m = 1 + rng_below(&rng, 3);
        struct rs *rs = rs_new(k, m);
        uint8_t mem[16][64], *rows[16];

        for (unsigned r = 0; r < k + m; r++) {
            rng_fill(&rng, mem[r], sizeof mem[r]);
            rows[r] = mem[r];
        }
        rs_encode(rs, m, (const uint8_t *const *)rows, rows + k, sizeof mem[0]);
        for (unsigned b = 0; b < sizeof mem[0]; b++) {
            uint8_t want = 0;

            for (unsigned c = 0; c < k; c++)
                want ^= gf_mul(rs_parity_row(rs, m - 1)[c], mem[c][b]);
            wrong += want != mem[k + m - 1][b];
        }
        rs_free(rs);
    }
    return (void *)wrong;
}

static void test_threads(void **state)
{
    pthread_t t[4];
    void *wrong;

    (void)state;
    for (uintptr_t i = 0; i < LEN(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, come_and_go, (void *)(i * 977)), 0);
    for (unsigned i = 0; i < LEN(t); i++) {
        pthread_join(t[i], &wrong);
        assert_null(wrong);
    }
    assert_int_equal(rs_memory(), 0);
}

static void test_bad_shapes(void **state)
{
    static const unsigned bad[][2] = {{0, 1}, {1, 0}, {0, 0}, {256, 1}, {1, 256}, {200, 57}, {~0u, 2}, {2, ~0u}};
    struct rs *a, *b;

    (void)state;
    for (size_t i = 0; i < LEN(bad); i++)
        assert_null(rs_new(bad[i][0], bad[i][1]));
    assert_null(rs_free(NULL));
    assert_int_equal(rs_memory(), 0);
    a = rs_new(10, 3);
    b = rs_new(10, 3);
    assert_ptr_equal(a, b); /* one codec for all */
    assert_true(rs_memory() > 0 && rs_memory() < 4096);
    rs_free(a);
    assert_int_equal(rs_parity_row(b, 0)[0], 0x81);
    rs_free(b);
    assert_int_equal(rs_memory(), 0);
}

/* Every row sums to 1, for shapes up to the limit: the invariant of a systematic Vandermonde code. */
static void test_row_sums(void **state)
{
    static const unsigned shapes[][2] = {{1, 255}, {255, 1}, {128, 128}, {70, 30}, {200, 56}, {17, 5}};

    (void)state;
    for (size_t i = 0; i < LEN(shapes); i++) {
        struct rs *rs = rs_new(shapes[i][0], shapes[i][1]);

        assert_non_null(rs);
        for (unsigned r = 0; r < shapes[i][1]; r++) {
            uint8_t sum = 0;

            for (unsigned c = 0; c < shapes[i][0]; c++)
                sum ^= rs_parity_row(rs, r)[c];
            assert_int_equal(sum, 1);
        }
        rs_free(rs);
    }
}

/* dot and add of one kernel at one length; source c ends gap c*7 % 19 before its page, destinations elsewhere. */
static void check_kernel(const struct region_ops *ops, const struct rows *mem, size_t len, struct rng *rng)
{
    enum { K = 5, R = 7 };
    const uint8_t *src[K];
    uint8_t coef[K * R], *dst[R], want[R][ROW_MAX], *table = malloc(ops->table_size(K, R));

    wipe(mem);
    rng_fill(rng, coef, sizeof coef);
    coef[0] = 0;
    coef[1] = 1;
    ops->prepare(table, coef, K, R);
    for (unsigned c = 0; c < K; c++) {
        rng_fill(rng, row(mem, c, len, c * 7 % 19), len);
        src[c] = row(mem, c, len, c * 7 % 19);
    }
    for (unsigned r = 0; r < R; r++) {
        dst[r] = row(mem, K + r, len, r * 5 % 17);
        memset(want[r], 0, len);
        for (unsigned c = 0; c < K; c++)
            for (size_t i = 0; i < len; i++)
                want[r][i] ^= gf_mul(coef[r * K + c], src[c][i]);
    }
    for (unsigned rows = 1; rows <= R; rows++) {
        ops->dot(table, K, rows, src, dst, len);
        for (unsigned r = 0; r < rows; r++)
            assert_bytes(bytes_of(dst[r], len), bytes_of(want[r], len), ops->name);
        for (unsigned r = 0; r < rows; r++)
            memset(dst[r], 0, len);
        for (unsigned c = K; c--;)
            ops->add(table, K, rows, c, src[c], dst, len);
        for (unsigned r = 0; r < rows; r++)
            assert_bytes(bytes_of(dst[r], len), bytes_of(want[r], len), ops->name);
    }
    for (unsigned r = 0; r < R; r++)
        check_guard(mem, K + r, len, r * 5 % 17);
    free(table);
}

static void test_kernels(void **state)
{
    struct rows mem = rows_new(12);
    struct rng rng = rng_seed(11);
    struct rs *rs = rs_new(1, 1); /* sets the field up */

    (void)state;
    for (unsigned i = 0; region_kernels[i]; i++) {
        if (!region_usable(region_kernels[i]))
            continue;
        for (size_t len = 0; len <= 130; len++)
            check_kernel(region_kernels[i], &mem, len, &rng);
        check_kernel(region_kernels[i], &mem, 1350, &rng);
        check_kernel(region_kernels[i], &mem, 1499, &rng);
    }
    rs_free(rs);
    rows_free(&mem);
}

/* Every usable kernel against gf-complete: any coefficients, shapes, lengths and alignments, in dot and in add. */
static void test_kernels_agree(void **state)
{
    enum { K = 20, R = 12, LEN_MAX = 2048, PLACES = 64 };
    static uint8_t src_mem[K][LEN_MAX + PLACES], got[R][LEN_MAX + PLACES], want[R][LEN_MAX + PLACES];
    static uint8_t coef[K * R], table[2][64 * K * R];
    struct rng rng = rng_seed(15);
    struct rs *rs = rs_new(1, 1); /* sets the field up */

    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        unsigned k = 1 + rng_below(&rng, K), rows = 1 + rng_below(&rng, R), c = rng_below(&rng, k);
        size_t len = rng_below(&rng, round % 2 ? LEN_MAX + 1 : 200);
        const uint8_t *src[K];
        uint8_t *g[R], *w[R];

        rng_fill(&rng, coef, sizeof coef);
        region_gfc.prepare(table[0], coef, k, rows);
        for (unsigned i = 0; i < k; i++) {
            src[i] = src_mem[i] + rng_below(&rng, PLACES);
            rng_fill(&rng, src_mem[i], sizeof src_mem[i]);
        }
        for (unsigned i = 0; i < rows; i++) {
            size_t at = rng_below(&rng, PLACES);

            g[i] = got[i] + at;
            w[i] = want[i] + at;
        }
        for (unsigned kernel = 0; region_kernels[kernel]; kernel++) {
            const struct region_ops *ops = region_kernels[kernel];

            if (!region_usable(ops) || ops == &region_gfc)
                continue;
            assert_true(ops->table_size(k, rows) <= sizeof table[1]);
            ops->prepare(table[1], coef, k, rows);
            memset(got, GUARD, sizeof got);
            memset(want, GUARD, sizeof want);
            region_gfc.dot(table[0], k, rows, src, w, len);
            ops->dot(table[1], k, rows, src, g, len);
            region_gfc.add(table[0], k, rows, c, src[c], w, len);
            ops->add(table[1], k, rows, c, src[c], g, len);
            if (memcmp(got, want, sizeof got)) /* what is round the rows too */
                fail_msg("%s, round %u: %u + %u, %zu bytes", ops->name, round, k, rows, len);
        }
    }
    rs_free(rs);
}

/* Loses the rows of `lost`, repairs, compares. Present parity is the true code. */
static void check_repair(const struct rs *rs, unsigned k, unsigned m, uint8_t *const all[], const bool lost[],
                         size_t len)
{
    uint8_t *rows[256];
    bool have[256];
    unsigned n = 0;
    int r;

    for (unsigned i = 0; i < k + m; i++) {
        have[i] = !lost[i];
        n += have[i];
        rows[i] = lost[i] ? i < k ? memset(malloc(len + !len), 0x5c, len) : NULL : all[i];
    }
    r = rs_repair(rs, rows, have, len);
    assert_int_equal(r, n < k ? RS_TOO_FEW : 0);
    for (unsigned i = 0; i < k; i++) {
        if (!lost[i])
            continue;
        if (!r)
            assert_bytes(bytes_of(rows[i], len), bytes_of(all[i], len), "repaired row");
        for (size_t b = 0; r && b < len; b++)
            assert_int_equal(rows[i][b], 0x5c);
        free(rows[i]);
    }
}

static void fill(const struct rs *rs, unsigned k, unsigned m, uint8_t *all[], size_t len, struct rng *rng)
{
    for (unsigned i = 0; i < k + m; i++)
        all[i] = malloc(len + !len);
    for (unsigned i = 0; i < k; i++)
        rng_fill(rng, all[i], len);
    rs_encode(rs, m, (const uint8_t *const *)all, all + k, len);
}

/* Every pattern of lost rows of 10 + 3 up to four of them: all that can be repaired, and some that cannot. */
static void test_all_patterns(void **state)
{
    struct rng rng = rng_seed(12);

    (void)state;
    for (unsigned kernel = 0; region_kernels[kernel]; kernel++) {
        struct rs *rs = rs_new_on(region_kernels[kernel], 10, 3);
        uint8_t *all[13];

        if (!rs)
            continue; /* not on this CPU */
        fill(rs, 10, 3, all, 67, &rng);
        for (unsigned set = 0; set < 1 << 13; set++) {
            bool lost[13];

            if (__builtin_popcount(set) > 4)
                continue;
            for (unsigned i = 0; i < 13; i++)
                lost[i] = set >> i & 1;
            check_repair(rs, 10, 3, all, lost, 67);
        }
        for (unsigned i = 0; i < 13; i++)
            free(all[i]);
        rs_free(rs);
    }
}

static void test_random_patterns(void **state)
{
    static const unsigned shapes[][2] = {{1, 1},     {1, 255}, {2, 2},   {20, 4},   {70, 30}, {128, 64},
                                         {128, 128}, {255, 1}, {3, 253}, {200, 56}, {5, 2}};
    struct rng rng = rng_seed(13);

    (void)state;
    for (unsigned kernel = 0; region_kernels[kernel]; kernel++)
        for (size_t s = 0; s < LEN(shapes); s++) {
            unsigned k = shapes[s][0], m = shapes[s][1];
            struct rs *rs = rs_new_on(region_kernels[kernel], k, m);

            if (!rs)
                continue; /* not on this CPU */
            for (unsigned round = 0; round < 4; round++) {
                size_t len = round == 0 ? 1 : 1 + rng_below(&rng, 200);
                uint8_t *all[256];
                bool lost[256] = {false};

                fill(rs, k, m, all, len, &rng);
                for (unsigned n = round == 1 ? m : rng_below(&rng, m + 1); n;) { /* round 1: all that can be lost */
                    unsigned at = rng_below(&rng, k + m);

                    n -= !lost[at];
                    lost[at] = true;
                }
                check_repair(rs, k, m, all, lost, len);
                for (unsigned i = 0; i < k + m; i++)
                    free(all[i]);
            }
            rs_free(rs);
        }
}

/* Shards shorter than the code are zero-filled in thought only, and summing gives what coding at once gives. */
static void test_mixed_lengths(void **state)
{
    enum { K = 6, M = 4, L = 1350 };
    struct rng rng = rng_seed(14);
    struct rs *rs = rs_new(K, M);

    (void)state;
    for (unsigned round = 0; round < 50; round++) {
        uint8_t *all[K + M], *sum[M], *dst[K];
        struct bytes rows[K + M];
        bool have[K + M];
        const uint8_t *missing;
        struct rs_plan *p;

        for (unsigned i = 0; i < K + M; i++)
            all[i] = calloc(1, L);
        for (unsigned i = 0; i < K; i++) {
            rows[i] = bytes_of(all[i], i ? rng_below(&rng, L) : L);
            rng_fill(&rng, all[i], rows[i].len);
            dst[i] = malloc(L);
        }
        rs_encode(rs, M, (const uint8_t *const *)all, all + K, L);
        for (unsigned i = 0; i < M; i++) {
            sum[i] = calloc(1, L);
            rows[K + i] = bytes_of(all[K + i], L);
        }
        for (unsigned i = K; i--;)
            rs_encode_add(rs, M, i, rows[i], sum);
        for (unsigned i = 0; i < M; i++)
            assert_bytes(bytes_of(sum[i], L), rows[K + i], "summed parity");
        for (unsigned i = 0; i < K + M; i++)
            have[i] = i % 3 != round % 3;
        p = rs_plan_new(rs, have);
        assert_non_null(p);
        assert_true(rs_plan_fits(p, have));
        rs_plan_run(p, rows, dst, L);
        for (unsigned i = 0; i < rs_plan_missing(p, &missing); i++)
            assert_bytes(bytes_of(dst[i], L), bytes_of(all[missing[i]], L), "rebuilt");
        have[0] = !have[0];
        assert_false(rs_plan_fits(p, have));
        rs_plan_free(p);
        for (unsigned i = 0; i < K + M; i++)
            free(all[i]);
        for (unsigned i = 0; i < K; i++)
            free(dst[i]);
        for (unsigned i = 0; i < M; i++)
            free(sum[i]);
    }
    rs_free(rs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads), /* first: it wants the field not set up */
        cmocka_unit_test(test_matrices),      cmocka_unit_test(test_definition),
        cmocka_unit_test(test_bad_shapes),    cmocka_unit_test(test_row_sums),
        cmocka_unit_test(test_kernels),       cmocka_unit_test(test_kernels_agree),
        cmocka_unit_test(test_all_patterns),  cmocka_unit_test(test_random_patterns),
        cmocka_unit_test(test_mixed_lengths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
