/* tests/sim/test_kcptun.c - the model of kcptun on the link where the real one was measured, against itself and as the
 * peer of our session. */
#include "core/session.h"
#include "tests/sim/kcptun_peer.h"
#include "tests/support/vectors.h"
#include "tools/link_text.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD = 20, ECHO_BYTES = 200, ECHO_EVERY_MS = 20, ECHOES_MAX = 4096, CHUNK = 32768 };

static const char path[] = "rate 100mbit queue 50ms delay 50ms overhead 28b";

struct two { /* a client and a server of kcptun */
    struct kcptun_peer *k[2];
    struct link l[2]; /* from client to server; back */
    struct tick now;
    struct tick sent[ECHOES_MAX]; /* of each echo */
    unsigned n_sent, n_back;
    uint32_t rtt_ms[ECHOES_MAX];
    uint64_t back; /* bytes */
};

static void on_answer(void *ctx, uint32_t stream, struct bytes b, struct tick now)
{
    struct two *t = ctx;

    (void)stream;
    for (t->back += b.len; t->n_back < t->back / ECHO_BYTES; t->n_back++)
        t->rtt_ms[t->n_back] = (uint32_t)(tick_since_us(now, t->sent[t->n_back]) / 1000);
}

static void two_init(struct two *t, const char *link_text, uint64_t seed)
{
    struct link_setup s = {.packet_max = 1500, .memory = 64 << 20};
    static struct link_plan plan;

    memset(t, 0, sizeof *t);
    plan.n = 0;
    assert_int_equal(link_plan_add(&plan, path), 0);
    assert_int_equal(link_plan_add(&plan, link_text), 0);
    t->now.us = 1000000;
    for (unsigned i = 0; i < 2; i++) {
        struct kcptun_peer_params p = kcptun_peer_defaults("fast3");

        p.client = i == 0;
        p.head = HEAD;
        p.on_data = i ? NULL : on_answer;
        p.ctx = t;
        t->k[i] = kcptun_peer_new(&p, tick_add_us(t->now, seed * 7919 % 10000 * i)); /* ticks out of step */
        s.seed = seed * 2 + i;
        link_init(&t->l[i], &s);
        link_schedule(&t->l[i], plan.v, plan.n, i, t->now);
    }
}

static void two_fini(struct two *t)
{
    for (int i = 0; i < 2; i++) {
        kcptun_peer_free(t->k[i]);
        link_fini(&t->l[i]);
    }
}

/* All that happens until `until`. */
static void two_run(struct two *t, struct tick until)
{
    while (tick_before(t->now, until)) {
        struct tick next = until;

        for (int i = 0; i < 2; i++) {
            struct link_pkt *pkt;
            struct bytes d;

            for (; (pkt = link_recv(&t->l[!i], t->now)); link_put(&t->l[!i], pkt))
                kcptun_peer_input(t->k[i], bytes_of(pkt->p, pkt->len), t->now);
            while (kcptun_peer_poll(t->k[i], &d, t->now))
                link_send(&t->l[i], d, t->now);
            next = tick_min(next, kcptun_peer_deadline(t->k[i]));
        }
        for (int i = 0; i < 2; i++)
            next = tick_min(next, link_next(&t->l[i]));
        t->now = tick_max(next, tick_add_us(t->now, 1));
    }
}

static int by_value(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* Mbit/s of payload over 8 s that begin after 2 s, as measured. */
static double bulk(const char *link_text, uint64_t seed, double *wire)
{
    static const uint8_t zero[CHUNK];
    uint64_t before = 0, wire0 = 0, got;
    struct two t;
    uint32_t id;

    two_init(&t, link_text, seed);
    id = kcptun_peer_open(t.k[0], t.now);
    for (unsigned ms = 0; ms < 10000; ms++) {
        while (kcptun_peer_write(t.k[0], id, bytes_of(zero, 0), t.now) < CHUNK)
            kcptun_peer_write(t.k[0], id, bytes_of(zero, CHUNK), t.now);
        two_run(&t, tick_add_ms(t.now, 1));
        if (ms == 2000) {
            before = kcptun_peer_counts(t.k[1]).received;
            wire0 = t.l[0].n.in_bytes + t.l[1].n.in_bytes;
        }
    }
    got = kcptun_peer_counts(t.k[1]).received - before;
    *wire = (double)(t.l[0].n.in_bytes + t.l[1].n.in_bytes - wire0) / (double)got;
    assert_int_equal(kcptun_peer_counts(t.k[1]).malformed, 0);
    two_fini(&t);
    return (double)got / 1e6;
}

static uint32_t echo_p99(const char *link_text, uint64_t seed)
{
    uint8_t msg[ECHO_BYTES] = {'e'};
    struct two t;
    uint32_t id;

    two_init(&t, link_text, seed);
    id = kcptun_peer_open(t.k[0], t.now);
    for (; t.n_sent < 3000; two_run(&t, tick_add_ms(t.now, ECHO_EVERY_MS))) {
        t.sent[t.n_sent++] = t.now;
        kcptun_peer_write(t.k[0], id, bytes_of(msg, sizeof msg), t.now);
    }
    two_run(&t, tick_add_ms(t.now, 3000));
    assert_int_equal(t.n_back, t.n_sent);
    qsort(t.rtt_ms, t.n_back, sizeof t.rtt_ms[0], by_value);
    two_fini(&t);
    return t.rtt_ms[t.n_back * 99 / 100];
}

/* What was measured of the real program: 100 Mbit/s and 50 ms each way, queue of 50 ms, fast3, windows of 1024. The echo
 * runs for a minute. The model has no CPU that smooths its bursts, so it loses a little more in the queue. */
static void test_is_like_the_real_one(void **state)
{
    static const struct {
        const char *loss;
        double mbit, wire;
        unsigned p99_ms;
    } rows[] = {
        {"loss 0", 45, 2.0, 103},   {"loss 1%", 43, 2.2, 185},  {"loss 5%", 41, 2.0, 240},
        {"loss 10%", 35, 2.0, 290}, {"loss 20%", 23, 2.1, 437},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        double wire, mbit = bulk(rows[i].loss, i + 1, &wire);
        uint32_t p99 = echo_p99(rows[i].loss, i + 1);

        print_message("%s: %.1f Mbit/s, %.2f wire bytes a byte, echo p99 %u ms\n", rows[i].loss, mbit, wire, p99);
        assert_true(mbit > rows[i].mbit * 0.7 && mbit < rows[i].mbit * 1.2);
        assert_true(wire > rows[i].wire * 0.85 && wire < rows[i].wire * 1.25);
        assert_true(p99 > rows[i].p99_ms * 0.85 && p99 < rows[i].p99_ms * 1.15);
    }
}

/* Our session as the client, unsealed datagrams. */
struct mixed {
    struct session *s;
    struct smux_stream *st[2]; /* an echo, a sink or a source */
    struct stats stats;
    struct buf_pool *pool;
    struct packet_batch batch;
    struct kcptun_peer *k;
    struct link l[2];
    struct tick now;
    uint64_t written, back, fetched;
};

static struct session_params mixed_params(struct mixed *m, uint8_t smux_ver)
{
    return (struct session_params){
        .conv = 0x01020304,
        .client = true,
        .mtu = 1350,
        .head = HEAD,
        .snd_wnd = 1024,
        .rcv_wnd = 1024,
        .nodelay = 1,
        .interval_ms = 10,
        .resend = 2,
        .nocwnd = true,
        .fec_data = 10,
        .fec_parity = 3,
        .smux_ver = smux_ver,
        .frame_max = 8192,
        .session_buf = 4 << 20,
        .stream_buf = 2 << 20,
        .max_streams = 10,
        .keepalive_ms = 10000,
        .peer_timeout_ms = 10000,
        .pool = m->pool,
        .stats = &m->stats,
    };
}

static struct kcptun_peer_params mixed_peer(bool newest, uint8_t smux_ver)
{
    struct kcptun_peer_params kp = kcptun_peer_defaults("fast");

    kp.newest = newest;
    kp.smux_ver = smux_ver;
    kp.head = HEAD;
    return kp;
}

/* No streams yet. */
static void mixed_begin(struct mixed *m, const char *link_text, const struct kcptun_peer_params *kp, bool fec,
                        uint64_t seed)
{
    struct link_setup s = {.packet_max = 1500, .memory = 64 << 20};
    struct kcptun_peer_params far = *kp;
    struct session_params sp;
    static struct link_plan plan;

    memset(m, 0, sizeof *m);
    plan.n = 0;
    assert_int_equal(link_plan_add(&plan, link_text), 0);
    m->now.us = 1000000;
    m->pool = buf_pool_new(PACKET_MTU_MAX, 0);
    assert_int_equal(packet_batch_init(&m->batch), 0);
    sp = mixed_params(m, kp->smux_ver);
    sp.nodelay = kp->nodelay;
    sp.interval_ms = kp->interval_ms;
    if (!fec)
        sp.fec_data = far.fec_data = 0;
    m->s = session_new(&sp, m->now);
    assert_non_null(m->s);
    m->k = kcptun_peer_new(&far, m->now);
    for (unsigned i = 0; i < 2; i++) {
        s.seed = seed + i;
        link_init(&m->l[i], &s);
        link_schedule(&m->l[i], plan.v, plan.n, i, m->now);
    }
}

static void mixed_init(struct mixed *m, const char *link_text, bool newest, uint8_t smux_ver)
{
    const struct kcptun_peer_params kp = mixed_peer(newest, smux_ver);

    mixed_begin(m, link_text, &kp, true, 100);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(smux_open(session_smux(m->s), &m->st[i]), 0);
}

static void mixed_fini(struct mixed *m)
{
    session_free(m->s);
    assert_int_equal(buf_pool_in_use(m->pool), 0);
    buf_pool_free(m->pool);
    packet_batch_fini(&m->batch);
    kcptun_peer_free(m->k);
    for (int i = 0; i < 2; i++)
        link_fini(&m->l[i]);
}

/* What stands at byte i of what we send; the first says what becomes of it. */
static uint8_t pattern(char kind, uint64_t i)
{
    return (uint8_t)(i ? i * 7 + i / 251 : (uint8_t)kind);
}

static void mixed_read(struct mixed *m)
{
    struct smux_stream *st;
    struct bytes v;

    while (!session_end(m->s) && (st = smux_next_event(session_smux(m->s)))) {
        assert_false(smux_stream_events(st) & (SMUX_EV_RESET | SMUX_EV_FIN));
        for (; smux_stream_peek(st, &v, 1); smux_stream_read(st, v.len))
            if (st == m->st[0])
                for (size_t i = 0; i < v.len; i++)
                    assert_int_equal(v.p[i], pattern('e', m->back++));
            else
                m->fetched += v.len;
    }
}

static void mixed_turn(struct mixed *m)
{
    struct link_pkt *pkt[64];
    unsigned n = 0;
    struct bytes d;

    for (; n < LEN(pkt) && (pkt[n] = link_recv(&m->l[1], m->now)); n++)
        session_input(m->s, bytes_of(pkt[n]->p + HEAD, pkt[n]->len - HEAD), m->now);
    mixed_read(m);
    while (session_poll(m->s, &m->batch, NULL, m->now) == 0 || m->batch.n) {
        for (unsigned i = 0; i < m->batch.n; i++)
            link_send(&m->l[0], bytes_of(m->batch.mem + m->batch.v[i].off, m->batch.v[i].len), m->now);
        packet_batch_reset(&m->batch);
    }
    session_settle(m->s);
    while (n)
        link_put(&m->l[1], pkt[--n]);
    for (; (pkt[0] = link_recv(&m->l[0], m->now)); link_put(&m->l[0], pkt[0]))
        kcptun_peer_input(m->k, bytes_of(pkt[0]->p, pkt[0]->len), m->now);
    while (kcptun_peer_poll(m->k, &d, m->now))
        link_send(&m->l[1], d, m->now);
}

static void mixed_run(struct mixed *m, uint64_t us)
{
    struct tick until = tick_add_us(m->now, us);

    while (tick_before(m->now, until)) {
        struct tick next;

        mixed_turn(m);
        next = tick_min(kcptun_peer_deadline(m->k), session_deadline(m->s, m->now));
        next = tick_min(tick_min(next, until), tick_min(link_next(&m->l[0]), link_next(&m->l[1])));
        m->now = tick_max(next, tick_add_us(m->now, 50));
    }
}

static void mixed_write(struct mixed *m, struct smux_stream *st, char kind, uint64_t from, size_t n)
{
    uint8_t b[CHUNK];

    for (size_t i = 0; i < n; i++)
        b[i] = pattern(kind, from + i);
    assert_int_equal(smux_stream_write(st, bytes_of(b, n)), 0);
    smux_settle(session_smux(m->s));
}

/* Echoes come back whole beside a stream of bulk, up or down, on both versions of both protocols, with parity at work. */
static void test_our_session_with_it(void **state)
{
    static const char lossy[] = "rate 50mbit queue 50ms delay 15ms jitter 2ms reorder on loss 5% duplicate 1%";

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        bool newest = i & 1, down = i & 4;
        struct mixed *m = calloc(1, sizeof *m);
        uint64_t sunk = 0;

        mixed_init(m, lossy, newest, i & 2 ? 2 : 1);
        mixed_write(m, m->st[1], down ? 'd' : 's', 0, 1);
        for (unsigned ms = 0; ms < 8000; ms += 10) {
            mixed_write(m, m->st[0], 'e', m->written, 100);
            m->written += 100;
            for (; !down && smux_stream_room(m->st[1]); sunk += CHUNK)
                mixed_write(m, m->st[1], 's', 1 + sunk, CHUNK);
            mixed_run(m, 10000);
        }
        mixed_run(m, 10000000);
        assert_int_equal(session_end(m->s), SESSION_ALIVE);
        assert_int_equal(m->back, m->written);
        if (down)
            assert_in_range(m->fetched, 5000000, 100000000);
        else
            assert_int_equal(kcptun_peer_counts(m->k).received, m->written + 1 + sunk);
        assert_true(down || sunk > 5000000);
        assert_int_equal(kcptun_peer_counts(m->k).malformed, 0);
        assert_int_equal(m->stats.kcp_in_errors, 0);
        assert_true(m->stats.fec_recovered > 10 && kcptun_peer_counts(m->k).fec_recovered > 10);
        mixed_fini(m);
        free(m);
    }
}

struct again { /* transmissions for each reason */
    uint64_t early, fast, lost;
};

enum { THIN = 1000, THIN_BYTES = 3500, THIN_EVERY_US = 200000 };
static const char thin_path[] = "rate 50mbit queue 50ms delay 50ms loss 5%";

static struct kcptun_peer_params thin_peer(const char *mode, bool newest, bool client)
{
    struct kcptun_peer_params kp = kcptun_peer_defaults(mode);

    kp.newest = newest;
    kp.head = HEAD;
    kp.client = client;
    kp.fec_data = 0;
    return kp;
}

/* What our client sends again of a thin echo with a kcptun. */
static struct again ours_again(const char *mode, bool newest, uint64_t seed)
{
    const struct kcptun_peer_params kp = thin_peer(mode, newest, false);
    struct mixed *m = calloc(1, sizeof *m);
    struct again n;

    mixed_begin(m, thin_path, &kp, false, seed);
    assert_int_equal(smux_open(session_smux(m->s), &m->st[0]), 0);
    for (unsigned i = 0; i < THIN; i++) {
        mixed_write(m, m->st[0], 'e', m->written, THIN_BYTES);
        m->written += THIN_BYTES;
        mixed_run(m, THIN_EVERY_US);
    }
    mixed_run(m, 10000000);
    assert_int_equal(m->back, m->written);
    assert_int_equal(m->stats.retrans_segs,
                     m->stats.early_retrans_segs + m->stats.fast_retrans_segs + m->stats.lost_segs);
    n = (struct again){m->stats.early_retrans_segs, m->stats.fast_retrans_segs, m->stats.lost_segs};
    mixed_fini(m);
    free(m);
    return n;
}

/* What a client of kcptun does in its place. */
static struct again theirs_again(const char *mode, bool newest, uint64_t seed)
{
    struct kcptun_peer_counts c;
    uint8_t msg[THIN_BYTES] = {'e'};
    struct two t;
    uint32_t id;

    two_init(&t, thin_path, seed);
    for (int i = 0; i < 2; i++) {
        struct kcptun_peer_params kp = thin_peer(mode, newest, i == 0);

        kcptun_peer_free(t.k[i]);
        t.k[i] = kcptun_peer_new(&kp, t.now);
    }
    id = kcptun_peer_open(t.k[0], t.now);
    for (unsigned i = 0; i < THIN; i++) {
        kcptun_peer_write(t.k[0], id, bytes_of(msg, sizeof msg), t.now);
        two_run(&t, tick_add_us(t.now, THIN_EVERY_US));
    }
    two_run(&t, tick_add_ms(t.now, 10000));
    c = kcptun_peer_counts(t.k[0]);
    two_fini(&t);
    return (struct again){c.early, c.fast, c.lost};
}

/* The four modes of a kcptun send early what is lost of a thin flow, and so do ours. How much of it is left to the timer differs
 * a little: its estimate of the round trip is another. */
static void test_early_as_it_does(void **state)
{
    static const char *const modes[] = {"normal", "fast", "fast2", "fast3"};
    uint64_t ours = 0, its = 0;

    (void)state;
    for (unsigned i = 0; i < 2 * LEN(modes); i++) {
        const struct again a = ours_again(modes[i / 2], i & 1, 100 + i), b = theirs_again(modes[i / 2], i & 1, 100 + i);

        print_message("%s, %s: early %llu, it %llu; fast %llu, %llu; lost %llu, %llu\n", modes[i / 2],
                      i & 1 ? "newest" : "2021", (unsigned long long)a.early, (unsigned long long)b.early,
                      (unsigned long long)a.fast, (unsigned long long)b.fast, (unsigned long long)a.lost,
                      (unsigned long long)b.lost);
        assert_true(a.early && b.early);
        ours += a.early;
        its += b.early;
    }
    assert_in_range(ours, its / 2, its * 2);
}

/* Until it is proven or has ended, milliseconds. drops: the peer forgets the session soon after it has heard of it. */
static unsigned wait_for_proof(struct mixed *m, const struct kcptun_peer_params *drops)
{
    const struct tick began = m->now;
    unsigned heard_ms = 0;

    session_prove(m->s);
    assert_false(session_is_proven(m->s));
    while (!session_is_proven(m->s) && !session_end(m->s) && tick_since_us(m->now, began) < 20000000) {
        mixed_run(m, 1000);
        heard_ms = drops && kcptun_peer_core(m->k)->rcv_nxt ? heard_ms + 1 : 0;
        if (heard_ms < 40) /* its tick: it has acknowledged */
            continue;
        kcptun_peer_free(m->k);
        m->k = kcptun_peer_new(drops, m->now);
    }
    return (unsigned)(tick_since_us(m->now, began) / 1000);
}

/* A kcptun that reads our frames says nothing, and is believed once it has acknowledged two of them, some time apart. */
static void test_proof(void **state)
{
    const struct kcptun_peer_params kp = mixed_peer(false, 2);

    (void)state;
    for (unsigned seed = 0; seed < 60; seed++) {
        struct mixed *m = calloc(1, sizeof *m);
        unsigned ms;

        mixed_begin(m, seed ? "delay 25ms jitter 20ms reorder on loss 20% duplicate 10%" : "delay 25ms", &kp, true,
                    seed);
        ms = wait_for_proof(m, NULL);
        assert_int_equal(session_end(m->s), SESSION_ALIVE);
        assert_true(session_is_proven(m->s));
        assert_true(ms >= 350 && (seed || ms < 450));
        assert_int_equal(kcptun_peer_counts(m->k).malformed, 0);
        mixed_fini(m);
        free(m);
    }
}

/* One that cannot read them acknowledges, and has forgotten the session when the second comes. */
static void test_no_proof(void **state)
{
    const struct kcptun_peer_params kp = mixed_peer(true, 2);

    (void)state;
    for (unsigned seed = 0; seed < 60; seed++) {
        struct mixed *m = calloc(1, sizeof *m);
        unsigned ms;

        mixed_begin(m, seed ? "delay 25ms loss 20%" : "delay 25ms", &kp, seed % 2, seed);
        ms = wait_for_proof(m, &kp);
        assert_int_equal(session_end(m->s), SESSION_UNREAD);
        assert_false(session_is_proven(m->s));
        assert_true(session_sees(m->s, m->now).bits & SESSION_SEES_DROPPED);
        assert_true(seed || ms < 450);
        mixed_fini(m);
        free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_like_the_real_one),
        cmocka_unit_test(test_our_session_with_it),
        cmocka_unit_test(test_early_as_it_does),
        cmocka_unit_test(test_proof),
        cmocka_unit_test(test_no_proof),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
