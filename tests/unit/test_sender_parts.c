/* tests/unit/test_sender_parts.c - the pieces of the sender's model, each by itself. */
#include "core/sender_priv.h"
#include "tests/support/vectors.h"

/* The largest of ten rounds; a round is forgotten when the tenth after it begins, or any one sooner. */
static void test_max_filter(void **state)
{
    struct max_filter f = {0};

    (void)state;
    assert_int_equal(max_filter_get(&f), 0);
    max_filter_add(&f, 7);
    max_filter_add(&f, 5);
    for (unsigned i = 1; i < SENDER_BW_ROUNDS; i++) {
        max_filter_next(&f, SENDER_BW_ROUNDS);
        max_filter_add(&f, 1);
        assert_int_equal(max_filter_get(&f), 7);
    }
    max_filter_next(&f, SENDER_BW_ROUNDS);
    assert_int_equal(max_filter_get(&f), 1);
    max_filter_add(&f, 9);
    assert_int_equal(max_filter_get(&f), 9);
    for (unsigned i = 1; i < 6; i++) {
        max_filter_next(&f, 6);
        assert_int_equal(max_filter_get(&f), 9);
    }
    max_filter_next(&f, 6);
    assert_int_equal(max_filter_get(&f), 0);
}

static void batch(struct loss_est *e, uint32_t lost, uint32_t all, uint32_t lost_down, uint32_t all_down)
{
    e->lost = lost;
    e->all = all;
    e->lost_down = lost_down;
    e->all_down = all_down;
    loss_est_batch(e);
}

static void test_loss(void **state)
{
    struct loss_est e = {.last = -1};

    (void)state;
    batch(&e, 15, 300, 0, 0); /* the first is taken as it is */
    assert_true(e.p > 0.0499 && e.p < 0.0501);
    assert_int_equal(e.all | e.lost | e.all_down | e.lost_down, 0);
    batch(&e, 150, 300, 0, 0); /* a queue that overflowed once says nothing */
    assert_true(e.p > 0.0499 && e.p < 0.0501);
    batch(&e, 60, 300, 0, 0); /* the smaller of two that are larger says something: half way */
    assert_true(e.p > 0.1249 && e.p < 0.1251);
    batch(&e, 0, 300, 0, 0);
    assert_true(e.p > 0.0624 && e.p < 0.0626);
}

/* What was lost while we gave way counts alone, where it is less than chance explains. */
static void test_loss_while_giving_way(void **state)
{
    struct loss_est e = {.last = -1};

    (void)state;
    batch(&e, 60, 300, 1, 100);
    assert_true(e.p > 0.0099 && e.p < 0.0101);
    e = (struct loss_est){.last = -1};
    batch(&e, 60, 300, 18, 100); /* no less than chance explains */
    assert_true(e.p > 0.199 && e.p < 0.201);
    e = (struct loss_est){.last = -1};
    batch(&e, 60, 300, 0, 99); /* too few */
    assert_true(e.p > 0.199 && e.p < 0.201);
    e = (struct loss_est){.last = -1};
    batch(&e, 299, 300, 0, 0);
    assert_true(e.p <= 0.5);
}

/* A millisecond may be saved up, not more; debt is paid in full. */
static void test_pacer(void **state)
{
    struct pacer p = {0};

    (void)state;
    pacer_charge(&p, 1000, 1000000, 5000000); /* a byte a microsecond */
    assert_int_equal(p.next, 5000000 - 1000 + 1000);
    pacer_charge(&p, 3000, 1000000, 5000000);
    assert_int_equal(p.next, 5003000);
    pacer_charge(&p, 500, 1000000, 5002000);
    assert_int_equal(p.next, 5003500);
    pacer_charge(&p, 500, 1000000, 9000000);
    assert_int_equal(p.next, 9000000 - 1000 + 500);
    pacer_charge(&p, 1, 0, 100); /* a rate of nothing stops nothing for good, and early clocks do not wrap */
    assert_true(p.next < UINT64_MAX / 2);
}

/* What a missing datagram of the peer may answer lies between what its neighbours answer; a while later it is judged all the
 * same. */
static void test_gaps(void **state)
{
    struct sender s = {.srtt = 100000, .rack_t = 5000000, .reo = 1000, .spared = 40, .scan = 40};

    (void)state;
    assert_false(sender_gap_holds(&s, 5000000));
    sender_gap(&s, (struct tick){6000000});
    assert_false(sender_gap_holds(&s, 4998999));
    assert_true(sender_gap_holds(&s, 4999000));
    assert_true(sender_gap_holds(&s, 9000000)); /* its end is not known yet */
    s.in.oldest = 5010000;
    sender_gap_ends(&s);
    assert_true(sender_gap_holds(&s, 5009999));
    assert_false(sender_gap_holds(&s, 5010000));
    assert_true(sender_gap_due(&s) == UINT64_MAX);
    s.scan = 41; /* one is spared */
    assert_int_equal(sender_gap_due(&s), 6070000);
    s.now = 6069999;
    sender_gap_forget(&s);
    assert_true(sender_gap_holds(&s, 5005000));
    s.now = 6070000;
    sender_gap_forget(&s);
    assert_false(sender_gap_holds(&s, 5005000));
    assert_true(sender_gap_due(&s) == UINT64_MAX);
}

/* However many there are: the last place then stands for all that follow. */
static void test_many_gaps(void **state)
{
    struct sender s = {.srtt = 100000};

    (void)state;
    for (uint64_t i = 1; i <= 20; i++) {
        s.rack_t = i * 1000;
        sender_gap(&s, (struct tick){i * 1000});
        s.in.oldest = i * 1000 + 500;
        sender_gap_ends(&s);
    }
    assert_int_equal(s.gaps.n, LEN(s.gaps.v));
    assert_false(sender_gap_holds(&s, 999));
    assert_true(sender_gap_holds(&s, 1000));
    assert_false(sender_gap_holds(&s, 1500));
    assert_true(sender_gap_holds(&s, 20499));
    assert_false(sender_gap_holds(&s, 20500));
}

/* Two segments, of which the sender asked to be told. */
static int pull_two(void *ctx, struct arq *a, struct arq_chunk *c)
{
    unsigned *left = ctx;

    (void)a;
    if (!*left)
        return ARQ_AGAIN;
    --*left;
    *c = (struct arq_chunk){.len = 0};
    return 0;
}

/* The ring of records has a bound. What it pushes out while it flies can be told of by nobody: the segment leaves again,
 * or a hole in the stream would stay. */
static void test_record_pushed_out(void **state)
{
    unsigned left = 2;
    struct buf_pool *pool = buf_pool_new(1500, 1 << 20);
    const struct arq_params ap = {.conv = 1,
                                  .mtu = 1400,
                                  .snd_wnd = 32,
                                  .rcv_wnd = 32,
                                  .interval_ms = 10,
                                  .pool = pool,
                                  .pull = pull_two,
                                  .ctx = &left};
    struct arq *a = arq_new(&ap);
    const struct sender_params sp = {.arq = a, .overhead = 28};
    struct sender *s = sender_new(&sp, (struct tick){1000000});
    struct arq_sent second = {.sn = 1, .ts = 1000};
    const uint32_t ring = (uint32_t)(sender_recs_bytes(32) / 3 * 2 / sizeof(struct sender_rec));
    uint64_t inflight;
    uint32_t tag;

    (void)state;
    sender_begin_flush(s, (struct tick){1000000}, UINT64_MAX, false);
    assert_int_equal(arq_flush(a, ARQ_FLUSH_FULL, 1000), 0);
    sender_end_flush(s, false);
    assert_int_equal(arq_state(a)->n_inflight, 2);
    assert_int_equal(s->n_flying, 2);
    tag = arq_tag(a, 1);
    inflight = s->inflight / 2; /* of one */
    for (uint32_t no = s->next; no - s->first < ring - 1; no++) {
        assert_false(arq_waits(a));
        tag = sender_rec_sent(s, &second, tag);
    }
    assert_int_equal(s->n_flying, s->next - s->first);
    sender_rec_sent(s, &second, tag);
    assert_true(arq_waits(a));
    assert_int_equal(s->n_flying, s->next - s->first);
    assert_int_equal(s->inflight, s->n_flying * inflight);
    assert_int_equal(s->n.early, 1); /* nothing more was to be sent */
    assert_int_equal(s->n.lost, 0);
    sender_end_flush(s, true);
    sender_rec_sent(s, &second, tag);
    assert_int_equal(s->n.early, 1);
    assert_int_equal(s->n.lost, 1);
    sender_free(s);
    arq_free(a);
    buf_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_max_filter),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_loss_while_giving_way),
        cmocka_unit_test(test_pacer),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_many_gaps),
        cmocka_unit_test(test_record_pushed_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
