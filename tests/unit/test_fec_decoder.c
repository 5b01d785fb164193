/* tests/unit/test_fec_decoder.c - the decoder's rules one by one: what is ignored, remembered, counted and bounded. */
#include "fec/decoder.h"
#include "fec/encoder.h"
#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>

enum { PKT = 1500, D = 4, P = 2, N = D + P, SIZE = 200 };

struct env {
    struct buf_pool *pool;
    struct fec_decoder *dec;
    struct fec_encoder *enc;
    uint8_t pkt[N][PKT]; /* the group encoded last */
    size_t len[N];
};

static void env_group(struct env *e)
{
    uint8_t *rows[P] = {e->pkt[D], e->pkt[D + 1]};

    for (unsigned i = 0; i < D; i++) {
        uint32_t seqid = fec_encoder_seqid(e->enc);

        memset(e->pkt[i] + SHARD_DATA_HEADER, (int)(seqid * 7), SIZE);
        put_le32(e->pkt[i] + SHARD_DATA_HEADER, seqid);
        e->len[i] = SIZE + SHARD_DATA_HEADER - i % 2;
        fec_encoder_add(e->enc, e->pkt[i], SIZE - i % 2);
    }
    e->len[D] = e->len[D + 1] = fec_encoder_parity_len(e->enc);
    fec_encoder_parity(e->enc, rows, P);
}

static int feed(struct env *e, unsigned i)
{
    struct shard s;

    assert_int_equal(shard_parse(&s, bytes_of(e->pkt[i], e->len[i])), 0);
    return fec_decoder_input(e->dec, &s);
}

static unsigned got(struct env *e)
{
    unsigned n = 0;
    struct bytes b;

    while (fec_decoder_next(e->dec, &b))
        n++;
    return n;
}

/* With the shape proven by three whole groups. */
static struct env env_new(size_t limit)
{
    struct env e = {.pool = buf_pool_new(PKT, limit), .enc = fec_encoder_new(D, P, PKT)};
    struct fec_decoder_params p = {.data = D, .parity = P, .groups = 3, .pool = e.pool};

    e.dec = fec_decoder_new(&p);
    assert_non_null(e.dec);
    for (unsigned g = 0; g < 3; g++) {
        env_group(&e);
        for (unsigned i = 0; i < N; i++)
            assert_int_equal(feed(&e, i), 0);
    }
    assert_int_equal(got(&e), 0);
    return e;
}

static void env_free(struct env *e)
{
    fec_decoder_free(e->dec);
    fec_encoder_free(e->enc);
    assert_int_equal(buf_pool_in_use(e->pool), 0);
    buf_pool_free(e->pool);
}

static void test_new(void **state)
{
    static const struct fec_decoder_params bad[] = {
        {.data = 10, .parity = 3, .groups = 2},
        {.data = 10, .parity = 3, .groups = 256},
        {.data = 200, .parity = 57, .groups = 3},
        {.data = ~0u, .parity = 3, .groups = 3},
    };
    struct fec_decoder_params unknown = {.groups = 3};
    struct fec_decoder *d;
    unsigned data, parity;
    bool sure;

    (void)state;
    for (size_t i = 0; i < LEN(bad); i++)
        assert_null(fec_decoder_new(&bad[i]));
    d = fec_decoder_new(&unknown);
    fec_decoder_shape(d, &data, &parity, &sure);
    assert_true(data == 1 && parity == 1 && !sure);
    assert_true(fec_decoder_memory(d) < 2048); /* an idle session's share */
    fec_decoder_free(d);
    assert_null(fec_decoder_free(NULL));
}

/* Whole groups: counted as full, nothing recovered, nothing copied, nothing kept; and the same again for late copies. */
static void test_full(void **state)
{
    struct env e = env_new(0);
    struct fec_decoder_counts c = fec_decoder_take_counts(e.dec);

    (void)state;
    assert_int_equal(c.full, 3);
    assert_int_equal(c.parity, 3 * P);
    assert_int_equal(c.errs + c.recovered + c.shape_changes, 0);
    assert_int_equal(fec_decoder_groups(e.dec), 0);
    fec_decoder_settle(e.dec);
    assert_int_equal(buf_pool_memory(e.pool), 0);
    for (unsigned i = 0; i < N; i++)
        feed(&e, i);
    assert_int_equal(got(&e), 0);
    assert_int_equal(fec_decoder_take_counts(e.dec).full, 0);
    env_free(&e);
}

/* A recovered group is remembered: its late data and spare parity start nothing. Duplicates do not count as shards. */
static void test_once(void **state)
{
    struct env e = env_new(0);
    struct bytes b;

    (void)state;
    env_group(&e);
    for (unsigned k = 0; k < 5; k++)
        feed(&e, 0);
    feed(&e, 2);
    feed(&e, 3);
    assert_int_equal(got(&e), 0);
    assert_int_equal(fec_decoder_groups(e.dec), 1);
    feed(&e, D);
    assert_true(fec_decoder_next(e.dec, &b));
    assert_bytes(b, bytes_of(e.pkt[1] + SHARD_DATA_HEADER, SIZE - 1), "recovered");
    assert_int_equal(buf_pool_in_use(e.pool), 1); /* only what was handed out */
    assert_false(fec_decoder_next(e.dec, &b));
    assert_int_equal(buf_pool_in_use(e.pool), 0);
    for (unsigned i = 0; i < N; i++)
        feed(&e, i);
    assert_int_equal(got(&e), 0);
    assert_int_equal(fec_decoder_take_counts(e.dec).recovered, 1);
    env_free(&e);
}

/* Groups up to three back are kept, older ones are gone with their buffers, and what they held is counted. */
static void test_window(void **state)
{
    for (unsigned back = 1; back <= 5; back++) {
        struct env e = env_new(0), old;

        (void)state;
        env_group(&e);
        for (unsigned i = 1; i < D; i++)
            feed(&e, i);
        fec_decoder_settle(e.dec);
        assert_int_equal(buf_pool_in_use(e.pool), D - 1);
        memcpy(&old, &e, sizeof e);
        for (unsigned g = 0; g < back; g++) {
            env_group(&e);
            feed(&e, 0);
            fec_decoder_settle(e.dec);
        }
        assert_int_equal(fec_decoder_take_counts(e.dec).stranded, back <= 3 ? 0 : D - 1 + back - 4);
        feed(&old, D);
        assert_int_equal(got(&e), back <= 3 ? 1 : 0);
        assert_int_equal(fec_decoder_groups(e.dec), MIN(back, 4));
        assert_int_equal(buf_pool_in_use(e.pool), MIN(back, 4));
        env_free(&e);
    }
}

static void test_refused(void **state)
{
    struct env e = env_new(0);
    uint8_t big[PKT + SHARD_HEADER + 1] = {0};
    struct shard s = {.seqid = 3 * N, .kind = SHARD_OOB, .code = bytes_of(big, 10)};

    (void)state;
    assert_int_equal(fec_decoder_input(e.dec, &s), SHARD_MALFORMED);
    s.kind = SHARD_DATA;
    s.code.len = PKT + 1; /* no buffer could hold it */
    assert_int_equal(fec_decoder_input(e.dec, &s), SHARD_MALFORMED);
    s.code.len = 1;
    assert_int_equal(fec_decoder_input(e.dec, &s), SHARD_MALFORMED);
    s.code.len = 10;
    s.seqid = UINT32_MAX / N * N; /* paws */
    assert_int_equal(fec_decoder_input(e.dec, &s), SHARD_MALFORMED);
    s.seqid = UINT32_MAX;
    assert_int_equal(fec_decoder_input(e.dec, &s), SHARD_MALFORMED);
    assert_int_equal(fec_decoder_take_counts(e.dec).errs, 5);
    assert_int_equal(fec_decoder_groups(e.dec), 0);
    env_free(&e);
}

/* Parity of two lengths, or data longer than parity, whichever comes first: no recovery from such a group. */
static void test_inconsistent(void **state)
{
    static const struct {
        const char *name;
        unsigned first, second;
        int longer; /* bytes added to the second */
    } rows[] = {
        {"second parity longer", D, D + 1, 1},
        {"second parity shorter", D, D + 1, -1},
        {"data longer than parity", D, 0, 1},
        {"parity shorter than data", 0, D, -1},
    };

    (void)state;
    for (size_t r = 0; r < LEN(rows); r++) {
        struct env e = env_new(0);

        env_group(&e);
        e.len[rows[r].second] += (size_t)rows[r].longer;
        fec_decoder_take_counts(e.dec);
        feed(&e, rows[r].first);
        assert_int_equal(fec_decoder_groups(e.dec), 1);
        feed(&e, rows[r].second);
        if (fec_decoder_groups(e.dec) || fec_decoder_take_counts(e.dec).errs != 1)
            fail_msg("%s", rows[r].name);
        for (unsigned i = 1; i < N; i++)
            feed(&e, i);
        assert_int_equal(got(&e), 0);
        env_free(&e);
    }
}

/* A rebuilt shard whose size field cannot be, or whose padding is not zero, stays here. */
static void test_impossible(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        struct env e = env_new(0);
        uint8_t *row = e.pkt[D];

        env_group(&e);
        fec_decoder_take_counts(e.dec);
        /* data 1 is short by one byte: one zero at the end of its shard */
        if (kind == 0)
            row[SHARD_HEADER + 1] ^= 0x40;
        else if (kind == 1)
            row[e.len[D] - 1] ^= 1;
        for (unsigned i = 0; i < N - 1; i++)
            if (i != 1)
                feed(&e, i);
        assert_int_equal(got(&e), kind == 2);
        assert_int_equal(fec_decoder_take_counts(e.dec).errs, kind != 2);
        env_free(&e);
    }
}

/* One packet that contradicts the shape: all is dropped and nothing recovered until the shape has proven itself again. */
static void test_suspended(void **state)
{
    struct env e = env_new(0);
    unsigned data, parity;
    bool sure;

    (void)state;
    env_group(&e);
    for (unsigned i = 1; i < D; i++)
        feed(&e, i);
    assert_int_equal(fec_decoder_groups(e.dec), 1);
    put_le16(e.pkt[D] + 4, SHARD_DATA);
    feed(&e, D);
    fec_decoder_shape(e.dec, &data, &parity, &sure);
    assert_true(!sure && data == D && parity == P);
    assert_int_equal(fec_decoder_groups(e.dec), 0);
    put_le16(e.pkt[D] + 4, SHARD_PARITY);
    feed(&e, D);
    feed(&e, D + 1);
    assert_int_equal(got(&e), 0);
    for (unsigned g = 0; g < 4; g++) {
        env_group(&e);
        for (unsigned i = 0; i < N; i++)
            feed(&e, i);
    }
    fec_decoder_shape(e.dec, &data, &parity, &sure);
    assert_true(sure && data == D && parity == P);
    assert_int_equal(fec_decoder_take_counts(e.dec).shape_changes, 0);
    env_group(&e);
    for (unsigned i = 1; i < N; i++)
        feed(&e, i);
    assert_int_equal(got(&e), 1);
    env_free(&e);
}

/* A peer that begins again at 0 is followed after a while. */
static void test_restart(void **state)
{
    struct env e = env_new(0);
    unsigned n = 0;

    (void)state;
    fec_encoder_set_seqid(e.enc, 1000000 / N * N);
    env_group(&e);
    feed(&e, 0);
    fec_encoder_set_seqid(e.enc, 0);
    for (unsigned g = 0; g < 60; g++) {
        env_group(&e);
        for (unsigned i = 1; i < N; i++)
            feed(&e, i);
        n += got(&e);
    }
    assert_true(n > 25 && n < 40);
    env_free(&e);
}

/* No memory: the group is lost and counted, the decoder goes on. */
static void test_no_memory(void **state)
{
    struct env e = env_new(1);

    (void)state;
    env_group(&e);
    feed(&e, 1);
    fec_decoder_settle(e.dec);
    assert_int_equal(fec_decoder_take_counts(e.dec).errs, 1);
    assert_int_equal(fec_decoder_groups(e.dec), 0);
    env_group(&e);
    for (unsigned i = 1; i < N; i++)
        feed(&e, i); /* nowhere to rebuild packet 0 */
    assert_int_equal(got(&e), 0);
    assert_int_equal(fec_decoder_take_counts(e.dec).errs, 1);
    buf_pool_set_limit(e.pool, 0);
    env_group(&e);
    for (unsigned i = 1; i < N; i++)
        feed(&e, i);
    assert_int_equal(got(&e), 1);
    env_free(&e);
}

/* Jumps all over the range cost no memory: the window stays what it is, and rest gives back what it held. */
static void test_jumps(void **state)
{
    struct env e = env_new(0);
    struct rng rng = rng_seed(41);
    size_t idle = 0;

    (void)state;
    fec_decoder_rest(e.dec);
    idle = fec_decoder_memory(e.dec);
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t n = UINT32_MAX / N;
        uint32_t group = rng_below(&rng, 2) ? rng_below(&rng, n) : (i * 3) % n;

        fec_encoder_set_seqid(e.enc, group * N);
        env_group(&e);
        feed(&e, rng_below(&rng, N));
        if (rng_below(&rng, 2))
            fec_decoder_settle(e.dec);
        assert_true(fec_decoder_groups(e.dec) <= 4);
        assert_true(buf_pool_in_use(e.pool) <= 4);
        assert_true(fec_decoder_memory(e.dec) <= idle + 5 * 300);
    }
    fec_decoder_free(e.dec);
    e.dec = NULL;
    env_free(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),        cmocka_unit_test(test_full),      cmocka_unit_test(test_once),
        cmocka_unit_test(test_window),     cmocka_unit_test(test_refused),   cmocka_unit_test(test_inconsistent),
        cmocka_unit_test(test_impossible), cmocka_unit_test(test_suspended), cmocka_unit_test(test_restart),
        cmocka_unit_test(test_no_memory),  cmocka_unit_test(test_jumps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
