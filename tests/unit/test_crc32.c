/* tests/unit/test_crc32.c - both CRCs against vectors, and the fast ones against the portable. */
#include "crypto/crc32.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/wire.h"
#include "tests/support/vectors.h"

typedef uint32_t crc_fn(struct bytes b);

static void test_ieee_vectors(void **state)
{
    json_t *j = vec_load("crc32.json"), *row;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(j, "crc32_ieee"), i, row)
    {
        struct bytes in = vec_hex(row, "input"), wire = vec_hex(row, "wire_bytes_le");

        assert_int_equal(wire.len, 4);
        assert_int_equal(crc32_ieee(in), get_le32(wire.p));
        assert_int_equal(crc32_ieee_portable(in), get_le32(wire.p));
        assert_int_equal(crc32_ieee(in), strtoul(vec_str(row, "crc32_value_hex"), NULL, 16));
        vec_free(in);
        vec_free(wire);
    }
    assert_true(i > 0);
    json_decref(j);
}

/* The inputs of the file are described in words; the only one in code is smux's (spec of its frames: version, command,
 * length, stream). */
static void described_input(uint8_t *out, const char *what, size_t len)
{
    static const uint8_t syn[] = {1, 0, 0, 0, 3, 0, 0, 0};

    if (strstr(what, "zero byte"))
        memset(out, 0, len);
    else if (strstr(what, "0xff"))
        memset(out, 0xff, len);
    else if (what[0] == '\'')
        memcpy(out, what + 1, len);
    else if (strstr(what, "SYN"))
        memcpy(out, syn, len);
    else
        vec_pattern(out, 0, len);
}

static void test_castagnoli_vectors(void **state)
{
    json_t *rows = vec_load("snappy-crc.json"), *row;
    size_t i;

    (void)state;
    json_array_foreach(rows, i, row)
    {
        uint32_t want = (uint32_t)strtoul(vec_str(row, "crc32c"), NULL, 16);
        size_t len = (size_t)vec_int(row, "len");
        uint8_t *in = malloc(len + !len);
        struct bytes b = bytes_of(in, len);

        described_input(in, vec_str(row, "data"), len);
        if (crc32c(b) != want || crc32c_portable(b) != want)
            fail_msg("%s (%zu): %08x %08x", vec_str(row, "data"), len, crc32c(b), crc32c_portable(b));
        free(in);
    }
    assert_true(i > 0);
    json_decref(rows);
}

/* Bit by bit, from the polynomial alone: shares nothing with either implementation. */
static uint32_t crc_slow(struct bytes b, uint32_t poly)
{
    uint32_t r = UINT32_MAX;

    for (size_t i = 0; i < b.len; i++) {
        r ^= b.p[i];
        for (int bit = 0; bit < 8; bit++)
            r = r >> 1 ^ (r & 1 ? poly : 0);
    }
    return ~r;
}

static void check_equal(struct rng *rng, crc_fn *fast, crc_fn *portable, uint32_t poly)
{
    for (int i = 0; i < 3000; i++) {
        size_t len = rng_below(rng, i % 10 ? 1600 : 70000), skip = rng_below(rng, 64);
        uint8_t *block = malloc(skip + len + 1); /* exact end: an overrun shows */
        struct bytes b = bytes_of(block + skip + 1, len);
        uint32_t want;

        rng_fill(rng, block, skip + len + 1);
        want = portable(b);
        if (fast(b) != want || (i % 30 == 1 && crc_slow(b, poly) != want))
            fail_msg("poly %08x, length %zu, offset %zu", poly, len, skip + 1);
        free(block);
    }
}

static void test_fast_is_portable(void **state)
{
    struct rng rng = rng_seed(2);

    (void)state;
    check_equal(&rng, crc32_ieee, crc32_ieee_portable, 0xedb88320);
    check_equal(&rng, crc32c, crc32c_portable, 0x82f63b78);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ieee_vectors),
        cmocka_unit_test(test_castagnoli_vectors),
        cmocka_unit_test(test_fast_is_portable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
