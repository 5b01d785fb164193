/* tests/unit/test_fec_tune.c - peers of any shape, over a channel that loses, shuffles and repeats: nothing is ever handed
 * out but what was sent and had not arrived, each at most once; and the decoder finds the shape. */
#include "fec/decoder.h"
#include "fec/encoder.h"
#include "fec/rs.h"
#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PKT = 1500, WINDOW = 16, SETTLE = 12 };

/* ---- a stream of packets, by the encoder ---- */

struct pkt {
    uint8_t *mem;
    size_t len;
    bool is_data, sent; /* sent: the peer put it on the wire */
    bool arrived, recovered;
};

struct stream {
    unsigned d, p;
    uint32_t base; /* seqid of pkt[0] */
    unsigned n;
    struct pkt *pkt;
};

enum payloads { MIXED, EQUAL, ALIKE, PAYLOADS };

/* Payloads begin with their index in the stream and are long enough to tell apart. ALIKE: the rest is the same in all, as
 * in runs of acks: what makes garbage look best. */
static size_t payload(uint8_t *p, unsigned index, enum payloads kind, struct rng *rng)
{
    size_t len = kind == MIXED ? 8 + rng_below(rng, 90) : 32;

    if (kind == ALIKE)
        memset(p, 0x51, len);
    else
        rng_fill(rng, p, len);
    put_le32(p, index);
    return len;
}

static struct stream stream_new(unsigned d, unsigned p, uint32_t base, unsigned groups, enum payloads kind,
                                struct rng *rng)
{
    struct stream s = {.d = d, .p = p, .base = base, .n = groups * (d + p)};
    struct fec_encoder *e = fec_encoder_new(d, p, PKT);

    s.pkt = calloc(s.n, sizeof s.pkt[0]);
    fec_encoder_set_seqid(e, base);
    for (unsigned g = 0; g < groups; g++) {
        struct pkt *v = s.pkt + g * (d + p);
        uint8_t *rows[256];

        for (unsigned i = 0; i < d; i++) {
            uint8_t mem[PKT];
            size_t len = payload(mem, (unsigned)(v - s.pkt) + i, kind, rng);

            v[i] = (struct pkt){.len = len + SHARD_DATA_HEADER, .is_data = true, .sent = true};
            v[i].mem = malloc(v[i].len);
            memcpy(v[i].mem + SHARD_DATA_HEADER, mem, len);
            fec_encoder_add(e, v[i].mem, len);
        }
        for (unsigned i = 0; i < p; i++) {
            v[d + i] = (struct pkt){.len = fec_encoder_parity_len(e), .sent = true};
            rows[i] = v[d + i].mem = malloc(v[d + i].len);
        }
        fec_encoder_parity(e, rows, p);
    }
    fec_encoder_free(e);
    return s;
}

static void stream_free(struct stream *s)
{
    for (unsigned i = 0; i < s->n; i++)
        free(s->pkt[i].mem);
    free(s->pkt);
}

/* Peers skip parity (all of it, or the last rows) and give groups up half-way. */
static void skip_some(struct stream *s, unsigned percent, struct rng *rng)
{
    unsigned n = s->d + s->p;

    for (unsigned g = 0; g < s->n / n; g++) {
        unsigned from = n;

        if (rng_below(rng, 100) < percent)
            from = s->d + rng_below(rng, s->p + 1);
        else if (rng_below(rng, 100) < percent / 2)
            from = rng_below(rng, s->d);
        for (unsigned i = from; i < n; i++)
            s->pkt[g * n + i].sent = false;
    }
}

/* ---- the receiving end ---- */

static void collect(struct fec_decoder *d, struct stream *s)
{
    struct bytes b;

    while (fec_decoder_next(d, &b)) {
        uint32_t i = b.len >= 4 ? get_le32(b.p) : UINT32_MAX;
        struct pkt *p = i < s->n ? &s->pkt[i] : NULL;

        if (!p || !p->is_data || !p->sent || p->len - SHARD_DATA_HEADER != b.len ||
            memcmp(p->mem + SHARD_DATA_HEADER, b.p, b.len))
            fail_msg("peer %u + %u: a payload that was never sent", s->d, s->p);
        if (p->arrived || p->recovered)
            fail_msg("peer %u + %u: packet %u recovered though it %s", s->d, s->p, i,
                     p->arrived ? "arrived" : "was before");
        p->recovered = true;
    }
}

/* One packet arrives, in memory that is spoilt when the decoder has settled. */
static void arrive(struct fec_decoder *d, struct stream *s, unsigned i, bool settle)
{
    static uint8_t wire[64][PKT];
    static unsigned turn;
    struct pkt *p = &s->pkt[i];
    uint8_t *at = wire[turn++];
    struct shard shard;

    memcpy(at, p->mem, p->len);
    assert_int_equal(shard_parse(&shard, bytes_of(at, p->len)), 0);
    p->arrived = true;
    if (fec_decoder_input(d, &shard))
        assert_true(shard.seqid > UINT32_MAX - SHARD_MAX_N); /* beyond the wrap of another shape */
    collect(d, s);
    if (settle || turn == LEN(wire)) {
        fec_decoder_settle(d);
        memset(wire, 0xbb, sizeof wire);
        turn = 0;
    }
}

/* The order in which packets get through: v[0..n), with losses left out, some twice, some late by up to `shuffle`. */
static unsigned channel(const struct stream *s, unsigned *v, unsigned loss, unsigned dup, unsigned shuffle,
                        struct rng *rng)
{
    unsigned n = 0;

    for (unsigned i = 0; i < s->n; i++) {
        if (!s->pkt[i].sent || rng_below(rng, 100) < loss)
            continue;
        v[n++] = i;
        if (rng_below(rng, 100) < dup)
            v[n++] = i;
    }
    for (unsigned i = 0; shuffle && i < n; i++) {
        unsigned k = i + rng_below(rng, shuffle), was = v[i];

        if (k < n && rng_below(rng, 3) == 0) {
            v[i] = v[k];
            v[k] = was;
        }
    }
    return n;
}

/* Data packets that neither arrived nor were recovered though enough of their group did, from group `from` on. */
static unsigned unrecovered(const struct stream *s, unsigned from)
{
    unsigned n = s->d + s->p, bad = 0;

    for (unsigned g = from; g < s->n / n; g++) {
        unsigned have = 0, gone = 0;

        for (unsigned i = 0; i < n; i++) {
            const struct pkt *p = &s->pkt[g * n + i];

            have += p->arrived;
            gone += p->is_data && p->sent && !p->arrived && !p->recovered;
        }
        bad += have >= s->d ? gone : 0;
    }
    return bad;
}

static struct fec_decoder *decoder(unsigned d, unsigned p, struct buf_pool *pool)
{
    struct fec_decoder_params params = {.data = d, .parity = p, .groups = WINDOW, .pool = pool};
    struct fec_decoder *dec = fec_decoder_new(&params);

    assert_non_null(dec);
    return dec;
}

/* ---- tests ---- */

enum { COL_SEQID, COL_OLD_D = 2, COL_OLD_P, COL_OLD_GOT, COL_NEW_D, COL_NEW_P, COL_NEW_GOT };

static long long cell(const json_t *row, size_t col)
{
    return json_integer_value(json_array_get(row, col));
}

/* The peers' own decoders, packet by packet: what they tune to we tune to, no later than the later of them. */
static void test_traces(void **state)
{
    json_t *root = vec_load("fec_decoder_traces.json"), *sc, *row;
    struct buf_pool *pool = buf_pool_new(PKT, 0);
    struct rng rng = rng_seed(31);
    size_t i, k;

    (void)state;
    json_array_foreach(vec_get(root, "scenarios"), i, sc)
    {
        json_t *peer = vec_get(sc, "encoder"), *own = vec_get(sc, "decoder_initial"), *trace = vec_get(sc, "trace");
        unsigned d = (unsigned)cell(peer, 0), p = (unsigned)cell(peer, 1);
        struct fec_decoder *dec = decoder((unsigned)cell(own, 0), (unsigned)cell(own, 1), pool);
        struct stream s = stream_new(d, p, 0, 40, MIXED, &rng);
        unsigned got_d, got_p, got = 0, old = 0, newest = 0;
        bool sure, tuned_old = false, tuned_new = false;

        json_array_foreach(trace, k, row)
        {
            arrive(dec, &s, (unsigned)cell(row, COL_SEQID), k % 3 == 0);
            old += (unsigned)cell(row, COL_OLD_GOT);
            newest += (unsigned)cell(row, COL_NEW_GOT);
            tuned_old = cell(row, COL_OLD_D) == d && cell(row, COL_OLD_P) == p;
            tuned_new = cell(row, COL_NEW_D) == d && cell(row, COL_NEW_P) == p;
            fec_decoder_shape(dec, &got_d, &got_p, &sure);
            if (tuned_old && tuned_new && !(sure && got_d == d && got_p == p))
                fail_msg("%s, packet %zu: both peers have tuned", vec_str(sc, "name"), k);
        }
        for (unsigned m = 0; m < s.n; m++)
            got += s.pkt[m].recovered;
        if (tuned_old || tuned_new)
            assert_true(sure && got_d == d && got_p == p);
        if (cell(own, 0) == d)
            assert_true(got == old && got == newest);
        stream_free(&s);
        fec_decoder_free(dec);
        assert_int_equal(buf_pool_in_use(pool), 0);
    }
    assert_true(i >= 6);
    buf_pool_free(pool);
    json_decref(root);
}

/* True if the types of what got through (all of 0 .. n but `lost`) leave a shape that a decoder cannot rule out by the
 * code: one with other groups, or with more data shards than there are packets, or with fewer when there is no data to
 * test that with. By trying every shape. */
static bool undecided(unsigned d, unsigned n, unsigned lost)
{
    unsigned last = n - 1, have = n - (unsigned)__builtin_popcount(lost);

    while (lost >> last & 1)
        last--;
    for (unsigned all = 2; all <= SHARD_MAX_N; all++)
        for (unsigned k = 1; k < all; k++) {
            bool fits = true;

            for (unsigned i = 0; i < n && fits; i++)
                fits = lost >> i & 1 || (i % all < k) == (i < d);
            if (fits && (all <= last || k > have || (k < d && !(~lost & ((1u << d) - 1)))))
                return true;
        }
    return false;
}

/* The first group of a session of equal shapes, every loss of up to P packets: recovered within the group where that is
 * safe, with the next group else. */
static void first_group(unsigned d, unsigned p, enum payloads kind, unsigned *waited)
{
    struct buf_pool *pool = buf_pool_new(PKT, 0);
    struct rng rng = rng_seed(32);
    unsigned n = d + p;

    for (unsigned set = 0; set < 1u << n; set++) {
        struct fec_decoder *dec;
        struct stream s;

        if (__builtin_popcount(set) > (int)p || !(set & ((1u << d) - 1)))
            continue;
        dec = decoder(d, p, pool);
        s = stream_new(d, p, 0, 2, kind, &rng);
        for (unsigned i = 0; i < n; i++)
            if (!(set >> i & 1))
                arrive(dec, &s, i, i & 1);
        if (undecided(d, n, set))
            (*waited)++;
        else if (unrecovered(&s, 0))
            fail_msg("%u + %u, losses %x: %u missing", d, p, set, unrecovered(&s, 0));
        for (unsigned i = n; i < 2 * n; i++)
            arrive(dec, &s, i, i & 1);
        if (unrecovered(&s, 0))
            fail_msg("%u + %u, losses %x: %u missing at the end", d, p, set, unrecovered(&s, 0));
        assert_int_equal(fec_decoder_groups(dec), 0);
        stream_free(&s);
        fec_decoder_free(dec);
    }
    buf_pool_free(pool);
}

static void test_first_group(void **state)
{
    unsigned waited = 0;

    (void)state;
    first_group(10, 3, EQUAL, &waited);
    print_message("10 + 3: %u loss patterns wait\n", waited);
    assert_true(waited < 80); /* of 370 */
    first_group(10, 3, MIXED, &waited);
    first_group(5, 2, MIXED, &waited);
    first_group(1, 1, EQUAL, &waited);
    first_group(3, 3, EQUAL, &waited);
}

/* Shapes next to ours, which explain most of what is seen in a group, and all losses of one: the garbage to fear. */
static void test_neighbours(void **state)
{
    struct buf_pool *pool = buf_pool_new(PKT, 0);
    struct rng rng = rng_seed(33);

    (void)state;
    for (unsigned d = 1; d <= 5; d++)
        for (unsigned p = 1; p <= 4; p++)
            for (unsigned own_d = 1; own_d <= 5; own_d++)
                for (unsigned own_p = 1; own_p <= 4; own_p++)
                    for (unsigned start = 0; start < 3; start++)
                        for (unsigned round = 0; round < 6; round++) {
                            uint32_t paws = UINT32_MAX / (d + p) * (d + p);
                            uint32_t base = start == 0 ? 0 : start == 1 ? (d + p) * 77 : paws - 4 * (d + p);
                            struct stream s = stream_new(d, p, base, 8, round % PAYLOADS, &rng);
                            struct fec_decoder *dec = decoder(own_d, own_p, pool);

                            for (unsigned i = 0; i < s.n; i++)
                                if (rng_below(&rng, 10) > round)
                                    arrive(dec, &s, i, false);
                            fec_decoder_free(dec);
                            stream_free(&s);
                        }
    assert_int_equal(buf_pool_in_use(pool), 0);
    buf_pool_free(pool);
}

static void random_shape(struct rng *rng, unsigned *d, unsigned *p)
{
    bool big = rng_below(rng, 4) == 0;

    *d = 1 + rng_below(rng, big ? 128 : 20);
    *p = 1 + rng_below(rng, big ? 64 : 8);
}

struct tally {
    unsigned streams, lost, recovered, tuned_late;
};

static void random_stream(struct rng *rng, struct buf_pool *pool, struct tally *t)
{
    unsigned d, p, own_d, own_p, loss = rng_below(rng, 21), skip = rng_below(rng, 2) * rng_below(rng, 60);
    unsigned dup = rng_below(rng, 2) * 10, shuffle, n, *v, got_d, got_p;
    unsigned relation = rng_below(rng, 4); /* 0: not known, 1: another shape, else: equal */
    struct fec_decoder *dec;
    uint32_t base;
    struct stream s;
    bool sure;

    random_shape(rng, &d, &p);
    own_d = d;
    own_p = p;
    if (relation == 0)
        own_d = own_p = 0;
    else if (relation == 1)
        random_shape(rng, &own_d, &own_p);
    base = rng_below(rng, 2) ? 0 : UINT32_MAX / (d + p) * (d + p) - (d + p) * (1 + rng_below(rng, 20));
    shuffle = rng_below(rng, 2) * (1 + rng_below(rng, 2 * (d + p)));
    s = stream_new(d, p, base, 30, rng_below(rng, PAYLOADS), rng);
    skip_some(&s, skip, rng);
    v = calloc(2 * s.n, sizeof *v);
    n = channel(&s, v, loss, dup, shuffle, rng);
    dec = decoder(own_d, own_p, pool);
    for (unsigned i = 0; i < n; i++) {
        arrive(dec, &s, v[i], rng_below(rng, 2));
        assert_true(fec_decoder_groups(dec) <= WINDOW + 1);
        assert_true(buf_pool_in_use(pool) <= (WINDOW + 1) * 256);
    }
    fec_decoder_shape(dec, &got_d, &got_p, &sure);
    if (relation > 1) {
        assert_true(sure && got_d == d && got_p == p);
        assert_int_equal(fec_decoder_take_counts(dec).shape_changes, 0);
        if (unrecovered(&s, SETTLE))
            fail_msg("%u + %u, loss %u%%, skip %u%%, shuffle %u: %u could have been recovered", d, p, loss, skip,
                     shuffle, unrecovered(&s, SETTLE));
    } else if (!skip && (!sure || got_d != d || got_p != p)) {
        t->tuned_late++;
    }
    t->streams++;
    for (unsigned i = 0; i < s.n; i++) {
        t->lost += s.pkt[i].is_data && s.pkt[i].sent && !s.pkt[i].arrived;
        t->recovered += s.pkt[i].recovered;
    }
    fec_decoder_free(dec);
    assert_int_equal(buf_pool_in_use(pool), 0);
    stream_free(&s);
    free(v);
}

static void test_random(void **state)
{
    struct buf_pool *pool = buf_pool_new(PKT, 0);
    struct rng rng = rng_seed(34);
    struct tally t = {0};

    (void)state;
    for (unsigned i = 0; i < 400; i++)
        random_stream(&rng, pool, &t);
    print_message("%u streams: %u of %u lost packets recovered, %u not tuned after 30 groups\n", t.streams, t.recovered,
                  t.lost, t.tuned_late);
    assert_true(t.recovered > t.lost / 4);
    assert_true(t.tuned_late <= t.streams / 100);
    buf_pool_free(pool);
    assert_int_equal(rs_memory(), 0);
}

/* A peer that changes its shape in the middle (a new process behind the old address): suspended, tuned again. */
static void test_change(void **state)
{
    struct buf_pool *pool = buf_pool_new(PKT, 0);
    struct rng rng = rng_seed(35);
    struct fec_decoder *dec = decoder(10, 3, pool);
    struct stream a = stream_new(10, 3, 0, 20, EQUAL, &rng), b = stream_new(7, 2, 9 * 200, 20, EQUAL, &rng);
    unsigned d, p;
    bool sure;

    (void)state;
    for (unsigned i = 0; i < a.n; i++)
        if (i % 6)
            arrive(dec, &a, i, false);
    assert_int_equal(unrecovered(&a, 0), 0);
    for (unsigned i = 0; i < b.n; i++)
        if (i % 8)
            arrive(dec, &b, i, false);
    fec_decoder_shape(dec, &d, &p, &sure);
    assert_true(sure && d == 7 && p == 2);
    assert_int_equal(fec_decoder_take_counts(dec).shape_changes, 1);
    assert_int_equal(unrecovered(&b, 5), 0);
    fec_decoder_free(dec);
    stream_free(&a);
    stream_free(&b);
    buf_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traces), cmocka_unit_test(test_first_group), cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_random), cmocka_unit_test(test_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
