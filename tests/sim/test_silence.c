/* tests/sim/test_silence.c - who is gone, who is only slow, and who did not run: ends that stop, break off and come back. */
#include "crypto/kdf.h"
#include "tests/sim/pair.h"

#include <string.h>

enum { S = 1000000, TIMEOUT_S = 10 };

/* A client that sends all the time, or one stream that rests after its first word. */
struct talk {
    struct pair p;
    struct smux_stream *st;
    bool busy;
    bool doubted;
    struct tick doubted_at;
    uint64_t arrived;
};

static void client_turn(struct end *e, struct tick now)
{
    static const uint8_t block[1000];
    struct talk *t = e->ctx;

    if (!t->st)
        assert_int_equal(smux_open(session_smux(e->s), &t->st), 0);
    if ((t->busy && smux_stream_room(t->st)) || !t->arrived)
        assert_int_equal(smux_stream_write(t->st, bytes_of(block, sizeof block)), 0);
    if (!t->doubted && session_is_doubtful(e->s, now)) {
        t->doubted = true;
        t->doubted_at = now;
    }
}

static void client_stream(struct end *e, struct smux_stream *st, unsigned events)
{
    (void)e, (void)st;
    assert_false(events & SMUX_EV_RESET);
}

static void server_stream(struct end *e, struct smux_stream *st, unsigned events)
{
    struct talk *t = e->ctx;
    struct bytes v;

    assert_false(events & SMUX_EV_RESET);
    while (smux_stream_peek(st, &v, 1)) {
        t->arrived += v.len;
        smux_stream_read(st, v.len);
    }
}

static void run(struct talk *t, uint64_t us)
{
    bool never = false;

    pair_run(&t->p, &never, us);
}

/* Up and running for two seconds. patient: which end waits for long. */
static void begin_with(struct talk *t, bool busy, uint32_t delay_us, uint64_t seed, const bool patient[2])
{
    struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params lp[2] = {{.delay_us = delay_us}, {.delay_us = delay_us}};

    memset(t, 0, sizeof *t);
    t->busy = busy;
    sp[0].rate = 200000; /* enough to be busy, little enough to be quick */
    for (int i = 0; i < 2; i++)
        sp[i].peer_timeout_ms = TIMEOUT_S * 1000 * (patient[i] ? 10 : 1);
    pair_init(&t->p, seed, "aes", sp, lp);
    t->p.end[0].ctx = t->p.end[1].ctx = t;
    t->p.end[0].on_turn = client_turn;
    t->p.end[0].on_stream = client_stream;
    t->p.end[1].on_stream = server_stream;
    run(t, 2 * S);
    assert_true(t->arrived > 0);
}

static void begin(struct talk *t, bool busy, uint32_t delay_us, uint64_t seed)
{
    begin_with(t, busy, delay_us, seed, (const bool[2]){false, false});
}

static void expect_alive(struct talk *t)
{
    uint64_t before = t->arrived;

    for (int i = 0; i < 2; i++)
        if (session_end(t->p.end[i].s))
            fail_msg("the %s's session: %s", i ? "server" : "client", session_end_text(t->p.end[i].s));
    if (!t->busy)
        return;
    run(t, 3 * S);
    assert_true(t->arrived > before + 100000);
}

static void set_loss(struct talk *t, uint32_t ppm)
{
    t->p.end[0].out.p.loss_ppm = t->p.end[1].out.p.loss_ppm = ppm;
}

/* Whoever stops, for longer or shorter than the timeout of its own: the time in which it did not run is not the other's
 * silence. The one that runs has to be patient, of course. */
static void test_time_in_which_we_did_not_run(void **state)
{
    static const struct {
        bool who[2];
        unsigned seconds;
    } rows[] = {{{true, false}, 9}, {{false, true}, 9}, {{true, true}, 9}, {{true, true}, 30}, {{true, true}, 3600}};

    (void)state;
    for (unsigned i = 0; i < LEN(rows) * 8; i++) {
        unsigned row = i / 8;
        struct talk t;

        begin_with(&t, i & 1, 20000, i, (const bool[2]){!rows[row].who[0], !rows[row].who[1]});
        run(&t, (i & 7) * 1237 * 1000); /* at rest also while asking */
        for (int k = 0; k < 2; k++)
            t.p.end[k].stopped = rows[row].who[k];
        run(&t, rows[row].seconds * UINT64_C(1) * S);
        t.p.end[0].stopped = t.p.end[1].stopped = false;
        run(&t, 15 * S);
        expect_alive(&t);
        assert_false(t.doubted && rows[row].who[0] && rows[row].who[1]);
        pair_fini(&t.p);
    }
}

/* Stopped in the middle of asking a peer that is really silent, and again: it is given up all the same, later. */
static void test_stops_only_delay_the_verdict(void **state)
{
    struct talk t;

    (void)state;
    begin(&t, true, 20000, 1);
    set_loss(&t, 1000000);
    for (unsigned i = 0; i < 5; i++) {
        run(&t, S);
        assert_int_equal(session_end(t.p.end[0].s), SESSION_ALIVE);
        t.p.end[0].stopped = true;
        run(&t, 4 * S);
        t.p.end[0].stopped = false;
    }
    run(&t, 5 * S);
    assert_int_equal(session_end(t.p.end[0].s), SESSION_SILENT);
    pair_fini(&t.p);
}

/* Both ends starve: a turn now and then, for two minutes. Nothing is lost, only late. */
static void test_starving_ends(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 6; seed++) {
        struct talk t;

        begin(&t, seed & 1, 1000, seed);
        for (unsigned i = 0; i < 100; i++) {
            unsigned who = rng_below(&t.p.rng, 3);

            t.p.end[0].stopped = who != 1;
            t.p.end[1].stopped = who != 0;
            run(&t, 200000 + rng_below(&t.p.rng, 3000000));
            t.p.end[0].stopped = t.p.end[1].stopped = false;
            run(&t, 20000);
        }
        expect_alive(&t);
        pair_fini(&t.p);
    }
}

static void test_breaks_are_borne(void **state)
{
    static const unsigned delays_ms[] = {1, 20, 100, 300};

    (void)state;
    for (unsigned i = 0; i < LEN(delays_ms) * 2; i++) {
        struct talk t;

        begin(&t, i & 1, delays_ms[i / 2] * 1000, i);
        set_loss(&t, 1000000);
        run(&t, 2 * S);
        set_loss(&t, 0);
        run(&t, 3 * S);
        assert_false(t.doubted);
        expect_alive(&t);
        if (!t.busy) {
            pair_fini(&t.p);
            continue;
        }
        set_loss(&t, 1000000); /* doubted, but not given up */
        run(&t, (TIMEOUT_S - 2) * S);
        set_loss(&t, 0);
        run(&t, 3 * S);
        expect_alive(&t);
        pair_fini(&t.p);
    }
}

/* A satellite whose queue fills: what was 600 ms becomes 3 s, and the retransmission timer is surprised. */
static void test_long_round_trips_are_borne(void **state)
{
    struct talk t;

    (void)state;
    begin(&t, true, 300000, 1);
    run(&t, 5 * S);
    for (unsigned ms = 300; ms <= 1500; ms += 100) {
        t.p.end[0].out.p.delay_us = t.p.end[1].out.p.delay_us = ms * 1000;
        run(&t, 2 * S);
    }
    assert_false(t.doubted);
    expect_alive(&t);
    pair_fini(&t.p);
}

static void test_heavy_loss_is_borne(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 10; seed++) {
        struct talk t;

        begin(&t, true, 50000, seed);
        set_loss(&t, 400000);
        run(&t, 60 * S);
        assert_false(t.doubted);
        set_loss(&t, 0);
        run(&t, 10 * S);
        expect_alive(&t);
        pair_fini(&t.p);
    }
}

/* Under traffic a vanished peer is in doubt within 3 s; given up after the timeout, at rest too. */
static void test_a_vanished_peer(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        bool busy = i & 1;
        struct tick gone;
        struct talk t;

        begin(&t, busy, 25000, i);
        run(&t, i * 300 * 1000);
        gone = t.p.now;
        t.p.end[1].stopped = true;
        run(&t, 20 * S);
        assert_true(t.doubted);
        if (busy)
            assert_in_range(tick_since_us(t.doubted_at, gone), 2 * S, 3 * S);
        else
            assert_in_range(tick_since_us(t.doubted_at, gone), 2 * S, TIMEOUT_S * S);
        assert_int_equal(session_end(t.p.end[0].s), SESSION_SILENT);
        pair_fini(&t.p);
    }
}

/* A refusal makes us ask, and is forgotten when an answer comes; a host that goes on refusing is believed. */
static void test_refusals(void **state)
{
    struct talk t;

    (void)state;
    for (unsigned busy = 0; busy <= 1; busy++) {
        uint64_t sent;

        begin(&t, busy, 20000, busy);
        sent = t.p.end[0].out.n.in_bytes;
        for (unsigned i = 0; i < 50; i++) { /* forged */
            session_refused(t.p.end[0].s, t.p.now);
            run(&t, 100000);
        }
        assert_true(t.p.end[0].out.n.in_bytes > sent);
        run(&t, S);
        expect_alive(&t);
        set_loss(&t, 1000000);
        session_refused(t.p.end[0].s, t.p.now);
        run(&t, 4 * S); /* one is not enough */
        assert_int_equal(session_end(t.p.end[0].s), SESSION_ALIVE);
        for (unsigned i = 0; i < 3; i++) {
            session_refused(t.p.end[0].s, t.p.now);
            run(&t, S);
        }
        assert_int_equal(session_end(t.p.end[0].s), SESSION_REFUSED);
        pair_fini(&t.p);
    }
}

/* A session that must say something is answered, by whoever is there. */
static void test_a_greeting_is_answered(void **state)
{
    struct session_info info;
    struct talk t;

    (void)state;
    begin(&t, false, 20000, 1);
    run(&t, 3 * S);
    session_greet(t.p.end[0].s);
    run(&t, 100000);
    session_info(t.p.end[0].s, &info, t.p.now);
    assert_true(info.heard_ms < 100);
    pair_fini(&t.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_in_which_we_did_not_run),
        cmocka_unit_test(test_stops_only_delay_the_verdict),
        cmocka_unit_test(test_starving_ends),
        cmocka_unit_test(test_breaks_are_borne),
        cmocka_unit_test(test_long_round_trips_are_borne),
        cmocka_unit_test(test_heavy_loss_is_borne),
        cmocka_unit_test(test_a_vanished_peer),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_a_greeting_is_answered),
    };

    if (crypto_init())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
