/* tests/unit/test_smux_frame.c - the header codec: what is accepted is what the strictest peer accepts. */
#include "core/smux_frame.h"

#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint8_t head[SMUX_FRAME_HEADER];
    uint8_t ver;
    int want;
    struct smux_frame f;
} rows[] = {
    {"v1 SYN", {1, 0, 0, 0, 3, 0, 0, 0}, 1, 0, {1, SMUX_SYN, 0, 3}},
    {"v1 FIN", {1, 1, 0, 0, 3, 0, 0, 0}, 1, 0, {1, SMUX_FIN, 0, 3}},
    {"v1 PSH", {1, 2, 5, 0, 3, 0, 0, 0}, 1, 0, {1, SMUX_PSH, 5, 3}},
    {"v1 NOP", {1, 3, 0, 0, 0, 0, 0, 0}, 1, 0, {1, SMUX_NOP, 0, 0}},
    {"v2 UPD", {2, 4, 8, 0, 3, 0, 0, 0}, 2, 0, {2, SMUX_UPD, 8, 3}},
    {"longest PSH, highest id", {2, 2, 255, 255, 255, 255, 255, 255}, 2, 0, {2, SMUX_PSH, 65535, 0xffffffff}},
    {"empty PSH", {1, 2, 0, 0, 3, 0, 0, 0}, 1, 0, {1, SMUX_PSH, 0, 3}},
    {"bytes of id in order", {1, 0, 0, 0, 1, 2, 3, 4}, 1, 0, {1, SMUX_SYN, 0, 0x04030201}},
    {"NOP with an id", {1, 3, 0, 0, 77, 0, 0, 0}, 1, 0, {1, SMUX_NOP, 0, 77}},
    {"v2 in a v1 session", {2, 3, 0, 0, 0, 0, 0, 0}, 1, SMUX_FRAME_BAD, {0}},
    {"v1 in a v2 session", {1, 3, 0, 0, 0, 0, 0, 0}, 2, SMUX_FRAME_BAD, {0}},
    {"version 0", {0, 3, 0, 0, 0, 0, 0, 0}, 1, SMUX_FRAME_BAD, {0}},
    {"UPD in v1", {1, 4, 8, 0, 3, 0, 0, 0}, 1, SMUX_FRAME_BAD, {0}},
    {"command 5", {2, 5, 0, 0, 3, 0, 0, 0}, 2, SMUX_FRAME_BAD, {0}},
    {"UPD without body", {2, 4, 0, 0, 3, 0, 0, 0}, 2, SMUX_FRAME_BAD, {0}},
    {"UPD with a long body", {2, 4, 12, 0, 3, 0, 0, 0}, 2, SMUX_FRAME_BAD, {0}},
    {"UPD, length in the high byte", {2, 4, 8, 1, 3, 0, 0, 0}, 2, SMUX_FRAME_BAD, {0}},
    {"SYN with a body", {1, 0, 4, 0, 3, 0, 0, 0}, 1, SMUX_FRAME_BAD, {0}},
    {"FIN with a body", {1, 1, 0, 1, 3, 0, 0, 0}, 1, SMUX_FRAME_BAD, {0}},
    {"NOP with a body", {1, 3, 1, 0, 0, 0, 0, 0}, 1, SMUX_FRAME_BAD, {0}},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        uint8_t *p = memcpy(malloc(SMUX_FRAME_HEADER), rows[i].head, SMUX_FRAME_HEADER);
        struct smux_frame f = {9, 9, 9, 9};
        int r = smux_frame_parse(&f, p, rows[i].ver);

        if (r != rows[i].want)
            fail_msg("%s: %d", rows[i].name, r);
        if (r ? f.ver != 9 || f.sid != 9
              : f.ver != rows[i].f.ver || f.cmd != rows[i].f.cmd || f.len != rows[i].f.len || f.sid != rows[i].f.sid)
            fail_msg("%s: fields", rows[i].name);
        free(p);
    }
}

/* Whatever parses is written back to the same bytes. */
static void test_round_trip(void **state)
{
    struct rng rng = rng_seed(71);
    unsigned good = 0;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        uint8_t in[SMUX_FRAME_HEADER], out[SMUX_FRAME_HEADER];
        struct smux_frame f;
        struct wr w = wr_to(out, sizeof out);

        rng_fill(&rng, in, sizeof in);
        in[0] = (uint8_t)(1 + rng_below(&rng, 2));
        in[1] %= 6;
        if (smux_frame_parse(&f, in, in[0]))
            continue;
        good++;
        smux_frame_put(&w, &f);
        assert_false(w.bad);
        assert_memory_equal(in, out, sizeof in);
    }
    assert_true(good > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
