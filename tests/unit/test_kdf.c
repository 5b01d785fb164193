/* tests/unit/test_kdf.c - derived keys and the pad of "xor" against the peer's. */
#include "crypto/kdf.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/vectors.h"

static void test_derived_keys(void **state)
{
    json_t *j = vec_load("kdf.json"), *row;
    bool empty = false;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(j, "kcptun_key"), i, row)
    {
        struct bytes pass = vec_hex(row, "passphrase_hex"), want = vec_hex(row, "dk");
        uint8_t got[32];

        assert_int_equal(kdf_derive(got, pass), 0);
        assert_bytes(bytes_of(got, sizeof got), want, vec_str(row, "passphrase"));
        empty |= !pass.len;
        vec_free(pass);
        vec_free(want);
    }
    assert_true(i > 0 && empty);
    json_decref(j);
}

static void test_xor_tables(void **state)
{
    json_t *j = vec_load("kdf.json"), *row;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(j, "xor_table"), i, row)
    {
        struct bytes key = vec_hex(row, "key32"), want = vec_hex(row, "dk");
        uint8_t *got = malloc(1500);

        assert_int_equal(kdf_xor_table(got, key.p), 0);
        assert_bytes(bytes_of(got, 1500), want, "xor table");
        free(got);
        vec_free(key);
        vec_free(want);
    }
    assert_true(i > 0);
    json_decref(j);
}

static void test_null_passphrase(void **state)
{
    uint8_t a[32], b[32];

    (void)state;
    assert_int_equal(kdf_derive(a, bytes_of(NULL, 0)), 0);
    assert_int_equal(kdf_derive(b, bytes_of("", 0)), 0);
    assert_memory_equal(a, b, sizeof a);
}

static void test_init_again_and_wipe(void **state)
{
    uint8_t secret[16], zero[16] = {0};

    (void)state;
    assert_int_equal(crypto_init(), 0);
    memset(secret, 7, sizeof secret);
    crypto_wipe(secret, sizeof secret);
    assert_memory_equal(secret, zero, sizeof secret);
}

static int start(void **state)
{
    (void)state;
    return crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derived_keys),
        cmocka_unit_test(test_xor_tables),
        cmocka_unit_test(test_null_passphrase),
        cmocka_unit_test(test_init_again_and_wipe),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
