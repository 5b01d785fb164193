/* tests/unit/test_sender_thin.c - when a message of a flow that leaves the path idle is sent again. The peer is the test. */
#include "core/sender_priv.h"
#include "tests/support/arq_solo.h"

enum { START_US = 5000000, RTT_US = 100000 };

struct rig {
    struct solo solo;
    struct sender *s;
    struct tick now;
};

/* The turn at that time, with so many new messages. */
static void turn(struct rig *r, uint64_t us, unsigned messages)
{
    r->now.us = us;
    r->solo.left = messages;
    sender_begin_flush(r->s, r->now, UINT64_MAX, messages > 0);
    solo_flush(&r->solo, tick_ms(r->now));
    sender_end_flush(r->s, false);
}

/* All that the sender does by itself until then. */
static void pass(struct rig *r, uint64_t until_us)
{
    while (sender_deadline(r->s).us <= until_us)
        turn(r, sender_deadline(r->s).us, 0);
    r->now.us = until_us;
}

static void answer(struct rig *r, uint64_t us, uint32_t sn, uint32_t una)
{
    r->now.us = us;
    sender_begin_input(r->s, r->now);
    solo_ack(&r->solo, sn, arq_out_at(r->solo.a, sn)->ts, una, tick_ms(r->now));
    sender_end_input(r->s);
}

/* A datagram that brings no news. */
static void hear(struct rig *r, uint64_t us)
{
    r->now.us = us;
    sender_begin_input(r->s, r->now);
    sender_end_input(r->s);
}

static unsigned sent(const struct rig *r, uint32_t sn)
{
    return arq_out_at(r->solo.a, sn)->xmit;
}

/* A round trip of 100 ms is known, and a loss of a fifth each way; message 1 has just left. */
static void rig_init(struct rig *r)
{
    solo_init(&r->solo, &solo_params, 128);
    solo_open(&r->solo);
    r->now = (struct tick){START_US};
    r->s = sender_new(&(struct sender_params){.arq = r->solo.a, .overhead = 28, .redundancy = 3}, r->now);
    assert_non_null(r->s);
    sender_peer_is_ours(r->s);
    turn(r, START_US, 1);
    answer(r, START_US + RTT_US, 0, 1);
    r->s->thin.fates = 200;
    r->s->thin.missing = 72;
    r->s->thin.tokens = 16 * 1024;
    turn(r, START_US + RTT_US, 1);
    assert_int_equal(sent(r, 1), 1);
}

static void rig_fini(struct rig *r)
{
    sender_free(r->s);
    solo_fini(&r->solo);
}

/* What the peer still waits for when a datagram of it comes, and left a round trip before, is lost: as many transmissions are
 * kept under way as a new message gets copies. */
static void test_what_is_heard_replaces_copies(void **state)
{
    const uint64_t born = START_US + RTT_US;
    unsigned n = 0;
    struct rig r;

    (void)state;
    rig_init(&r);
    pass(&r, born + RTT_US - 1000);
    n = sent(&r, 1);
    assert_int_equal(n, 5);
    hear(&r, born + RTT_US); /* it left the peer before the first could reach it */
    pass(&r, born + RTT_US);
    assert_int_equal(sent(&r, 1), n);
    hear(&r, born + RTT_US + 3500); /* the first is lost, four are under way */
    pass(&r, born + RTT_US + 3500);
    assert_int_equal(sent(&r, 1), n);
    hear(&r, born + RTT_US + 8000); /* the first two are */
    pass(&r, born + RTT_US + 8000);
    assert_int_equal(sent(&r, 1), n + 1);
    hear(&r, born + RTT_US + 9000);
    pass(&r, born + RTT_US + 9000);
    assert_int_equal(sent(&r, 1), n + 1);
    rig_fini(&r);
}

/* Where nothing is heard, the peer may be as silent as the path: that is waited for longer. */
static void test_silence(void **state)
{
    const uint64_t born = START_US + RTT_US;
    struct rig r;
    unsigned n;

    (void)state;
    rig_init(&r);
    pass(&r, born + RTT_US - 1000);
    n = sent(&r, 1);
    r.s->t_progress = born + RTT_US; /* no probe */
    pass(&r, born + RTT_US + 55000);
    assert_int_equal(sent(&r, 1), n);
    pass(&r, born + RTT_US + 300000);
    assert_true(sent(&r, 1) > n);
    rig_fini(&r);
}

/* A message that is acknowledged is not sent again, whatever is heard. */
static void test_acknowledged(void **state)
{
    const uint64_t born = START_US + RTT_US;
    struct rig r;

    (void)state;
    rig_init(&r);
    pass(&r, born + RTT_US);
    answer(&r, born + RTT_US + 1000, 1, 2);
    hear(&r, born + RTT_US + 50000);
    pass(&r, born + RTT_US + 300000);
    assert_int_equal(sent(&r, 1), 5);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_heard_replaces_copies),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_acknowledged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
