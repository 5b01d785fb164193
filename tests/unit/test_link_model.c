/* tests/unit/test_link_model.c - each thing a link does to packets, by itself and counted. */
#include "tests/support/vectors.h"
#include "tools/link_text.h"

#include <stdlib.h>
#include <string.h>

enum { LEN_MAX = 1500, MEMORY = 64 << 20 };

static const struct tick start = {7000000};

static void begin(struct link *l, struct link_params p, uint64_t seed)
{
    const struct link_setup s = {p, seed, LEN_MAX, MEMORY};

    link_init(l, &s);
}

/* A packet of `len` bytes that begins with its number. */
static void send_numbered(struct link *l, uint32_t i, size_t len, struct tick now)
{
    uint8_t b[LEN_MAX] = {0};

    memcpy(b, &i, sizeof i);
    link_send(l, bytes_of(b, len), now);
}

struct tally {
    unsigned n, overtaken, repeated;
    struct tick first, last;
    uint8_t seen[200000];
};

/* Takes everything that arrives until `until`. */
static void drain(struct link *l, struct tally *t, struct tick until)
{
    static uint32_t newest;
    struct link_pkt *pkt;

    for (struct tick now = link_next(l); !tick_before(until, now); now = link_next(l))
        while ((pkt = link_recv(l, now))) {
            uint32_t i;

            memcpy(&i, pkt->p, sizeof i);
            assert_true(i < sizeof t->seen);
            if (!t->n)
                t->first = now;
            t->overtaken += t->n && i < newest;
            t->repeated += t->seen[i];
            t->seen[i] = 1;
            newest = t->n && i < newest ? newest : i;
            t->n++;
            t->last = now;
            link_put(l, pkt);
        }
}

static const struct tick forever = {UINT64_MAX / 2 / 1000};

static void assert_balanced(const struct link *l)
{
    const struct link_counts *n = &l->n;

    assert_int_equal(n->in + n->duplicated, n->dropped + n->no_memory + n->lost + n->out);
}

/* n packets of len bytes, gap_us apart. */
static struct tally *run(struct link *l, unsigned n, size_t len, uint64_t gap_us)
{
    struct tally *t = calloc(1, sizeof *t);

    for (unsigned i = 0; i < n; i++) {
        struct tick now = tick_add_us(start, i * gap_us);

        drain(l, t, now);
        send_numbered(l, i, len, now);
    }
    drain(l, t, forever);
    assert_balanced(l);
    assert_int_equal(t->n, l->n.out);
    return t;
}

static void test_nothing_set_changes_nothing(void **state)
{
    struct link l;
    struct tally *t;

    (void)state;
    begin(&l, (struct link_params){0}, 1);
    t = run(&l, 1000, 100, 10);
    assert_int_equal(t->n, 1000);
    assert_int_equal(t->overtaken, 0);
    assert_int_equal(t->first.us, start.us);
    assert_int_equal(t->last.us, start.us + 9990);
    free(t);
    link_fini(&l);
}

static void test_rate_delay_and_queue(void **state)
{
    const struct link_params p = {.rate = 10000000, .queue_us = 50000, .delay_us = 20000, .overhead = 28};
    struct link l;
    struct tally *t;

    (void)state;
    begin(&l, p, 1);
    t = run(&l, 1000, 1222, 0); /* at once; 1 ms each on the link */
    assert_int_equal(t->first.us, start.us + 1000 + 20000);
    assert_int_equal(t->n, 51); /* one in service, 50 ms of others */
    assert_int_equal(l.n.dropped, 949);
    assert_int_equal(t->last.us, start.us + 51000 + 20000);
    assert_int_equal(l.n.wire_bytes, 51 * 1250);
    assert_int_equal(l.n.wait_max_us, 50000);
    free(t);
    link_fini(&l);
    /* for a second at twice the rate: the rate exactly, however odd the lengths */
    begin(&l, (struct link_params){.rate = 997000, .queue_bytes = 3000}, 1);
    t = run(&l, 1000, 249, 1000);
    assert_in_range(tick_since_us(t->last, start), 1010000, 1026000);
    assert_in_range(l.n.wire_bytes * 8 * 1000000 / tick_since_us(t->last, start), 996900, 997100);
    free(t);
    link_fini(&l);
}

static void test_queue_is_told(void **state)
{
    struct link l;

    (void)state;
    begin(&l, (struct link_params){.rate = 8000000, .queue_bytes = 100000}, 1);
    assert_int_equal(link_queue_us(&l, start), 0);
    for (unsigned i = 0; i < 10; i++)
        send_numbered(&l, i, 1000, start);
    assert_int_equal(link_queue_us(&l, start), 10000);
    assert_int_equal(link_queue_us(&l, tick_add_us(start, 2500)), 7500);
    assert_int_equal(link_queue_us(&l, tick_add_us(start, 10000)), 0);
    link_fini(&l);
}

/* Counts runs of packets that did not arrive. */
static void count_losses(const struct tally *t, unsigned n, unsigned *lost, unsigned *runs)
{
    *lost = *runs = 0;
    for (unsigned i = 0; i < n; i++) {
        *lost += !t->seen[i];
        *runs += !t->seen[i] && (!i || t->seen[i - 1]);
    }
}

static void test_loss_random_and_in_runs(void **state)
{
    static const struct {
        unsigned percent, burst;
        double run; /* mean length */
    } rows[] = {{1, 0, 1.01}, {20, 1, 1.25}, {5, 4, 4}, {20, 4, 4}, {50, 10, 10}, {100, 4, 0}, {100, 0, 0}, {0, 4, 0}};
    enum { N = 100000 };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        const struct link_params p = {.rate = 100000000, .loss_ppm = rows[i].percent * 10000, .burst = rows[i].burst};
        unsigned lost, runs;
        struct tally *t;
        struct link l;

        begin(&l, p, i);
        t = run(&l, N, 1000, 100);
        count_losses(t, N, &lost, &runs);
        assert_int_equal(lost, l.n.lost);
        assert_int_equal(l.n.wire_bytes, N * 1000); /* what is lost has used the link */
        assert_in_range(lost, N / 100 * rows[i].percent * 9 / 10, N / 100 * rows[i].percent * 11 / 10);
        if (rows[i].run > 0)
            assert_in_range((unsigned)(1000 * lost / runs), (unsigned)(900 * rows[i].run),
                            (unsigned)(1100 * rows[i].run));
        free(t);
        link_fini(&l);
    }
}

static void test_jitter_reorders_only_if_asked(void **state)
{
    (void)state;
    for (unsigned reorder = 0; reorder < 2; reorder++) {
        const struct link_params p = {.delay_us = 30000, .jitter_us = 10000, .reorder = reorder};
        uint64_t least = UINT64_MAX, most = 0, sum = 0;
        unsigned n = 0, overtaken = 0;
        uint32_t newest = 0;
        struct link l;

        begin(&l, p, 3);
        for (struct tick now = start; n < 50000; now = tick_add_us(now, 50)) {
            uint64_t late, sent_us = tick_since_us(now, start);
            struct link_pkt *pkt;
            uint32_t i;

            if (sent_us % 100 == 0 && sent_us / 100 < 50000)
                send_numbered(&l, (uint32_t)(sent_us / 100), 4, now);
            for (; (pkt = link_recv(&l, now)); link_put(&l, pkt)) {
                memcpy(&i, pkt->p, sizeof i);
                late = sent_us - i * 100u;
                least = MIN(least, late);
                most = MAX(most, late);
                sum += late;
                overtaken += n++ && i < newest;
                newest = MAX(newest, i);
            }
        }
        assert_in_range(least, 30000, 30500);
        assert_in_range(most, 39500, 40050);
        assert_in_range(sum / n, 34000, 36000);
        assert_true(reorder ? overtaken > 20000 : !overtaken);
        link_fini(&l);
    }
}

static void test_duplication_and_corruption(void **state)
{
    enum { N = 20000 };
    struct tally *t;
    struct link l;
    uint8_t zero[100] = {0};
    unsigned changed = 0;

    (void)state;
    begin(&l, (struct link_params){.dup_ppm = 100000, .delay_us = 100}, 5);
    t = run(&l, N, 100, 10);
    assert_in_range(t->repeated, N / 11, N / 9);
    assert_int_equal(t->repeated, l.n.duplicated);
    assert_int_equal(t->n, N + t->repeated);
    free(t);
    link_fini(&l);
    begin(&l, (struct link_params){.corrupt_ppm = 50000}, 5);
    for (unsigned i = 0; i < N; i++) {
        struct link_pkt *pkt;
        unsigned wrong = 0;

        link_send(&l, bytes_of(zero, sizeof zero), start);
        pkt = link_recv(&l, start);
        assert_int_equal(pkt->len, sizeof zero);
        for (size_t k = 0; k < sizeof zero; k++)
            wrong += pkt->p[k] != 0;
        assert_true(wrong <= 1);
        changed += wrong;
        link_put(&l, pkt);
    }
    assert_int_equal(changed, l.n.corrupted);
    assert_in_range(changed, N / 22, N / 18);
    link_fini(&l);
}

static void test_schedule(void **state)
{
    struct link_plan plan = {.n = 0};
    struct link l[2];
    struct tally *t;

    (void)state;
    assert_int_equal(link_plan_add(&plan, "rate 8mbit queue 1s delay 1ms; at 20ms b-a loss 100%; at 10ms rate 4mbit"),
                     0);
    for (unsigned way = 0; way < 2; way++) {
        begin(&l[way], (struct link_params){0}, 1);
        link_schedule(&l[way], plan.v, plan.n, way, start);
        t = run(&l[way], 30, 1000,
                0); /* 1 ms each, 2 ms from 10 ms on, the 16 that leave from 20 ms on are lost there */
        assert_int_equal(t->first.us, start.us + 2000);
        assert_int_equal(t->n, way ? 14 : 30);
        assert_int_equal(t->last.us, start.us + 1000 + (way ? 18000 : 50000));
        free(t);
        link_fini(&l[way]);
    }
}

/* Whether the caller looks often or seldom: the same packets at the same times. */
static void test_calls_do_not_matter(void **state)
{
    static const char text[] = "rate 3mbit queue 80ms delay 5ms jitter 3ms reorder on loss 10% burst 3 duplicate 5%;"
                               "at 200ms rate 1mbit delay 50ms; at 300ms loss 0 reorder off; at 450ms rate 0";
    struct link_plan plan = {.n = 0};
    uint64_t sums[2];

    (void)state;
    assert_int_equal(link_plan_add(&plan, text), 0);
    for (int often = 0; often < 2; often++) {
        struct tick now = start;
        struct link_pkt *pkt;
        struct link l;

        sums[often] = 0;
        begin(&l, (struct link_params){0}, 77);
        link_schedule(&l, plan.v, plan.n, 0, start);
        for (uint32_t i = 0; i < 2000; i++) {
            send_numbered(&l, i, 40 + i % 700, now);
            for (int k = 0; k < 5; k++) {
                now = tick_add_us(now, 100);
                if (often)
                    link_queue_us(&l, now);
                for (; (often || k == 4) && (pkt = link_recv(&l, now)); link_put(&l, pkt))
                    sums[often] = sums[often] * 31 + pkt->p[0] + pkt->p[1] * 256u + pkt->in_ns;
            }
        }
        link_fini(&l);
    }
    assert_true(sums[0] == sums[1]);
}

static void test_memory_is_bounded(void **state)
{
    const struct link_setup s = {{.delay_us = 1000000}, 1, LEN_MAX, 1 << 20};
    struct link_pkt *pkt;
    struct link l;

    (void)state;
    link_init(&l, &s);
    for (uint32_t i = 0; i < 5000; i++)
        send_numbered(&l, i, 100, start);
    assert_in_range(l.n.no_memory, 5000 - (1 << 20) / LEN_MAX, 4500);
    for (unsigned i = 0; (pkt = link_recv(&l, tick_add_ms(start, 1000))); i++)
        link_put(&l, pkt);
    assert_balanced(&l);
    assert_int_equal(l.n.out + l.n.no_memory, 5000);
    send_numbered(&l, 0, 100, tick_add_ms(start, 1000));
    link_fini(&l);
}

static void test_text(void **state)
{
    static const struct {
        const char *text;
        int want; /* changes; -1: refused */
    } rows[] = {
        {"", 0},
        {" ; ;\n", 0},
        {"rate 100mbit", 1},
        {"rate 0", 1},
        {"queue 50ms", 2},
        {"queue 64kb delay 1.5ms", 3},
        {"at 10s rate 20mbit; at 20s a-b rate 100mbit loss 0.5%", 3},
        {"loss 100% burst 4 duplicate 1% corrupt 1% overhead 28b jitter 1ms reorder on", 7},
        {"rate", -1},
        {"rate 5", -1},
        {"rate 5mbits", -1},
        {"rate .mbit", -1},
        {"rate 1.2.3mbit", -1},
        {"rate -1mbit", -1},
        {"rate 1000gbit", -1},
        {"rate 0000000000000000000000000001mbit", -1},
        {"delay ms", -1},
        {"delay 5%", -1},
        {"delay 0x10ms", -1},
        {"loss 101%", -1},
        {"burst 0.5", -1},
        {"reorder yes", -1},
        {"reorder 1on", -1},
        {"reorder 0", -1},
        {"delay .5ms loss 5.%", 2},
        {"delay 0.", 1},
        {"at", -1},
        {"at 10s", -1},
        {"at rate 5mbit", -1},
        {"at 10s a-b", -1},
        {"speed 5mbit", -1},
        {"averyverylongwordthatgoesonandonandon 1", -1},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct link_plan p = {.n = 0};
        int r = link_plan_add(&p, rows[i].text);

        if (r != (rows[i].want < 0 ? LINK_TEXT_BAD : 0) || (int)p.n != MAX(rows[i].want, 0))
            fail_msg("\"%s\": %d, %zu changes", rows[i].text, r, p.n);
        while (!r) /* until it is full, which is refused like the rest */
            if ((r = rows[i].want > 0 ? link_plan_add(&p, rows[i].text) : 1) == 0)
                assert_true(p.n <= LINK_PLAN_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_set_changes_nothing),
        cmocka_unit_test(test_rate_delay_and_queue),
        cmocka_unit_test(test_queue_is_told),
        cmocka_unit_test(test_loss_random_and_in_runs),
        cmocka_unit_test(test_jitter_reorders_only_if_asked),
        cmocka_unit_test(test_duplication_and_corruption),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_calls_do_not_matter),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
