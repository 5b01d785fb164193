/* tests/sim/test_sees.c - what either end sees of settings that differ; a server that follows its client's smux version. */
#include "crypto/kdf.h"
#include "tests/sim/pair.h"

#include <string.h>

enum { S = 1000000 };

struct watch { /* a client that sends all the time, a server that echoes, or never reads */
    struct pair p;
    struct smux_stream *st;
    bool server_reads;
    size_t echoed;
    unsigned saw[2]; /* bits ever seen, client and server */
    struct session_sight last[2];
};

static void look(struct watch *w, int i, struct tick now)
{
    w->last[i] = session_sees(w->p.end[i].s, now);
    w->saw[i] |= w->last[i].bits;
}

static void client_turn(struct end *e, struct tick now)
{
    static const uint8_t block[1000];
    struct watch *w = e->ctx;

    if (!w->st)
        assert_int_equal(smux_open(session_smux(e->s), &w->st), 0);
    while (smux_stream_room(w->st))
        assert_int_equal(smux_stream_write(w->st, bytes_of(block, sizeof block)), 0);
    look(w, 0, now);
}

static void client_stream(struct end *e, struct smux_stream *st, unsigned events)
{
    struct watch *w = e->ctx;
    size_t n = smux_stream_readable(st);

    (void)events;
    w->echoed += n;
    smux_stream_read(st, n);
}

static void server_turn(struct end *e, struct tick now)
{
    look(e->ctx, 1, now);
}

static void server_stream(struct end *e, struct smux_stream *st, unsigned events)
{
    struct watch *w = e->ctx;
    struct bytes v;

    (void)events;
    while (w->server_reads && smux_stream_peek(st, &v, 1)) {
        assert_int_equal(smux_stream_write(st, v), 0);
        assert_int_equal(smux_settle(session_smux(e->s)), 0); /* the view goes with the next line */
        smux_stream_read(st, v.len);
    }
}

static void begin(struct watch *w, const struct session_params sp[2], bool server_reads, uint32_t loss_ppm)
{
    const struct link_params l = {.delay_us = 10000, .loss_ppm = loss_ppm}, lp[2] = {l, l};

    memset(w, 0, sizeof *w);
    pair_init(&w->p, 3, "aes", sp, lp);
    w->server_reads = server_reads;
    w->p.end[0].ctx = w->p.end[1].ctx = w;
    w->p.end[0].on_turn = client_turn;
    w->p.end[0].on_stream = client_stream;
    w->p.end[1].on_turn = server_turn;
    w->p.end[1].on_stream = server_stream;
}

static void finish(struct watch *w, uint64_t us)
{
    bool never = false;

    pair_run(&w->p, &never, us);
    look(w, 0, w->p.now);
    look(w, 1, w->p.now);
    pair_fini(&w->p);
}

static void test_settings(void **state)
{
    enum { SMUX, COMP, FEC };
    static const struct {
        const char *name;
        int what;
        unsigned there[2], here[2]; /* client's, server's */
        unsigned want[2]; /* what they see */
    } rows[] = {
        {"equal", SMUX, {2}, {2}, {0, 0}},
        {"smux 1 to 2", SMUX, {1}, {2}, {SESSION_SEES_NOTHING, SESSION_SEES_SMUX_VER}},
        {"smux 2 to 1", SMUX, {2}, {1}, {SESSION_SEES_NOTHING, SESSION_SEES_SMUX_VER}},
        {"smux 1 to auto", SMUX, {1}, {0}, {0, 0}},
        {"smux 2 to auto", SMUX, {2}, {0}, {0, 0}},
        {"compressed", COMP, {1}, {1}, {0, 0}},
        {"client alone compresses", COMP, {1}, {0}, {SESSION_SEES_NOTHING, SESSION_SEES_PACKED}},
        {"server alone compresses", COMP, {0}, {1}, {SESSION_SEES_NOTHING, SESSION_SEES_PLAIN}},
        {"no FEC", FEC, {0, 0}, {0, 0}, {0, 0}},
        {"FEC 5+2 and 10+3", FEC, {5, 2}, {10, 3}, {SESSION_SEES_FEC_SHAPE, SESSION_SEES_FEC_SHAPE}},
        {"client has no FEC", FEC, {0, 0}, {10, 3}, {SESSION_SEES_FEC, SESSION_SEES_NO_FEC}},
        {"server has no FEC", FEC, {10, 3}, {0, 0}, {SESSION_SEES_NO_FEC, SESSION_SEES_FEC}},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
        struct watch w;

        for (int k = 0; k < 2; k++) {
            const unsigned *v = k ? rows[i].here : rows[i].there;

            if (rows[i].what == SMUX) {
                sp[k].smux_ver = (uint8_t)v[0];
            } else if (rows[i].what == COMP) {
                sp[k].compress = v[0];
            } else {
                sp[k].fec_data = (uint16_t)v[0];
                sp[k].fec_parity = (uint16_t)v[1];
            }
        }
        begin(&w, sp, true, 0);
        finish(&w, 15 * S);
        if (w.saw[0] != rows[i].want[0] || w.saw[1] != rows[i].want[1])
            fail_msg("%s: the client saw %x, the server %x", rows[i].name, w.saw[0], w.saw[1]);
        if (rows[i].what == SMUX && w.saw[1])
            assert_int_equal(w.last[1].smux_ver, rows[i].there[0]);
        else if (rows[i].what == SMUX)
            assert_true(w.last[1].smux_ver == rows[i].there[0] && w.echoed > 100000);
        if (w.saw[1] == SESSION_SEES_FEC_SHAPE)
            assert_true(w.last[1].fec_data == rows[i].there[0] && w.last[1].fec_parity == rows[i].there[1]);
    }
}

/* A lossy path is no reason to see anything. */
static void test_loss(void **state)
{
    const struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    struct watch w;

    (void)state;
    begin(&w, sp, true, 300000);
    finish(&w, 60 * S);
    assert_int_equal(w.saw[0] | w.saw[1], 0);
    assert_true(w.echoed > 100000);
}

static void test_nothing_comes_back(void **state)
{
    const struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    struct watch w;

    (void)state;
    begin(&w, sp, true, 1000000);
    finish(&w, 15 * S);
    assert_int_equal(w.saw[0], SESSION_SEES_NOTHING);
    assert_int_equal(w.saw[1], 0);
}

/* Version 1, and an application that reads nothing: the window of the whole session closes; and opens. */
static void test_stall(void **state)
{
    struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    bool never = false;
    struct watch w;

    (void)state;
    sp[0].smux_ver = sp[1].smux_ver = 1;
    sp[1].session_buf = 100000;
    sp[1].rcv_wnd = 64;
    begin(&w, sp, false, 0);
    pair_run(&w.p, &never, 9 * S);
    assert_int_equal(w.saw[0], 0);
    pair_run(&w.p, &never, 50 * S);
    assert_int_equal(session_end(w.p.end[0].s), SESSION_ALIVE);
    assert_int_equal(w.saw[0], SESSION_SEES_STALL);
    assert_int_equal(w.saw[1], 0);
    finish(&w, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_nothing_comes_back),
        cmocka_unit_test(test_stall),
    };

    if (crypto_init())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
