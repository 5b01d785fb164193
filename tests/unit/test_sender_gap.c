/* tests/unit/test_sender_gap.c - what missing datagrams of the peer spare, for how long, and what that costs: a sender that
 * counts its steps over an engine that does, too. The peer is the test. */
#include "core/sender_priv.h"
#include "tests/support/arq_solo.h"

#include <stdlib.h>

struct rig {
    struct solo solo;
    struct sender *s;
    struct tick now;
};

static void rig_init(struct rig *r, uint16_t wnd)
{
    solo_init(&r->solo, &solo_params, wnd);
    solo_open(&r->solo);
    r->now = (struct tick){5000000};
    r->s = sender_new(&(struct sender_params){.arq = r->solo.a, .overhead = 28}, r->now);
    assert_non_null(r->s);
}

static void rig_fini(struct rig *r)
{
    sender_free(r->s);
    solo_fini(&r->solo);
}

/* A flush, in which so many segments leave whatever the path is thought to carry. */
static void flush(struct rig *r, unsigned n)
{
    r->solo.left = r->s->urgent = n;
    sender_begin_flush(r->s, r->now, UINT64_MAX, false);
    solo_flush(&r->solo, tick_ms(r->now));
    sender_end_flush(r->s, false);
}

/* Segments up to that one leave, `at_once` in each of as many milliseconds as that takes. */
static void send_up_to(struct rig *r, uint32_t sn, unsigned at_once)
{
    while (arq_state(r->solo.a)->snd_nxt != sn) {
        flush(r, at_once);
        r->now = tick_add_ms(r->now, 1);
    }
}

/* A datagram that acknowledges these. */
static void ack(struct rig *r, const uint32_t *sn, unsigned n)
{
    sender_begin_input(r->s, r->now);
    for (unsigned i = 0; i < n; i++)
        solo_ack(&r->solo, sn[i], arq_out_at(r->solo.a, sn[i])->ts, 0, tick_ms(r->now));
    sender_end_input(r->s);
}

static void ack_one(struct rig *r, uint32_t sn)
{
    ack(r, &sn, 1);
}

static bool is_lost(const struct rig *r, uint32_t sn)
{
    return sender_rec_at(r->s, arq_tag(r->solo.a, sn))->state == REC_LOST;
}

static void wait_until(struct rig *r, uint64_t us)
{
    r->now.us = us;
    sender_begin_flush(r->s, r->now, UINT64_MAX, false);
}

/* Each of two gaps in a group spares what its datagram may have answered for seven tenths of a round trip, counted from when
 * it was noticed. */
static void test_each_gap_has_its_time(void **state)
{
    struct rig *r = malloc(sizeof *r);
    uint64_t first, second;

    (void)state;
    rig_init(r, 128);
    send_up_to(r, 100, 1);
    r->now.us = 5100000;
    for (uint32_t sn = 0; sn < 20; sn++, r->now.us += 1000) /* a round trip of 100 ms */
        ack_one(r, sn);
    first = r->now.us;
    sender_gap(r->s, r->now); /* what answered 20 to 29 is missing */
    ack_one(r, 30);
    for (uint32_t sn = 31; sn < 60; sn++, r->now.us += 1000)
        ack_one(r, sn);
    r->now.us += 30000;
    second = r->now.us;
    sender_gap(r->s, r->now); /* likewise, 60 to 69 */
    ack_one(r, 70);
    for (uint32_t sn = 71; sn < 100; sn++)
        ack_one(r, sn);
    wait_until(r, first + r->s->srtt * 7 / 10 - 1000);
    assert_false(is_lost(r, 20) || is_lost(r, 29) || is_lost(r, 60) || is_lost(r, 69));
    assert_true(sender_deadline(r->s).us <= first + r->s->srtt * 7 / 10);
    wait_until(r, first + r->s->srtt * 7 / 10);
    assert_true(is_lost(r, 20) && is_lost(r, 29));
    assert_false(is_lost(r, 60) || is_lost(r, 69));
    wait_until(r, second + r->s->srtt * 7 / 10 - 1000);
    assert_false(is_lost(r, 60) || is_lost(r, 69));
    wait_until(r, second + r->s->srtt * 7 / 10);
    assert_true(is_lost(r, 60) && is_lost(r, 69));
    assert_int_equal(r->s->n.lost + r->s->n.early, 20);
    rig_fini(r);
    free(r);
}

/* A group that cannot be completed any more, or has been, spares nothing of either. */
static void test_all_gaps_end_together(void **state)
{
    struct rig *r = malloc(sizeof *r);

    (void)state;
    rig_init(r, 128);
    send_up_to(r, 100, 1);
    r->now.us = 5100000;
    for (uint32_t sn = 0; sn < 100; sn += 10, r->now.us += 5000) {
        if (sn)
            sender_gap(r->s, r->now);
        ack_one(r, sn);
    }
    assert_int_equal(r->s->n.lost + r->s->n.early, 0);
    assert_int_equal(r->s->gaps.n, LEN(r->s->gaps.v));
    sender_gap_over(r->s);
    wait_until(r, r->now.us + 100000);
    assert_int_equal(r->s->n.lost + r->s->n.early, 90 - 9);
    assert_int_equal(r->s->n_flying, 9); /* nothing sent later has arrived */
    rig_fini(r);
    free(r);
}

/* A peer that shows much reordering, and then leaves something out before each of its datagrams, which acknowledge one segment
 * more: in another group each time, or in one that never ends. Steps for each of them. */
static double cost_of_gaps(uint16_t wnd, bool ends)
{
    struct rig *r = malloc(sizeof *r);
    uint64_t was;

    rig_init(r, wnd);
    send_up_to(r, wnd, MAX(wnd / 1024, 1));
    for (uint32_t sn = 0; sn < wnd / 4; sn++)
        ack(r, (uint32_t[]){wnd / 2 + sn, sn}, 2);
    was = arq_steps;
    for (uint32_t sn = wnd - 1; sn > wnd / 4 * 3; sn--) {
        r->now = tick_add_ms(r->now, 1);
        if (ends)
            sender_gap_over(r->s);
        sender_gap(r->s, r->now);
        ack_one(r, sn);
        sender_begin_flush(r->s, r->now, UINT64_MAX, false);
        sender_end_flush(r->s, false);
    }
    was = arq_steps - was;
    rig_fini(r);
    free(r);
    return (double)was / (wnd / 4.0);
}

static void test_cost(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        uint16_t wnd = i ? 8192 : 32;
        double many = cost_of_gaps(wnd, true), one = cost_of_gaps(wnd, false);

        print_message("window %u: steps per datagram, in many groups %.2f, in one %.2f\n", wnd, many, one);
        assert_true(many < 20);
        assert_true(one < 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_gap_has_its_time),
        cmocka_unit_test(test_all_gaps_end_together),
        cmocka_unit_test(test_cost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
