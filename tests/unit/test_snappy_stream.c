/* tests/unit/test_snappy_stream.c - the framing stream against the peers' writer, reader and live tunnels. */
#include "core/snappy_stream.h"

#include "crypto/crc32.h"
#include "tests/support/smux_end.h"

#include <gcrypt.h>
#include <snappy-c.h>

struct sink {
    uint8_t *p;
    size_t len, cap;
};

static void sink_add(struct sink *s, struct bytes b)
{
    while (s->len + b.len > s->cap)
        s->p = realloc(s->p, s->cap = s->cap * 2 + 4096);
    if (b.len)
        memcpy(s->p + s->len, b.p, b.len);
    s->len += b.len;
}

static void put_lcg(struct sink *s, size_t n, uint32_t x)
{
    for (; n; n--) {
        uint8_t b;

        x = x * 1103515245u + 12345u;
        b = (uint8_t)(x >> 16);
        sink_add(s, bytes_of(&b, 1));
    }
}

static void put_pattern(struct sink *s, size_t n)
{
    uint8_t *p = malloc(n);

    vec_pattern(p, 0, n);
    sink_add(s, bytes_of(p, n));
    free(p);
}

static void put_zeros(struct sink *s, size_t n)
{
    uint8_t *p = calloc(1, n);

    sink_add(s, bytes_of(p, n));
    free(p);
}

static void put_times(struct sink *s, const char *text, unsigned times)
{
    while (times--)
        sink_add(s, bytes_of(text, strlen(text)));
}

static void assert_sha256(struct bytes b, const char *want)
{
    uint8_t md[32];
    char hex[65];

    gcry_md_hash_buffer(GCRY_MD_SHA256, md, b.p, b.len);
    for (unsigned i = 0; i < 32; i++)
        sprintf(hex + 2 * i, "%02x", md[i]);
    assert_string_equal(hex, want);
}

/* Everything that comes out of `in`, offered in pieces of `cut` bytes, each on its own heap block. */
static int unpack_all(struct bytes in, size_t cut, struct sink *out)
{
    struct snappy_unpack *u = snappy_unpack_new();
    int r = SNAPPY_AGAIN;

    for (size_t at = 0; at < in.len && r == SNAPPY_AGAIN; at += cut) {
        size_t n = MIN(cut, in.len - at);
        uint8_t *copy = memcpy(malloc(n), in.p + at, n);
        struct bytes piece = bytes_of(copy, n), plain;

        while ((r = snappy_unpack(u, &piece, &plain)) == 0) {
            assert_in_range(plain.len, 1, SNAPPY_PLAIN_MAX);
            sink_add(out, plain);
        }
        if (r == SNAPPY_AGAIN)
            assert_int_equal(piece.len, 0);
        else
            assert_int_equal(snappy_unpack(u, &piece, &plain), r);
        free(copy);
    }
    assert_null(snappy_unpack_free(u));
    return r;
}

/* ---- the writer ---- */

static void build_input(struct sink *s, const json_t *w)
{
    static const struct {
        const char *name;
        void (*put)(struct sink *s, size_t n);
        size_t n;
    } plain[] = {
        {"zeros", put_zeros, 4500},
        {"pattern(65536)", put_pattern, 65536},
        {"pattern(65537)", put_pattern, 65537},
        {"pattern(200000)", put_pattern, 200000},
    };
    const char *name = vec_str(w, "input");

    if (json_object_get(w, "input_hex")) {
        struct bytes b = vec_hex(w, "input_hex");

        sink_add(s, b);
        vec_free(b);
        return;
    }
    for (size_t i = 0; i < LEN(plain); i++)
        if (!strcmp(name, plain[i].name))
            plain[i].put(s, plain[i].n);
    if (!strcmp(name, "text"))
        put_times(s, "the quick brown fox jumps over the lazy dog. ", 100);
    if (!strcmp(name, "lcg(4096,1)"))
        put_lcg(s, 4096, 1);
    if (!strcmp(name, "lcg(65543,7)"))
        put_lcg(s, 65543, 7);
    if (!strncmp(name, "v2 PSH sid 3 len 8192", 21)) {
        sink_add(s, bytes_of("\2\2\0\x20\3\0\0\0", 8));
        put_pattern(s, 8192);
    }
    if (!strcmp(name, "mixed")) {
        put_lcg(s, 3000, 3);
        put_times(s, "abcdefgh", 200);
    }
}

static void pack(struct snappy_pack *s, struct bytes plain, struct sink *out)
{
    while (plain.len) {
        size_t n = MIN(plain.len, (size_t)SNAPPY_PLAIN_MAX);
        uint8_t *room = malloc(SNAPPY_PACK_ROOM(n));

        sink_add(out, bytes_of(room, snappy_pack(s, bytes_of(plain.p, n), room)));
        free(room);
        plain.p += n;
        plain.len -= n;
    }
}

/* Our chunks have the types and checksums of the peer's; uncompressed ones are the same bytes. */
static void check_chunks(const json_t *w, struct bytes out)
{
    const json_t *c;
    size_t i;

    json_array_foreach(vec_get(w, "chunks"), i, c)
    {
        size_t len = get_le32(out.p) >> 8;

        assert_true(out.len >= 4 + len);
        assert_int_equal(out.p[0], vec_int(c, "type"));
        if (out.p[0] != 0xff) {
            struct bytes crc = vec_hex(c, "masked_crc_le_hex");

            assert_bytes(bytes_of(out.p + 4, 4), crc, "checksum");
            vec_free(crc);
        }
        if (out.p[0])
            assert_int_equal(len, vec_int(c, "body_len"));
        out.p += 4 + len;
        out.len -= 4 + len;
    }
    assert_int_equal(out.len, 0);
}

static void check_write(struct snappy_pack *s, const json_t *w, struct sink *theirs, struct sink *all)
{
    struct sink in = {0}, out = {0};
    const json_t *c;
    bool exact = true;
    size_t i;

    build_input(&in, w);
    assert_int_equal(in.len, vec_int(w, "input_len"));
    assert_sha256(bytes_of(in.p, in.len), vec_str(w, "input_sha256"));
    pack(s, bytes_of(in.p, in.len), &out);
    check_chunks(w, bytes_of(out.p, out.len));
    json_array_foreach(vec_get(w, "chunks"), i, c)
    {
        exact &= vec_int(c, "type") != 0;
    }
    if (exact)
        assert_sha256(bytes_of(out.p, out.len), vec_str(w, "output_sha256"));
    if (json_object_get(w, "output_hex")) {
        struct bytes b = vec_hex(w, "output_hex");

        sink_add(theirs, b);
        vec_free(b);
        sink_add(all, bytes_of(in.p, in.len));
    }
    free(in.p);
    free(out.p);
}

static void test_writer(void **state)
{
    json_t *root = vec_load("snappy-writer.json"), *stream, *w;
    size_t i, k;

    (void)state;
    json_array_foreach(vec_get(root, "streams"), i, stream)
    {
        struct snappy_pack s = {0};
        struct sink theirs = {0}, plain = {0}, got = {0};

        json_array_foreach(vec_get(stream, "writes"), k, w)
        {
            check_write(&s, w, &theirs, &plain);
        }
        if (theirs.len) {
            assert_int_equal(unpack_all(bytes_of(theirs.p, theirs.len), 777, &got), SNAPPY_AGAIN);
            assert_bytes(bytes_of(got.p, got.len), bytes_of(plain.p, plain.len), vec_str(stream, "name"));
        }
        free(theirs.p);
        free(plain.p);
        free(got.p);
    }
    assert_true(i > 8);
    json_decref(root);
}

/* The rule decides, not the vectors' few lengths: on both sides of the border between the two types, and on it. */
static void test_type_rule(void **state)
{
    unsigned n_type[2] = {0}, on_border = 0;

    (void)state;
    for (size_t i = 0; i < 40 * 40; i++) {
        struct sink in = {0};
        struct snappy_pack s = {.begun = true};
        size_t len;
        uint8_t *out, *block;

        put_lcg(&in, 64 + i / 40, 5);
        if (i % 40)
            put_zeros(&in, i % 40);
        len = snappy_max_compressed_length(in.len);
        block = malloc(len);
        assert_int_equal(snappy_compress((char *)in.p, in.len, (char *)block, &len), SNAPPY_OK);
        out = malloc(SNAPPY_PACK_ROOM(in.len));
        snappy_pack(&s, bytes_of(in.p, in.len), out);
        assert_int_equal(out[0], len >= in.len - in.len / 8);
        n_type[out[0]]++;
        on_border += len == in.len - in.len / 8;
        free(block);
        free(out);
        free(in.p);
    }
    assert_true(n_type[0] && n_type[1] && on_border);
}

static void test_crc(void **state)
{
    json_t *root = vec_load("snappy-crc.json"), *c;
    size_t i;

    (void)state;
    json_array_foreach(root, i, c)
    {
        const char *name = vec_str(c, "data");
        struct sink in = {0};
        struct bytes want = vec_hex(c, "masked_le_hex");

        if (!strcmp(name, "one zero byte"))
            put_zeros(&in, 1);
        else if (!strcmp(name, "'a'"))
            put_times(&in, "a", 1);
        else if (!strcmp(name, "'123456789'"))
            put_times(&in, "123456789", 1);
        else if (!strcmp(name, "32 zero bytes"))
            put_zeros(&in, 32);
        else if (!strcmp(name, "32 bytes 0xff"))
            put_times(&in, "\xff", 32);
        else if (!strcmp(name, "smux v1 SYN sid 3"))
            sink_add(&in, bytes_of("\1\0\0\0\3\0\0\0", 8));
        else if (!strcmp(name, "pattern(65536)"))
            put_pattern(&in, 65536);
        else
            assert_string_equal(name, "empty");
        assert_int_equal(in.len, vec_int(c, "len"));
        if (in.len) { /* an empty write has no chunk to look at */
            struct snappy_pack s = {.begun = true};
            uint8_t *out = malloc(SNAPPY_PACK_ROOM(in.len));

            snappy_pack(&s, bytes_of(in.p, in.len), out);
            assert_bytes(bytes_of(out + 4, 4), want, name);
            free(out);
        }
        vec_free(want);
        free(in.p);
    }
    assert_int_equal(i, 8);
    json_decref(root);
}

/* ---- the reader ---- */

static const uint8_t id_chunk[] = {0xff, 6, 0, 0, 's', 'N', 'a', 'P', 'p', 'Y'};

static void put_chunk(struct sink *s, uint8_t type, const struct sink *crc_of, const struct sink *body)
{
    uint8_t head[8];
    uint32_t crc = crc_of ? crc32c_portable(bytes_of(crc_of->p, crc_of->len)) : 0;
    size_t len = body->len + (crc_of ? 4 : 0);

    put_le32(head, (uint32_t)type | (uint32_t)len << 8);
    put_le32(head + 4, ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
    sink_add(s, bytes_of(head, crc_of ? 8 : 4));
    sink_add(s, bytes_of(body->p, body->len));
}

/* The cases that are too long for the file. */
static void build_long(struct sink *s, const char *name)
{
    struct sink body = {0}, block = {0}, hello = {0};

    put_times(&hello, "hello world", 1);
    sink_add(s, bytes_of(id_chunk, sizeof id_chunk));
    if (strstr(name, "skippable")) {
        put_zeros(&body, strstr(name, "76494") ? 76494 : 76495);
        put_chunk(s, 0x80, NULL, &body);
        put_chunk(s, 1, &hello, &hello);
    } else if (strstr(name, "uncompressed")) {
        put_pattern(&body, strstr(name, "65537") ? 65537 : 65536);
        put_chunk(s, 1, &body, &body);
    } else {
        size_t len = snappy_max_compressed_length(65537);

        assert_non_null(strstr(name, "declaring 65537"));
        put_zeros(&body, 65537);
        block.p = malloc(len);
        assert_int_equal(snappy_compress((char *)body.p, body.len, (char *)block.p, &len), SNAPPY_OK);
        block.len = len;
        put_chunk(s, 0, &body, &block);
    }
    free(body.p);
    free(block.p);
    free(hello.p);
}

static void check_read(const json_t *c, struct bytes in, size_t cut)
{
    const char *name = vec_str(c, "case"), *error = vec_str(c, "error");
    struct sink out = {0};
    int r = unpack_all(in, cut, &out), want = SNAPPY_AGAIN;

    if (strstr(error, "unsupported"))
        want = SNAPPY_UNSUPPORTED;
    else if (strstr(error, "corrupt") && strncmp(name, "truncated", 9)) /* our stream has no end, it only stops */
        want = SNAPPY_CORRUPT;
    if (r != want)
        fail_msg("%s, cut at %zu: %d", name, cut, r);
    if (out.len != (size_t)vec_int(c, "decoded_len"))
        fail_msg("%s, cut at %zu: %zu bytes", name, cut, out.len);
    if (json_object_get(c, "decoded_hex")) {
        struct bytes b = vec_hex(c, "decoded_hex");

        assert_bytes(bytes_of(out.p, out.len), b, name);
        vec_free(b);
    }
    free(out.p);
}

static void test_reader(void **state)
{
    json_t *root = vec_load("snappy-reader.json"), *c;
    unsigned n_long = 0;
    size_t i;

    (void)state;
    json_array_foreach(root, i, c)
    {
        struct sink in = {0};
        struct bytes b;

        if (json_object_get(c, "input_hex")) {
            b = vec_hex(c, "input_hex");
            sink_add(&in, b);
            vec_free(b);
        } else {
            build_long(&in, vec_str(c, "case"));
            n_long++;
        }
        if (!strstr(vec_str(c, "case"), "declaring"))
            assert_int_equal(in.len, vec_int(c, "input_len"));
        for (size_t cut = 1; cut<64; cut += in.len> 1000 ? 31 : 1)
            check_read(c, bytes_of(in.p, in.len), cut);
        check_read(c, bytes_of(in.p, in.len), 4000);
        check_read(c, bytes_of(in.p, in.len), in.len);
        free(in.p);
    }
    assert_int_equal(n_long, 5);
    json_decref(root);
}

/* What a table of good streams cannot show: a bad checksum of nothing, declared lengths at their limits. */
static void test_refusals(void **state)
{
    static const struct {
        const char *name;
        uint8_t after_id[16];
        size_t len;
        int want;
    } rows[] = {
        {"empty plain chunk, wrong checksum", {1, 4, 0, 0, 0, 0, 0, 0}, 8, SNAPPY_CORRUPT},
        {"plain, one byte too long, header alone", {1, 5, 0, 1}, 4, SNAPPY_CORRUPT},
        {"plain, longest, header alone", {1, 4, 0, 1}, 4, SNAPPY_AGAIN},
        {"compressed, longest", {0, 0xce, 0x2a, 1}, 4, SNAPPY_AGAIN},
        {"compressed, too long", {0, 0xcf, 0x2a, 1}, 4, SNAPPY_UNSUPPORTED},
        {"identifier, too long for any chunk", {0xff, 0xcf, 0x2a, 1}, 4, SNAPPY_UNSUPPORTED},
        {"unskippable, too long", {0x40, 0xff, 0xff, 0xff}, 4, SNAPPY_UNSUPPORTED},
        {"compressed, no checksum", {0, 3, 0, 0}, 4, SNAPPY_CORRUPT},
        {"compressed, no block", {0, 4, 0, 0, 0xd8, 0xea, 0x82, 0xa2}, 8, SNAPPY_CORRUPT},
        {"length without an end", {0, 7, 0, 0, 0xd8, 0xea, 0x82, 0xa2, 0xff, 0xff, 0xff}, 11, SNAPPY_CORRUPT},
        {"copy before the start", {0, 8, 0, 0, 0, 0, 0, 0, 4, 1, 1, 0}, 12, SNAPPY_CORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++)
        for (size_t cut = 1; cut < 30; cut++) {
            struct sink in = {0}, out = {0};
            int r;

            sink_add(&in, bytes_of(id_chunk, sizeof id_chunk));
            sink_add(&in, bytes_of(rows[i].after_id, rows[i].len));
            r = unpack_all(bytes_of(in.p, in.len), cut, &out);
            if (r != rows[i].want || out.len)
                fail_msg("%s, cut at %zu: %d", rows[i].name, cut, r);
            free(in.p);
        }
}

/* ---- both ---- */

static void test_round_trip(void **state)
{
    struct rng rng = rng_seed(9);

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        struct snappy_pack s = {0};
        struct sink in = {0}, wire = {0}, out = {0};

        for (unsigned k = rng_below(&rng, 8) + 1; k; k--) {
            size_t from = in.len, n = rng_below(&rng, 2) ? rng_below(&rng, 200) + 1 : rng_below(&rng, 65536) + 1;

            if (rng_below(&rng, 2))
                put_lcg(&in, n, (uint32_t)rng_next(&rng));
            else
                put_pattern(&in, n);
            pack(&s, bytes_of(in.p + from, n), &wire);
        }
        assert_int_equal(unpack_all(bytes_of(wire.p, wire.len), rng_below(&rng, 20000) + 1, &out), SNAPPY_AGAIN);
        assert_bytes(bytes_of(out.p, out.len), bytes_of(in.p, in.len), "round trip");
        free(in.p);
        free(wire.p);
        free(out.p);
    }
}

/* A plain chunk that is all there is handed on where it lies; nothing is held when nothing is there. */
static void test_no_copy(void **state)
{
    struct snappy_unpack *u = snappy_unpack_new();
    size_t base = snappy_unpack_memory(u);
    struct snappy_pack s = {0};
    struct sink in = {0}, wire = {0};
    struct bytes b, plain;

    (void)state;
    put_lcg(&in, 5000, 4);
    pack(&s, bytes_of(in.p, in.len), &wire);
    b = bytes_of(wire.p, wire.len);
    assert_int_equal(snappy_unpack(u, &b, &plain), 0);
    assert_ptr_equal(plain.p, wire.p + 18);
    assert_int_equal(snappy_unpack_memory(u), base);
    assert_int_equal(snappy_unpack(u, &b, &plain), SNAPPY_AGAIN);

    wire.len = 0;
    pack(&s, bytes_of(in.p, in.len), &wire);
    b = bytes_of(wire.p, 100); /* a claim of 5000 bytes holds what has come of them */
    assert_int_equal(snappy_unpack(u, &b, &plain), SNAPPY_AGAIN);
    assert_in_range(snappy_unpack_memory(u), base + 92, base + 4096);
    b = bytes_of(wire.p + 100, wire.len - 100);
    assert_int_equal(snappy_unpack(u, &b, &plain), 0);
    assert_bytes(plain, bytes_of(in.p, in.len), "in two pieces");
    assert_int_equal(snappy_unpack(u, &b, &plain), SNAPPY_AGAIN);
    assert_int_equal(snappy_unpack_memory(u), base);

    in.len = wire.len = 0;
    put_zeros(&in, 65536);
    pack(&s, bytes_of(in.p, in.len), &wire);
    b = bytes_of(wire.p, wire.len);
    assert_int_equal(snappy_unpack(u, &b, &plain), 0);
    assert_bytes(plain, bytes_of(in.p, in.len), "decompressed");
    assert_int_equal(snappy_unpack(u, &b, &plain), SNAPPY_AGAIN);
    assert_int_equal(snappy_unpack_memory(u), base);
    snappy_unpack_free(u);
    assert_null(snappy_unpack_free(NULL));
    free(in.p);
    free(wire.p);
}

/* ---- live tunnels: decoder, then multiplexer ---- */

/* One chunk is one frame, as the file says it. */
static void check_frame(struct bytes plain, const char *want)
{
    static const char *const names[] = {"SYN", "FIN", "PSH", "NOP", "UPD"};
    struct smux_frame f;
    char text[100];
    int n;

    assert_int_equal(smux_frame_parse(&f, plain.p, plain.p[0]), 0);
    assert_int_equal(plain.len, SMUX_FRAME_HEADER + f.len);
    n = sprintf(text, "v%u %s len=%u sid=%u", f.ver, names[f.cmd], f.len, f.sid);
    if (f.cmd == SMUX_UPD)
        sprintf(text + n, " consumed=%u window=%u", get_le32(plain.p + 8), get_le32(plain.p + 12));
    assert_string_equal(text, want);
}

/* Sends on every stream that has not yet: the recorded windows acknowledge it. */
static void say_something(struct smux *m)
{
    for (struct smux_stream *s = smux_each(m, NULL); s; s = smux_each(m, s))
        if (!s->written)
            write_n(s, 60000);
    frames(m);
}

static void run_live(const json_t *dir, bool to_client)
{
    struct bytes wire = vec_hex(dir, "kcp_stream_hex"), in = wire, plain;
    const json_t *frame_list = vec_get(dir, "smux_frames");
    uint8_t ver = (uint8_t)(json_string_value(json_array_get(frame_list, 0))[1] - '0');
    struct snappy_unpack *u = snappy_unpack_new();
    struct smux *m = end_new(to_client, ver);
    struct smux_stream *s;
    struct sink all = {0};
    size_t n = 0;

    for (unsigned i = 0; to_client && i < 2; i++)
        assert_int_equal(smux_open(m, &s), 0);
    say_something(m);
    while (snappy_unpack(u, &in, &plain) == 0) {
        check_frame(plain, json_string_value(json_array_get(frame_list, n++)));
        assert_int_equal(feed(m, plain.p, plain.len), 0);
        say_something(m);
        sink_add(&all, plain);
    }
    assert_int_equal(n, json_array_size(frame_list));
    assert_int_equal(smux_frames_in(m), n);
    assert_int_equal(smux_streams(m), 2);
    assert_int_equal(smux_counts(m)->discarded + smux_counts(m)->broken, 0);
    assert_sha256(bytes_of(all.p, all.len), vec_str(dir, "decoded_sha256"));
    snappy_unpack_free(u);
    smux_free(m);
    vec_free(wire);
    free(all.p);
}

static void test_live(void **state)
{
    json_t *root = vec_load("snappy-live.json"), *run;
    size_t i;

    (void)state;
    json_array_foreach(vec_get(root, "runs"), i, run)
    {
        run_live(vec_get(run, "client_to_server"), false);
        run_live(vec_get(run, "server_to_client"), true);
    }
    assert_int_equal(i, 3);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writer),  cmocka_unit_test(test_type_rule), cmocka_unit_test(test_crc),
        cmocka_unit_test(test_reader),  cmocka_unit_test(test_refusals),  cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_no_copy), cmocka_unit_test(test_live),
    };

    gcry_check_version(NULL);
    return cmocka_run_group_tests(tests, setup, teardown);
}
