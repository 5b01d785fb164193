/* tests/sim/test_sender.c - what mode auto gets out of a path, in virtual time: the targets, row by row, as means over a few
 * seeds. test_sender GROUP; SENDER_SEEDS (5) says how many. docs/sender.md says what they are, and where they were missed. */
#include "core/deal.h"
#include "crypto/kdf.h"
#include "tests/sim/traffic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct got { /* means over the seeds */
    double share, wire, queue, queue95, spurious, smaller; /* percent, ratio, ms, ms, percent, ratio */
    double p50, p99, bytes; /* of the echo, ms; bytes of the wire a second */
};

struct row {
    const char *name;
    double mbit, loss; /* of the path when it is measured */
    double warm_s, time_s;
    struct link_params way[2];
    struct link_change change[3];
    unsigned n_changes, n_flows;
    struct flow_params flow[TRAFFIC_FLOWS];
    unsigned seeds; /* 0: as many as asked for */
    struct got want; /* at least share and smaller; at most the others; 0: whatever it is */
};

static unsigned seeds_wanted(void)
{
    const char *s = getenv("SENDER_SEEDS");

    return s ? (unsigned)atoi(s) : 5;
}

static struct flow_params to_kcptun(uint32_t wnd)
{
    return traffic_to_kcptun(APP_BULK, wnd);
}

static struct row row(const char *name, double loss, struct flow_params f)
{
    return (struct row){
        .name = name,
        .mbit = 100,
        .loss = loss,
        .warm_s = 2,
        .time_s = 6,
        .way = {traffic_path(loss), traffic_path(loss)},
        .n_flows = 1,
        .flow = {f},
    };
}

static struct row rate_row(const char *name, double loss, double mbit, double delay_ms)
{
    struct row r = row(name, loss, traffic_flow(APP_BULK));

    r.mbit = mbit;
    for (unsigned i = 0; i < 2; i++) {
        r.way[i].rate = (uint64_t)(mbit * 1e6);
        r.way[i].delay_us = (uint64_t)(delay_ms * 1000);
    }
    return r;
}

static void run(const struct row *r, uint64_t seed, struct got *sum)
{
    static struct traffic t;
    double least = INFINITY, most = 0;

    traffic_init(&t, seed, r->way, r->flow, r->n_flows);
    for (unsigned i = 0; i < 2; i++)
        link_schedule(&t.way[i], r->change, r->n_changes, i, t.now);
    traffic_run(&t, (uint64_t)(r->warm_s * 1e6));
    traffic_mark(&t);
    traffic_run(&t, (uint64_t)(r->time_s * 1e6));
    for (unsigned i = 0; i < r->n_flows; i++) {
        double mbit = traffic_mbit(&t, i);

        sum->share += traffic_share(&t, i, r->mbit, r->loss);
        least = MIN(least, mbit);
        most = MAX(most, mbit);
    }
    sum->wire += traffic_wire(&t);
    sum->queue += traffic_queue_ms(&t, -1);
    sum->queue95 += traffic_queue_ms(&t, 95);
    sum->spurious += traffic_spurious(&t);
    sum->smaller += most > 0 ? least / most : 0;
    for (unsigned i = 0; i < r->n_flows; i++)
        if (r->flow[i].apps & APP_ECHO) {
            sum->p50 += traffic_echo_ms(&t, i, 50);
            sum->p99 += traffic_echo_ms(&t, i, 99);
        }
    sum->bytes += traffic_wire_bytes(&t) / r->time_s;
    traffic_fini(&t);
}

static struct got mean(const struct row *r)
{
    unsigned n = r->seeds ? MIN(r->seeds, seeds_wanted()) : seeds_wanted();
    struct got g = {0};
    double *v = &g.share;

    for (unsigned i = 1; i <= n; i++)
        run(r, i, &g);
    for (size_t i = 0; i < sizeof g / sizeof *v; i++)
        v[i] /= n;
    return g;
}

static void check(const struct row *r)
{
    const struct got g = mean(r), *w = &r->want;

    print_message("%-34s %5.1f %%, wire %.3f, queue %.1f/%.0f ms, in vain %.2f %%, smaller %.2f, echo %.0f/%.0f ms\n",
                  r->name, g.share, g.wire, g.queue, g.queue95, g.spurious, g.smaller, g.p50, g.p99);
    if (g.share < w->share || g.smaller < w->smaller || (w->wire > 0 && g.wire > w->wire) ||
        (w->queue > 0 && g.queue > w->queue) || (w->queue95 > 0 && g.queue95 > w->queue95) ||
        (w->spurious > 0 && g.spurious > w->spurious) || (w->p99 > 0 && g.p99 > w->p99))
        fail_msg("%s: not as good as it was", r->name);
}

/* ---- rows ---- */

static const double losses[] = {0, 1, 5, 10, 20};

static void each_loss(struct row (*make)(unsigned i), const struct got want[LEN(losses)])
{
    for (unsigned i = 0; i < LEN(losses); i++) {
        struct row r = make(i);

        r.want = want[i];
        check(&r);
    }
}

static struct row bulk_row(unsigned i)
{
    static const char *const names[] = {"bulk", "bulk, 1 %", "bulk, 5 %", "bulk, 10 %", "bulk, 20 %"};

    return row(names[i], losses[i], traffic_flow(APP_BULK));
}

/* With loss a point below the target: five seeds wander by as much, thirty do not. */
static void test_bulk(void **state)
{
    static const struct got want[] = {
        {97, 1.10, 10, 25, .spurious = 2}, {96, 1.16, 10, 25, .spurious = 2}, {96, 1.22, 10, 25, .spurious = 2},
        {96, 1.28, 10, 25, .spurious = 2}, {94, 1.45, 10, 25, .spurious = 2},
    };

    (void)state;
    each_loss(bulk_row, want);
}

/* share: 5 % in runs of 4; jitter with reordering; each tenth twice. */
static void check_strange_paths(struct flow_params f, const double share[3], double spurious)
{
    struct row r = row("5 % in runs of 4", 5, f);

    r.way[0].burst = r.way[1].burst = 4;
    r.want = (struct got){.share = share[0], .spurious = spurious};
    check(&r);
    r = row("10 ms of jitter, reordering", 0, f);
    for (unsigned i = 0; i < 2; i++) {
        r.way[i].jitter_us = 10000;
        r.way[i].reorder = 1;
    }
    r.want = (struct got){.share = share[1], .spurious = spurious};
    check(&r);
    r = row("10 % twice", 0, f);
    r.way[0].dup_ppm = r.way[1].dup_ppm = 100000;
    r.want = (struct got){.share = share[2], .spurious = spurious};
    check(&r);
}

static void test_strange_paths(void **state)
{
    (void)state;
    check_strange_paths(traffic_flow(APP_BULK), (const double[]){94, 97, 97}, 2);
}

static struct row slow_row(unsigned i)
{
    struct row r = rate_row("10 Mbit/s, 300 ms", losses[i], 10, 150);

    r.warm_s = 8;
    r.time_s = 20;
    return r;
}

static struct row fast_row(unsigned i)
{
    struct row r = rate_row("500 Mbit/s, 20 ms", losses[i], 500, 10);

    r.time_s = 3;
    r.seeds = 3;
    return r;
}

static void test_slow(void **state)
{
    static const struct got want[] = {{.share = 95, .wire = 1.11},
                                      {.share = 95, .wire = 1.16},
                                      {.share = 95, .wire = 1.23},
                                      {.share = 95, .wire = 1.29},
                                      {.share = 93, .wire = 1.46}};

    (void)state;
    each_loss(slow_row, want);
}

static void test_fast(void **state)
{
    static const struct got want[] = {{.share = 96, .wire = 1.10},
                                      {.share = 96, .wire = 1.16},
                                      {.share = 96, .wire = 1.22},
                                      {.share = 96, .wire = 1.28},
                                      {.share = 94, .wire = 1.45}};

    (void)state;
    each_loss(fast_row, want);
}

/* What one bulk flow gets in the two seconds that begin so long after the path has changed. */
static struct row change_row(const char *name, double loss, struct flow_params f, double after_s)
{
    struct row r = row(name, loss, f);

    r.warm_s = 5 + after_s;
    r.time_s = 2;
    r.n_changes = 1;
    r.change[0] = (struct link_change){.at_us = 5000000, .ways = 3};
    r.want = (struct got){.share = 80};
    return r;
}

static void check_changes(struct flow_params f, double after_s)
{
    struct row r = change_row("100 to 20 Mbit/s", 0, f, after_s);

    r.mbit = 20;
    r.change[0].field = offsetof(struct link_params, rate);
    r.change[0].value = 20 * 1000 * 1000;
    check(&r);
    r = change_row("20 to 100 Mbit/s", 0, f, after_s);
    r.way[0].rate = r.way[1].rate = 20 * 1000 * 1000;
    r.change[0].field = offsetof(struct link_params, rate);
    r.change[0].value = 100 * 1000 * 1000;
    check(&r);
    r = change_row("20 to 200 ms", 0, f, after_s);
    r.way[0].delay_us = r.way[1].delay_us = 10000;
    r.change[0].field = offsetof(struct link_params, delay_us);
    r.change[0].value = 100000;
    r.want.share = 95;
    check(&r);
    r = change_row("1 to 20 % loss", 1, f, after_s);
    r.loss = 20;
    r.change[0].field = offsetof(struct link_params, loss_ppm);
    r.change[0].value = 200000;
    r.want.share = f.kcptun ? 70 : 80; /* a kcptun's window holds less in the end as well */
    check(&r);
    r = change_row("2 s of nothing", 0, f, after_s);
    r.change[0].field = offsetof(struct link_params, loss_ppm);
    r.change[0].value = LINK_PPM;
    r.change[1] = r.change[0];
    r.change[1].at_us = 7000000;
    r.change[1].value = 0;
    r.n_changes = 2;
    r.warm_s += 2;
    check(&r);
}

static void test_changes(void **state)
{
    (void)state;
    check_changes(traffic_flow(APP_BULK), 1.5);
}

static struct row kcptun_row(unsigned i)
{
    return row("to kcptun, 4096", losses[i], to_kcptun(4096));
}

static struct row kcptun_small_row(unsigned i)
{
    return row("to kcptun, 1024", losses[i], to_kcptun(1024));
}

/* `conn = 4`: what the window of one session cannot hold, four can. */
static struct row kcptun_four_row(unsigned i)
{
    struct row r = row("to kcptun, 4 x 1024", losses[i], to_kcptun(1024));

    r.n_flows = 4;
    r.flow[0].sp[0].abreast = 4;
    for (unsigned k = 1; k < r.n_flows; k++)
        r.flow[k] = r.flow[0];
    return r;
}

static void test_kcptun(void **state)
{
    static const struct got want[] = {
        {95, 1.10, 15, 35, .spurious = 5}, {95, 1.15, 15, 35, .spurious = 5}, {95, 1.22, 15, 35, .spurious = 5},
        {91, 1.30, 15, 35, .spurious = 5}, {82, 1.65, 15, 35, .spurious = 5},
    };
    static const struct got small[] = {{.share = 92, .wire = 1.15},
                                       {.share = 78, .wire = 1.35},
                                       {.share = 65, .wire = 1.45},
                                       {.share = 52, .wire = 1.55},
                                       {.share = 38, .wire = 2.0}};
    static const struct got four[] = {
        {95, 1.10, 15, 35, .spurious = 5}, {95, 1.15, 15, 35, .spurious = 5}, {95, 1.22, 15, 35, .spurious = 5},
        {92, 1.30, 18, 40, .spurious = 5}, {75, 1.73, 20, 45, .spurious = 5},
    };

    (void)state;
    each_loss(kcptun_row, want);
    each_loss(kcptun_small_row, small);
    each_loss(kcptun_four_row, four);
}

static void test_kcptun_paths(void **state)
{
    (void)state;
    check_strange_paths(to_kcptun(4096), (const double[]){90, 95, 97}, 5);
    check_changes(to_kcptun(4096), 2.5);
}

static struct row echo_row(unsigned i)
{
    struct row r = row("echo", losses[i], traffic_flow(APP_ECHO));

    r.time_s = losses[i] < 20 ? 60 : 300; /* at 20 % what decides is rare: five seeds still lie within 135 to 155 */
    return r;
}

/* Copies stay within three times the bytes of the same flow without them, and where nothing is lost there are none. */
static void test_echo(void **state)
{
    static const struct {
        double p99, times;
    } most[] = {{103, 1.12}, {108, 2.2}, {112, 2.8}, {127, 3.0}, {158, 3.0}};

    (void)state;
    for (unsigned i = 0; i < LEN(most); i++) {
        struct row r = echo_row(i), bare = r;
        double times;

        r.want = (struct got){.p99 = most[i].p99};
        check(&r);
        for (unsigned k = 0; k < 2; k++)
            bare.flow[0].sp[k].redundancy = 1;
        times = mean(&r).bytes / mean(&bare).bytes;
        print_message("  %.2f times the bytes of the same flow without copies\n", times);
        if (times > most[i].times)
            fail_msg("%g %%: %.2f times the bytes of the same flow without copies", losses[i], times);
    }
}

static void check_echo_beside_bulk(const char *name, struct flow_params f, double p99)
{
    struct row r = row(name, 1, f);

    r.n_flows = 2;
    r.flow[1] = f;
    r.flow[1].apps = APP_ECHO;
    r.time_s = 30;
    r.want = (struct got){.share = 95, .p99 = p99};
    check(&r);
}

static void test_echo_beside_bulk(void **state)
{
    (void)state;
    check_echo_beside_bulk("echo beside bulk, own session, 1 %", traffic_flow(APP_BULK), 130);
    check_echo_beside_bulk("the same to kcptun", to_kcptun(4096), 160);
}

static struct row mixed_row(const char *name, unsigned bulk)
{
    struct row r = row(name, 1, traffic_flow(bulk | APP_ECHO));

    r.warm_s = 4; /* the loss must be known first */
    r.time_s = 30;
    r.want = (struct got){.share = 73, .wire = 1.45, .p99 = 135};
    return r;
}

/* All parity there is, at the cost of bulk; none is sent while bulk is alone (test_bulk). */
static void test_echo_within_bulk(void **state)
{
    struct row r = mixed_row("echo and bulk in one session, 1 %", APP_BULK);

    (void)state;
    check(&r);
    r = mixed_row("echo and a download in one, 1 %", APP_DOWN);
    check(&r);
}

/* One session carries bulk, there or here, and tells of it as a client's does. The place of an echo that begins after us. */
static unsigned place_beside(unsigned app, uint64_t us)
{
    const struct row r = row("bulk", 1, traffic_flow(app));
    struct deal *d = deal_new(1, DEAL_EXTRA);
    struct deal_meter m = {0};
    static struct traffic t;
    uint64_t seen = 0;
    unsigned place;

    traffic_init(&t, 1, r.way, r.flow, 1);
    while (tick_since_us(t.now, t.start) < us) {
        traffic_run(&t, 10000);
        deal_meter_add(&m, t.flow[0].received - seen, t.now);
        seen = t.flow[0].received;
        deal_tell(d, 0, t.start, m.loud_until);
    }
    place = deal_choose(d, 1, t.now);
    traffic_fini(&t);
    deal_free(d);
    return place;
}

/* Bulk is told as such within half a second, so the row before is what an interactive stream gets by itself. */
static void test_echo_finds_its_session(void **state)
{
    (void)state;
    assert_int_equal(place_beside(APP_ECHO, 1500000), 0);
    assert_int_equal(place_beside(APP_BULK, 500000), 1);
    assert_int_equal(place_beside(APP_DOWN, 500000), 1);
}

static void check_two(const char *name, struct flow_params f)
{
    struct row r = row(name, 0, f);

    r.n_flows = 2;
    r.flow[1] = f;
    r.flow[1].start_us = 1000000;
    r.time_s = 60;
    r.want = (struct got){.smaller = 0.75};
    check(&r);
}

static void test_two(void **state)
{
    (void)state;
    check_two("two flows", traffic_flow(APP_BULK));
    check_two("two flows to kcptun", to_kcptun(4096));
}

static void test_thin_way_back(void **state)
{
    struct row r = row("100 down, 2 up, 5 %", 5, traffic_flow(APP_BULK));

    (void)state;
    r.way[1].rate = 2 * 1000 * 1000;
    r.time_s = 8;
    r.want = (struct got){.share = 87};
    check(&r);
}

static const struct {
    const char *name;
    const struct CMUnitTest tests[4];
    size_t n;
} groups[] = {
    {"bulk", {cmocka_unit_test(test_bulk), cmocka_unit_test(test_strange_paths)}, 2},
    {"rates", {cmocka_unit_test(test_slow), cmocka_unit_test(test_fast)}, 2},
    {"changes", {cmocka_unit_test(test_changes), cmocka_unit_test(test_thin_way_back)}, 2},
    {"kcptun", {cmocka_unit_test(test_kcptun), cmocka_unit_test(test_kcptun_paths)}, 2},
    {"thin",
     {cmocka_unit_test(test_echo), cmocka_unit_test(test_echo_beside_bulk),
      cmocka_unit_test(test_echo_finds_its_session), cmocka_unit_test(test_echo_within_bulk)},
     4},
    {"two", {cmocka_unit_test(test_two)}, 1},
};

int main(int argc, char **argv)
{
    if (crypto_init())
        return 1;
    for (size_t i = 0; i < LEN(groups); i++)
        if (argc > 1 && !strcmp(argv[1], groups[i].name))
            return _cmocka_run_group_tests(groups[i].name, groups[i].tests, groups[i].n, NULL, NULL);
    fprintf(stderr, "usage: test_sender bulk|rates|changes|kcptun|thin|two\n");
    return 2;
}
