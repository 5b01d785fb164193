/* tests/unit/test_smux_vectors.c - the multiplexer against the peers' recorded scripts and their reactions. */
#include "tests/support/smux_end.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_reactions),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
