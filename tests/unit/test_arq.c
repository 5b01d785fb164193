/* tests/unit/test_arq.c - the engine against itself: everything arrives, once and in order, over any link, and its
 * invariants hold after every call; then rule by rule, against peers that lie. */
#include "tests/support/arq_pair.h"
#include "tests/support/arq_solo.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint16_t wnd[2]; /* of each end, both ways */
    uint16_t mtu;
    uint8_t nodelay;
    uint32_t resend;
    bool cwnd, ack_all;
    uint32_t loss, dup, junk, jitter, read_every;
    uint32_t start; /* first sn, and clock */
    uint32_t kbytes;
} links[] = {
    {"clean", {128, 128}, 1300, 1, 2, false, false, 0, 0, 0, 0, 0, 0, 300},
    {"window of one", {1, 1}, 1300, 1, 2, false, false, 100, 50, 0, 10, 0, 0, 20},
    {"lossy", {128, 64}, 600, 1, 2, false, false, 200, 0, 0, 0, 0, 0, 200},
    {"lossy, every ack", {128, 64}, 600, 2, 1, false, true, 200, 0, 0, 0, 0, 0, 200},
    {"shuffled", {256, 256}, 1300, 1, 2, false, false, 0, 300, 0, 60, 0, 0, 300},
    {"shuffled and lossy, sn and clock wrap", {200, 300}, 300, 0, 2, false, true, 100, 100, 0, 40, 0, 0xffffff80, 100},
    {"congestion window", {128, 128}, 1300, 0, 0, true, false, 20, 0, 0, 5, 0, 0, 60},
    {"congestion window, fast", {128, 128}, 1300, 1, 2, true, true, 50, 10, 0, 5, 0, 0, 60},
    {"slow reader", {64, 16}, 1300, 1, 2, false, false, 50, 20, 0, 10, 90, 0, 100},
    {"smallest mtu", {40, 40}, 50, 1, 2, false, true, 50, 20, 0, 10, 0, 0, 10},
    {"large window", {8192, 8192}, 300, 1, 2, false, false, 100, 0, 0, 20, 0, 0xfffff000, 2000},
};

static void test_links(void **state)
{
    (void)state;
    for (size_t n = 0; n < 2 * LEN(links); n++) {
        const size_t i = n / 2;
        struct arq_params p[2];
        struct arq_pair l;

        print_message("%s: ", links[i].name);
        for (int k = 0; k < 2; k++)
            p[k] = (struct arq_params){.mtu = links[i].mtu,
                                       .snd_wnd = links[i].wnd[k],
                                       .rcv_wnd = links[i].wnd[k],
                                       .nodelay = links[i].nodelay,
                                       .interval_ms = 10,
                                       .resend = links[i].resend,
                                       .nocwnd = !links[i].cwnd,
                                       .ack_all = links[i].ack_all};
        arq_pair_init(&l, &p[0], &p[1], i + 1);
        l.t0 = links[i].start;
        l.loss = links[i].loss;
        l.dup = links[i].dup;
        l.jitter = links[i].jitter;
        l.check = links[i].wnd[0] < 1000;
        for (int k = 0; k < 2; k++) {
            arq_knobs(l.e[k].a)->early = n & 1;
            arq_set_start(l.e[k].a, links[i].start, links[i].start);
            l.e[k].total = links[i].kbytes * 1000 / (k ? 3 : 1);
            l.e[k].read_every = links[i].read_every;
        }
        arq_pair_run(&l, 300000);
        arq_pair_fini(&l);
    }
}

/* Runs that nobody waits for any more do not pile up, however far their deadline and however often one flushes. */
static void test_timer_memory(void **state)
{
    struct solo *s = malloc(sizeof *s);
    size_t memory;

    (void)state;
    solo_init(s, &solo_params, 64);
    solo_open(s);
    s->left = UINT32_MAX;
    arq_knobs(s->a)->snd_wnd = 1;
    for (uint32_t now = 1; now < 50000; now++) {
        arq_knobs(s->a)->snd_wnd = MIN(now, 30);
        s->a->st.rto_ms = now % 2 ? 60000 : 500; /* the near ones keep the far ones from the top */
        solo_flush(s, now);
        if (now > 20)
            solo_ack(s, now - 20, now - 20, now - 20, now);
        if (now == 1000)
            memory = arq_memory(s->a);
    }
    assert_int_equal(arq_memory(s->a), memory);
    assert_true(memory < 8192);
    solo_fini(s);
    free(s);
}

static void test_trim(void **state)
{
    struct arq_params p = solo_params;
    struct arq_pair l;
    size_t idle, busy;

    (void)state;
    p.snd_wnd = p.rcv_wnd = 4096;
    arq_pair_init(&l, &p, &p, 5);
    idle = arq_memory(l.e[0].a);
    assert_true(idle < 1024);
    l.e[0].total = l.e[1].total = 4000000;
    l.loss = 100;
    for (int i = 0; i < 200; i++) {
        arq_pair_step(&l);
        if (i % 7 == 0)
            for (int k = 0; k < 2; k++) {
                arq_trim(l.e[k].a);
                arq_check(l.e[k].a, l.t0 + l.now);
            }
    }
    busy = arq_memory(l.e[0].a);
    assert_true(busy > 10000 && busy < 2 * 4096 * (sizeof(struct arq_out) + 2 * sizeof(struct arq_in)));
    arq_pair_run(&l, 60000);
    for (int k = 0; k < 2; k++) {
        arq_trim(l.e[k].a);
        assert_int_equal(arq_memory(l.e[k].a), idle);
    }
    l.e[0].total += 100000; /* and it goes on */
    arq_pair_run(&l, 60000);
    arq_pair_fini(&l);
}

/* What a peer claims about segments that never left us frees nothing. */
static void test_lies(void **state)
{
    struct solo *s = malloc(sizeof *s);
    uint8_t out[1500];

    (void)state;
    solo_init(s, &solo_params, 64);
    solo_open(s);
    s->left = 64;
    assert_int_equal(arq_flush(s->a, ARQ_FLUSH_FULL, 100), 0);
    solo_ack(s, 3, 100, 4, 100); /* decided, but not one datagram has left */
    assert_int_equal(arq_state(s->a)->n_inflight, 64);
    assert_true(arq_emit(s->a, out) > 0);
    solo_ack(s, s->a->snd_out, 100, 0, 100);
    solo_ack(s, 0, 100, s->a->snd_out + 1, 100); /* this una is a lie, the ack itself is not */
    assert_int_equal(arq_state(s->a)->n_inflight, 63);
    assert_int_equal(arq_state(s->a)->snd_una, 1);
    solo_emit(s);
    arq_check(s->a, 100);
    solo_ack(s, 64, 100, 1, 110);
    solo_ack(s, 0x80000000, 100, 0x80000000, 110);
    solo_ack(s, 1, 100, UINT32_MAX, 110);
    assert_int_equal(arq_state(s->a)->snd_una, 2);
    assert_int_equal(arq_state(s->a)->n_inflight, 62);
    /* time stamps from the future and from long ago */
    for (uint32_t i = 0; i < 50; i++) {
        solo_ack(s, 2, 110 + 1 + i, 2, 110);
        solo_ack(s, 2, 110 - 60001 - i * 1000, 2, 110);
    }
    assert_true(arq_state(s->a)->srtt_ms <= 10);
    assert_true(arq_state(s->a)->rto_ms <= 200);
    arq_check(s->a, 110);
    solo_fini(s);
    free(s);
}

/* Segments outside the receive window are not taken; beyond it, they are not acknowledged either. */
static void test_receive_window(void **state)
{
    static const struct {
        uint32_t sn;
        bool taken, acked;
    } rows[] = {{0, true, true},      {0, false, true},           {8, true, true},           {9, false, false},
                {9999, false, false}, {0x7fffffff, false, false}, {0x80000010, false, true}, {UINT32_MAX, false, true}};
    struct solo *s = malloc(sizeof *s);
    struct arq_chunk c;

    (void)state;
    solo_init(s, &solo_params, 8);
    arq_knobs(s->a)->ack_all = true;
    for (size_t i = 0; i < LEN(rows); i++) {
        uint32_t had = arq_state(s->a)->n_rcv_buf + arq_state(s->a)->rcv_nxt;

        solo_push(s, rows[i].sn, 5, 77);
        assert_int_equal(arq_state(s->a)->n_rcv_buf + arq_state(s->a)->rcv_nxt - had, rows[i].taken);
        solo_flush(s, 80);
        assert_int_equal(s->n_segs, rows[i].acked);
        if (rows[i].acked) {
            assert_int_equal(s->seg[0].sn, rows[i].sn);
            assert_int_equal(s->seg[0].ts, 77);
            assert_int_equal(s->seg[0].wnd, 7);
        }
    }
    assert_int_equal(arq_take_counts(s->a).repeat_segs, 6);
    assert_int_equal(arq_take_counts(s->a).repeat_segs, 0);
    for (uint32_t sn = 1; sn < 16; sn++)
        solo_push(s, sn, 5, 80);
    /* eight can be read, seven more are held: una stands still, the window is closed */
    assert_int_equal(arq_state(s->a)->rcv_nxt, 8);
    assert_int_equal(arq_state(s->a)->n_rcv_buf, 8);
    solo_flush(s, 90);
    assert_int_equal(s->seg[0].wnd, 0);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(arq_recv(s->a, &c), 0);
        assert_int_equal(c.len, 5);
        buf_put(c.own);
        solo_flush(s, 91);
        /* the reader opens the window when nothing moves up any more, and says so once */
        assert_int_equal(solo_count(s, ARQ_SEG_WINS), i == 8);
    }
    assert_int_equal(arq_recv(s->a, &c), ARQ_AGAIN);
    solo_fini(s);
    free(s);
}

static void test_bad_datagrams(void **state)
{
    struct solo *s = malloc(sizeof *s);
    uint8_t good[60] = {7, 0, 0, 0, ARQ_SEG_PUSH, 0, 9, 0}, *p;

    (void)state;
    solo_init(s, &solo_params, 8);
    good[20] = 12; /* len */
    memcpy(good + 36, good, 24);
    good[40] = ARQ_SEG_WASK;
    good[56] = 0;
    for (size_t n = 0; n <= sizeof good; n++) {
        int r, want = n < 24 ? ARQ_ALIEN : n < 36 ? ARQ_MALFORMED : 0;

        p = memcpy(malloc(n + !n), good, n);
        assert_int_equal(arq_is_news(s->a, bytes_of(p, n)), want == 0 && n == 36);
        r = arq_input(s->a, bytes_of(p, n), 0, 1);
        assert_int_equal(r, want);
        assert_int_equal(arq_settle(s->a), 0);
        free(p);
    }
    good[4] = 80;
    assert_int_equal(arq_input(s->a, bytes_of(good, 36), 0, 1), ARQ_BAD_CMD);
    good[0] = 8;
    assert_int_equal(arq_input(s->a, bytes_of(good, 36), 0, 1), ARQ_ALIEN);
    /* longer than a buffer: refused, and not acknowledged */
    solo_flush(s, 2);
    p = calloc(1, 3000);
    p[0] = 7;
    p[4] = ARQ_SEG_PUSH;
    p[12] = 1;
    p[20] = (uint8_t)(2976 & 255);
    p[21] = 2976 >> 8;
    assert_int_equal(arq_input(s->a, bytes_of(p, 3000), 0, 1), ARQ_MALFORMED);
    free(p);
    solo_flush(s, 3);
    assert_int_equal(s->n_segs, 0);
    solo_fini(s);
    free(s);
}

static void test_ack_filter(void **state)
{
    struct solo *s = malloc(sizeof *s);

    (void)state;
    solo_init(s, &solo_params, 64);
    for (uint32_t sn = 0; sn < 20; sn++)
        solo_push(s, sn, 3, sn);
    solo_flush(s, 30);
    assert_int_equal(s->n_segs, 1); /* una tells the rest */
    assert_int_equal(s->seg[0].sn, 19);
    assert_int_equal(s->seg[0].una, 20);
    solo_push(s, 22, 3, 31);
    solo_push(s, 23, 3, 31);
    solo_push(s, 5, 3, 31);
    assert_int_equal(arq_state(s->a)->n_acks, 3);
    assert_int_equal(arq_flush(s->a, ARQ_FLUSH_ACKS, 31), 0);
    solo_push(s, 25, 3, 32); /* after the flush: for the next one */
    assert_int_equal(arq_state(s->a)->n_acks, 1);
    solo_emit(s);
    assert_int_equal(s->n_segs, 3);
    assert_int_equal(s->seg[2].sn, 5);
    assert_int_equal(arq_flush(s->a, ARQ_FLUSH_ACKS, 33), 0);
    solo_emit(s);
    assert_int_equal(s->n_segs, 1);
    assert_int_equal(s->seg[0].sn, 25);
    /* one peer repeating itself without end */
    for (int i = 0; i < 100000; i++)
        solo_push(s, 0, 0, 1);
    assert_true(arq_memory(s->a) < 16384);
    solo_fini(s);
    free(s);
}

/* Section 11, and a probe on request. */
static void test_probes(void **state)
{
    struct solo *s = malloc(sizeof *s);
    const struct arq_seg closed = {.cmd = ARQ_SEG_WINS, .wnd = 0};
    uint32_t now = 1000, gap = 500;

    (void)state;
    solo_init(s, &solo_params, 64);
    arq_probe(s->a);
    assert_int_equal(arq_due_in_ms(s->a, now), 0);
    solo_flush(s, now);
    assert_int_equal(solo_count(s, ARQ_SEG_WASK), 1);
    assert_int_equal(arq_due_in_ms(s->a, now), UINT32_MAX);
    assert_int_equal(solo_input(s, closed, 0, now), 0);
    assert_int_equal(arq_due_in_ms(s->a, now), 0); /* a flush has to start the clock */
    s->left = 5;
    solo_flush(s, now);
    assert_int_equal(s->n_segs, 0);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(arq_due_in_ms(s->a, now), gap);
        solo_flush(s, now + gap - 1);
        assert_int_equal(s->n_segs, 0);
        now += gap;
        solo_flush(s, now);
        assert_int_equal(solo_count(s, ARQ_SEG_WASK), 1);
        gap += gap / 2;
    }
    solo_open(s);
    solo_flush(s, now);
    assert_int_equal(solo_count(s, ARQ_SEG_PUSH), 5);
    assert_int_equal(solo_input(s, (struct arq_seg){.cmd = ARQ_SEG_WASK, .wnd = 1, .sn = 99, .ts = 99}, 0, now), 0);
    assert_int_equal(arq_flush(s->a, ARQ_FLUSH_ACKS, now), 0);
    solo_emit(s);
    assert_int_equal(solo_count(s, ARQ_SEG_WINS), 1);
    solo_fini(s);
    free(s);
}

static void test_who_is_behind(void **state)
{
    struct solo *s = malloc(sizeof *s);
    struct arq_seg seg = {.cmd = ARQ_SEG_WINS, .wnd = 32, .una = 20};

    (void)state;
    solo_init(s, &solo_params, 64);
    solo_open(s);
    s->left = 32;
    solo_flush(s, 1);
    assert_int_equal(solo_input(s, seg, 0, 2), 0);
    for (seg.una = 1; seg.una < 20; seg.una++) { /* it was sent before the others: however many come late */
        assert_int_equal(solo_input(s, seg, 0, 3), 0);
        assert_int_equal(arq_state(s->a)->behind, 1);
    }
    assert_int_equal(solo_input(s, seg, 0, 4), 0);
    assert_int_equal(arq_state(s->a)->behind, 0);
    seg.una = 0;
    for (unsigned i = 1; i < 10; i++) { /* it has begun anew */
        assert_int_equal(solo_input(s, seg, 0, 5), 0);
        assert_int_equal(arq_state(s->a)->behind, i);
    }
    seg.una = 20;
    assert_int_equal(solo_input(s, seg, 0, 6), 0);
    seg.una = 20 - 2 * (uint32_t)ARQ_FAR_BEHIND;
    for (unsigned i = 1; i < 10; i++, seg.una++) { /* it disowns whatever it is sent */
        assert_int_equal(solo_input(s, seg, 0, 7), 0);
        assert_int_equal(arq_state(s->a)->behind, i);
    }
    solo_fini(s);
    free(s);
}

static void test_recovered(void **state)
{
    struct solo *s = malloc(sizeof *s);
    struct arq_seg seg = {.cmd = ARQ_SEG_ACK, .wnd = 3, .ts = 1, .sn = 1, .una = 1};

    (void)state;
    solo_init(s, &solo_params, 64);
    solo_open(s);
    s->left = 4;
    solo_flush(s, 1);
    assert_int_equal(solo_input(s, seg, ARQ_RECOVERED, 500), 0);
    assert_int_equal(arq_state(s->a)->srtt_ms, 0);
    assert_int_equal(arq_state(s->a)->rmt_wnd, 65535);
    assert_int_equal(arq_state(s->a)->n_inflight, 2); /* una and the ack count */
    seg.sn = 2;
    seg.una = 0;
    assert_int_equal(solo_input(s, seg, 0, 500), 0);
    assert_int_equal(arq_state(s->a)->srtt_ms, 499);
    assert_int_equal(arq_state(s->a)->rmt_wnd, 3);
    assert_int_equal(arq_state(s->a)->behind, 1);
    assert_int_equal(solo_input(s, seg, ARQ_RECOVERED, 500), 0);
    assert_int_equal(arq_state(s->a)->behind, 1);
    assert_int_equal(solo_input(s, seg, 0, 500), 0);
    assert_int_equal(arq_state(s->a)->behind, 2);
    seg.una = 1;
    assert_int_equal(solo_input(s, seg, 0, 501), 0);
    assert_int_equal(arq_state(s->a)->behind, 0);
    assert_int_equal(arq_state(s->a)->heard_ms, 501);
    solo_push(s, 0, 1, 1);
    (void)arq_take_counts(s->a);
    seg = (struct arq_seg){.cmd = ARQ_SEG_PUSH, .wnd = 3, .una = 1, .len = 1};
    assert_int_equal(solo_input(s, seg, ARQ_RECOVERED, 501), 0);
    assert_int_equal(arq_take_counts(s->a).repeat_segs, 0);
    solo_fini(s);
    free(s);
}

static void test_spurious(void **state)
{
    struct solo *s = malloc(sizeof *s);
    struct arq_counts n;

    (void)state;
    solo_init(s, &solo_params, 64);
    solo_open(s);
    s->left = 3;
    solo_flush(s, 1000);
    solo_flush(s, 1200);
    assert_int_equal(solo_count(s, ARQ_SEG_PUSH), 3);
    solo_ack(s, 0, 1000, 0, 1210); /* the first transmission had arrived */
    solo_ack(s, 1, 1200, 0, 1300);
    solo_ack(s, 2, 1000, 3, 1300); /* also when una goes first */
    n = arq_take_counts(s->a);
    assert_int_equal(n.spurious_segs, 2);
    assert_int_equal(n.lost_segs, 3);
    assert_int_equal(n.out_segs, 6);
    solo_fini(s);
    free(s);
}

static void test_dead_link(void **state)
{
    struct solo *s = malloc(sizeof *s);
    uint32_t now = 5;
    unsigned sent = 0;

    (void)state;
    solo_init(s, &solo_params, 64);
    s->left = 1;
    while (!arq_state(s->a)->dead) {
        uint32_t due;

        solo_flush(s, now);
        assert_true(++sent <= 20);
        assert_int_equal(s->n_segs, 1);
        due = arq_due_in_ms(s->a, now);
        solo_flush(s, now + due - 1);
        assert_int_equal(s->n_segs, 0);
        now += due;
    }
    assert_int_equal(sent, 20);
    /* a timer that doubles without end stays within the clock */
    arq_knobs(s->a)->nodelay = 0;
    for (int i = 0; i < 40; i++) {
        now += arq_due_in_ms(s->a, now);
        solo_flush(s, now);
        assert_int_equal(s->n_segs, 1);
        assert_true(arq_due_in_ms(s->a, now) > 0 && arq_due_in_ms(s->a, now) <= 1 << 29);
    }
    solo_fini(s);
    free(s);
}

/* What is lent: peeked and read in place; settled, it is a copy. A pool that has nothing left is reported. */
static void test_lent(void **state)
{
    struct solo *s = malloc(sizeof *s);
    uint8_t d[ARQ_HEADER + 4] = {7, 0, 0, 0, ARQ_SEG_PUSH, 0, 9, 0};
    struct arq_chunk c;

    (void)state;
    solo_init(s, &solo_params, 64);
    d[20] = 4;
    memcpy(d + ARQ_HEADER, "abcd", 4);
    assert_int_equal(arq_input(s->a, bytes_of(d, sizeof d), 0, 1), 0);
    assert_int_equal(arq_peek(s->a, 0, &c), 0);
    assert_ptr_equal(c.p, d + ARQ_HEADER);
    assert_null(c.own);
    assert_int_equal(arq_peek(s->a, 1, &c), ARQ_AGAIN);
    d[12] = 2;
    assert_int_equal(arq_input(s->a, bytes_of(d, sizeof d), 0, 1), 0);
    assert_int_equal(arq_recv(s->a, &c), 0);
    assert_null(c.own);
    assert_int_equal(arq_settle(s->a), 0);
    assert_int_equal(buf_pool_in_use(s->pool), 1); /* only what was not read */
    memset(d + ARQ_HEADER, 0, 4);
    solo_push(s, 1, 0, 2);
    assert_int_equal(arq_recv(s->a, &c), 0);
    assert_int_equal(c.len, 0);
    assert_int_equal(arq_recv(s->a, &c), 0);
    assert_memory_equal(c.p, "abcd", 4);
    buf_put(c.own);
    buf_pool_set_limit(s->pool, 1);
    s->left = 0;
    for (uint32_t sn = 3; sn < 3 + 64; sn++) {
        d[12] = (uint8_t)sn;
        assert_int_equal(arq_input(s->a, bytes_of(d, sizeof d), 0, 1), 0);
    }
    struct buf *all = NULL; /* take what the pool still has */
    for (struct buf *b; (b = buf_get(s->pool)); all = b)
        b->next = all;
    assert_int_equal(arq_settle(s->a), -ENOMEM);
    while (!arq_recv(s->a, &c))
        assert_null(c.p);
    for (struct buf *b; (b = all); buf_put(b))
        all = b->next;
    solo_fini(s);
    free(s);
}

/* Later acks: conserve, threshold, limit; and the transmissions come in sn order. */
static void test_fast(void **state)
{
    struct solo *s = malloc(sizeof *s);

    (void)state;
    solo_init(s, &solo_params, 64);
    solo_open(s);
    s->left = 10;
    solo_flush(s, 100);
    solo_ack(s, 5, 100, 0, 150);
    solo_ack(s, 7, 99, 0, 150); /* claims to answer something sent before: counts against nothing */
    solo_flush(s, 150);
    assert_int_equal(s->n_segs, 0);
    solo_ack(s, 9, 100, 0, 150);
    assert_int_equal(arq_due_in_ms(s->a, 150), 0);
    solo_flush(s, 150);
    assert_int_equal(s->n_segs, 5); /* 0..4; 6 and 8 have one each */
    for (unsigned i = 0; i < s->n_segs; i++) {
        assert_int_equal(s->seg[i].sn, i);
        assert_int_equal(s->seg[i].ts, 150);
    }
    solo_ack(s, 8, 100, 0, 160); /* sent before the retransmissions: only 6 counts */
    solo_flush(s, 160);
    assert_int_equal(s->n_segs, 1);
    assert_int_equal(s->seg[0].sn, 6);
    assert_int_equal(arq_take_counts(s->a).fast_segs, 6);
    arq_check(s->a, 160);
    solo_fini(s);
    free(s);
}

/* An ack for what was sent before a retransmission does not count against it, nor what can no longer be sent early;
 * with most of the window sent in between. */
static void test_conserve(void **state)
{
    struct solo *s = malloc(sizeof *s);

    (void)state;
    solo_init(s, &solo_params, 64);
    solo_open(s);
    s->left = 64;
    solo_flush(s, 100);
    solo_ack(s, 3, 100, 0, 150);
    solo_ack(s, 4, 100, 0, 150);
    solo_flush(s, 150);
    assert_int_equal(s->n_segs, 3);
    solo_ack(s, 1, 150, 0, 155);
    solo_ack(s, 5, 150, 0, 155);
    solo_flush(s, 160);
    assert_int_equal(s->n_segs, 1);
    assert_int_equal(s->seg[0].sn, 0);
    solo_ack(s, 2, 150, 0, 165);
    assert_int_equal(arq_out_at(s->a, 0)->fastack, 0);
    solo_ack(s, 7, 160, 0, 165);
    assert_int_equal(arq_out_at(s->a, 0)->fastack, 1);
    solo_fini(s);
    solo_init(s, &solo_params, 64);
    arq_knobs(s->a)->fast_limit = 1;
    solo_open(s);
    s->left = 4;
    solo_flush(s, 100);
    for (uint32_t sn = 1; sn < 4; sn++)
        solo_ack(s, sn, 100, 0, 150);
    solo_flush(s, 150);
    assert_int_equal(s->n_segs, 1);
    for (int i = 0; i < 3; i++)
        solo_ack(s, 3, 150, 0, 155);
    assert_int_equal(arq_out_at(s->a, 0)->fastack, 0);
    solo_fini(s);
    free(s);
}

/* Of several acks in one datagram the first counts, and a later one only if both its sn and its ts are higher. */
static void test_acks_of_one_datagram(void **state)
{
    static const struct {
        struct arq_ack second;
        uint32_t counted_below;
    } rows[] = {{{6, 100}, 4}, {{6, 101}, 6}, {{2, 101}, 4}};

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct solo *s = malloc(sizeof *s);
        uint8_t d[2 * ARQ_HEADER];
        struct wr w = wr_to(d, sizeof d);

        solo_init(s, &solo_params, 64);
        solo_open(s);
        s->left = 10;
        solo_flush(s, 100);
        arq_seg_put(&w, &(struct arq_seg){.conv = 7, .cmd = ARQ_SEG_ACK, .wnd = 99, .sn = 4, .ts = 100});
        arq_seg_put(&w,
                    &(struct arq_seg){
                        .conv = 7, .cmd = ARQ_SEG_ACK, .wnd = 99, .sn = rows[i].second.sn, .ts = rows[i].second.ts});
        assert_int_equal(arq_input(s->a, bytes_of(d, sizeof d), 0, 150), 0);
        for (uint32_t sn = 0; sn < 10; sn++)
            if (arq_out_at(s->a, sn)->live)
                assert_int_equal(arq_out_at(s->a, sn)->fastack, sn < rows[i].counted_below);
        solo_fini(s);
        free(s);
    }
}

/* Section 10, both reductions in one flush: the timeout's threshold comes from the window as the flush found it. */
static void test_reduction(void **state)
{
    struct solo *s = malloc(sizeof *s);

    (void)state;
    solo_init(s, &solo_params, 64);
    solo_open(s);
    arq_knobs(s->a)->nocwnd = false;
    s->a->st.cwnd = 20;
    s->left = 20;
    solo_flush(s, 100);
    assert_int_equal(s->n_segs, 20);
    solo_ack(s, 1, 100, 0, 110); /* 10 ms: the timeout is near */
    solo_ack(s, 2, 100, 0, 110);
    arq_out_at(s->a, 0)->resend_at = 5000; /* the first goes by its later acks alone */
    solo_flush(s, 400);
    assert_int_equal(s->n_segs, 18);
    assert_int_equal(arq_take_counts(s->a).fast_segs, 1);
    assert_int_equal(arq_state(s->a)->ssthresh, 10);
    assert_int_equal(arq_state(s->a)->cwnd, 1);
    assert_int_equal(arq_state(s->a)->incr, arq_mss(s->a));
    solo_fini(s);
    free(s);
}

/* Two later acks and a timeout before the next flush: one transmission, and with C's rule a second one right after. */
static void test_timeout_settles(void **state)
{
    (void)state;
    for (int keep = 0; keep < 2; keep++) {
        struct solo *s = malloc(sizeof *s);

        solo_init(s, &solo_params, 64);
        arq_knobs(s->a)->keep_fastack = keep;
        solo_open(s);
        s->left = 3;
        solo_flush(s, 100);
        solo_ack(s, 1, 100, 0, 150);
        solo_ack(s, 2, 100, 0, 150);
        solo_flush(s, 400);
        assert_int_equal(s->n_segs, 1);
        assert_int_equal(arq_take_counts(s->a).lost_segs, 1);
        arq_check(s->a, 400);
        assert_int_equal(arq_due_in_ms(s->a, 400) == 0, keep);
        solo_flush(s, 400);
        assert_int_equal(s->n_segs, keep);
        assert_int_equal(arq_take_counts(s->a).fast_segs, keep);
        solo_fini(s);
        free(s);
    }
}

static void test_params(void **state)
{
    struct buf_pool *pool = buf_pool_new(1500, 0);
    struct arq_params p = solo_params;

    (void)state;
    p.pool = pool;
    p.mtu = 49;
    assert_null(arq_new(&p));
    p.mtu = 1501;
    assert_null(arq_new(&p));
    p = solo_params;
    p.pool = pool;
    p.rcv_wnd = 0;
    assert_null(arq_new(&p));
    p.rcv_wnd = ARQ_WND_MAX + 1;
    assert_null(arq_new(&p));
    p.rcv_wnd = 1;
    p.nodelay = 3;
    assert_null(arq_new(&p));
    assert_null(arq_free(NULL));
    buf_pool_free(pool);
}

/* A smaller mtu: what was cut before leaves alone and as long as it is; what comes after obeys. */
static void test_mtu(void **state)
{
    struct solo *s = malloc(sizeof *s);

    (void)state;
    solo_init(s, &solo_params, 64);
    solo_open(s);
    s->left = 2;
    s->len = 1000;
    solo_flush(s, 1);
    assert_int_equal(arq_set_mtu(s->a, 49), -EINVAL);
    assert_int_equal(arq_set_mtu(s->a, 100), 0);
    assert_int_equal(arq_mss(s->a), 76);
    s->left = 2;
    s->len = 26;
    solo_flush(s, 1000);
    assert_int_equal(s->n_segs, 4);
    assert_int_equal(s->n_dgrams, 3);
    assert_int_equal(s->seg[3].len, 26);
    solo_fini(s);
    free(s);
}

/* A datagram from another address is worth following only if nothing from the past could say the same. */
static void test_news(void **state)
{
    struct arq_seg seg = {.conv = 7, .cmd = ARQ_SEG_PUSH, .wnd = 32, .ts = 1000, .sn = 0};
    struct solo *s = malloc(sizeof *s);
    uint8_t p[24];
    static const struct {
        uint8_t cmd;
        uint32_t sn, ts;
        bool news;
    } rows[] = {
        {ARQ_SEG_PUSH, 0, 1000, false}, /* what was received */
        {ARQ_SEG_PUSH, 0, 999, false},    {ARQ_SEG_PUSH, 0, 1001, true}, /* sent again since */
        {ARQ_SEG_PUSH, 1, 900, true}, /* not received yet */
        {ARQ_SEG_PUSH, 5000, 900, false}, {ARQ_SEG_ACK, 1, 2000, false}, {ARQ_SEG_WASK, 1, 2000, false},
    };

    (void)state;
    solo_init(s, &solo_params, 8);
    seg.conv = arq_state(s->a)->conv;
    assert_int_equal(solo_input(s, seg, 0, 1), 0);
    for (size_t i = 0; i < LEN(rows); i++) {
        struct wr w = wr_to(p, sizeof p);

        seg.cmd = rows[i].cmd;
        seg.sn = rows[i].sn;
        seg.ts = rows[i].ts;
        arq_seg_put(&w, &seg);
        assert_int_equal(arq_is_news(s->a, bytes_of(p, sizeof p)), rows[i].news);
    }
    solo_fini(s);
    free(s);
}

/* After a move everything in flight is due at once, and once only. */
static void test_resend(void **state)
{
    struct solo *s = malloc(sizeof *s);

    (void)state;
    solo_init(s, &solo_params, 8);
    solo_open(s);
    s->left = 8;
    solo_flush(s, 100);
    assert_int_equal(solo_count(s, ARQ_SEG_PUSH), 8);
    solo_flush(s, 110);
    assert_int_equal(solo_count(s, ARQ_SEG_PUSH), 0);
    arq_resend(s->a, 120);
    assert_int_equal(arq_due_in_ms(s->a, 120), 0);
    solo_flush(s, 120);
    assert_int_equal(solo_count(s, ARQ_SEG_PUSH), 8);
    solo_flush(s, 121);
    assert_int_equal(solo_count(s, ARQ_SEG_PUSH), 0);
    solo_fini(s);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_conserve),
        cmocka_unit_test(test_acks_of_one_datagram),
        cmocka_unit_test(test_reduction),
        cmocka_unit_test(test_timeout_settles),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_timer_memory),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_receive_window),
        cmocka_unit_test(test_ack_filter),
        cmocka_unit_test(test_probes),
        cmocka_unit_test(test_who_is_behind),
        cmocka_unit_test(test_recovered),
        cmocka_unit_test(test_spurious),
        cmocka_unit_test(test_dead_link),
        cmocka_unit_test(test_lent),
        cmocka_unit_test(test_fast),
        cmocka_unit_test(test_mtu),
        cmocka_unit_test(test_news),
        cmocka_unit_test(test_resend),
        cmocka_unit_test(test_bad_datagrams),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
