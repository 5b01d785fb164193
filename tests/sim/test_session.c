/* tests/sim/test_session.c - whole sessions over virtual links: what goes in comes out, whatever the path does; who is
 * gone is noticed; who is idle costs nothing. */
#include "core/arq.h"
#include "core/arq_seg.h"
#include "crypto/kdf.h"
#include "tests/sim/pair.h"

#include <stdlib.h>
#include <string.h>

enum { STREAMS_MAX = 20, HALF_HOUR_US = 1800 * 1000000u };

/* The client opens streams and writes to each `bytes` of a pattern; the server sends everything back; the client compares.
 * Both finish when they have seen the end. */
struct echo {
    struct pair *pair;
    unsigned n_streams, n_done;
    size_t bytes;
    struct {
        struct smux_stream *st;
        size_t written, back;
        bool finished;
    } s[STREAMS_MAX];
    bool done, broken;
};

static uint8_t pattern(unsigned stream, size_t at)
{
    return (uint8_t)((at * 7 + (at >> 8) * 3 + stream * 31) ^ (at >> 16));
}

static void client_turn(struct end *e, struct tick now)
{
    struct echo *x = e->ctx;
    uint8_t block[3000];

    (void)now;
    for (unsigned i = 0; i < x->n_streams; i++) {
        if (!x->s[i].st && x->s[i].written == 0) {
            assert_int_equal(smux_open(session_smux(e->s), &x->s[i].st), 0);
            smux_stream_set_ctx(x->s[i].st, (void *)(uintptr_t)(i + 1));
        }
        while (x->s[i].st && x->s[i].written < x->bytes && smux_stream_room(x->s[i].st)) {
            size_t n = 1 + rng_below(&x->pair->rng, sizeof block - 1);

            n = MIN(n, x->bytes - x->s[i].written);
            for (size_t k = 0; k < n; k++)
                block[k] = pattern(i, x->s[i].written + k);
            assert_int_equal(smux_stream_write(x->s[i].st, bytes_of(block, n)), 0);
            assert_int_equal(smux_settle(session_smux(e->s)), 0); /* block is on the stack */
            x->s[i].written += n;
        }
        if (x->s[i].st && x->s[i].written == x->bytes && !x->s[i].finished) {
            smux_stream_finish(x->s[i].st);
            x->s[i].finished = true;
        }
    }
}

static void client_stream(struct end *e, struct smux_stream *st, unsigned events)
{
    struct echo *x = e->ctx;
    unsigned i = (unsigned)(uintptr_t)smux_stream_ctx(st) - 1;
    struct bytes v;

    assert_true(i < x->n_streams);
    assert_false(events & SMUX_EV_RESET);
    while (smux_stream_peek(st, &v, 1)) {
        for (size_t k = 0; k < v.len; k++)
            if (v.p[k] != pattern(i, x->s[i].back + k))
                fail_msg("stream %u: wrong byte at %zu", i, x->s[i].back + k);
        x->s[i].back += v.len;
        smux_stream_read(st, v.len);
    }
    if (smux_stream_eof(st)) {
        assert_int_equal(x->s[i].back, x->bytes);
        smux_stream_close(st, true);
        x->s[i].st = NULL;
        x->done = ++x->n_done == x->n_streams;
    }
}

static void server_stream(struct end *e, struct smux_stream *st, unsigned events)
{
    struct bytes v;

    (void)events;
    while (smux_stream_room(st) && smux_stream_peek(st, &v, 1)) {
        assert_int_equal(smux_stream_write(st, v), 0);
        assert_int_equal(smux_settle(session_smux(e->s)), 0);
        smux_stream_read(st, v.len);
    }
    if (smux_stream_eof(st))
        smux_stream_close(st, true);
}

static void echo_begin(struct echo *x, struct pair *p, unsigned streams, size_t bytes)
{
    *x = (struct echo){.pair = p, .n_streams = streams, .bytes = bytes};
    p->end[0].ctx = p->end[1].ctx = x;
    p->end[0].on_turn = client_turn;
    p->end[0].on_stream = client_stream;
    p->end[1].on_stream = server_stream;
}

static const struct link_params clean = {.delay_us = 20000};

static void test_clean_path(void **state)
{
    const struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params lp[2] = {clean, clean};
    struct echo x;
    struct pair p;

    (void)state;
    pair_init(&p, 1, "aes", sp, lp);
    echo_begin(&x, &p, 3, 300000);
    assert_true(pair_run(&p, &x.done, 60000000));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(p.end[i].stats.retrans_segs, 0);
        assert_int_equal(p.end[i].stats.fec_recovered, 0);
        assert_int_equal(p.end[i].stats.repeat_segs, 0);
        assert_int_equal(p.end[i].stats.kcp_in_errors, 0);
        assert_int_equal(p.end[i].stats.in_csum_errors, 0);
    }
    pair_fini(&p);
}

/* Every axis at random; loss up to 25 %, duplicates, reordering, flipped bits. */
static void test_any_settings_any_path(void **state)
{
    static const char *const crypts[] = {"aes", "salsa20", "none", "xor", "aes-128-gcm", "tea", "sm4"};
    static const uint16_t shapes[][2] = {{10, 3}, {5, 2}, {0, 0}, {1, 1}, {20, 4}, {2, 100}};

    (void)state;
    for (unsigned seed = 1; seed <= 60; seed++) {
        struct rng r = rng_seed(seed);
        const uint16_t *shape = shapes[rng_below(&r, LEN(shapes))];
        struct session_params sp[2];
        struct link_params lp[2];
        struct echo x;
        struct pair p;

        for (int i = 0; i < 2; i++) {
            sp[i] = pair_defaults(i == 0);
            sp[i].fec_data = shape[0];
            sp[i].fec_parity = shape[1];
            sp[i].mtu = (uint16_t)(256 + rng_below(&r, 1244));
            sp[i].snd_wnd = 8 + rng_below(&r, 600);
            sp[i].rcv_wnd = 32 + rng_below(&r, 600);
            sp[i].resend = rng_below(&r, 3);
            sp[i].frame_max = 1 + rng_below(&r, 65535);
            lp[i] = (struct link_params){
                .delay_us = rng_below(&r, 80000),
                .jitter_us = rng_below(&r, 20000),
                .reorder = 1,
                .loss_ppm = rng_below(&r, 250000),
                .dup_ppm = rng_below(&r, 100000),
                .corrupt_ppm = rng_below(&r, 20000),
            };
        }
        sp[0].compress = sp[1].compress = rng_below(&r, 2);
        sp[0].smux_ver = sp[1].smux_ver = (uint8_t)(1 + rng_below(&r, 2));
        pair_init(&p, seed, crypts[rng_below(&r, LEN(crypts))], sp, lp);
        echo_begin(&x, &p, 1 + rng_below(&r, 12), 1 + rng_below(&r, 60000));
        if (!pair_run(&p, &x.done, HALF_HOUR_US))
            fail_msg("seed %u: not done; client %s, server %s", seed, session_end_text(p.end[0].s),
                     session_end_text(p.end[1].s));
        pair_fini(&p);
    }
}

/* Shapes that differ: the receiver must find out, and never deliver a wrong byte. */
static void test_fec_shapes_differ(void **state)
{
    static const uint16_t shapes[][2] = {{10, 3}, {5, 2}, {0, 0}, {20, 4}, {70, 30}};

    (void)state;
    for (unsigned a = 0; a < LEN(shapes); a++)
        for (unsigned b = 0; b < LEN(shapes); b++) {
            struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
            const struct link_params lossy = {.delay_us = 10000, .loss_ppm = 50000, .jitter_us = 3000, .reorder = 1};
            const struct link_params lp[2] = {lossy, lossy};
            struct echo x;
            struct pair p;

            sp[0].fec_data = shapes[a][0];
            sp[0].fec_parity = shapes[a][1];
            sp[1].fec_data = shapes[b][0];
            sp[1].fec_parity = shapes[b][1];
            pair_init(&p, a * 10 + b, "aes", sp, lp);
            echo_begin(&x, &p, 4, 400000);
            assert_true(pair_run(&p, &x.done, HALF_HOUR_US));
            for (int i = 0; i < 2; i++) {
                assert_int_equal(p.end[i].stats.kcp_in_errors, 0);
                if (sp[!i].fec_data && a != b)
                    assert_true(p.end[i].stats.fec_shape_changes >= 1);
                if (sp[!i].fec_data)
                    assert_true(p.end[i].stats.fec_recovered > 20);
            }
            pair_fini(&p);
        }
}

static void test_idle_session_lives_and_costs_little(void **state)
{
    const struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params lp[2] = {clean, clean};
    struct session_info info;
    bool never = false;
    struct echo x;
    struct pair p;

    (void)state;
    pair_init(&p, 3, "aes", sp, lp);
    echo_begin(&x, &p, 1, 100000);
    assert_true(pair_run(&p, &x.done, 60000000));
    p.turns = 0;
    pair_run(&p, &never, HALF_HOUR_US);
    assert_int_equal(session_end(p.end[0].s), SESSION_ALIVE);
    assert_int_equal(session_end(p.end[1].s), SESSION_ALIVE);
    assert_true(p.turns < 1800 * 8); /* a few a second at most, for both ends and the arrivals */
    for (int i = 0; i < 2; i++) {
        session_info(p.end[i].s, &info, p.now);
        assert_true(info.memory < 12288);
        assert_int_equal(info.inflight, 0);
    }
    pair_fini(&p);
}

static void test_silent_peer_is_noticed(void **state)
{
    const struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params lp[2] = {clean, clean};
    bool never = false;
    struct echo x;
    struct pair p;

    (void)state;
    pair_init(&p, 4, "aes", sp, lp);
    echo_begin(&x, &p, 1, 100000);
    assert_true(pair_run(&p, &x.done, 60000000));
    p.end[1].out.p.loss_ppm = 1000000; /* the way back breaks */
    pair_run(&p, &never, 9000000);
    assert_int_equal(session_end(p.end[0].s), SESSION_ALIVE);
    pair_run(&p, &never, 7000000); /* at most keepalive after the last sign of life, and the timeout */
    assert_int_equal(session_end(p.end[0].s), SESSION_SILENT);
    pair_fini(&p);
}

/* The server forgets everything in the middle of a transfer and begins a session of the same conv. */
static void test_restarted_peer_is_noticed(void **state)
{
    const struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params lp[2] = {clean, clean};
    bool never = false;
    struct session_params again = sp[1];
    struct echo x;
    struct pair p;

    (void)state;
    pair_init(&p, 5, "aes", sp, lp);
    echo_begin(&x, &p, 1, 50000000);
    pair_run(&p, &never, 3000000);
    session_free(p.end[1].s);
    again.head = 20;
    again.pool = p.end[1].pool;
    again.stats = &p.end[1].stats;
    p.end[1].s = session_new(&again, p.now);
    pair_run(&p, &never, 4000000);
    assert_int_equal(session_end(p.end[0].s), SESSION_LOST_STATE);
    pair_fini(&p);
}

/* Datagrams of long ago, one after the other and nothing newer, as from a server's worker that had no processor: to a
 * client they would be a server that began anew, but a client that begins anew draws another conversation. */
static void test_late_datagrams_end_no_session_of_a_server(void **state)
{
    const struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params lp[2] = {clean, clean};
    uint8_t mem[ARQ_HEADER];
    bool never = false;
    struct echo x;
    struct pair p;

    (void)state;
    pair_init(&p, 6, "aes", sp, lp);
    echo_begin(&x, &p, 1, 100000);
    assert_true(pair_run(&p, &x.done, 60000000));
    for (unsigned i = 0; i < 2; i++)
        p.end[i].out.p.loss_ppm = 1000000;
    for (unsigned n = 0; n < 40; n++) {
        for (unsigned i = 0; i < 2; i++) {
            struct session *s = p.end[i].s;
            struct wr out = wr_to(mem, sizeof mem);

            arq_seg_put(&out, &(struct arq_seg){.conv = session_conv(s), .cmd = ARQ_SEG_WINS, .wnd = 32, .una = 1});
            session_input(s, bytes_of(mem, sizeof mem), p.now);
        }
        pair_run(&p, &never, 100000);
    }
    assert_int_equal(session_end(p.end[0].s), SESSION_LOST_STATE);
    assert_int_equal(session_end(p.end[1].s), SESSION_ALIVE);
    pair_fini(&p);
}

static void test_settings_that_differ_end_the_session(void **state)
{
    (void)state;
    for (int what = 0; what < 2; what++) {
        struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
        const struct link_params lp[2] = {clean, clean};
        bool never = false;
        struct echo x;
        struct pair p;

        if (what)
            sp[0].smux_ver = 1;
        else
            sp[0].compress = true;
        pair_init(&p, 6, "aes", sp, lp);
        echo_begin(&x, &p, 1, 1000);
        pair_run(&p, &never, 1000000);
        assert_int_equal(session_end(p.end[1].s), SESSION_PROTOCOL);
        pair_fini(&p);
    }
}

/* Nothing of a hostile datagram may end or stall a session that goes on: only what is authentic counts here, so the
 * garbage is fed behind the cipher. */
static void test_garbage_behind_the_cipher(void **state)
{
    const struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params lp[2] = {clean, clean};
    struct echo x;
    struct pair p;

    (void)state;
    pair_init(&p, 7, "none", sp, lp);
    echo_begin(&x, &p, 2, 200000);
    while (!pair_run(&p, &x.done, 30000)) {
        uint8_t junk[1400];
        size_t n = rng_below(&p.rng, sizeof junk);

        rng_fill(&p.rng, junk, n);
        if (n > 8 && rng_below(&p.rng, 2))
            junk[4] = (uint8_t)(0xf1 + rng_below(&p.rng, 3)), junk[5] = 0;
        if (n > 8 && junk[4] == 0xf1)
            memset(junk + 8, 0xee, n - 8); /* not our conversation */
        session_input(p.end[rng_below(&p.rng, 2)].s, bytes_of(junk, n), p.now);
        session_settle(p.end[0].s);
        session_settle(p.end[1].s);
    }
    pair_fini(&p);
}

static void test_zero_window_opens_again(void **state)
{
    struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params lossy = {.delay_us = 20000, .loss_ppm = 200000};
    const struct link_params lp[2] = {lossy, lossy};
    struct echo x;
    struct pair p;

    (void)state;
    for (unsigned seed = 1; seed <= 10; seed++) {
        sp[0].rcv_wnd = sp[1].rcv_wnd = 2; /* closes all the time */
        sp[0].session_buf = sp[1].session_buf = 1;
        sp[0].stream_buf = sp[1].stream_buf = 1;
        sp[0].smux_ver = sp[1].smux_ver = 1;
        pair_init(&p, seed, "aes", sp, lp);
        echo_begin(&x, &p, 3, 20000);
        assert_true(pair_run(&p, &x.done, HALF_HOUR_US));
        pair_fini(&p);
    }
}

/* A rate holds over any second, for all that is sent, and causes no retransmission; what may be sent is sent. */
static void rate_holds(bool paced_by_sender)
{
    const uint64_t rate = 200000;
    struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params lp[2] = {clean, clean};
    struct echo x;
    struct pair p;

    sp[0].rate = rate;
    sp[0].adaptive = paced_by_sender;
    pair_init(&p, 9, "aes", sp, lp);
    echo_begin(&x, &p, 3, 300000);
    for (unsigned second = 0; !x.done; second++) {
        uint64_t before = p.end[0].out.n.in_bytes, sent;

        pair_run(&p, &x.done, 1000000);
        sent = p.end[0].out.n.in_bytes - before;
        assert_true(sent <= rate + 20000);
        if (second && sent + 20000 < rate && !x.done)
            assert_int_equal(smux_backlog(session_smux(p.end[0].s)), 0); /* it had no more to say */
        assert_true(second < 20);
    }
    if (!paced_by_sender)
        assert_int_equal(p.end[0].stats.retrans_segs, 0);
    pair_fini(&p);
}

static void test_rate(void **state)
{
    (void)state;
    rate_holds(false);
    rate_holds(true);
}

static bool is_adaptive(struct pair *p, unsigned end)
{
    struct session_info info;

    session_info(p->end[end].s, &info, p->now);
    return info.phase;
}

static void set_mode(struct pair *p, struct session_params *sp, unsigned end, bool adaptive)
{
    sp[end].adaptive = adaptive;
    session_retune(p->end[end].s, &sp[end], p->now);
    assert_int_equal(is_adaptive(p, end), adaptive);
}

/* From one mode to another and back in the middle of loss, duplicates and reordering, at either end, while datagrams are
 * half written and nothing is in flight: no byte is lost, and what was in flight is not waited for. */
static void test_modes_change(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 30; seed++) {
        struct rng r = rng_seed(seed);
        struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
        const struct link_params lossy = {.delay_us = rng_below(&r, 60000),
                                          .jitter_us = 3000,
                                          .reorder = 1,
                                          .loss_ppm = rng_below(&r, 200000),
                                          .dup_ppm = 20000};
        const struct link_params lp[2] = {lossy, lossy};
        unsigned changes = 0;
        struct echo x;
        struct pair p;

        for (unsigned i = 0; i < 2; i++) {
            sp[i].adaptive = rng_below(&r, 2);
            sp[i].nocwnd = rng_below(&r, 2);
            sp[i].resend = rng_below(&r, 3);
            sp[i].pacing = rng_below(&r, 2);
            sp[i].rate = rng_below(&r, 4) ? 0 : 2000000;
        }
        pair_init(&p, seed, "aes", sp, lp);
        echo_begin(&x, &p, 5, 400000);
        for (; !pair_run(&p, &x.done, 1 + rng_below(&r, 60000)) && p.now.us < HALF_HOUR_US; changes++) {
            unsigned end = rng_below(&r, 2);

            set_mode(&p, sp, end, !sp[end].adaptive);
        }
        if (!x.done || changes < 8)
            fail_msg("seed %u, %u changes: not done; client %s, server %s", seed, changes, session_end_text(p.end[0].s),
                     session_end_text(p.end[1].s));
        pair_fini(&p);
    }
}

/* A change is no loss: what is in flight is not sent again for it. */
static void test_mode_change_sends_nothing_again(void **state)
{
    (void)state;
    for (int to = 0; to < 2; to++) {
        struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
        const struct link_params lp[2] = {clean, clean};
        struct session_info info;
        bool never = false;
        struct echo x;
        struct pair p;

        sp[0].adaptive = !to;
        sp[0].snd_wnd = 64; /* less than the peer takes in a flush */
        pair_init(&p, 11, "aes", sp, lp);
        echo_begin(&x, &p, 3, 3000000);
        pair_run(&p, &never, 500000);
        session_info(p.end[0].s, &info, p.now);
        assert_true(info.inflight > 10);
        set_mode(&p, sp, 0, to);
        assert_true(pair_run(&p, &x.done, 60000000));
        assert_int_equal(p.end[0].stats.retrans_segs, 0);
        assert_int_equal(p.end[1].stats.repeat_segs, 0);
        pair_fini(&p);
    }
}

/* All that was in flight is lost at the moment of the change: each side of it has to notice. */
static void test_mode_change_after_a_loss(void **state)
{
    (void)state;
    for (int to = 0; to < 2; to++) {
        struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
        const struct link_params lp[2] = {clean, clean};
        bool never = false;
        struct echo x;
        struct pair p;

        sp[0].adaptive = sp[1].adaptive = !to;
        pair_init(&p, 12, "aes", sp, lp);
        echo_begin(&x, &p, 3, 2000000);
        pair_run(&p, &never, 400000);
        p.end[0].out.p.loss_ppm = p.end[1].out.p.loss_ppm = 1000000;
        pair_run(&p, &never, 60000);
        p.end[0].out.p.loss_ppm = p.end[1].out.p.loss_ppm = 0;
        for (unsigned i = 0; i < 2; i++)
            set_mode(&p, sp, i, to);
        assert_true(pair_run(&p, &x.done, 20000000));
        pair_fini(&p);
    }
}

/* A client that had to ask first, because its first datagram was lost, still opens its session; not one of another conv. */
static void test_question_before_what_opens(void **state)
{
    const struct arq_seg wask = {.conv = 7, .cmd = ARQ_SEG_WASK};
    struct arq_seg push = {.conv = 7, .cmd = ARQ_SEG_PUSH, .sn = 3, .len = 1};
    uint8_t mem[2 * ARQ_HEADER + 1] = {0};
    struct wr w = wr_to(mem, sizeof mem);
    struct packet_info i;

    (void)state;
    arq_seg_put(&w, &wask);
    arq_seg_put(&w, &push);
    assert_int_equal(packet_look(&i, bytes_of(mem, sizeof mem)), 0);
    assert_true(i.has_conv && i.opens);
    assert_int_equal(i.sn, 3);
    assert_int_equal(packet_look(&i, bytes_of(mem, ARQ_HEADER + 5)), 0);
    assert_true(i.has_conv && !i.opens);

    push.conv = 8;
    w = wr_to(mem, sizeof mem);
    arq_seg_put(&w, &wask);
    arq_seg_put(&w, &push);
    assert_int_equal(packet_look(&i, bytes_of(mem, sizeof mem)), 0);
    assert_true(i.has_conv && i.conv == 7 && !i.opens);
}

static void server_never_reads(struct end *e, struct smux_stream *st, unsigned events)
{
    (void)e, (void)st, (void)events;
}

/* What is in flight leaves again for a peer that has moved, but not each time for one that moves with every datagram: who can
 * write a false sender's address would have a flood sent there. */
static void test_moves_send_no_flood(void **state)
{
    enum { MOVES = 20, WND = 512 };
    struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params lp[2] = {clean, clean};
    uint64_t before;
    bool never = false;
    struct echo x;
    struct pair p;

    (void)state;
    sp[0].stream_buf = sp[1].stream_buf = sp[0].session_buf;
    pair_init(&p, 1, "aes", sp, lp);
    echo_begin(&x, &p, 1, 4 << 20);
    assert_false(pair_run(&p, &never, 200000));
    p.end[1].stopped = true;
    assert_false(pair_run(&p, &never, 40000));
    before = p.end[0].out.n.in;
    for (unsigned i = 0; i < MOVES; i++) {
        session_moved(p.end[0].s, p.now);
        assert_false(pair_run(&p, &never, 1000));
    }
    assert_true(p.end[0].out.n.in > before + WND / 2);
    assert_true(p.end[0].out.n.in < before + 3 * WND);
    p.end[1].stopped = false;
    assert_true(pair_run(&p, &x.done, 60000000));
    pair_fini(&p);
}

/* A peer that fills every buffer there is: many streams, nobody reads, and segments out of order behind every loss. */
static void test_memory_is_bounded(void **state)
{
    const struct link_params lossy = {.delay_us = 5000, .jitter_us = 8000, .loss_ppm = 100000, .reorder = 1};
    const struct link_params lp[2] = {lossy, lossy};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
        size_t most[2] = {0}, max[2];
        bool never = false;
        struct echo x;
        struct pair p;

        sp[0].smux_ver = sp[1].smux_ver = (uint8_t)(1 + i % 2);
        sp[0].adaptive = sp[1].adaptive = i >= 2;
        sp[1].session_buf = 300000;
        sp[1].stream_buf = 100000;
        pair_init(&p, i, "aes", sp, lp);
        echo_begin(&x, &p, STREAMS_MAX, 1 << 20);
        p.end[1].on_stream = server_never_reads;
        for (int k = 0; k < 2; k++)
            max[k] = session_memory_max(&sp[k], STREAMS_MAX, PACKET_MTU_MAX);
        for (unsigned n = 0; n < 200; n++) {
            pair_run(&p, &never, 50000);
            for (int k = 0; k < 2; k++) {
                struct session_info info;

                session_info(p.end[k].s, &info, p.now);
                most[k] = MAX(most[k], info.memory + buf_pool_in_use(p.end[k].pool) * (PACKET_MTU_MAX + 32));
            }
        }
        assert_int_equal(session_end(p.end[1].s), SESSION_ALIVE);
        assert_true(most[1] > 250000); /* it did fill up */
        for (int k = 0; k < 2; k++)
            assert_in_range(most[k], 1, max[k]);
        pair_fini(&p);
    }
}

static uint64_t samples(const struct histogram *h, unsigned from, unsigned to)
{
    uint64_t n = 0;

    for (unsigned i = from; i < to; i++)
        n += h->n[i];
    return n;
}

/* What an operator sees: the path's round trip, and a queue only where the window makes one. */
static void test_histograms(void **state)
{
    const unsigned rtt_from = histogram_bucket(40000),
                   rtt_to = histogram_bucket(120000) + 1; /* 40 ms, and our timers */

    (void)state;
    for (int narrow = 0; narrow < 2; narrow++) {
        struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
        const struct link_params lp[2] = {clean, clean};
        const struct histogram *rtt, *queue;
        struct echo x;
        struct pair p;

        sp[1].snd_wnd = narrow ? 16 : 512; /* the server knows the other's window when it begins to send */
        pair_init(&p, 5, "aes", sp, lp);
        echo_begin(&x, &p, 2, narrow ? 1000000 : 200000);
        assert_true(pair_run(&p, &x.done, 120000000));
        rtt = &p.end[1].stats.rtt;
        queue = &p.end[1].stats.queue_delay;
        assert_true(samples(rtt, 0, HISTOGRAM_BUCKETS) >= 3);
        assert_int_equal(samples(rtt, rtt_from, rtt_to), samples(rtt, 0, HISTOGRAM_BUCKETS));
        if (narrow) { /* 64 KiB of each stream wait for a window of 20 KB a round trip: some 6 of them */
            assert_in_range(queue->sum_us / samples(queue, 0, HISTOGRAM_BUCKETS), 160000, 400000);
        } else {
            assert_true(samples(queue, 0, 1) > 0);
            assert_int_equal(samples(queue, 1, HISTOGRAM_BUCKETS), 0);
        }
        pair_fini(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean_path),
        cmocka_unit_test(test_any_settings_any_path),
        cmocka_unit_test(test_fec_shapes_differ),
        cmocka_unit_test(test_idle_session_lives_and_costs_little),
        cmocka_unit_test(test_silent_peer_is_noticed),
        cmocka_unit_test(test_restarted_peer_is_noticed),
        cmocka_unit_test(test_late_datagrams_end_no_session_of_a_server),
        cmocka_unit_test(test_settings_that_differ_end_the_session),
        cmocka_unit_test(test_garbage_behind_the_cipher),
        cmocka_unit_test(test_zero_window_opens_again),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_modes_change),
        cmocka_unit_test(test_mode_change_sends_nothing_again),
        cmocka_unit_test(test_mode_change_after_a_loss),
        cmocka_unit_test(test_question_before_what_opens),
        cmocka_unit_test(test_moves_send_no_flood),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_histograms),
    };

    if (crypto_init())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
