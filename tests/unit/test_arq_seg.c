/* tests/unit/test_arq_seg.c - the 24-byte header against segments of both reference cores. */
#include "core/arq_seg.h"
#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>

static struct arq_seg seg_of(const json_t *v)
{
    return (struct arq_seg){.conv = (uint32_t)vec_int(v, "conv"),
                            .cmd = (uint8_t)vec_int(v, "cmd"),
                            .frg = (uint8_t)vec_int(v, "frg"),
                            .wnd = (uint16_t)vec_int(v, "wnd"),
                            .ts = (uint32_t)vec_int(v, "ts"),
                            .sn = (uint32_t)vec_int(v, "sn"),
                            .una = (uint32_t)vec_int(v, "una"),
                            .len = (uint32_t)vec_int(v, "len")};
}

static void assert_seg(const struct arq_seg *got, const struct arq_seg *want)
{
    assert_int_equal(got->conv, want->conv);
    assert_int_equal(got->cmd, want->cmd);
    assert_int_equal(got->frg, want->frg);
    assert_int_equal(got->wnd, want->wnd);
    assert_int_equal(got->ts, want->ts);
    assert_int_equal(got->sn, want->sn);
    assert_int_equal(got->una, want->una);
    assert_int_equal(got->len, want->len);
}

static void test_vectors(void **state)
{
    json_t *doc = vec_load("segments.json"), *list = vec_get(doc, "segments");

    (void)state;
    assert_true(json_array_size(list) > 8);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        struct bytes enc = vec_hex(v, "encoded"), data = vec_hex(v, "data");
        struct arq_seg want = seg_of(v), got;
        struct rd r = rd_from(enc.p, enc.len);
        uint8_t *out = malloc(enc.len);
        struct wr w = wr_to(out, enc.len);

        got = arq_seg_get(&r);
        assert_false(r.bad);
        assert_seg(&got, &want);
        assert_bytes(bytes_of(r.p, rd_left(&r)), data, "data");
        arq_seg_put(&w, &want);
        wr_bytes(&w, data.p, data.len);
        assert_false(w.bad);
        assert_bytes(bytes_of(out, (size_t)(w.p - out)), enc, vec_str(v, "command"));
        free(out);
        vec_free(enc);
        vec_free(data);
    }
    json_decref(doc);
}

static void test_short(void **state)
{
    const struct arq_seg s = {.conv = 1, .cmd = ARQ_SEG_ACK};

    (void)state;
    for (size_t n = 0; n <= 24; n++) { /* each on its own heap block, in both directions */
        uint8_t *p = calloc(1, n + !n);
        struct rd r = rd_from(p, n);
        struct wr w = wr_to(p, n);

        (void)arq_seg_get(&r);
        assert_int_equal(r.bad, n < 24);
        arq_seg_put(&w, &s);
        assert_int_equal(w.bad, n < 24);
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
