/* tests/unit/test_arq_cost.c - what a call costs, in steps of the engine's loops: the same for any window. */
#include "tests/support/arq_pair.h"
#include "tests/support/arq_solo.h"

#include <stdlib.h>

/* Steps per call, for each way of using a window of wnd. */
struct costs {
    double flush, ack, sack, lossy, again, push, shuffled;
};

#define PER_CALL(what, n) ((double)(arq_steps - (what)) / (n))

static void cost_acks(struct costs *c, uint16_t wnd)
{
    struct solo *s = malloc(sizeof *s);
    uint64_t was;

    solo_init(s, &solo_params, wnd);
    solo_open(s);
    s->left = 2 * wnd;
    solo_flush(s, 1);
    assert_int_equal(arq_state(s->a)->n_inflight, wnd);
    was = arq_steps;
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(arq_flush(s->a, ARQ_FLUSH_FULL, 2), 0);
    c->flush = PER_CALL(was, 100);
    was = arq_steps;
    for (uint32_t sn = 0; sn < wnd; sn++)
        solo_ack(s, sn, 1, sn + 1, 3);
    c->ack = PER_CALL(was, wnd);
    solo_flush(s, 4);
    was = arq_steps;
    for (uint32_t sn = 1; sn < wnd; sn++) /* the first is lost: nothing but single acks */
        solo_ack(s, wnd + sn, 4, wnd, 5);
    c->sack = PER_CALL(was, wnd);
    solo_fini(s);
    free(s);
}

/* Every fifth is lost; the others are acknowledged, the lost sent again, and acknowledged as well, in between new ones. */
static void cost_loss(struct costs *c, uint16_t wnd)
{
    struct solo *s = malloc(sizeof *s);
    uint64_t was;

    solo_init(s, &solo_params, wnd);
    solo_open(s);
    s->left = UINT32_MAX;
    solo_flush(s, 1);
    was = arq_steps;
    for (uint32_t sn = 0; sn < wnd; sn++)
        if (sn % 5) {
            solo_ack(s, sn, 1, 0, 2 + sn / 100);
            solo_flush(s, 2 + sn / 100);
        }
    c->lossy = PER_CALL(was, wnd);
    was = arq_steps;
    for (uint32_t sn = 5; sn < wnd; sn += 5) { /* the first retransmission is lost again */
        solo_ack(s, sn, arq_out_at(s->a, sn)->ts, 0, 100 + sn / 100);
        solo_flush(s, 100 + sn / 100);
    }
    c->again = PER_CALL(was, wnd / 5);
    arq_check(s->a, 100 + wnd / 100);
    solo_fini(s);
    free(s);
}

static void cost_receive(struct costs *c, uint16_t wnd)
{
    struct solo *s = malloc(sizeof *s);
    struct arq_chunk k;
    uint64_t was;

    solo_init(s, &solo_params, wnd);
    was = arq_steps;
    for (uint32_t sn = 0; sn < wnd; sn++)
        solo_push(s, sn, 10, 1);
    c->push = PER_CALL(was, wnd);
    while (!arq_recv(s->a, &k))
        buf_put(k.own);
    solo_flush(s, 2);
    was = arq_steps;
    for (uint32_t sn = 0; sn < wnd; sn++)
        solo_push(s, wnd + (sn ^ 1), 10, 3);
    c->shuffled = PER_CALL(was, wnd);
    solo_fini(s);
    free(s);
}

/* The ack of a retransmission, sent later than the whole window above it: what is below it counts, and costs. */
static void cost_early_hole(uint16_t wnd)
{
    struct solo *s = malloc(sizeof *s);
    uint64_t was;

    solo_init(s, &solo_params, wnd);
    solo_open(s);
    s->left = wnd;
    solo_flush(s, 1);
    solo_ack(s, 3, 1, 0, 2);
    solo_ack(s, 4, 1, 0, 2);
    solo_flush(s, 3);
    assert_int_equal(s->n_segs, 3);
    was = arq_steps;
    solo_ack(s, 2, 3, 0, 4);
    assert_true(PER_CALL(was, 1) < 10);
    assert_int_equal(arq_out_at(s->a, 0)->fastack, 1);
    assert_int_equal(arq_out_at(s->a, 1)->fastack, 1);
    assert_int_equal(arq_out_at(s->a, 5)->fastack, 0);
    solo_fini(s);
    free(s);
}

/* The work of a call is the same for a window of 32 and one of 8192, but for what a hole costs to find (bitmap words). */
static void test_cost(void **state)
{
    struct costs c[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        uint16_t wnd = i ? 8192 : 32;

        cost_acks(&c[i], wnd);
        cost_loss(&c[i], wnd);
        cost_receive(&c[i], wnd);
        cost_early_hole(wnd);
        print_message("window %u: steps per flush %.2f, ack %.2f, selective ack %.2f, under loss %.2f, "
                      "of a retransmission %.2f, push %.2f, shuffled %.2f\n",
                      wnd, c[i].flush, c[i].ack, c[i].sack, c[i].lossy, c[i].again, c[i].push, c[i].shuffled);
        assert_true(c[i].flush == 0);
        assert_true(c[i].ack < 6);
        assert_true(c[i].sack < 8);
        assert_true(c[i].lossy < 8);
        assert_true(c[i].again < 20);
        assert_true(c[i].push < 4);
        assert_true(c[i].shuffled < 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
