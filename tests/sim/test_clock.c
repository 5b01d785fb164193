/* tests/sim/test_clock.c - what a session does does not depend on what time it is at either end: its clock is 32 bits of
 * milliseconds on the wire, wraps every 49.7 days, and the ends began theirs at different times.
 * Each run is repeated with clocks that are further by a multiple of whatever grid the session puts things on, and must then
 * go the same way to the last byte. */
#include "crypto/kdf.h"
#include "tests/sim/traffic.h"

/* grid: of 4096 us (the log of queues), 16 ms (intervals) and 250 ms (keepalives). */
static const uint64_t wrap_us = (UINT64_C(1) << 32) * 1000, second_us = 1000000, grid_us = 64 * 1000 * 1000;

/* What a run came to. */
struct sum {
    uint64_t received, in[2], in_bytes[2], retrans, spurious;
    uint64_t n_echo, thrift[2];
};

static struct flow_params to_kcptun(unsigned apps)
{
    return traffic_to_kcptun(apps, 4096);
}

static struct flow_params named(unsigned apps)
{
    struct flow_params f = traffic_flow(apps);

    for (unsigned i = 0; i < 2; i++) {
        f.sp[i].adaptive = false;
        f.sp[i].pacing = true;
        f.sp[i].nodelay = 1;
        f.sp[i].interval_ms = 16; /* its multiples go on through a wrap */
        f.sp[i].resend = 2;
        f.sp[i].snd_wnd = f.sp[i].rcv_wnd = 512;
    }
    return f;
}

static struct sum run(struct flow_params f, uint64_t ahead0, uint64_t ahead1)
{
    const struct link_params way[2] = {traffic_path(5), traffic_path(5)};
    static struct traffic t;
    struct sum sum = {0};

    f.ahead_us[0] = ahead0;
    f.ahead_us[1] = ahead1;
    traffic_init(&t, 1, way, &f, 1);
    traffic_run(&t, 5 * second_us);
    sum.received = t.flow[0].received;
    sum.n_echo = t.flow[0].n_echo;
    for (unsigned i = 0; i < 2; i++) {
        const struct node *n = &t.flow[0].node[i];
        struct session_info info = {0};

        sum.in[i] = t.way[i].n.in;
        sum.in_bytes[i] = t.way[i].n.in_bytes;
        sum.retrans += n->stats.retrans_segs;
        sum.spurious += n->stats.spurious_segs;
        if (n->s)
            session_info(n->s, &info, tick_add_us(t.now, f.ahead_us[i]));
        sum.thrift[i] = info.ack_thrift;
    }
    traffic_fini(&t);
    return sum;
}

static void check(const char *name, struct flow_params f, uint64_t ahead0, uint64_t ahead1)
{
    const struct sum want = run(f, ahead0 % grid_us, ahead1 % grid_us), got = run(f, ahead0, ahead1);

    assert_true(want.received || want.n_echo);
    if (memcmp(&want, &got, sizeof got))
        fail_msg("%s, clocks ahead by %.3f and %.3f s: %.0f bytes and %.0f messages instead of %.0f and %.0f, %.0f "
                 "datagrams "
                 "and %.0f back instead of %.0f and %.0f",
                 name, (double)ahead0 / 1e6, (double)ahead1 / 1e6, (double)got.received, (double)got.n_echo,
                 (double)want.received, (double)want.n_echo, (double)got.in[0], (double)got.in[1], (double)want.in[0],
                 (double)want.in[1]);
}

static const struct {
    const char *name;
    struct flow_params (*make)(unsigned apps);
    unsigned apps;
} flows[] = {
    {"bulk", traffic_flow, APP_BULK},         {"download and echo", traffic_flow, APP_DOWN | APP_ECHO},
    {"echo", traffic_flow, APP_ECHO},         {"to kcptun", to_kcptun, APP_BULK},
    {"a named mode, paced", named, APP_BULK},
};

/* The clock of either end, or of both, wraps in the middle of a run, which begins at 5 s. */
static void test_wrap(void **state)
{
    const uint64_t late = wrap_us - 7 * second_us;

    (void)state;
    for (size_t i = 0; i < LEN(flows); i++) {
        check(flows[i].name, flows[i].make(flows[i].apps), late, 0);
        check(flows[i].name, flows[i].make(flows[i].apps), 0, late);
        check(flows[i].name, flows[i].make(flows[i].apps), late, late + second_us);
    }
}

/* Half of the range lies between the clocks, more or less the time that a datagram takes. */
static void test_half_way_round(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(flows); i++)
        for (uint64_t way_ms = 45; way_ms <= 65; way_ms += 10) {
            check(flows[i].name, flows[i].make(flows[i].apps), wrap_us / 2 - way_ms * 1000, 0);
            check(flows[i].name, flows[i].make(flows[i].apps), 0, wrap_us / 2 - way_ms * 1000);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_half_way_round),
    };

    if (crypto_init())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
