/* tests/unit/test_fec.c - header codec, encoder and decoder of equal shapes, against the peers' packets. */
#include "fec/decoder.h"
#include "fec/encoder.h"
#include "fec/rs.h"
#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PKT = 1500, CRYPTO_HEADER = 20 };

/* ---- header ---- */

static const struct {
    const char *name;
    uint8_t pkt[12];
    size_t len;
    int want;
    uint16_t kind;
    size_t payload;
} headers[] = {
    {"data, two bytes", {1, 2, 3, 4, 0xf1, 0, 4, 0, 'h', 'i'}, 10, 0, SHARD_DATA, 2},
    {"data, no payload", {1, 2, 3, 4, 0xf1, 0, 2, 0}, 8, 0, SHARD_DATA, 0},
    {"payload is not cut to size", {1, 2, 3, 4, 0xf1, 0, 0xff, 0xff, 1, 2, 3}, 11, 0, SHARD_DATA, 3},
    {"parity", {1, 2, 3, 4, 0xf2, 0, 9, 9, 9}, 9, 0, SHARD_PARITY, 0},
    {"parity shorter than a size field", {1, 2, 3, 4, 0xf2, 0, 9}, 7, SHARD_MALFORMED, 0, 0},
    {"out of band", {255, 255, 255, 255, 0xf3, 0, 6, 0, 1, 2, 3, 4}, 12, 0, SHARD_OOB, 4},
    {"type one below", {1, 2, 3, 4, 0xf0, 0, 4, 0, 1, 2}, 10, SHARD_MALFORMED, 0, 0},
    {"type one above", {1, 2, 3, 4, 0xf4, 0, 4, 0, 1, 2}, 10, SHARD_MALFORMED, 0, 0},
    {"type in the high byte", {1, 2, 3, 4, 0, 0xf1, 4, 0, 1, 2}, 10, SHARD_MALFORMED, 0, 0},
    {"a segment: cmd 0x51", {1, 2, 3, 4, 0x51, 0, 4, 0, 1, 2}, 10, SHARD_MALFORMED, 0, 0},
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(headers); i++)
        for (size_t n = 0; n <= headers[i].len; n++) {
            struct shard s = {.seqid = 77};
            uint8_t *pkt = memcpy(malloc(n + !n), headers[i].pkt, n);
            int want = n < SHARD_DATA_HEADER ? SHARD_MALFORMED : headers[i].want;

            if (shard_parse(&s, bytes_of(pkt, n)) != want)
                fail_msg("%s, cut at %zu", headers[i].name, n);
            assert_int_equal(shard_is_fec(bytes_of(pkt, n)),
                             n >= SHARD_HEADER && pkt[4] >= 0xf1 && pkt[4] <= 0xf3 && !pkt[5]);
            if (want) {
                assert_int_equal(s.seqid, 77);
            } else {
                assert_int_equal(s.seqid, get_le32(pkt));
                assert_int_equal(s.kind, headers[i].kind);
                assert_ptr_equal(s.code.p, pkt + SHARD_HEADER);
                assert_int_equal(s.code.len, n - SHARD_HEADER);
                if (s.kind != SHARD_PARITY) {
                    assert_ptr_equal(s.payload.p, pkt + SHARD_DATA_HEADER);
                    assert_int_equal(s.payload.len, n - SHARD_DATA_HEADER);
                }
            }
            free(pkt);
        }
}

/* ---- encoder ---- */

struct group {
    unsigned d, p;
    struct bytes pkt[256]; /* data, then parity; on the heap */
    struct bytes payload[256];
};

static void group_load(struct group *g, const json_t *shape, const json_t *o)
{
    json_t *data = vec_get(o, "data_packets"), *parity = vec_get(o, "parity_packets"),
           *payloads = vec_get(o, "payloads");

    g->d = (unsigned)vec_int(shape, "data_shards");
    g->p = (unsigned)vec_int(shape, "parity_shards");
    assert_int_equal(json_array_size(data), g->d);
    assert_int_equal(json_array_size(parity), g->p);
    for (unsigned i = 0; i < g->d; i++) {
        g->pkt[i] = vec_unhex(json_array_get(data, i));
        g->payload[i] = vec_unhex(json_array_get(payloads, i));
    }
    for (unsigned i = 0; i < g->p; i++)
        g->pkt[g->d + i] = vec_unhex(json_array_get(parity, i));
}

static void group_unload(struct group *g)
{
    for (unsigned i = 0; i < g->d + g->p; i++)
        vec_free(g->pkt[i]);
    for (unsigned i = 0; i < g->d; i++)
        vec_free(g->payload[i]);
}

/* Encodes a vector group; settle: bit i lets go of everything lent after packet i (its memory is then spoilt). Rows and
 * packets lie at odd addresses. */
static void check_encode(struct fec_encoder *e, const struct group *g, uint64_t settle)
{
    uint8_t *mem = calloc(g->d + g->p, PKT), *rows[256];

    for (unsigned i = 0; i < g->d; i++) {
        uint8_t *pkt = mem + i * PKT + i % 7;

        memcpy(pkt + SHARD_DATA_HEADER, g->payload[i].p, g->payload[i].len);
        assert_int_equal(fec_encoder_add(e, pkt, g->payload[i].len), i + 1 == g->d ? FEC_GROUP_FULL : 0);
        assert_bytes(bytes_of(pkt, g->payload[i].len + SHARD_DATA_HEADER), g->pkt[i], "data packet");
        if (settle >> i % 64 & 1 && i + 1 < g->d) {
            fec_encoder_settle(e);
            memset(mem, 0xee, (i + 1) * PKT);
        }
    }
    assert_int_equal(fec_encoder_parity_len(e), g->pkt[g->d].len);
    for (unsigned i = 0; i < g->p; i++)
        rows[i] = memset(mem + (g->d + i) * PKT + i % 5, 0xdd, fec_encoder_parity_len(e));
    fec_encoder_parity(e, rows, g->p);
    for (unsigned i = 0; i < g->p; i++)
        assert_bytes(bytes_of(rows[i], g->pkt[g->d + i].len), g->pkt[g->d + i], "parity packet");
    free(mem);
}

static void test_encode_groups(void **state)
{
    json_t *root = vec_load("fec_groups.json"), *shape, *group;
    size_t s, n;

    (void)state;
    json_array_foreach(vec_get(root, "shapes"), s, shape)
    {
        static const uint64_t settles[] = {0, UINT64_MAX, 1, 0x15, UINT64_C(1) << 9, 0x3e0};
        unsigned d = (unsigned)vec_int(shape, "data_shards"), p = (unsigned)vec_int(shape, "parity_shards");

        for (size_t i = 0; i < LEN(settles); i++) {
            struct fec_encoder *e = fec_encoder_new(d, p, PKT - SHARD_DATA_HEADER);
            size_t first = fec_encoder_memory(e);

            json_array_foreach(vec_get(shape, "groups"), n, group)
            {
                struct group g;

                group_load(&g, shape, group);
                fec_encoder_set_seqid(e, (uint32_t)vec_int(group, "first_seqid"));
                check_encode(e, &g, settles[i]);
                assert_int_equal(fec_encoder_seqid(e), vec_int(group, "next_seqid"));
                group_unload(&g);
            }
            fec_encoder_rest(e);
            assert_int_equal(fec_encoder_memory(e), first); /* sums exist on demand only */
            assert_true(first < 256 + d * 16);
            fec_encoder_free(e);
        }
    }
    json_decref(root);
    assert_int_equal(rs_memory(), 0);
}

/* Fewer rows than P, none, and lengths 0 .. shard_max; whatever is not asked for is not written. */
static void test_encode_some(void **state)
{
    enum { D = 4, P = 3, MAX_LEN = 1400 };
    struct rng rng = rng_seed(21);
    struct fec_encoder *e = fec_encoder_new(D, P, MAX_LEN);
    struct rs *rs = rs_new(D, P);
    uint32_t seqid = 0;

    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        static uint8_t mem[D][PKT], padded[D][PKT], rows[P][PKT], want[P][PKT];
        const uint8_t *src[D];
        uint8_t *dst[P], *ask[P];
        unsigned count = rng_below(&rng, P + 1);
        size_t longest = 0, n = 0;

        memset(padded, 0, sizeof padded);
        for (unsigned i = 0; i < D; i++) {
            if (!i || rng_below(&rng, 2))
                n = rng_below(&rng, 4) ? rng_below(&rng, MAX_LEN + 1) : rng_below(&rng, 2) * MAX_LEN;
            longest = MAX(longest, n);
            rng_fill(&rng, mem[i] + SHARD_DATA_HEADER, n);
            fec_encoder_add(e, mem[i], n);
            assert_int_equal(get_le32(mem[i]), seqid++);
            assert_int_equal(get_le16(mem[i] + SHARD_HEADER), n + 2);
            src[i] = memcpy(padded[i], mem[i] + SHARD_HEADER, n + 2);
            if (i + 1 < D && rng_below(&rng, 3) == 0)
                fec_encoder_settle(e);
        }
        assert_int_equal(fec_encoder_parity_len(e), longest + SHARD_DATA_HEADER);
        memset(rows, 0x77, sizeof rows);
        for (unsigned i = 0; i < P; i++) {
            dst[i] = want[i];
            ask[i] = rows[i];
        }
        rs_encode(rs, P, src, dst, longest + 2);
        if (count)
            fec_encoder_parity(e, ask, count);
        else
            fec_encoder_skip(e);
        for (unsigned i = 0; i < P; i++) {
            size_t used = i < count ? longest + SHARD_DATA_HEADER : 0;

            if (used) {
                assert_int_equal(get_le32(rows[i]), seqid + i);
                assert_int_equal(get_le16(rows[i] + 4), SHARD_PARITY);
                assert_bytes(bytes_of(rows[i] + SHARD_HEADER, longest + 2), bytes_of(want[i], longest + 2), "row");
            }
            for (size_t k = used; k < PKT; k++)
                assert_int_equal(rows[i][k], 0x77);
        }
        seqid += P;
        assert_int_equal(fec_encoder_seqid(e), seqid);
    }
    assert_int_equal(fec_encoder_data(e), D);
    assert_int_equal(fec_encoder_parities(e), P);
    fec_encoder_free(e);
    rs_free(rs);
    assert_null(fec_encoder_free(NULL));
    assert_null(fec_encoder_new(0, 3, 100));
    assert_null(fec_encoder_new(200, 57, 100));
}

static void test_skip_oob(void **state)
{
    json_t *root = vec_load("fec_skip_oob.json"), *o;
    struct fec_encoder *e =
        fec_encoder_new((unsigned)vec_int(root, "data_shards"), (unsigned)vec_int(root, "parity_shards"), PKT);
    static uint8_t mem[16][PKT], rows[2][PKT];
    size_t i, r;

    (void)state;
    json_array_foreach(vec_get(root, "packets"), i, o)
    {
        struct bytes payload = vec_hex(o, "payload"), want = vec_hex(o, "data_packet");
        json_t *parity = vec_get(o, "parity_packets"), *row;
        uint8_t *to[2] = {rows[0], rows[1]};

        memcpy(mem[i] + SHARD_DATA_HEADER, payload.p, payload.len);
        if (fec_encoder_add(e, mem[i], payload.len) == FEC_GROUP_FULL) {
            if (json_array_size(parity))
                fec_encoder_parity(e, to, 2);
            else
                fec_encoder_skip(e);
        } else {
            assert_int_equal(json_array_size(parity), 0);
        }
        assert_bytes(bytes_of(mem[i], payload.len + SHARD_DATA_HEADER), want, "data packet");
        json_array_foreach(parity, r, row)
        {
            struct bytes w = vec_unhex(row);

            assert_bytes(bytes_of(rows[r], w.len), w, "parity packet");
            vec_free(w);
        }
        assert_int_equal(fec_encoder_seqid(e), vec_int(o, "next_seqid"));
        vec_free(payload);
        vec_free(want);
    }
    json_array_foreach(vec_get(root, "oob"), i, o)
    {
        struct bytes pkt = vec_hex(o, "packet"), payload = vec_hex(o, "payload");
        struct shard s;

        assert_int_equal(shard_parse(&s, pkt), 0);
        assert_int_equal(s.kind, SHARD_OOB);
        assert_int_equal(s.seqid, 0xffffffff);
        assert_int_equal(get_le32(s.payload.p), strtoul(vec_str(o, "conv"), NULL, 16));
        assert_bytes(bytes_of(s.payload.p + 4, s.payload.len - 4), payload, "out-of-band payload");
        vec_free(pkt);
        vec_free(payload);
    }
    fec_encoder_free(e);
    json_decref(root);
}

/* Real datagrams: our parity of their data is theirs. */
static void test_captured(void **state)
{
    json_t *root = vec_load("captured_kcptun_20210922.json"), *c, *o;
    size_t i, n;

    (void)state;
    json_array_foreach(vec_get(root, "captures"), i, c)
    {
        unsigned d = (unsigned)vec_int(c, "data_shards"), p = (unsigned)vec_int(c, "parity_shards");
        struct fec_encoder *e = fec_encoder_new(d, p, PKT - SHARD_DATA_HEADER);
        static uint8_t mem[16][PKT];
        uint8_t *rows[16];

        fec_encoder_set_seqid(e, (uint32_t)vec_int(json_array_get(vec_get(c, "packets"), 0), "seqid"));
        json_array_foreach(vec_get(c, "packets"), n, o)
        {
            struct bytes plain = vec_hex(o, "plain");
            struct bytes want = bytes_of(plain.p + CRYPTO_HEADER, plain.len - CRYPTO_HEADER);
            struct shard s;

            assert_int_equal(shard_parse(&s, want), 0);
            if (s.kind == SHARD_DATA) {
                memcpy(mem[n] + SHARD_DATA_HEADER, s.payload.p, s.payload.len);
                if (fec_encoder_add(e, mem[n], s.payload.len) == FEC_GROUP_FULL) {
                    for (unsigned r = 0; r < p; r++)
                        rows[r] = mem[d + r];
                    assert_int_equal(fec_encoder_parity_len(e), want.len);
                    fec_encoder_parity(e, rows, p);
                }
            }
            vec_free(plain);
        }
        json_array_foreach(vec_get(c, "packets"), n, o)
        {
            struct bytes plain = vec_hex(o, "plain");

            assert_bytes(bytes_of(mem[n], plain.len - CRYPTO_HEADER),
                         bytes_of(plain.p + CRYPTO_HEADER, plain.len - CRYPTO_HEADER), "captured packet");
            vec_free(plain);
        }
        assert_int_equal(n, d + p);
        fec_encoder_free(e);
    }
    json_decref(root);
}

/* ---- decoder ---- */

static void feed(struct fec_decoder *d, struct bytes pkt)
{
    struct shard s;

    assert_int_equal(shard_parse(&s, pkt), 0);
    assert_int_equal(fec_decoder_input(d, &s), 0);
}

/* Feeds a group on a heap copy that is gone after settle. */
static void feed_settled(struct fec_decoder *d, struct bytes pkt)
{
    uint8_t *copy = memcpy(malloc(pkt.len), pkt.p, pkt.len);

    feed(d, bytes_of(copy, pkt.len));
    fec_decoder_settle(d);
    free(copy);
}

static void check_erasure(struct fec_decoder *d, const struct group *g, const json_t *c, bool settle)
{
    json_t *order = vec_get(c, "arrival_order_indices"), *want = vec_get(c, "recovered"), *o;
    size_t after = (size_t)vec_int(c, "recovered_after_arrivals"), i, n = 0;
    bool seen[256] = {false};
    struct bytes got;

    json_array_foreach(order, i, o)
    {
        struct bytes pkt = g->pkt[json_integer_value(o)];

        if (settle)
            feed_settled(d, pkt);
        else
            feed(d, pkt);
        while (fec_decoder_next(d, &got)) {
            bool known = false;

            if (i + 1 != after)
                fail_msg("recovered after %zu, not %zu", i + 1, after);
            for (size_t k = 0; k < json_array_size(want); k++) {
                struct bytes w = vec_hex(json_array_get(want, k), "payload");

                if (!seen[k] && got.len == w.len && !memcmp(got.p, w.p, w.len)) {
                    seen[k] = known = true;
                    vec_free(w);
                    break;
                }
                vec_free(w);
            }
            assert_true(known);
            n++;
        }
    }
    while (fec_decoder_next(d, &got))
        n++;
    assert_int_equal(n, json_array_size(want));
}

/* Three whole groups, the last of them two groups before `seqid`: they prove the shape. */
static void prove_shape(struct fec_decoder *d, unsigned data, unsigned parity, uint32_t seqid)
{
    uint32_t n = data + parity, total = UINT32_MAX / n;

    for (uint32_t back = 4; back >= 2; back--)
        for (uint32_t pos = 0; pos < n; pos++) {
            uint8_t pkt[SHARD_DATA_HEADER] = {0};
            uint32_t group = (seqid / n + total - back) % total;

            shard_put_header(pkt, group * n + pos, pos < data ? SHARD_DATA : SHARD_PARITY);
            pkt[SHARD_HEADER] = 2;
            feed_settled(d, bytes_of(pkt, sizeof pkt));
        }
}

static void test_erasures(void **state)
{
    json_t *root = vec_load("fec_groups.json"), *shape, *group, *c;
    struct buf_pool *pool = buf_pool_new(PKT, 0);
    size_t s, n, i, cases = 0;

    (void)state;
    json_array_foreach(vec_get(root, "shapes"), s, shape) json_array_foreach(vec_get(shape, "groups"), n, group)
    {
        struct group g;

        group_load(&g, shape, group);
        json_array_foreach(vec_get(group, "erasures"), i, c)
        {
            struct fec_decoder_params p = {.data = g.d, .parity = g.p, .groups = 3, .pool = pool};
            struct bytes none;

            for (unsigned settle = 0; settle < 2; settle++) {
                struct fec_decoder *d = fec_decoder_new(&p);

                prove_shape(d, g.d, g.p, get_le32(g.pkt[0].p));
                assert_false(fec_decoder_next(d, &none));
                check_erasure(d, &g, c, settle);
                fec_decoder_free(d);
                assert_int_equal(buf_pool_in_use(pool), 0);
                cases++;
            }
        }
        group_unload(&g);
    }
    assert_true(cases > 20);
    buf_pool_free(pool);
    json_decref(root);
    assert_int_equal(rs_memory(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),    cmocka_unit_test(test_encode_groups), cmocka_unit_test(test_encode_some),
        cmocka_unit_test(test_skip_oob), cmocka_unit_test(test_captured),      cmocka_unit_test(test_erasures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
