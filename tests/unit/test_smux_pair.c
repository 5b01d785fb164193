/* tests/unit/test_smux_pair.c - two ends of the multiplexer joined by byte pipes that cut anywhere: whatever is written
 * arrives, in order, once; what was closed leaves nothing behind. And who gets how much of the pipe, and when. */
#include "core/smux.h"
#include "core/smux_frame.h"
#include "core/smux_priv.h"

#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_STREAMS = 40, IDS = 4096, PIPE_MAX = 200000, FRAME_ROOM = 8 + 65535 };

/* What the model knows about one direction of one stream. */
struct way {
    uint64_t written, read;
    bool finished; /* by the writer, everything to be delivered */
    bool cut; /* some of it may be lost: the writer reset it, or the reader left */
    bool end_seen;
};

struct side {
    struct smux *m;
    struct buf_pool *pool;
    uint8_t *pipe; /* bytes on their way to this side */
    size_t pipe_len;
    uint8_t *lent[64]; /* what was written since the last settle */
    unsigned n_lent;
    size_t base; /* smux_memory() at rest */
};

struct world {
    struct rng rng;
    struct side side[2]; /* 1: client */
    struct way way[2][IDS]; /* by side of the writer, by id */
    uint8_t ver;
    bool framed;
    unsigned opened, resets;
    uint64_t moved;
};

static uint8_t byte_at(unsigned side, uint32_t id, uint64_t at)
{
    uint64_t x = (at + 1) * 0x9e3779b97f4a7c15u ^ (uint64_t)id * 0xff51afd7ed558ccdu ^ side;

    return (uint8_t)(x >> 29);
}

static void side_init(struct world *w, unsigned i, bool ours, uint32_t frame_max)
{
    struct side *s = &w->side[i];
    struct smux_params p = {.client = i,
                            .ver = w->ver,
                            .frame_max = frame_max,
                            .session_buf = 600000,
                            .stream_buf = 30000,
                            .send_buf = 20000,
                            .max_streams = IDS,
                            .pool = s->pool = buf_pool_new(1500, 0)};

    s->m = smux_new(&p);
    assert_non_null(s->m);
    s->m->hello_sent = !ours; /* an end that never tells is like any other peer */
    s->pipe = malloc(PIPE_MAX + FRAME_ROOM);
    s->base = smux_memory(s->m);
}

static void settle(struct side *s)
{
    assert_int_equal(smux_settle(s->m), 0);
    while (s->n_lent)
        free(s->lent[--s->n_lent]);
}

static struct smux_stream *any_stream(struct world *w, unsigned i)
{
    unsigned n = smux_streams(w->side[i].m);
    struct smux_stream *s = NULL;

    if (!n)
        return NULL;
    for (unsigned k = rng_below(&w->rng, n) + 1; k; k--)
        s = smux_each(w->side[i].m, s);
    return s;
}

static void do_write(struct world *w, unsigned i, struct smux_stream *s)
{
    struct side *me = &w->side[i];
    struct way *way = &w->way[i][smux_stream_id(s)];
    size_t n = rng_below(&w->rng, rng_below(&w->rng, 4) ? 200 : 20000) + 1;
    uint8_t *p;

    n = MIN(n, smux_stream_room(s));
    if (!n || me->n_lent == LEN(me->lent))
        return;
    p = malloc(n);
    for (size_t k = 0; k < n; k++)
        p[k] = byte_at(i, smux_stream_id(s), way->written + k);
    assert_int_equal(smux_stream_write(s, bytes_of(p, n)), 0);
    me->lent[me->n_lent++] = p;
    way->written += n;
}

static void do_read(struct world *w, unsigned i, struct smux_stream *s, size_t most)
{
    struct way *way = &w->way[!i][smux_stream_id(s)];
    size_t left = MIN(most, smux_stream_readable(s)), all = left;
    struct bytes v[512];
    unsigned n = smux_stream_peek(s, v, LEN(v));

    for (unsigned k = 0; k < n && left; k++) {
        size_t len = MIN(left, v[k].len);

        for (size_t b = 0; b < len; b++)
            if (v[k].p[b] != byte_at(!i, smux_stream_id(s), way->read + b))
                fail_msg("stream %u: wrong byte at %llu", smux_stream_id(s), (unsigned long long)way->read + b);
        way->read += len;
        left -= len;
    }
    smux_stream_read(s, all - left);
    w->moved += all - left;
    if (smux_stream_eof(s)) {
        way->end_seen = true;
        if (!way->cut)
            assert_int_equal(way->read, way->written);
    }
}

static void do_close(struct world *w, unsigned i, struct smux_stream *s, bool deliver)
{
    uint32_t id = smux_stream_id(s);
    bool all_read = smux_stream_eof(s), over = all_read && smux_stream_finished(s);

    w->way[!i][id].cut |= !all_read;
    /* our own kind may be told by a reset that nobody reads it any more, which hides what we delivered */
    w->way[i][id].cut |= deliver ? !all_read && smux_peer_is_ours(w->side[i].m) : !over;
    w->way[i][id].finished |= deliver;
    w->way[!i][id].end_seen |= all_read;
    smux_stream_close(s, deliver);
}

static void on_events(struct world *w, unsigned i)
{
    struct smux_stream *s;

    while ((s = smux_next_event(w->side[i].m))) {
        unsigned ev = smux_stream_events(s);
        uint32_t id = smux_stream_id(s);

        assert_true(ev && id < IDS);
        if (!(ev & SMUX_EV_RESET))
            continue;
        w->resets++;
        if (!(w->way[!i][id].cut || w->way[i][id].cut))
            fail_msg("stream %u was reset by nobody", id);
        w->way[i][id].cut = w->way[!i][id].cut = true;
        smux_stream_close(s, false);
    }
}

static void some_op(struct world *w, unsigned i, bool ending)
{
    struct smux *m = w->side[i].m;
    struct smux_stream *s = any_stream(w, i);
    unsigned dice = rng_below(&w->rng, 1000);

    if (!ending && dice < 20 && w->opened < IDS / 2 - 4 && smux_streams(m) < MAX_STREAMS && !smux_open(m, &s)) {
        w->opened++;
        return;
    }
    if (!s)
        return;
    if (dice < 500) {
        do_read(w, i, s, rng_below(&w->rng, 3) ? 100000 : rng_below(&w->rng, 50));
    } else if (dice < 980 && !ending) {
        do_write(w, i, s);
    } else if (dice < 990 || ending) {
        smux_stream_finish(s);
        w->way[i][smux_stream_id(s)].finished = true;
    } else if (dice < 994) {
        do_close(w, i, s, true);
    } else if (dice < 996) {
        do_close(w, i, s, false);
    }
    s = ending ? any_stream(w, i) : NULL;
    /* a foreign peer's FIN may mean that it is gone altogether */
    if (s && smux_stream_eof(s) && (smux_stream_finished(s) || !smux_peer_is_ours(m)))
        do_close(w, i, s, true);
}

/* Side i sends some, the other takes some of what is on the way. */
static void transport(struct world *w, unsigned i)
{
    struct side *me = &w->side[i], *to = &w->side[!i];
    size_t room = PIPE_MAX - to->pipe_len, n = rng_below(&w->rng, 3) ? rng_below(&w->rng, 3000) : 60000;
    struct bytes in;
    uint8_t *copy;

    n = MIN(n, room);
    if (!w->framed)
        to->pipe_len += smux_fill(me->m, to->pipe + to->pipe_len, n);
    else if (n > 1000)
        to->pipe_len += smux_fill_frame(me->m, to->pipe + to->pipe_len, FRAME_ROOM);
    n = rng_below(&w->rng, rng_below(&w->rng, 3) ? 100 : 40000);
    n = MIN(n, to->pipe_len);
    copy = memcpy(malloc(n + !n), to->pipe, n);
    in = bytes_of(copy, n);
    assert_int_equal(smux_input(to->m, &in), 0);
    if (in.len)
        assert_false(smux_wants_input(to->m));
    n -= in.len;
    memmove(to->pipe, to->pipe + n, to->pipe_len - n);
    to->pipe_len -= n;
    on_events(w, !i);
    if (rng_below(&w->rng, 2)) { /* read in the turn the bytes came in, from the lender's memory */
        struct smux_stream *s = any_stream(w, !i);

        if (s)
            do_read(w, !i, s, 100000);
    }
    settle(to);
    free(copy);
}

static void turn(struct world *w, bool ending)
{
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = rng_below(&w->rng, 6); k; k--)
            some_op(w, i, ending);
        if (rng_below(&w->rng, 100) == 0)
            smux_keepalive(w->side[i].m);
        if (rng_below(&w->rng, 50) == 0)
            smux_trim(w->side[i].m);
        settle(&w->side[i]);
        transport(w, i);
    }
}

static bool at_rest(const struct world *w)
{
    for (unsigned i = 0; i < 2; i++)
        if (smux_streams(w->side[i].m) || smux_has_output(w->side[i].m) || w->side[i].pipe_len)
            return false;
    return true;
}

static void check_ways(const struct world *w)
{
    unsigned whole = 0;

    for (unsigned i = 0; i < 2; i++)
        for (uint32_t id = 0; id < IDS; id++) {
            const struct way *way = &w->way[i][id];

            if (way->cut)
                assert_true(way->read <= way->written);
            else if (way->read != way->written || way->finished != way->end_seen)
                fail_msg("side %u, stream %u: %llu of %llu bytes", i, id, (unsigned long long)way->read,
                         (unsigned long long)way->written);
            whole += !way->cut && way->written;
        }
    assert_true(whole > 40);
}

static void run_world(uint64_t seed, uint8_t ver, bool ours, bool framed, uint32_t frame_max)
{
    struct world *w = calloc(1, sizeof *w);
    unsigned turns = 0;

    w->rng = rng_seed(seed);
    w->ver = ver;
    w->framed = framed;
    side_init(w, 0, ours, frame_max);
    side_init(w, 1, ours, frame_max);
    for (unsigned i = 0; i < 6000; i++)
        turn(w, false);
    while (!at_rest(w)) {
        turn(w, true);
        if (++turns > 200000)
            fail_msg("v%u ours %d framed %d: stuck, %u and %u streams, backlog %zu and %zu", ver, ours, framed,
                     smux_streams(w->side[0].m), smux_streams(w->side[1].m), smux_backlog(w->side[0].m),
                     smux_backlog(w->side[1].m));
    }
    check_ways(w);
    if (ours)
        assert_true(w->resets > 0);
    for (unsigned i = 0; i < 2; i++) {
        struct side *s = &w->side[i];

        assert_int_equal(smux_peer_is_ours(s->m), ours);
        assert_int_equal(s->m->n_closing, 0);
        assert_int_equal(smux_backlog(s->m), 0);
        assert_int_equal(s->m->bucket, 600000);
        assert_int_equal(smux_counts(s->m)->overruns + smux_counts(s->m)->broken + smux_counts(s->m)->refused, 0);
        assert_int_equal(buf_pool_in_use(s->pool), 0);
        smux_trim(s->m);
        assert_int_equal(smux_memory(s->m), s->base);
        smux_free(s->m);
        buf_pool_free(s->pool);
        free(s->pipe);
    }
    print_message("  v%u ours %d framed %d: %u streams, %u resets, %llu bytes\n", ver, ours, framed, w->opened,
                  w->resets, (unsigned long long)w->moved);
    free(w);
}

static void test_worlds(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++)
        run_world(1000 + i, 1 + i % 2, i & 2, i & 4, i < 6 ? 8192 : 300);
}

/* ---- who gets what ---- */

struct sched {
    struct smux *m;
    struct buf_pool *pool;
    uint64_t sent[2048]; /* payload bytes by id */
    uint8_t *out;
};

static void sched_init(struct sched *sc, uint8_t ver, uint32_t frame_max)
{
    struct smux_params p = {.client = true,
                            .ver = ver,
                            .frame_max = frame_max,
                            .session_buf = 1 << 20,
                            .stream_buf = 1 << 20,
                            .send_buf = 65536,
                            .max_streams = 2000,
                            .pool = sc->pool = buf_pool_new(2048, 0)};

    sc->m = smux_new(&p);
    sc->out = malloc(FRAME_ROOM);
}

static void sched_fini(struct sched *sc)
{
    smux_free(sc->m);
    buf_pool_free(sc->pool);
    free(sc->out);
}

static struct smux_stream *sched_open(struct sched *sc)
{
    struct smux_stream *s;

    assert_int_equal(smux_open(sc->m, &s), 0);
    return s;
}

static void push(struct smux_stream *s, size_t n)
{
    static const uint8_t zero[65536];

    assert_int_equal(smux_stream_write(s, bytes_of(zero, n)), 0); /* static: never taken back */
}

/* Sends one frame; returns its bytes, and whose it was. */
static size_t send_frame(struct sched *sc, uint32_t *id)
{
    size_t n = smux_fill_frame(sc->m, sc->out, FRAME_ROOM);
    struct smux_frame f;

    assert_true(n > 0);
    assert_int_equal(smux_frame_parse(&f, sc->out, sc->m->p.ver), 0);
    if (f.cmd == SMUX_PSH)
        sc->sent[f.sid] += f.len;
    *id = f.cmd == SMUX_PSH ? f.sid : 0;
    return n;
}

/* A thousand streams with always something queued get the same, whatever the length of their writes. */
static void test_fairness(void **state)
{
    enum { N = 1000 };
    static struct smux_stream *s[N];

    (void)state;
    for (uint8_t ver = 1; ver <= 2; ver++) {
        struct sched sc = {0};
        uint64_t least = UINT64_MAX, most = 0, sum = 0;
        uint32_t id;

        sched_init(&sc, ver, ver == 1 ? 8192 : 32768);
        for (unsigned i = 0; i < N; i++)
            push(s[i] = sched_open(&sc), 30000);
        while (sum < (uint64_t)N * 100000) {
            sum += send_frame(&sc, &id);
            if (id) {
                struct smux_stream *t = s[(id - 3) / 2];

                if (smux_stream_queued(t) < 40000)
                    push(t, 8192 + id % 30000);
            }
        }
        for (unsigned i = 0; i < N; i++) {
            least = MIN(least, sc.sent[3 + 2 * i]);
            most = MAX(most, sc.sent[3 + 2 * i]);
        }
        print_message("  v%u: %llu..%llu bytes each\n", ver, (unsigned long long)least, (unsigned long long)most);
        assert_true((most - least) * 5 <= least);
        sched_fini(&sc);
    }
}

/* A stream that sends a keystroke now and then waits for the frame that is being sent and no other, among 50 busy ones. */
static void test_interactive(void **state)
{
    enum { N = 50 };
    struct rng rng = rng_seed(5);
    struct sched sc = {0};
    struct smux_stream *s[N], *key;
    size_t worst = 0;
    uint32_t id;

    (void)state;
    sched_init(&sc, 1, 8192);
    for (unsigned i = 0; i < N; i++)
        push(s[i] = sched_open(&sc), 60000);
    for (unsigned i = 0; i < 2 * N; i++) /* until none of them is new */
        send_frame(&sc, &id);
    key = sched_open(&sc);
    for (unsigned k = 0; k < 500; k++) {
        size_t waited = 0, cut = 1 + rng_below(&rng, 8000);

        for (unsigned i = 0; i < N; i++)
            if (smux_stream_queued(s[i]) < 40000)
                push(s[i], 20000);
        /* some 40 KB of others' bytes between two keystrokes: far less than a round of 400 KB */
        for (unsigned i = 0; i < 5; i++)
            send_frame(&sc, &id);
        assert_true(smux_fill(sc.m, sc.out, cut) == cut); /* somewhere inside a frame */
        push(key, 64);
        waited = smux_fill_frame(sc.m, sc.out, FRAME_ROOM); /* the rest of that one */
        while (smux_stream_queued(key))
            waited += send_frame(&sc, &id);
        worst = MAX(worst, waited);
    }
    print_message("  worst: %zu bytes\n", worst);
    assert_true(worst <= 8192 + 8 + 64 + 8);
    sched_fini(&sc);
}

/* Long frames are for a stream that is alone. */
static void test_frame_length(void **state)
{
    struct sched sc = {0};
    struct smux_stream *a, *b;
    uint32_t id;

    (void)state;
    sched_init(&sc, 1, 32768);
    push(a = sched_open(&sc), 65536);
    send_frame(&sc, &id); /* the announcement */
    send_frame(&sc, &id); /* SYN */
    assert_int_equal(send_frame(&sc, &id), 8 + 32768);
    push(b = sched_open(&sc), 30000);
    send_frame(&sc, &id);
    while (smux_stream_queued(a) && smux_stream_queued(b))
        assert_true(send_frame(&sc, &id) <= 8 + 8192);
    sched_fini(&sc);
}

/* One that empties its queue all the time, to be taken for new again and again, gains little by it. */
static void test_no_cheating(void **state)
{
    enum { N = 10 };
    static const size_t piece[] = {1000, 4000, 5000, 9000, 20000};

    (void)state;
    for (unsigned k = 0; k < LEN(piece); k++) {
        struct sched sc = {0};
        struct smux_stream *s[N], *cheat;
        uint64_t others = 0;
        uint32_t id;

        sched_init(&sc, 1, 8192);
        for (unsigned i = 0; i < N; i++)
            push(s[i] = sched_open(&sc), 60000);
        cheat = sched_open(&sc);
        for (unsigned i = 0; i < 20000; i++) {
            if (!smux_stream_queued(cheat))
                push(cheat, piece[k]);
            send_frame(&sc, &id);
            if (id && id != smux_stream_id(cheat) && smux_stream_queued(s[(id - 3) / 2]) < 30000)
                push(s[(id - 3) / 2], 30000);
        }
        for (unsigned i = 0; i < N; i++)
            others += sc.sent[smux_stream_id(s[i])];
        others /= N;
        print_message("  writes of %zu: %llu, the others %llu\n", piece[k],
                      (unsigned long long)sc.sent[smux_stream_id(cheat)], (unsigned long long)others);
        assert_true(sc.sent[smux_stream_id(cheat)] <= others * 8 / 5);
        sched_fini(&sc);
    }
}

/* New streams that all begin at once may not silence one that has been sending: each gets its credit and joins. */
static void test_newcomers(void **state)
{
    enum { N = 200 };
    struct sched sc = {0};
    struct smux_stream *old;
    uint64_t before;
    size_t bytes = 0;
    uint32_t id;

    (void)state;
    sched_init(&sc, 1, 8192);
    push(old = sched_open(&sc), 60000);
    for (unsigned i = 0; i < 3; i++)
        send_frame(&sc, &id);
    for (unsigned i = 0; i < N; i++)
        push(sched_open(&sc), 60000);
    before = sc.sent[smux_stream_id(old)];
    while (sc.sent[smux_stream_id(old)] == before)
        bytes += send_frame(&sc, &id);
    assert_true(bytes <= (N + 2) * (8192 + 16));
    sched_fini(&sc);
}

/* ---- one reader that is stuck ---- */

struct duo {
    struct smux *a, *b;
    struct buf_pool *pool;
};

static void duo_init(struct duo *d, uint8_t ver)
{
    struct smux_params p = {.client = true,
                            .ver = ver,
                            .frame_max = 8192,
                            .session_buf = 1000000,
                            .stream_buf = 65536,
                            .send_buf = 65536,
                            .max_streams = 10,
                            .pool = d->pool = buf_pool_new(2048, 0)};

    d->a = smux_new(&p);
    p.client = false;
    d->b = smux_new(&p);
}

/* Moves frames both ways until nothing moves, as long as b takes them. */
static void shuttle(struct duo *d)
{
    static uint8_t out[FRAME_ROOM];
    bool moved = true;

    while (moved) {
        moved = false;
        for (unsigned i = 0; i < 2; i++) {
            struct smux *from = i ? d->b : d->a, *to = i ? d->a : d->b;
            struct bytes in = bytes_of(out, 0);

            if (smux_wants_input(to))
                in.len = smux_fill_frame(from, out, FRAME_ROOM);
            moved |= in.len > 0;
            assert_int_equal(smux_input(to, &in), 0);
            assert_int_equal(in.len, 0);
            assert_int_equal(smux_settle(to), 0);
        }
    }
}

static void test_stuck_reader(void **state)
{
    (void)state;
    for (uint8_t ver = 1; ver <= 2; ver++) {
        struct duo d;
        struct smux_stream *stuck, *other, *s;

        duo_init(&d, ver);
        assert_int_equal(smux_open(d.a, &stuck), 0);
        assert_int_equal(smux_open(d.a, &other), 0);
        for (unsigned i = 0; i < 40; i++)
            push(stuck, 65536);
        shuttle(&d);
        push(other, 100);
        shuttle(&d);
        s = smux_each(d.b, NULL);
        assert_int_equal(smux_stream_id(s), smux_stream_id(stuck));
        if (ver == 1) {
            /* the whole session waits, and goes on when the reader does */
            assert_false(smux_wants_input(d.b));
            assert_true(smux_stream_readable(s) >= 1000000 && smux_stream_readable(s) < 1000000 + 65536);
            assert_int_equal(smux_stream_readable(smux_each(d.b, s)), 0);
            smux_stream_read(s, smux_stream_readable(s));
            shuttle(&d);
        } else {
            assert_true(smux_wants_input(d.b));
            assert_int_equal(smux_stream_readable(s), 262144);
        }
        assert_int_equal(smux_stream_readable(smux_each(d.b, s)), 100);
        smux_free(d.a);
        smux_free(d.b);
        buf_pool_free(d.pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worlds),       cmocka_unit_test(test_fairness),    cmocka_unit_test(test_interactive),
        cmocka_unit_test(test_frame_length), cmocka_unit_test(test_no_cheating), cmocka_unit_test(test_newcomers),
        cmocka_unit_test(test_stuck_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
