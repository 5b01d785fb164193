/* tests/unit/test_smux.c - one end of the multiplexer against frames written by hand: closing, refusing, windows, the
 * session buffer. What the peers did: test_smux_vectors.c. Two random ends: test_smux_pair.c. */
#include "tests/support/smux_end.h"

/* A server that knows the peer as ours, with stream 3 opened by it. */
static struct smux *server_of_ours(uint8_t ver)
{
    struct smux *m = end_new(false, ver);

    assert_int_equal(feed_frame(m, SMUX_NOP, SMUX_HELLO, "", 0), 0);
    assert_frames(m, "HELLO");
    assert_int_equal(feed_frame(m, SMUX_SYN, 3, "", 0), 0);
    return m;
}

static struct smux *server_of_foreign(uint8_t ver)
{
    struct smux *m = end_new(false, ver);

    assert_int_equal(feed_frame(m, SMUX_SYN, 3, "", 0), 0);
    return m;
}

/* ---- who we are ---- */

static void test_hello(void **state)
{
    struct smux *c = end_new(true, 1), *s = end_new(false, 1);
    struct smux_stream *st;

    (void)state;
    assert_false(smux_has_output(c));
    assert_int_equal(smux_open(c, &st), 0);
    write_n(st, 5);
    assert_frames(c, "HELLO, SYN 3, PSH 3 5");
    smux_keepalive(c);
    assert_frames(c, "NOP 0");

    /* a foreign client sees nothing of it until the keepalive */
    assert_int_equal(feed_hex(s, "01000000030000000102010003000000ff"), 0);
    write_n(stream(s, 3), 1);
    assert_frames(s, "PSH 3 1");
    assert_false(smux_peer_is_ours(s));
    smux_keepalive(s);
    smux_keepalive(s);
    assert_frames(s, "HELLO");
    smux_keepalive(s);
    assert_frames(s, "NOP 0");
    assert_int_equal(feed_frame(s, SMUX_NOP, SMUX_HELLO, "", 0), 0);
    assert_true(smux_peer_is_ours(s));
    assert_frames(s, "");
    smux_free(c);
    smux_free(s);
}

/* Only our own kind is told that an end takes no more streams, and once. */
static void test_leaving(void **state)
{
    struct smux *s = end_new(false, 1);

    (void)state;
    smux_leave(s);
    assert_frames(s, "");
    assert_int_equal(feed_frame(s, SMUX_NOP, SMUX_LEAVING, "", 0), 0);
    assert_false(smux_peer_is_ours(s));
    assert_true(smux_peer_leaves(s));
    assert_int_equal(feed_frame(s, SMUX_NOP, SMUX_HELLO, "", 0), 0);
    assert_frames(s, "HELLO");
    smux_leave(s);
    smux_leave(s);
    assert_frames(s, "NOP 1801745509");
    smux_keepalive(s);
    assert_frames(s, "NOP 0");
    smux_free(s);
}

/* ---- closing ---- */

static void test_half_close(void **state)
{
    struct smux *m = server_of_ours(1);
    struct smux_stream *s = stream(m, 3);

    (void)state;
    assert_int_equal(feed_frame(m, SMUX_PSH, 3, "ab", 2), 0);
    assert_int_equal(feed_frame(m, SMUX_FIN, 3, "", 0), 0);
    assert_int_equal(smux_stream_events(s), SMUX_EV_OPENED | SMUX_EV_DATA | SMUX_EV_FIN);
    assert_null(smux_next_event(m));
    assert_false(smux_stream_eof(s));
    smux_stream_read(s, 2);
    assert_true(smux_stream_eof(s));
    assert_int_equal(feed_frame(m, SMUX_FIN, 3, "", 0), 0); /* as one peer says it twice */
    assert_null(smux_next_event(m));
    write_n(s, 7);
    smux_stream_finish(s);
    assert_int_equal(smux_stream_write(s, bytes_of("x", 1)), SMUX_CLOSED);
    assert_int_equal(smux_stream_room(s), 0);
    assert_false(smux_stream_finished(s));
    assert_frames(m, "PSH 3 7, FIN 3");
    assert_true(smux_stream_finished(s));
    smux_stream_finish(s);
    smux_stream_close(s, false); /* both directions have ended: nothing left to say */
    assert_frames(m, "");
    assert_int_equal(smux_streams(m), 0);
    assert_int_equal(m->table_n, 0);
    smux_free(m);
}

static void test_data_after_fin(void **state)
{
    struct smux *m = server_of_foreign(1);
    struct smux_stream *s = stream(m, 3);

    (void)state;
    assert_int_equal(feed_frame(m, SMUX_FIN, 3, "", 0), 0);
    assert_int_equal(feed(m, "\1\2\2\0\3\0\0\0", 8), 0);
    assert_false(smux_stream_eof(s)); /* a frame that was begun is still coming */
    assert_int_equal(feed(m, "cd", 2), 0);
    assert_int_equal(smux_stream_readable(s), 2);
    smux_stream_events(s);
    smux_stream_read(s, 2);
    assert_true(smux_stream_eof(s));
    assert_int_equal(feed_frame(m, SMUX_PSH, 3, "ef", 2), 0); /* the end was seen: too late */
    assert_int_equal(smux_stream_readable(s), 0);
    assert_true(smux_stream_eof(s));
    assert_int_equal(smux_counts(m)->discarded, 2);
    smux_free(m);
}

static void test_reset_out(void **state)
{
    struct smux *m = server_of_ours(1);
    struct smux_stream *s = stream(m, 3);
    uint8_t out[20];

    (void)state;
    write_n(s, 20000);
    smux_stream_close(s, false);
    assert_frames(m, "PSH 3 0, FIN 3");
    assert_int_equal(smux_backlog(m), 0);

    /* a frame that was begun must be completed first */
    assert_int_equal(feed_frame(m, SMUX_SYN, 5, "", 0), 0);
    write_n(stream(m, 5), 20000);
    assert_int_equal(smux_fill(m, out, 20), 20);
    smux_stream_close(stream(m, 5), false);
    assert_int_equal(smux_streams(m), 0);
    {
        uint8_t rest[8192 + 8 - 20];

        assert_int_equal(smux_fill(m, rest, sizeof rest), sizeof rest);
    }
    assert_int_equal(smux_backlog(m), 0);
    assert_frames(m, "PSH 5 0, FIN 5");

    /* our direction had ended, the peer's had not: still a reset, and still one */
    assert_int_equal(feed_frame(m, SMUX_SYN, 7, "", 0), 0);
    smux_stream_finish(stream(m, 7));
    assert_frames(m, "FIN 7");
    smux_stream_close(stream(m, 7), false);
    assert_frames(m, "PSH 7 0, FIN 7");
    assert_int_equal(m->table_n, 0);
    smux_free(m);
}

static void test_reset_degrades(void **state)
{
    struct smux *m = server_of_foreign(1), *c = end_new(true, 1);
    struct smux_stream *s;

    (void)state;
    write_n(stream(m, 3), 100);
    smux_stream_close(stream(m, 3), false);
    assert_frames(m, "FIN 3");
    assert_int_equal(feed_frame(m, SMUX_SYN, 5, "", 0), 0);
    smux_stream_finish(stream(m, 5));
    assert_frames(m, "FIN 5");
    smux_stream_close(stream(m, 5), false);
    assert_frames(m, "");
    assert_int_equal(m->table_n, 0);
    smux_free(m);

    /* the announcement arrives before the reset leaves */
    assert_int_equal(smux_open(c, &s), 0);
    assert_frames(c, "HELLO, SYN 3");
    smux_stream_close(s, false);
    assert_int_equal(feed_frame(c, SMUX_NOP, SMUX_HELLO, "", 0), 0);
    assert_frames(c, "PSH 3 0, FIN 3");
    smux_free(c);
}

static void test_reset_in(void **state)
{
    struct smux *m = server_of_ours(2), *f = server_of_foreign(2);
    struct smux_stream *s = stream(m, 3);

    (void)state;
    write_n(s, 100);
    assert_int_equal(feed_frame(m, SMUX_PSH, 3, "ab", 2), 0);
    assert_int_equal(feed_frame(m, SMUX_FIN, 3, "", 0), 0);
    smux_stream_events(s);
    assert_int_equal(feed_hex(m, "02020000030000000201000003000000"), 0); /* after FIN, too */
    assert_int_equal(smux_stream_events(s), SMUX_EV_RESET);
    assert_false(smux_stream_eof(s));
    assert_int_equal(smux_stream_readable(s), 2);
    assert_int_equal(smux_stream_write(s, bytes_of("x", 1)), SMUX_CLOSED);
    assert_int_equal(smux_counts(m)->resets, 1);
    smux_stream_read(s, 2);
    assert_frames(m, "");
    smux_stream_close(s, false);
    assert_frames(m, "");
    assert_int_equal(m->table_n, 0);

    /* an empty PSH of a foreign peer means nothing, and data after it takes the mark away */
    assert_int_equal(feed_hex(f, "02020000030000000201000003000000"), 0);
    assert_int_equal(smux_stream_events(stream(f, 3)), SMUX_EV_OPENED | SMUX_EV_FIN);
    assert_int_equal(feed_frame(m, SMUX_SYN, 5, "", 0), 0);
    assert_int_equal(feed_hex(m, "0202000005000000020201000500000061"
                                 "0201000005000000"),
                     0);
    assert_int_equal(smux_stream_events(stream(m, 5)), SMUX_EV_OPENED | SMUX_EV_DATA | SMUX_EV_FIN);
    smux_free(m);
    smux_free(f);
}

static void test_cancelled_open(void **state)
{
    struct smux *c = end_new(true, 1);
    struct smux_stream *s;

    (void)state;
    assert_int_equal(smux_open(c, &s), 0);
    write_n(s, 100);
    smux_stream_close(s, false); /* the peer never heard of it */
    assert_frames(c, "HELLO");
    assert_int_equal(smux_open(c, &s), 0);
    write_n(s, 10);
    smux_stream_close(s, true);
    assert_int_equal(smux_streams(c), 0);
    assert_frames(c, "SYN 5, PSH 5 10, FIN 5");
    assert_int_equal(c->table_n, 0);
    smux_free(c);
}

/* Our own kind goes on sending after our FIN: it must neither wait for ever for a window nor think that somebody reads. */
static void test_nobody_listens(void **state)
{
    struct smux *m = server_of_ours(2), *f = server_of_foreign(2);
    uint8_t data[1000] = {0};

    (void)state;
    assert_int_equal(feed_frame(m, SMUX_PSH, 3, data, 1000), 0);
    smux_stream_close(stream(m, 3), true);
    assert_frames(m, "UPD 3 1000/65536, FIN 3");
    assert_int_equal(feed_frame(m, SMUX_PSH, 3, data, 1000), 0);
    assert_int_equal(feed_frame(m, SMUX_PSH, 3, data, 1000), 0);
    assert_frames(m, "PSH 3 0, FIN 3");
    assert_int_equal(m->bucket, 4194304);

    /* while something is still to be delivered, what comes is dropped without that answer */
    assert_int_equal(feed_frame(m, SMUX_SYN, 5, "", 0), 0);
    write_n(stream(m, 5), 10);
    smux_stream_close(stream(m, 5), true);
    assert_int_equal(feed_frame(m, SMUX_PSH, 5, data, 1000), 0);
    assert_frames(m, "UPD 5 1000/65536, PSH 5 10, FIN 5");

    /* other peers forget at their close, as they expect of us */
    assert_int_equal(feed_frame(f, SMUX_PSH, 3, data, 1000), 0);
    smux_stream_close(stream(f, 3), true);
    assert_frames(f, "FIN 3");
    assert_int_equal(feed_frame(f, SMUX_PSH, 3, data, 1000), 0);
    assert_frames(f, "");
    smux_free(m);
    smux_free(f);
}

/* ---- refusing ---- */

static void test_max_streams(void **state)
{
    struct smux_params p = params(false, 1);
    struct smux_stream *s;
    struct smux *m;

    (void)state;
    p.max_streams = 2;
    m = smux_new(&p);
    for (uint32_t id = 3; id < 11; id += 2)
        assert_int_equal(feed_frame(m, SMUX_SYN, id, "", 0), 0);
    assert_int_equal(feed_frame(m, SMUX_SYN, 7, "", 0), 0);
    assert_frames(m, "FIN 7, FIN 9");
    assert_int_equal(smux_counts(m)->refused, 3);
    assert_int_equal(smux_open(m, &s), SMUX_FULL);
    assert_int_equal(feed_frame(m, SMUX_NOP, SMUX_HELLO, "", 0), 0);
    assert_int_equal(feed_frame(m, SMUX_SYN, 11, "", 0), 0);
    assert_frames(m, "HELLO, PSH 11 0, FIN 11");
    smux_stream_close(stream(m, 3), true);
    assert_int_equal(feed_frame(m, SMUX_SYN, 13, "", 0), 0);
    assert_int_equal(smux_streams(m), 2);
    smux_free(m);
}

static void test_ids_run_out(void **state)
{
    (void)state;
    for (int client = 0; client < 2; client++) {
        struct smux *m = end_new(client, 1);
        struct smux_stream *s;
        uint32_t last = client ? 4294967295u : 4294967294u;

        m->next_id = (uint64_t)last - 2;
        assert_int_equal(feed_frame(m, SMUX_SYN, last - 2, "", 0), 0); /* the peer took this one */
        assert_true(smux_ids_left(m));
        assert_int_equal(smux_open(m, &s), 0);
        assert_int_equal(smux_stream_id(s), last);
        assert_false(smux_ids_left(m));
        assert_int_equal(smux_open(m, &s), SMUX_FULL);
        assert_int_equal(smux_open(m, &s), SMUX_FULL);
        assert_int_equal(smux_streams(m), 2);
        smux_free(m);
    }
}

/* A peer that opens and closes in a loop and takes nothing back: what we hold is bounded. */
static void test_hostile_churn(void **state)
{
    struct smux *m = end_new(false, 2);
    struct smux_stream *s;
    uint8_t data[100] = {0};
    size_t most = 0;

    (void)state;
    assert_int_equal(feed_frame(m, SMUX_NOP, SMUX_HELLO, "", 0), 0);
    for (uint32_t id = 1; id < 20000; id++) {
        assert_int_equal(feed_frame(m, SMUX_SYN, id, "", 0), 0);
        assert_int_equal(feed_frame(m, SMUX_PSH, id, data, sizeof data), 0);
        assert_int_equal(feed_frame(m, SMUX_FIN, id, "", 0), 0);
        while ((s = smux_next_event(m))) {
            smux_stream_events(s);
            smux_stream_write(s, bytes_of("refused", 7));
            smux_stream_close(s, id % 2);
        }
        assert_int_equal(smux_settle(m), 0);
        if (id == 2000)
            most = smux_memory(m);
    }
    assert_int_equal(smux_memory(m), most);
    assert_true(most < 64 * (sizeof(struct smux_stream) + 500) + 8192);
    assert_int_equal(m->bucket, 4194304);
    assert_int_equal(m->table_n, 64);
    assert_true(smux_counts(m)->refusals_lost > 0);
    smux_free(m);
}

/* A thousand streams come and go: the table follows. */
static void test_table(void **state)
{
    struct smux_params p = params(true, 1);
    struct smux_stream *s;
    struct smux *m;
    size_t before;

    (void)state;
    p.max_streams = 1000;
    m = smux_new(&p);
    before = smux_memory(m);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(smux_open(m, &s), 0);
    assert_int_equal(m->table_size, 1024);
    for (uint32_t id = 3; id < 2003; id += 2)
        assert_int_equal(smux_stream_id(smux_table_find(m, id)), id);
    assert_null(smux_table_find(m, 2003));
    while ((s = smux_each(m, NULL)))
        smux_stream_close(s, false);
    assert_true(m->table_size <= 16);
    smux_trim(m);
    assert_int_equal(smux_memory(m), before);
    smux_free(m);
}

/* ---- windows ---- */

static void test_window_arithmetic(void **state)
{
    static const struct {
        uint32_t written, consumed, window;
        int64_t room;
    } r[] = {
        {0, 0, 262144, 262144},         {262144, 0, 262144, 0},           {262144, 16384, 65536, -180224},
        {262144, 212992, 65536, 16384}, {0x10, 0xfffffff0, 65536, 65504}, {0, 0, 0x80000000, INT32_MIN},
    };
    struct smux *m = server_of_foreign(2);
    struct smux_stream *s = stream(m, 3);

    (void)state;
    for (size_t i = 0; i < LEN(r); i++) {
        s->written = r[i].written;
        s->peer_consumed = r[i].consumed;
        s->peer_window = r[i].window;
        if (smux_out_window(s) != r[i].room)
            fail_msg("row %zu: %lld", i, (long long)smux_out_window(s));
    }
    smux_free(m);
}

static void test_broken_window(void **state)
{
    struct smux *m = server_of_ours(2);
    struct smux_stream *s = stream(m, 3);

    (void)state;
    assert_int_equal(feed_frame(m, SMUX_SYN, 5, "", 0), 0);
    write_n(s, 100);
    assert_int_equal(feed_upd(m, 3, 1, 65536), 0); /* before anything left */
    assert_true(smux_stream_events(s) & SMUX_EV_RESET);
    assert_int_equal(smux_counts(m)->broken, 1);
    write_n(stream(m, 5), 10);
    assert_frames(m, "PSH 3 0, FIN 3, PSH 5 10");
    assert_int_equal(feed_upd(m, 5, 10, 65536), 0);
    assert_int_equal(smux_counts(m)->broken, 1);
    smux_stream_close(s, false);
    assert_frames(m, "");
    assert_int_equal(m->table_n, 1);
    smux_free(m);
}

/* Closed with data queued behind a window that never opens again: other peers forget at FIN, so must we. */
static void test_stuck_after_close(void **state)
{
    struct smux *m = server_of_foreign(2);

    (void)state;
    assert_int_equal(feed_upd(m, 3, 0, 10), 0);
    write_n(stream(m, 3), 100);
    smux_stream_close(stream(m, 3), true);
    assert_frames(m, "PSH 3 10");
    assert_int_equal(smux_backlog(m), 90);
    assert_int_equal(feed_frame(m, SMUX_FIN, 3, "", 0), 0);
    assert_frames(m, "FIN 3");
    assert_int_equal(m->table_n, 0);
    assert_int_equal(smux_backlog(m), 0);
    smux_free(m);
}

static void test_window_setting(void **state)
{
    struct smux *m = server_of_foreign(2);
    uint8_t data[4000] = {0};

    (void)state;
    smux_set_window(m, 100000, 3000);
    assert_int_equal(feed_frame(m, SMUX_PSH, 3, data, 4000), 0);
    smux_stream_read(stream(m, 3), 100);
    assert_frames(m, "UPD 3 100/100000");
    smux_stream_read(stream(m, 3), 2999);
    assert_frames(m, "");
    smux_stream_read(stream(m, 3), 1);
    assert_frames(m, "UPD 3 3100/100000");
    smux_free(m);
}

/* ---- the session buffer ---- */

/* A server that leaves the version to its client: says nothing before the first frame, speaks as it does afterwards. */
static void test_auto(void **state)
{
    struct smux_params p = params(true, 0);
    struct smux_stream *s;
    uint8_t out[ROOM];

    (void)state;
    assert_null(smux_new(&p)); /* a client speaks first */
    for (uint8_t ver = 1; ver <= 2; ver++) {
        struct smux *m = end_new(false, 0), *other;
        const uint8_t syn[] = {ver, SMUX_SYN, 0, 0, 3, 0, 0, 0};
        struct bytes in;

        smux_keepalive(m);
        assert_int_equal(smux_open(m, &s), SMUX_AGAIN);
        assert_false(smux_has_output(m));
        assert_int_equal(smux_fill(m, out, sizeof out), 0);
        assert_int_equal(smux_version(m), 0);
        for (size_t i = 0; i < sizeof syn; i++) {
            assert_int_equal(smux_version(m), 0); /* half a header tells nothing */
            assert_int_equal(feed(m, syn + i, 1), 0);
        }
        assert_int_equal(smux_version(m), ver);
        assert_int_equal(smux_stream_write(stream(m, 3), bytes_of("hello", 5)), 0);
        smux_keepalive(m);
        in = bytes_of(out, smux_fill(m, out, sizeof out));
        assert_int_equal(out[0], ver);
        assert_int_equal(smux_settle(m), 0);
        other = end_new(true, ver);
        assert_int_equal(smux_input(other, &in), 0);
        assert_int_equal(feed(m, "\3\3\0\0\0\0\0\0", 8), SMUX_PROTOCOL);
        assert_memory_equal(smux_refused(m), "\3\3\0\0\0\0\0\0", 8);
        smux_free(m);
        smux_free(other);
    }
    for (unsigned first = 0; first < 256; first++) {
        struct smux *m = end_new(false, 0);
        const uint8_t nop[] = {(uint8_t)first, SMUX_NOP, 0, 0, 0, 0, 0, 0};

        assert_int_equal(feed(m, nop, sizeof nop), first == 1 || first == 2 ? 0 : SMUX_PROTOCOL);
        smux_free(m);
    }
}

static void test_bucket(void **state)
{
    struct smux_params p = params(false, 1);
    uint8_t *big = calloc(1, 8 + 65535);
    struct bytes in;
    struct smux *m;
    struct smux_stream *s;

    (void)state;
    p.session_buf = 1000;
    m = smux_new(&p);
    assert_int_equal(feed_frame(m, SMUX_SYN, 3, "", 0), 0);
    s = stream(m, 3);
    assert_int_equal(feed_frame(m, SMUX_PSH, 3, big, 999), 0);
    assert_true(smux_wants_input(m));
    assert_int_equal(feed_frame(m, SMUX_PSH, 3, big, 65535), 0); /* begun above 0: taken whole */
    assert_int_equal(m->bucket, -65534);
    assert_false(smux_wants_input(m));
    in = bytes_of("\1\3\0\0\0\0\0\0", 8);
    assert_int_equal(smux_input(m, &in), 0);
    assert_int_equal(in.len, 8);
    smux_stream_read(s, 65534);
    assert_false(smux_wants_input(m));
    smux_stream_read(s, 1);
    assert_true(smux_wants_input(m));
    assert_int_equal(smux_input(m, &in), 0);
    assert_int_equal(in.len, 0);
    assert_int_equal(feed_frame(m, SMUX_PSH, 99, big, 65535), 0); /* nobody's: takes nothing */
    assert_int_equal(m->bucket, 1);
    assert_int_equal(feed_frame(m, SMUX_PSH, 3, big, 2), 0);
    assert_false(smux_wants_input(m));
    smux_stream_close(s, true);
    assert_int_equal(m->bucket, 1000);
    assert_int_equal(smux_frames_in(m), 6);
    smux_free(m);
    free(big);
}

/* Frames of one byte must not cost a ring entry each. */
static void test_tiny_frames(void **state)
{
    struct smux *m = server_of_foreign(1);
    struct smux_stream *s = stream(m, 3);
    enum { N = 20000 };
    uint8_t *p = malloc(N * 9), want[N], got[N];
    struct bytes in = bytes_of(p, N * 9);
    size_t before = smux_memory(m);

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        memcpy(p + i * 9, "\1\2\1\0\3\0\0\0", 8);
        p[i * 9 + 8] = want[i] = (uint8_t)(i * 7 + i / 256);
    }
    assert_int_equal(smux_input(m, &in), 0);
    assert_true(smux_memory(m) - before <= 512 * sizeof(struct buf_piece));
    assert_int_equal(smux_settle(m), 0);
    free(p);
    assert_int_equal(smux_stream_readable(s), N);
    bufq_take(&s->in, got, N);
    assert_memory_equal(got, want, N);
    smux_trim(m);
    assert_int_equal(smux_memory(m), before);
    smux_free(m);
}

static void test_room(void **state)
{
    struct smux_params p = params(false, 1);
    struct smux_stream *s;
    struct smux *m;
    uint8_t out[64];

    (void)state;
    p.send_buf = 50;
    m = smux_new(&p);
    assert_int_equal(feed_frame(m, SMUX_SYN, 3, "", 0), 0);
    s = stream(m, 3);
    smux_stream_events(s);
    write_n(s, 49);
    assert_int_equal(smux_stream_room(s), 1);
    write_n(s, 11);
    assert_int_equal(smux_stream_room(s), 0);
    assert_int_equal(smux_fill(m, out, 8 + 10), 18);
    assert_int_equal(smux_stream_events(s), 0);
    assert_int_equal(smux_fill(m, out, 1), 1);
    assert_int_equal(smux_stream_events(s), SMUX_EV_ROOM);
    assert_int_equal(smux_stream_room(s), 1);
    assert_int_equal(smux_fill(m, out, 30), 30);
    assert_int_equal(smux_stream_events(s), 0);
    smux_free(m);
}

static void test_bad_params(void **state)
{
    struct smux_params good = params(true, 2), p;

    (void)state;
#define REFUSED(change)                                                                                                \
    do {                                                                                                               \
        p = good;                                                                                                      \
        change;                                                                                                        \
        assert_null(smux_new(&p));                                                                                     \
    } while (0)
    REFUSED(p.ver = 0);
    REFUSED(p.ver = 3);
    REFUSED(p.frame_max = 0);
    REFUSED(p.frame_max = 65536);
    REFUSED(p.session_buf = 0);
    REFUSED(p.stream_buf = 0);
    REFUSED(p.stream_buf = p.session_buf + 1);
    REFUSED(p.send_buf = 0);
    REFUSED(p.max_streams = 0);
    REFUSED(p.pool = NULL);
#undef REFUSED
    assert_null(smux_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_data_after_fin),
        cmocka_unit_test(test_reset_out),
        cmocka_unit_test(test_reset_degrades),
        cmocka_unit_test(test_reset_in),
        cmocka_unit_test(test_cancelled_open),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_max_streams),
        cmocka_unit_test(test_ids_run_out),
        cmocka_unit_test(test_hostile_churn),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_window_arithmetic),
        cmocka_unit_test(test_broken_window),
        cmocka_unit_test(test_stuck_after_close),
        cmocka_unit_test(test_window_setting),
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_bucket),
        cmocka_unit_test(test_leaving),
        cmocka_unit_test(test_tiny_frames),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_bad_params),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
