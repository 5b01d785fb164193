/* tests/unit/test_arq_early.c - what leaves again before the threshold of `resend` is reached, and when. */
#include "tests/support/arq_pair.h"
#include "tests/support/arq_solo.h"

#include <stdlib.h>

/* One later ack is fewer than `resend`: the segment leaves at the next multiple of the interval, unless something new does;
 * two, and it leaves at once. */
static void test_early(void **state)
{
    static const struct {
        const char *name;
        bool early;
        uint32_t resend, acks;
        unsigned at_once, at_tick; /* segments sent */
        struct arq_counts counts;
    } rows[] = {
        {"off", false, 2, 1, 0, 0, {0}},
        {"one ack", true, 2, 1, 0, 1, {.early_segs = 1}},
        {"two acks", true, 2, 2, 1, 0, {.fast_segs = 1}},
        {"no fast retransmission", true, 0, 2, 0, 1, {.early_segs = 1}},
        {"neither", false, 0, 2, 0, 0, {0}},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct solo *s = malloc(sizeof *s);
        struct arq_counts n;

        print_message("%s\n", rows[i].name);
        solo_init(s, &solo_params, 64);
        solo_open(s);
        arq_knobs(s->a)->early = rows[i].early;
        arq_knobs(s->a)->resend = rows[i].resend;
        s->left = 4;
        solo_flush(s, 100);
        for (uint32_t k = 0; k < rows[i].acks; k++)
            solo_ack(s, 2 + k, 100, 1, 153); /* una covers 0; 1 is passed */
        arq_check(s->a, 153);
        solo_flush(s, 153);
        assert_int_equal(s->n_segs, rows[i].at_once);
        if (rows[i].at_tick)
            assert_int_equal(arq_due_in_ms(s->a, 153), 7);
        solo_flush(s, 159);
        assert_int_equal(s->n_segs, 0);
        if (rows[i].early)
            s->left = 1;
        solo_flush(s, 160);
        assert_int_equal(s->n_segs, rows[i].early); /* the new one alone */
        arq_check(s->a, 160);
        solo_flush(s, 171);
        assert_int_equal(s->n_segs, rows[i].at_tick);
        n = arq_take_counts(s->a);
        assert_int_equal(n.early_segs, rows[i].counts.early_segs);
        assert_int_equal(n.fast_segs, rows[i].counts.fast_segs);
        assert_int_equal(n.lost_segs, 0);
        solo_flush(s, 181);
        assert_int_equal(s->n_segs, 0); /* once for all that was acknowledged so far */
        arq_check(s->a, 181);
        solo_fini(s);
        free(s);
    }
}

/* What was passed and then acknowledged, or sent again for another reason, is not looked at any more. */
static void test_early_no_more(void **state)
{
    struct solo *s = malloc(sizeof *s);

    (void)state;
    solo_init(s, &solo_params, 64);
    solo_open(s);
    arq_knobs(s->a)->early = true;
    s->left = 6;
    solo_flush(s, 100);
    solo_ack(s, 4, 100, 0, 153);
    solo_ack(s, 1, 100, 0, 154); /* the one that counts was late; 0 has been passed twice now */
    solo_ack(s, 2, 100, 3, 155);
    arq_check(s->a, 155);
    assert_int_equal(s->a->passed.n, 1);
    solo_flush(s, 160);
    assert_int_equal(s->n_segs, 1);
    assert_int_equal(s->seg[0].sn, 3);
    solo_ack(s, 5, 100, 3, 161); /* sent before 3 was sent again */
    assert_int_equal(arq_due_in_ms(s->a, 161), s->a->runs[0].at - 161);
    solo_ack(s, 3, 160, 6, 165);
    assert_int_equal(arq_due_in_ms(s->a, 165), UINT32_MAX);
    solo_fini(s);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_early),
        cmocka_unit_test(test_early_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
