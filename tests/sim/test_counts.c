/* tests/sim/test_counts.c - what a session adds to the gauges and counters of its profile: at any time the truth, and nothing
 * once it is gone. */
#include "crypto/kdf.h"
#include "tests/sim/pair.h"

#include <string.h>

enum { STREAMS = 4, BYTES = 400000 };

struct bulk { /* every stream of the client sends BYTES; the server reads and discards, at its leisure */
    struct smux_stream *st[STREAMS];
    size_t written[STREAMS];
    unsigned opened, resets;
    bool hold; /* the server does not read */
    bool never;
};

static void client_turn(struct end *e, struct tick now)
{
    static uint8_t block[4096];
    struct bulk *b = e->ctx;

    (void)now;
    for (unsigned i = 0; i < b->opened; i++)
        while (b->st[i] && b->written[i] < BYTES && smux_stream_room(b->st[i])) {
            assert_int_equal(smux_stream_write(b->st[i], bytes_of(block, sizeof block)), 0);
            b->written[i] += sizeof block;
        }
}

static void client_stream(struct end *e, struct smux_stream *st, unsigned events)
{
    struct bulk *b = e->ctx;

    if (!(events & (SMUX_EV_RESET | SMUX_EV_FIN)))
        return;
    for (unsigned i = 0; i < b->opened; i++)
        if (b->st[i] == st)
            b->st[i] = NULL;
    b->resets++;
    smux_stream_close(st, false);
}

static void server_stream(struct end *e, struct smux_stream *st, unsigned events)
{
    const struct bulk *b = e->ctx;
    struct bytes v;

    (void)events;
    while (!b->hold && smux_stream_peek(st, &v, 1))
        smux_stream_read(st, v.len);
}

static void begin(struct bulk *b, struct pair *p, unsigned streams)
{
    *b = (struct bulk){.opened = streams};
    p->end[0].ctx = p->end[1].ctx = b;
    p->end[0].on_turn = client_turn;
    p->end[0].on_stream = client_stream;
    p->end[1].on_stream = server_stream;
    for (unsigned i = 0; i < streams; i++)
        assert_int_equal(smux_open(session_smux(p->end[0].s), &b->st[i]), 0);
}

static struct session_info info_of(const struct pair *p, unsigned end)
{
    struct session_info i;

    session_info(p->end[end].s, &i, p->now);
    return i;
}

static void test_gauges(void **state)
{
    const struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params lossy = {.delay_us = 20000, .loss_ppm = 200000}, lp[2] = {lossy, lossy};
    uint64_t most_queued = 0, most_flying = 0, most_groups = 0, newest = 0;
    struct stats *near, *far;
    struct bulk b;
    struct pair p;

    (void)state;
    pair_init(&p, 1, "aes", sp, lp);
    begin(&b, &p, 3);
    near = &p.end[0].stats;
    far = &p.end[1].stats;
    for (unsigned i = 0; i < 400; i++) {
        struct session_info si;

        pair_run(&p, &b.never, 5000);
        si = info_of(&p, 0);
        assert_int_equal(near->ring_snd_buffer, si.inflight);
        assert_true(near->ring_snd_queue * 1350 >= si.queued && near->ring_snd_queue <= si.queued / 1000 + 80);
        most_queued = MAX(most_queued, near->ring_snd_queue);
        most_flying = MAX(most_flying, near->ring_snd_buffer);
        most_groups = MAX(most_groups, far->fec_shard_set);
        assert_true(far->fec_shard_min >= newest); /* it only moves on */
        newest = far->fec_shard_min;
    }
    assert_true(most_queued > 50 && most_flying > 20 && most_groups > 0 && newest > 10);
    assert_true(near->retrans_segs > 0);
    assert_int_equal(near->retrans_segs, near->lost_segs + near->fast_retrans_segs + near->early_retrans_segs);
    p.end[0].s = session_free(p.end[0].s);
    p.end[1].s = session_free(p.end[1].s);
    for (unsigned i = 0; i < 2; i++) {
        const struct stats *st = &p.end[i].stats;

        assert_int_equal(st->ring_snd_queue | st->ring_rcv_queue | st->ring_snd_buffer | st->fec_shard_set, 0);
    }
    pair_fini(&p);
}

/* The window of a session whose streams are not read fills up; what it cannot pass on waits in the receive queue. */
static void test_receive_queue(void **state)
{
    struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params clean = {.delay_us = 5000}, lp[2] = {clean, clean};
    struct bulk b;
    struct pair p;

    (void)state;
    sp[0].smux_ver = sp[1].smux_ver = 1; /* whose streams have no window of their own */
    sp[0].compress = sp[1].compress = false;
    sp[1].session_buf = 65536;
    pair_init(&p, 2, "aes", sp, lp);
    begin(&b, &p, 1);
    b.hold = true;
    pair_run(&p, &b.never, 3000000);
    assert_true(p.end[1].stats.ring_rcv_queue > 10);
    session_free(p.end[1].s);
    p.end[1].s = NULL;
    assert_int_equal(p.end[1].stats.ring_rcv_queue, 0);
    pair_fini(&p);
}

/* Streams beyond the limit are counted where they are refused, and where the refusal arrives. */
static void test_refusals(void **state)
{
    struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params clean = {.delay_us = 5000}, lp[2] = {clean, clean};
    struct bulk b;
    struct pair p;

    (void)state;
    sp[1].max_streams = 1;
    pair_init(&p, 3, "aes", sp, lp);
    begin(&b, &p, STREAMS);
    pair_run(&p, &b.never, 2000000);
    assert_int_equal(p.end[1].stats.streams_refused, STREAMS - 1);
    assert_int_equal(b.resets, STREAMS - 1);
    assert_int_equal(p.end[0].stats.streams_reset_by_peer, STREAMS - 1);
    assert_true(p.end[1].stats.bytes_discarded > 0);
    pair_run(&p, &b.never, 2000000); /* counted once, not every turn */
    assert_int_equal(p.end[1].stats.streams_refused, STREAMS - 1);
    pair_fini(&p);
}

/* How long nothing has been acknowledged: for kcptunctl doctor. */
static void test_stalled(void **state)
{
    const struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
    const struct link_params clean = {.delay_us = 5000}, lp[2] = {clean, clean};
    struct bulk b;
    struct pair p;

    (void)state;
    pair_init(&p, 4, "aes", sp, lp);
    begin(&b, &p, 1);
    pair_run(&p, &b.never, 20000);
    assert_true(info_of(&p, 0).inflight > 0);
    assert_true(info_of(&p, 0).stalled_ms < 200);
    p.end[1].stopped = true;
    pair_run(&p, &b.never, 4000000);
    assert_true(info_of(&p, 0).stalled_ms > 3500);
    p.end[1].stopped = false;
    pair_run(&p, &b.never, 10000000);
    assert_int_equal(info_of(&p, 0).stalled_ms, 0); /* all has arrived */
    pair_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gauges),
        cmocka_unit_test(test_receive_queue),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_stalled),
    };

    if (crypto_init())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
