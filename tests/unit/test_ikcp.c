/* tests/unit/test_ikcp.c - the face against recordings of the reference, C 2.1.1: every result, every member, every byte
 * on the wire, every congestion-control callback. */
#include "core/ikcp.h"
#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>

static struct ran { /* what is being replayed, for messages */
    const char *scenario;
    size_t event;
} at;

/* Outputs not yet compared with an `output` event. */
struct emitted {
    int ep;
    uint32_t t;
    size_t len;
    uint8_t data[1500];
};
static struct emitted emitted[512];
static size_t n_emitted, n_compared;
static ikcpcb *kcp_of[2];
static long long n_out[2];

static int on_output(const char *buf, int len, ikcpcb *kcp, void *user)
{
    struct emitted *e = &emitted[n_emitted++];

    assert_true(n_emitted <= LEN(emitted) && len <= 1500);
    e->ep = (int)(intptr_t)user;
    e->t = kcp->current;
    e->len = (size_t)len;
    memcpy(e->data, buf, (size_t)len);
    return 0;
}

#define MEMBER(name)                                                                                                   \
    {                                                                                                                  \
#name, offsetof(ikcpcb, name)                                                                                  \
    }
static const struct {
    const char *name;
    size_t at;
} members[] = {
    MEMBER(snd_una),  MEMBER(snd_nxt),   MEMBER(rcv_nxt),    MEMBER(cwnd),   MEMBER(ssthresh), MEMBER(incr),
    MEMBER(rmt_wnd),  MEMBER(rx_srtt),   MEMBER(rx_rttval),  MEMBER(rx_rto), MEMBER(nsnd_buf), MEMBER(nsnd_que),
    MEMBER(nrcv_buf), MEMBER(nrcv_que),  MEMBER(probe_wait), MEMBER(xmit),   MEMBER(state),    MEMBER(fastlimit),
    MEMBER(stream),   MEMBER(rx_minrto), MEMBER(interval),
};

static uint32_t *member(ikcpcb *kcp, const char *name)
{
    for (size_t i = 0; i < LEN(members); i++)
        if (!strcmp(members[i].name, name))
            return (uint32_t *)(void *)((char *)kcp + members[i].at);
    return NULL;
}

static void same(const char *what, long long got, long long want)
{
    if (got != want)
        fail_msg("%s, event %zu: %s is %lld, want %lld", at.scenario, at.event, what, got, want);
}

static void check_state(ikcpcb *kcp, const json_t *e)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)(uintptr_t)e, key, v)
    {
        const uint32_t *m = member(kcp, key);

        if (!m && strcmp(key, "op") != 0 && strcmp(key, "ep") != 0)
            fail_msg("no member %s", key);
        if (m)
            same(key, *m, (uint32_t)json_integer_value(v));
    }
}

static void check_output(const json_t *e)
{
    const struct emitted *g = &emitted[n_compared++];
    struct bytes want = vec_hex(e, "data");

    if (n_compared > n_emitted)
        fail_msg("%s, event %zu: nothing was sent", at.scenario, at.event);
    same("endpoint", g->ep, vec_int(e, "ep"));
    same("clock", g->t, vec_int(e, "t"));
    same("n", n_out[g->ep]++, vec_int(e, "n"));
    assert_bytes(bytes_of(g->data, g->len), want, at.scenario);
    vec_free(want);
}

static void op_create(const json_t *e)
{
    long long ep = vec_int(e, "ep");
    ikcpcb *kcp = ikcp_create((IUINT32)vec_int(e, "conv"), (void *)(intptr_t)ep);

    assert_non_null(kcp);
    ikcp_setoutput(kcp, on_output);
    kcp_of[ep] = kcp;
    n_out[ep] = 0;
}

static void op_config(ikcpcb *kcp, const json_t *e)
{
    same("setmtu", ikcp_setmtu(kcp, (int)vec_int(e, "mtu")), vec_int(e, "setmtu_ret"));
    same("wndsize", ikcp_wndsize(kcp, (int)vec_int(e, "sndwnd"), (int)vec_int(e, "rcvwnd")), 0);
    same("nodelay",
         ikcp_nodelay(kcp, (int)vec_int(e, "nodelay"), (int)vec_int(e, "interval"), (int)vec_int(e, "resend"),
                      (int)vec_int(e, "nc")),
         0);
    kcp->stream = (int)vec_int(e, "stream");
}

static void op_send(ikcpcb *kcp, const json_t *e)
{
    size_t len = (size_t)vec_int(e, "len");
    struct bytes data = strcmp(vec_str(e, "data"), "omitted") ? vec_hex(e, "data") : bytes_of(calloc(1, len), len);

    same("send", ikcp_send(kcp, (const char *)data.p, (int)len), vec_int(e, "ret"));
    vec_free(data);
}

static void op_input(ikcpcb *kcp, const json_t *e)
{
    struct bytes data = vec_hex(e, "data");

    same("input", ikcp_input(kcp, (const char *)data.p, (long)data.len), vec_int(e, "ret"));
    vec_free(data);
}

static void op_recv(ikcpcb *kcp, const json_t *e)
{
    int len = (int)vec_int(e, "buflen"), room = abs(len), r;
    char *buf = malloc((size_t)room + 1);
    struct bytes want = vec_hex(e, "data");

    r = ikcp_recv(kcp, buf, len);
    same("recv", r, vec_int(e, "ret"));
    if (r >= 0)
        assert_bytes(bytes_of(buf, (size_t)r), want, "received");
    vec_free(want);
    free(buf);
}

static void op_update_range(const json_t *e)
{
    uint32_t step = (uint32_t)vec_int(e, "step");

    for (long long t = vec_int(e, "from"); t <= vec_int(e, "to"); t += step)
        for (size_t i = 0; i < json_array_size(vec_get(e, "eps")); i++)
            ikcp_update(kcp_of[json_integer_value(json_array_get(vec_get(e, "eps"), i))], (IUINT32)t);
}

/* Calls the operation of one event. */
static void run_op(const char *op, const json_t *e)
{
    ikcpcb *kcp = json_object_get(e, "ep") ? kcp_of[vec_int(e, "ep")] : NULL;

    if (!strcmp(op, "create"))
        op_create(e);
    else if (!strcmp(op, "config"))
        op_config(kcp, e);
    else if (!strcmp(op, "set"))
        *member(kcp, vec_str(e, "field")) = (uint32_t)vec_int(e, "value");
    else if (!strcmp(op, "send"))
        op_send(kcp, e);
    else if (!strcmp(op, "update"))
        ikcp_update(kcp, (IUINT32)vec_int(e, "t"));
    else if (!strcmp(op, "update_range"))
        op_update_range(e);
    else if (!strcmp(op, "flush"))
        ikcp_flush(kcp);
    else if (!strcmp(op, "input"))
        op_input(kcp, e);
    else if (!strcmp(op, "recv"))
        op_recv(kcp, e);
    else if (!strcmp(op, "peeksize"))
        same(op, ikcp_peeksize(kcp), vec_int(e, "ret"));
    else if (!strcmp(op, "waitsnd"))
        same(op, ikcp_waitsnd(kcp), vec_int(e, "ret"));
    else if (!strcmp(op, "check"))
        same(op, ikcp_check(kcp, (IUINT32)vec_int(e, "t")), vec_int(e, "ret"));
    else if (!strcmp(op, "state"))
        check_state(kcp, e);
    else if (strcmp(op, "lost") != 0 && strcmp(op, "note") != 0)
        fail_msg("unknown operation %s", op);
}

static void replay(const json_t *scenario)
{
    json_t *events = vec_get(scenario, "events");

    at.scenario = vec_str(scenario, "name");
    n_emitted = n_compared = 0;
    for (at.event = 0; at.event < json_array_size(events); at.event++) {
        const json_t *e = json_array_get(events, at.event);
        const char *op = vec_str(e, "op");

        if (!strcmp(op, "output")) {
            check_output(e);
            continue;
        }
        if (n_compared != n_emitted)
            fail_msg("%s, event %zu: sent more than expected", at.scenario, at.event);
        n_emitted = n_compared = 0;
        run_op(op, e);
    }
    same("datagrams", (long long)n_emitted, (long long)n_compared);
    for (int i = 0; i < 2; i++)
        if (kcp_of[i])
            ikcp_release(kcp_of[i]);
    kcp_of[0] = kcp_of[1] = NULL;
}

static void test_exchanges(void **state)
{
    json_t *doc = vec_load("kcp_c_2.1.1.json"), *list = vec_get(doc, "scenarios");

    (void)state;
    for (size_t i = 0; i < json_array_size(list); i++)
        replay(json_array_get(list, i));
    assert_int_equal(json_array_size(list), 19);
    json_decref(doc);
}

/* Congestion-control callbacks: one flat list; a callback or an output takes the next event. */
static json_t *cc_events;
static ikcpcb *cc_kcp;

static const json_t *cc_next(const char *op)
{
    const json_t *e = json_array_get(cc_events, at.event);

    if (!e || strcmp(vec_str(e, "op"), op) != 0)
        fail_msg("event %zu: %s came, want %s", at.event, op, e ? json_dumps(e, 0) : "the end");
    at.event++;
    return e;
}

static const json_t *cc_cb(const char *name)
{
    const json_t *e = cc_next("cb");

    if (strcmp(vec_str(e, "name"), name) != 0)
        fail_msg("event %zu: callback %s came, want %s", at.event - 1, name, vec_str(e, "name"));
    return e;
}

static int cc_init(ikcpcb *kcp)
{
    const json_t *e = cc_cb("init");

    kcp->cwnd = (IUINT32)vec_int(e, "sets_cwnd");
    return (int)vec_int(e, "ret");
}

static void cc_release(ikcpcb *kcp)
{
    (void)kcp;
    cc_cb("release");
}

static void cc_on_ack(ikcpcb *kcp, IUINT32 segs, IUINT32 bytes, IUINT32 prior)
{
    const json_t *e = cc_cb("on_ack");

    (void)kcp;
    same("acked_segs", segs, vec_int(e, "acked_segs"));
    same("acked_bytes", bytes, vec_int(e, "acked_bytes"));
    same("prior_in_flight", prior, vec_int(e, "prior_in_flight"));
}

static void cc_on_fast(ikcpcb *kcp, IUINT32 count, IUINT32 inflight, IUINT32 prior_cwnd)
{
    const json_t *e = cc_cb("on_fast_retransmit");

    (void)kcp;
    same("count", count, vec_int(e, "fast_retrans"));
    same("inflight", inflight, vec_int(e, "inflight"));
    same("prior_cwnd", prior_cwnd, vec_int(e, "prior_cwnd"));
}

static void cc_on_timeout(ikcpcb *kcp, IUINT32 prior_cwnd)
{
    (void)kcp;
    same("prior_cwnd", prior_cwnd, vec_int(cc_cb("on_timeout"), "prior_cwnd"));
}

static void cc_on_tick(ikcpcb *kcp)
{
    (void)kcp;
    cc_cb("on_tick");
}

static void cc_on_app_limited(ikcpcb *kcp, IUINT32 inflight)
{
    (void)kcp;
    same("inflight", inflight, vec_int(cc_cb("on_app_limited"), "inflight"));
}

static void cc_on_rtt(ikcpcb *kcp, IINT32 rtt)
{
    const json_t *e = cc_cb("on_rtt");

    same("rtt", rtt, vec_int(e, "rtt"));
    same("rx_srtt", kcp->rx_srtt, vec_int(e, "rx_srtt"));
    same("rx_rto", kcp->rx_rto, vec_int(e, "rx_rto"));
}

static void cc_on_sent(ikcpcb *kcp, IUINT32 sn, IUINT32 ts, IUINT32 len, IUINT32 inflight, IUINT32 xmit)
{
    const json_t *e = cc_cb("on_pkt_sent");

    (void)kcp;
    same("sn", sn, vec_int(e, "sn"));
    same("ts", ts, vec_int(e, "ts"));
    same("len", len, vec_int(e, "len"));
    same("inflight", inflight, vec_int(e, "inflight"));
    same("xmit", xmit, vec_int(e, "xmit"));
}

static void cc_on_acked(ikcpcb *kcp, IUINT32 sn, IUINT32 ts, IUINT32 len, IINT32 rtt, IUINT32 xmit)
{
    const json_t *e = cc_cb("on_pkt_acked");

    (void)kcp;
    same("sn", sn, vec_int(e, "sn"));
    same("ts", ts, vec_int(e, "ts"));
    same("len", len, vec_int(e, "len"));
    same("rtt", rtt, vec_int(e, "rtt"));
    same("xmit", xmit, vec_int(e, "xmit"));
}

static IUINT32 cc_pacing_rate(ikcpcb *kcp)
{
    (void)kcp;
    return (IUINT32)vec_int(cc_cb("pacing_rate"), "returns");
}

static int cc_output(const char *buf, int len, ikcpcb *kcp, void *user)
{
    const json_t *e = cc_next("output");
    struct bytes want = vec_hex(e, "data");

    (void)user;
    same("clock", kcp->current, vec_int(e, "t"));
    assert_bytes(bytes_of(buf, (size_t)len), want, "output");
    vec_free(want);
    return 0;
}

static const struct IKCPOPS cc_ops = {
    .name = "traced",
    .init = cc_init,
    .release = cc_release,
    .on_ack = cc_on_ack,
    .on_fast_retransmit = cc_on_fast,
    .on_timeout = cc_on_timeout,
    .on_tick = cc_on_tick,
    .on_app_limited = cc_on_app_limited,
    .on_rtt = cc_on_rtt,
    .on_pkt_sent = cc_on_sent,
    .on_pkt_acked = cc_on_acked,
    .pacing_rate = cc_pacing_rate,
};

/* A header-only segment, as input_begin describes it; input_end has the result. */
static void cc_input(const json_t *e)
{
    uint8_t seg[24] = {5, 0, 0, 0, (uint8_t)vec_int(e, "cmd"), 0, (uint8_t)vec_int(e, "wnd")};
    const uint32_t field[] = {(uint32_t)vec_int(e, "ts"), (uint32_t)vec_int(e, "sn"), (uint32_t)vec_int(e, "una")};
    int r;

    for (int i = 0; i < 12; i++)
        seg[8 + i] = (uint8_t)(field[i / 4] >> (8 * (i % 4)));
    r = ikcp_input(cc_kcp, (const char *)seg, sizeof seg);
    same("input", r, vec_int(cc_next("input_end"), "ret"));
}

static void cc_send(const json_t *e)
{
    char data[100];

    memset(data, (int)vec_int(e, "byte"), sizeof data);
    same("send", ikcp_send(cc_kcp, data, (int)vec_int(e, "len")), vec_int(e, "ret"));
}

static void cc_set(const struct IKCPOPS *ops)
{
    int r = ikcp_setcc(cc_kcp, ops);

    same("setcc", r, vec_int(cc_next("setcc_ret"), "ret"));
}

static void test_ccops(void **state)
{
    json_t *doc = vec_load("kcp_c_2.1.1_ccops.json");

    (void)state;
    cc_events = vec_get(doc, "events");
    cc_kcp = ikcp_create(5, NULL);
    cc_kcp->output = cc_output;
    ikcp_setmtu(cc_kcp, 100);
    ikcp_wndsize(cc_kcp, 64, 128);
    ikcp_nodelay(cc_kcp, 1, 10, 2, 1);
    at = (struct ran){"ccops", 0};
    while (at.event < json_array_size(cc_events)) {
        const json_t *e = json_array_get(cc_events, at.event++);
        const char *op = vec_str(e, "op");

        if (!strcmp(op, "setcc"))
            cc_set(&cc_ops);
        else if (!strcmp(op, "setcc_null"))
            cc_set(NULL);
        else if (!strcmp(op, "send"))
            cc_send(e);
        else if (!strcmp(op, "update"))
            ikcp_update(cc_kcp, (IUINT32)vec_int(e, "t"));
        else if (!strcmp(op, "input_begin"))
            cc_input(e);
        else if (!strcmp(op, "state"))
            check_state(cc_kcp, e);
        else if (!strcmp(op, "note"))
            cc_kcp->cwnd = 20; /* the traced algorithm opened its window here */
        else
            fail_msg("event %zu: %s should have happened before", at.event - 1, json_dumps(e, 0));
    }
    assert_null(cc_kcp->ccops);
    ikcp_release(cc_kcp);
    json_decref(doc);
}

static int refuse(ikcpcb *kcp)
{
    kcp->cwnd = 0;
    return -1;
}

static void test_refused_algorithm(void **state)
{
    static const struct IKCPOPS no = {.name = "no", .init = refuse};
    ikcpcb *kcp = ikcp_create(1, NULL);

    (void)state;
    assert_int_equal(ikcp_setcc(kcp, &no), -1);
    assert_null(kcp->ccops);
    assert_int_equal(kcp->cwnd, 1);
    assert_int_equal(kcp->incr, kcp->mss);
    ikcp_release(kcp);
}

static size_t n_alloc, n_free, fail_at;

static void *counted_alloc(size_t n)
{
    if (fail_at && !--fail_at)
        return NULL;
    n_alloc++;
    return malloc(n);
}

static void counted_free(void *p)
{
    assert_non_null(p);
    n_free++;
    free(p);
}

static int to_peer(const char *buf, int len, ikcpcb *kcp, void *user)
{
    (void)kcp;
    return ikcp_input(user, buf, len);
}

/* Everything comes from the hooks and goes back, whichever allocation fails; what arrives is what was sent. */
static void test_allocator(void **state)
{
    (void)state;
    ikcp_allocator(counted_alloc, counted_free);
    for (size_t n = 1; n < 60; n++) {
        ikcpcb *a, *b;
        char msg[5000], got[5000];

        n_alloc = n_free = 0;
        fail_at = n;
        b = ikcp_create(9, NULL);
        a = ikcp_create(9, b);
        if (a && b) {
            a->output = to_peer;
            ikcp_nodelay(a, 1, 10, 2, 1);
            memset(msg, 'm', sizeof msg);
            ikcp_send(a, msg, sizeof msg);
            a->stream = 1;
            ikcp_send(a, msg, 10);
            ikcp_send(a, msg, 10);
            for (IUINT32 t = 0; t < 2000; t += 10) {
                ikcp_update(a, t);
                ikcp_update(b, t);
                for (int r; (r = ikcp_recv(b, got, sizeof got)) > 0;)
                    assert_memory_equal(got, msg, (size_t)r);
            }
        }
        if (a)
            ikcp_release(a);
        if (b)
            ikcp_release(b);
        assert_int_equal(n_alloc, n_free);
    }
    ikcp_allocator(NULL, NULL);
}

/* A stream arrives segment by segment: no piece waits for the ones behind it. */
static void test_stream(void **state)
{
    ikcpcb *b = ikcp_create(9, NULL), *a = ikcp_create(9, b);
    char data[3000], got[5000];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)i;
    a->output = to_peer;
    a->stream = 1;
    ikcp_nodelay(a, 1, 10, 0, 1);
    assert_int_equal(ikcp_send(a, data, 1000), 1000);
    assert_int_equal(ikcp_send(a, data + 1000, 2000), 2000);
    assert_int_equal(ikcp_waitsnd(a), 3);
    ikcp_update(a, 10);
    assert_int_equal(ikcp_recv(b, got, sizeof got), 1376);
    assert_int_equal(ikcp_recv(b, got + 1376, 3000), 1376);
    assert_int_equal(ikcp_recv(b, got + 2752, 2000), 248);
    assert_memory_equal(got, data, sizeof data);
    ikcp_release(a);
    ikcp_release(b);
}

static char logged[64][256];
static size_t n_logged;

static void keep_line(const char *line, ikcpcb *kcp, void *user)
{
    (void)kcp;
    (void)user;
    snprintf(logged[n_logged++ % LEN(logged)], sizeof logged[0], "%s", line);
}

static void test_log(void **state)
{
    char big[3000];
    ikcpcb *a = ikcp_create(3, NULL), *b = ikcp_create(3, a);

    (void)state;
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    a->user = b;
    a->output = b->output = to_peer;
    a->writelog = keep_line;
    ikcp_log(a, IKCP_LOG_SEND, "%s", big);
    assert_int_equal(n_logged, 0);
    a->logmask = 0xfff;
    ikcp_log(a, IKCP_LOG_SEND, "%s", big);
    assert_int_equal(n_logged, 1);
    ikcp_nodelay(a, 1, 10, 0, 1);
    ikcp_send(a, big, 100);
    ikcp_update(a, 10);
    ikcp_update(b, 10);
    assert_true(n_logged >= 5);
    assert_non_null(strstr(logged[3], "output push: sn=0 ts=10"));
    assert_non_null(strstr(logged[n_logged - 1], "input ack: sn=0"));
    ikcp_release(a);
    ikcp_release(b);
}

static void test_limits(void **state)
{
    ikcpcb *kcp = ikcp_create(0xfffefdfc, NULL);
    const uint8_t raw[4] = {0xfc, 0xfd, 0xfe, 0xff};

    (void)state;
    assert_int_equal(ikcp_getconv(raw), 0xfffefdfc);
    assert_int_equal(ikcp_setmtu(kcp, 49), -1);
    assert_int_equal(ikcp_setmtu(kcp, 65536), -1);
    assert_int_equal(ikcp_setmtu(kcp, 9000), 0);
    assert_int_equal(kcp->mss, 8976);
    assert_int_equal(ikcp_wndsize(kcp, 7, 7), 0);
    assert_int_equal(kcp->snd_wnd, 7);
    assert_int_equal(kcp->rcv_wnd, 128);
    ikcp_nodelay(kcp, 2, 1, -1, -1);
    assert_int_equal(kcp->interval, 10);
    assert_int_equal(kcp->rx_minrto, 30);
    ikcp_interval(kcp, 9999);
    assert_int_equal(kcp->interval, 5000);
    assert_int_equal(ikcp_send(kcp, NULL, -1), -1);
    assert_int_equal(ikcp_recv(kcp, NULL, -2147483647 - 1), -1);
    assert_int_equal(ikcp_input(kcp, NULL, 100), -1);
    kcp->stream = 1;
    assert_int_equal(ikcp_send(kcp, NULL, 0), 0);
    assert_int_equal(ikcp_waitsnd(kcp), 0);
    /* the tail takes what it can and the rest, 128 segments, is refused */
    assert_int_equal(ikcp_send(kcp, NULL, 76), 76);
    assert_int_equal(ikcp_send(kcp, NULL, 8900 + 127 * 8976 + 1), 8900);
    assert_int_equal(ikcp_waitsnd(kcp), 1);
    ikcp_release(kcp);
}

struct item {
    int n;
    struct IQUEUEHEAD node;
};

static void test_queues(void **state)
{
    IQUEUE_HEAD(head);
    IQUEUE_HEAD(more);
    struct item v[4] = {{.n = 0}, {.n = 1}, {.n = 2}, {.n = 3}}, *it;
    iqueue_head *pos;
    int next = 0;

    (void)state;
    assert_true(iqueue_is_empty(&head));
    iqueue_add_tail(&v[2].node, &head);
    iqueue_add_tail(&v[3].node, &head);
    iqueue_add(&v[1].node, &more);
    iqueue_add(&v[0].node, &more);
    iqueue_splice_init(&more, &head);
    assert_true(iqueue_is_empty(&more));
    iqueue_foreach(it, &head, struct item, node) assert_int_equal(it->n, next++);
    assert_int_equal(next, 4);
    iqueue_del(&v[1].node);
    iqueue_del_init(&v[3].node);
    assert_true(iqueue_is_empty(&v[3].node));
    next = 0;
    iqueue_foreach_entry(pos, &head)
    {
        assert_int_equal(iqueue_entry(pos, struct item, node)->n, next);
        next += 2;
    }
    assert_int_equal(next, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchanges),         cmocka_unit_test(test_ccops),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_refused_algorithm), cmocka_unit_test(test_queues), cmocka_unit_test(test_log),
        cmocka_unit_test(test_allocator),         cmocka_unit_test(test_stream),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
