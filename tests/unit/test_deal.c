/* tests/unit/test_deal.c - where new streams go, session by session, as time passes. */
#include "core/deal.h"
#include "tests/support/vectors.h"

enum { S = 1000 * 1000 };

static struct tick at(double seconds)
{
    return (struct tick){(uint64_t)(seconds * S)};
}

static void quiet(struct deal *d, unsigned place, double since)
{
    deal_tell(d, place, at(since), at(0));
}

static void loud(struct deal *d, unsigned place, double since, double until)
{
    deal_tell(d, place, at(since), at(until));
}

static void empty(struct deal *d, unsigned place)
{
    deal_tell(d, place, TICK_NEVER, at(0));
}

/* Other modes tell nothing: round robin, and on when the counter of turns begins anew. */
static void test_round_robin(void **state)
{
    struct deal *d = deal_new(3, 0);

    (void)state;
    assert_int_equal(deal_places(d), 3);
    for (unsigned turn = 0; turn < 100; turn++)
        assert_int_equal(deal_choose(d, turn, at(turn)), turn % 3);
    deal_free(d);
    d = deal_new(1, DEAL_EXTRA);
    assert_int_equal(deal_places(d), 1 + DEAL_EXTRA);
    for (unsigned turn = 0; turn < 10; turn++)
        assert_int_equal(deal_choose(d, turn, at(turn)), 0);
    deal_free(d);
}

/* What opens together stays together; what comes later keeps away from what has settled. */
static void test_settled(void **state)
{
    struct deal *d = deal_new(1, DEAL_EXTRA);

    (void)state;
    quiet(d, 0, 10);
    assert_int_equal(deal_choose(d, 1, at(10)), 0);
    assert_int_equal(deal_choose(d, 2, at(11.9)), 0);
    assert_int_equal(deal_choose(d, 3, at(12)), 1);
    quiet(d, 1, 12);
    assert_int_equal(deal_choose(d, 4, at(13)), 1);
    assert_int_equal(deal_choose(d, 5, at(14)), 2);
    empty(d, 0);
    assert_int_equal(deal_choose(d, 6, at(14)), 0);
    deal_free(d);
}

static void test_bulk(void **state)
{
    struct deal *d = deal_new(1, DEAL_EXTRA);

    (void)state;
    loud(d, 0, 10, 20);
    assert_int_equal(deal_choose(d, 1, at(10.5)), 1);
    assert_int_equal(deal_choose(d, 2, at(10.6)), 1);
    assert_int_equal(deal_choose(d, 3, at(20)), 1); /* over, but its stream is there, and has settled */
    empty(d, 0);
    assert_int_equal(deal_choose(d, 4, at(20)), 0);
    loud(d, 0, 10, 40);
    quiet(d, 1, 11);
    quiet(d, 2, 12);
    quiet(d, 3, 13);
    assert_int_equal(deal_choose(d, 5, at(30)), 1); /* no place is good: with the quiet ones, all bets in one */
    loud(d, 1, 11, 40);
    assert_int_equal(deal_choose(d, 6, at(30)), 2);
    loud(d, 2, 12, 40);
    loud(d, 3, 13, 40);
    assert_int_equal(deal_choose(d, 7, at(30)), 0);
    assert_int_equal(deal_choose(d, 8, at(40)), 0);
    deal_free(d);
}

/* A session whose bulk has ended with its stream is as good as new. */
static void test_bulk_ended(void **state)
{
    struct deal *d = deal_new(1, DEAL_EXTRA);

    (void)state;
    deal_tell(d, 0, TICK_NEVER, at(1000));
    assert_int_equal(deal_choose(d, 0, at(10)), 0);
    deal_free(d);
}

/* The client's own sessions come first, each in its turn. */
static void test_several(void **state)
{
    struct deal *d = deal_new(4, DEAL_EXTRA);

    (void)state;
    loud(d, 1, 10, 100);
    quiet(d, 2, 10);
    assert_int_equal(deal_choose(d, 0, at(20)), 0);
    assert_int_equal(deal_choose(d, 1, at(20)), 3);
    assert_int_equal(deal_choose(d, 2, at(20)), 3);
    assert_int_equal(deal_choose(d, 3, at(20)), 3);
    quiet(d, 0, 19);
    quiet(d, 3, 10);
    assert_int_equal(deal_choose(d, 5, at(20)), 0);
    assert_int_equal(deal_choose(d, 5, at(21)), 4);
    deal_free(d);
}

/* A server that allows no more: what is there is used, nothing is begun. */
static void test_barred(void **state)
{
    struct deal *d = deal_new(1, DEAL_EXTRA);

    (void)state;
    loud(d, 0, 10, 100);
    deal_bar(d, at(60));
    assert_int_equal(deal_choose(d, 1, at(59)), 0);
    assert_int_equal(deal_choose(d, 1, at(60)), 1);
    quiet(d, 2, 58);
    assert_int_equal(deal_choose(d, 1, at(59)), 2);
    quiet(d, 2, 10);
    assert_int_equal(deal_choose(d, 1, at(59)), 2);
    deal_free(d);
}

static void test_strange_places(void **state)
{
    struct deal *d = deal_new(1, 0);

    (void)state;
    deal_tell(d, 1, at(1), at(100)); /* of a time with more */
    quiet(d, 0, 0);
    assert_int_equal(deal_choose(d, 7, at(50)), 0);
    deal_free(d);
    deal_free(NULL);
}

/* 1 Mbit/s and more, in whatever pieces, is bulk, and for a while after it. */
static void test_meter(void **state)
{
    struct deal_meter m = {0}, thin = {0}, burst = {0};
    struct tick t = at(100);

    (void)state;
    deal_meter_add(&burst, 65536, t);
    assert_int_equal(burst.loud_until.us, 0);
    deal_meter_add(&burst, 1, t);
    assert_int_equal(burst.loud_until.us, at(110).us);
    for (unsigned i = 0; i < 1000; i++, t = tick_add_ms(t, 20)) {
        deal_meter_add(&m, 2800, t);
        deal_meter_add(&thin, 400, t);
    }
    assert_int_equal(thin.loud_until.us, 0);
    assert_true(m.loud_until.us > at(129).us);
    assert_true(m.loud_until.us <= at(130).us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_robin),    cmocka_unit_test(test_settled), cmocka_unit_test(test_bulk),
        cmocka_unit_test(test_bulk_ended),     cmocka_unit_test(test_several), cmocka_unit_test(test_barred),
        cmocka_unit_test(test_strange_places), cmocka_unit_test(test_meter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
