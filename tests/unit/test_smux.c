/* tests/unit/test_smux.c - one end of the multiplexer against the peers' recorded scripts and reactions, and against
 * frames written by hand: closing, refusing, windows, the session buffer. Two random ends: test_smux_pair.c. */
#include "core/smux.h"
#include "core/smux_frame.h"
#include "core/smux_priv.h"

#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 8 + 65535 };

static struct buf_pool *pool;

static int setup(void **state)
{
    (void)state;
    pool = buf_pool_new(2048, 0);
    return !pool;
}

static int teardown(void **state)
{
    size_t left = buf_pool_in_use(pool);

    (void)state;
    if (left) {
        print_error("%zu buffers not given back\n", left);
        return 1;
    }
    pool = buf_pool_free(pool);
    return 0;
}

static struct smux_params params(bool client, uint8_t ver)
{
    return (struct smux_params){.client = client,
                                .ver = ver,
                                .frame_max = 8192,
                                .session_buf = 4194304,
                                .stream_buf = 65536,
                                .send_buf = 65536,
                                .max_streams = 64,
                                .pool = pool};
}

static struct smux *end_new(bool client, uint8_t ver)
{
    struct smux_params p = params(client, ver);
    struct smux *m = smux_new(&p);

    assert_non_null(m);
    return m;
}

static struct smux_stream *stream(struct smux *m, uint32_t id)
{
    for (struct smux_stream *s = smux_each(m, NULL); s; s = smux_each(m, s))
        if (smux_stream_id(s) == id)
            return s;
    fail_msg("no stream %u", id);
    return NULL;
}

/* Feeds bytes on a heap block of their own that is gone after settling. */
static int feed(struct smux *m, const void *p, size_t n)
{
    uint8_t *copy = memcpy(malloc(n + !n), p, n);
    struct bytes in = bytes_of(copy, n);
    int r = smux_input(m, &in);

    assert_int_equal(smux_settle(m), 0);
    if (!r)
        assert_int_equal(in.len, 0);
    free(copy);
    return r;
}

static int feed_hex(struct smux *m, const char *hex)
{
    json_t *j = json_string(hex);
    struct bytes b = vec_unhex(j);
    int r = feed(m, b.p, b.len);

    vec_free(b);
    json_decref(j);
    return r;
}

static int feed_frame(struct smux *m, enum smux_frame_cmd cmd, uint32_t id, const void *data, size_t n)
{
    uint8_t *p = malloc(SMUX_FRAME_HEADER + n);
    struct wr w = wr_to(p, SMUX_FRAME_HEADER + n);
    int r;

    smux_frame_put(&w, &(struct smux_frame){m->p.ver, (uint8_t)cmd, (uint16_t)n, id});
    wr_bytes(&w, data, n);
    r = feed(m, p, SMUX_FRAME_HEADER + n);
    free(p);
    return r;
}

static int feed_upd(struct smux *m, uint32_t id, uint32_t consumed, uint32_t window)
{
    uint8_t body[8];

    put_le32(body, consumed);
    put_le32(body + 4, window);
    return feed_frame(m, SMUX_UPD, id, body, sizeof body);
}

static void write_n(struct smux_stream *s, size_t n)
{
    uint8_t *p = calloc(1, n);

    assert_int_equal(smux_stream_write(s, bytes_of(p, n)), 0);
    assert_int_equal(smux_settle(s->m), 0);
    free(p);
}

/* The frames there are to send, as words: "SYN 3", "PSH 3 5", "UPD 3 5/65536", "HELLO". */
static const char *frames(struct smux *m)
{
    static char text[4096];
    static const char *const names[] = {"SYN", "FIN", "PSH", "NOP", "UPD"};
    uint8_t *out = malloc(ROOM);
    size_t at = 0;

    text[0] = 0;
    while (at < sizeof text - 100) {
        bool has = smux_has_output(m);
        size_t n = smux_fill_frame(m, out, ROOM);
        struct smux_frame f;

        assert_int_equal(has, n > 0);
        if (!n)
            break;
        assert_int_equal(smux_frame_parse(&f, out, m->p.ver), 0);
        assert_int_equal(n, SMUX_FRAME_HEADER + f.len);
        at += (size_t)sprintf(text + at, "%s", at ? ", " : "");
        if (f.cmd == SMUX_NOP && f.sid == (uint32_t)SMUX_HELLO)
            at += (size_t)sprintf(text + at, "HELLO");
        else
            at += (size_t)sprintf(text + at, "%s %u", names[f.cmd], f.sid);
        if (f.cmd == SMUX_PSH)
            at += (size_t)sprintf(text + at, " %u", f.len);
        if (f.cmd == SMUX_UPD)
            at += (size_t)sprintf(text + at, " %u/%u", get_le32(out + 8), get_le32(out + 12));
    }
    free(out);
    return text;
}

#define assert_frames(m, want) assert_string_equal(frames(m), want)

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

/* ---- the peers' scripts ---- */

struct script {
    struct smux *end[2]; /* server, client */
    json_t *events;
    size_t at; /* next event */
    size_t payload_at; /* running pattern of the window script */
    bool tell; /* let the ends learn that they are the same kind */
};

static void expect_frame(struct script *sc, unsigned side, const uint8_t *p, size_t n)
{
    json_t *e = json_array_get(sc->events, sc->at++);
    struct bytes want;

    if (!e || !json_object_get(e, "from"))
        fail_msg("event %zu: a frame of %zu bytes too many", sc->at, n);
    assert_string_equal(vec_str(e, "from"), side ? "client" : "server");
    if (json_object_get(e, "hex")) {
        want = vec_hex(e, "hex");
        assert_bytes(bytes_of(p, n), want, vec_str(e, "decoded"));
    } else {
        size_t len = (size_t)vec_int(e, "payload_len");
        uint8_t *pay = malloc(len);

        want = vec_hex(e, "header_hex");
        assert_bytes(bytes_of(p, 8), want, vec_str(e, "decoded"));
        vec_pattern(pay, sc->payload_at, len);
        assert_bytes(bytes_of(p + 8, n - 8), bytes_of(pay, len), "payload");
        sc->payload_at += len;
        free(pay);
    }
    vec_free(want);
}

/* Lets every frame cross. HELLO is the one frame no peer sends: it goes first, and only once. */
static void cross(struct script *sc)
{
    uint8_t *out = malloc(ROOM);
    bool moved = true;

    while (moved) {
        moved = false;
        for (unsigned side = 2; side-- > 0;) {
            size_t n = smux_fill_frame(sc->end[side], out, ROOM);

            if (!n)
                continue;
            moved = true;
            if (out[1] == SMUX_NOP) {
                assert_int_equal(get_le32(out + 4), SMUX_HELLO);
                if (!sc->tell)
                    continue;
            } else {
                expect_frame(sc, side, out, n);
            }
            assert_int_equal(feed(sc->end[!side], out, n), 0);
        }
    }
    free(out);
}

static void op_write(struct smux_stream *s, const json_t *op)
{
    struct bytes b;

    if (json_object_get(op, "hex")) {
        b = vec_hex(op, "hex");
    } else {
        size_t n = (size_t)vec_int(op, "pattern");
        uint8_t *p = malloc(n);

        vec_pattern(p, 0, n);
        b = bytes_of(p, n);
    }
    assert_int_equal(smux_stream_write(s, b), 0);
    assert_int_equal(smux_settle(s->m), 0);
    vec_free(b);
}

static void do_op(struct script *sc, const json_t *op)
{
    struct smux *m = sc->end[!strcmp(vec_str(op, "side"), "client")];
    const char *what = vec_str(op, "op");
    uint32_t id = (uint32_t)vec_int(op, "sid");
    struct smux_stream *s;

    if (!strcmp(what, "open")) {
        assert_int_equal(smux_open(m, &s), 0);
        assert_int_equal(smux_stream_id(s), id);
        return;
    }
    s = stream(m, id);
    if (!strcmp(what, "write")) {
        op_write(s, op);
    } else if (!strcmp(what, "read")) {
        size_t got = (size_t)vec_int(op, "got");

        assert_true(smux_stream_readable(s) >= got);
        assert_int_equal(smux_stream_eof(s), got == 0);
        smux_stream_read(s, got);
    } else if (!strcmp(what, "close")) {
        smux_stream_close(s, true);
    } else {
        fail_msg("op %s", what);
    }
}

static void run_script(const char *file, const char *member, bool tell)
{
    json_t *root = vec_load(file), *o = member ? vec_get(root, member) : root;
    struct script sc = {.events = vec_get(o, "events"), .tell = tell};
    size_t n = json_array_size(sc.events);

    for (unsigned i = 0; i < 2; i++) {
        struct smux_params p = params(i, (uint8_t)vec_int(o, "smux_version"));

        p.frame_max = (uint32_t)vec_int(o, "max_frame_size");
        p.stream_buf = (uint32_t)vec_int(o, "max_stream_buffer");
        sc.end[i] = smux_new(&p);
    }
    while (sc.at < n) {
        json_t *e = json_array_get(sc.events, sc.at), *ops = vec_get(e, "ops"), *op;
        size_t i;

        sc.at++;
        json_array_foreach(ops, i, op)
        {
            do_op(&sc, op);
            cross(&sc);
        }
    }
    assert_int_equal(smux_peer_is_ours(sc.end[0]), tell);
    smux_free(sc.end[0]);
    smux_free(sc.end[1]);
    json_decref(root);
}

static void test_scripts(void **state)
{
    (void)state;
    for (int tell = 0; tell < 2; tell++) {
        run_script("smux-v1.json", "session", tell);
        run_script("smux-v2.json", "session", tell);
        run_script("smux-v2-window.json", NULL, tell);
    }
}

/* ---- the peers' reactions ---- */

static void then_write(struct smux *m, const char *then)
{
    struct smux_stream *s = stream(m, 3);
    bool refused = strstr(then, "peer consumed more") != NULL;
    unsigned events = smux_stream_events(s);

    assert_int_equal(!!(events & SMUX_EV_RESET), refused);
    if (refused) {
        assert_int_equal(smux_stream_write(s, bytes_of("12345", 5)), SMUX_CLOSED);
        assert_frames(m, "FIN 3");
        assert_int_equal(feed_frame(m, SMUX_SYN, 5, "", 0), 0);
        return;
    }
    if (strstr(then, "3 timeout")) {
        write_n(s, 10);
        assert_frames(m, "PSH 3 3");
        assert_int_equal(smux_stream_queued(s), 7);
        return;
    }
    assert_non_null(strstr(then, ": 5 <nil>"));
    write_n(s, 5);
    assert_frames(m, "PSH 3 5");
}

static void then(struct smux *m, const char *what)
{
    struct smux_stream *s = stream(m, 3);
    struct bytes v[4];
    char text[8] = "";

    if (strstr(what, "local write")) {
        then_write(m, what);
    } else if (strstr(what, "streams left: 0")) {
        smux_stream_close(s, true);
        assert_frames(m, "FIN 3");
        assert_int_equal(smux_streams(m), 0);
        assert_int_equal(feed_frame(m, SMUX_SYN, 3, "", 0), 0);
        assert_int_equal(smux_stream_events(stream(m, 3)), SMUX_EV_OPENED);
    } else {
        for (unsigned i = 0, n = smux_stream_peek(s, v, 4); i < n; i++)
            strncat(text, (const char *)v[i].p, v[i].len);
        assert_string_equal(text, strstr(what, "ab") ? "abcd" : "");
        smux_stream_read(s, strlen(text));
        assert_true(smux_stream_eof(s));
    }
}

static void run_reaction(const json_t *c, size_t cut)
{
    const json_t *want = vec_get(c, "smux_1.5.57"), *id;
    struct bytes b = vec_hex(c, "bytes_fed_hex");
    struct smux *m = end_new(false, (uint8_t)vec_int(c, "session_version"));
    bool fatal = !strcmp(vec_str(want, "accept_result"), "invalid protocol");
    unsigned streams = 0;
    int r = 0;
    size_t i;

    for (size_t at = 0; at < b.len && !r; at += cut)
        r = feed(m, b.p + at, MIN(cut, b.len - at));
    if (r != (fatal ? SMUX_PROTOCOL : 0))
        fail_msg("%s: %d", vec_str(c, "case"), r);
    json_array_foreach(vec_get(want, "accepted_stream_ids"), i, id)
    {
        assert_true(stream(m, (uint32_t)json_integer_value(id))->events & SMUX_EV_OPENED);
        streams++;
    }
    assert_int_equal(smux_streams(m), streams);
    if (fatal) {
        struct bytes more = bytes_of("\1\3\0\0\0\0\0\0", 8);

        assert_int_equal(smux_input(m, &more), SMUX_PROTOCOL);
        assert_int_equal(more.len, 8);
    }
    if (json_object_get(want, "then"))
        then(m, vec_str(want, "then"));
    smux_free(m);
    vec_free(b);
}

static void test_reactions(void **state)
{
    json_t *root = vec_load("smux-reactions.json"), *c;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(root, "cases"), i, c)
    {
        for (size_t cut = 1; cut < 40; cut++)
            run_reaction(c, cut);
    }
    assert_true(i > 20);
    json_decref(root);
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
        assert_int_equal(smux_open(m, &s), 0);
        assert_int_equal(smux_stream_id(s), last);
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
    assert_true(smux_memory(m) - before <= 2 * SMUX_LENT_MAX * sizeof(struct buf_piece));
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
        cmocka_unit_test(test_scripts),        cmocka_unit_test(test_reactions),
        cmocka_unit_test(test_hello),          cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_data_after_fin), cmocka_unit_test(test_reset_out),
        cmocka_unit_test(test_reset_degrades), cmocka_unit_test(test_reset_in),
        cmocka_unit_test(test_cancelled_open), cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_max_streams),    cmocka_unit_test(test_ids_run_out),
        cmocka_unit_test(test_hostile_churn),  cmocka_unit_test(test_window_arithmetic),
        cmocka_unit_test(test_broken_window),  cmocka_unit_test(test_stuck_after_close),
        cmocka_unit_test(test_window_setting), cmocka_unit_test(test_bucket),
        cmocka_unit_test(test_tiny_frames),    cmocka_unit_test(test_room),
        cmocka_unit_test(test_bad_params),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
