/* tests/unit/test_go_kcp.c - the model of kcptun's core against recordings of the real ones: every result, every number
 * of its state, every datagram. */
#include "tests/sim/go_kcp.h"
#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>

enum { OUT_MAX = 4096 };

struct player {
    const char *scenario;
    struct go_kcp ep[2];
    uint32_t now;
    struct {
        unsigned ep;
        uint32_t t;
        struct bytes b;
    } out[OUT_MAX]; /* not compared yet */
    unsigned n_out, at_out;
};

static struct player *player;

static void on_output(void *ctx, struct bytes d)
{
    struct player *p = player;

    assert_true(p->n_out < OUT_MAX);
    p->out[p->n_out].ep = ctx == &p->ep[1];
    p->out[p->n_out].t = p->now;
    p->out[p->n_out].b = bytes_of(memcpy(malloc(d.len + 1), d.p, d.len), d.len);
    p->n_out++;
}

static void check_output(struct player *p, const json_t *e)
{
    struct bytes want = vec_hex(e, "data");

    if (p->at_out == p->n_out)
        fail_msg("%s: no datagram at %u", p->scenario, p->now);
    assert_int_equal(p->out[p->at_out].ep, vec_int(e, "ep"));
    assert_int_equal(p->out[p->at_out].t, vec_int(e, "t"));
    assert_bytes(p->out[p->at_out].b, want, p->scenario);
    vec_free(p->out[p->at_out++].b);
    vec_free(want);
}

static void check_state(const struct player *p, const json_t *e)
{
    const struct go_kcp *k = &p->ep[vec_int(e, "ep")];
    const struct {
        const char *name;
        uint32_t value;
    } rows[] = {
        {"cwnd", k->cwnd},
        {"probe_wait", k->probe_wait},
        {"rcv_buf", k->n_rcv_buf},
        {"rcv_nxt", k->rcv_nxt},
        {"rcv_queue", k->rcv_queue.n},
        {"rmt_wnd", k->rmt_wnd},
        {"rx_rto", (uint32_t)k->rto},
        {"rx_rttvar", (uint32_t)k->rttvar},
        {"rx_srtt", (uint32_t)k->srtt},
        {"snd_buf", k->snd_buf.n},
        {"snd_nxt", k->snd_nxt},
        {"snd_queue", k->snd_queue.n},
        {"snd_una", k->snd_una},
        {"ssthresh", k->ssthresh},
        {"state", k->dead ? UINT32_MAX : 0},
    };

    for (size_t i = 0; i < LEN(rows); i++)
        if (json_object_get(e, rows[i].name) && rows[i].value != (uint32_t)vec_int(e, rows[i].name))
            fail_msg("%s at %u: %s is %u, want %lld", p->scenario, p->now, rows[i].name, rows[i].value,
                     vec_int(e, rows[i].name));
}

static void do_config(struct go_kcp *k, const json_t *e)
{
    assert_int_equal(go_kcp_set_mtu(k, (uint32_t)vec_int(e, "mtu")), vec_int(e, "setmtu_ret"));
    go_kcp_nodelay(k, (uint32_t)vec_int(e, "nodelay"), (uint32_t)vec_int(e, "interval"), (uint32_t)vec_int(e, "resend"),
                   vec_int(e, "nc"));
    k->snd_wnd = (uint32_t)vec_int(e, "sndwnd");
    k->rcv_wnd = (uint32_t)vec_int(e, "rcvwnd");
    k->stream = vec_int(e, "stream");
}

static void do_set(struct go_kcp *k, const json_t *e)
{
    uint32_t v = (uint32_t)vec_int(e, "value");
    const char *field = vec_str(e, "field");

    if (!strcmp(field, "snd_una,snd_nxt"))
        k->snd_una = k->snd_nxt = v;
    else if (!strcmp(field, "rcv_nxt"))
        k->rcv_nxt = v;
    else
        fail_msg("set %s", field);
}

static void do_recv(struct go_kcp *k, const json_t *e)
{
    struct bytes want = vec_hex(e, "data");
    uint8_t got[65536];

    assert_int_equal(go_kcp_recv(k, (struct room){got, sizeof got}), vec_int(e, "ret"));
    assert_bytes(bytes_of(got, want.len), want, "recv");
    vec_free(want);
}

static int send_or_input(struct player *p, struct go_kcp *k, const json_t *e, bool is_send)
{
    struct bytes b = vec_hex(e, "data");
    unsigned flags = 0;
    int r;

    if (!is_send && json_is_true(vec_get(e, "regular")))
        flags |= GO_REGULAR;
    if (!is_send && json_is_true(vec_get(e, "ack_nodelay")))
        flags |= GO_ACK_NODELAY;
    r = is_send ? go_kcp_send(k, b) : go_kcp_input(k, b, flags, p->now);
    vec_free(b);
    return r;
}

static void step(struct player *p, const json_t *e, bool newest)
{
    const char *op = vec_str(e, "op");
    struct go_kcp *k = json_object_get(e, "ep") ? &p->ep[vec_int(e, "ep")] : NULL;
    long long ret = json_object_get(e, "ret") ? vec_int(e, "ret") : 0;

    if (!strcmp(op, "output")) {
        check_output(p, e);
        return;
    }
    if (p->at_out != p->n_out)
        fail_msg("%s: a datagram too many at %u, before %s", p->scenario, p->now, op);
    if (!strcmp(op, "create")) {
        go_kcp_fini(k);
        go_kcp_init(k, (uint32_t)vec_int(e, "conv"));
        k->newest = newest;
        k->output = on_output;
        k->ctx = k;
    } else if (!strcmp(op, "clock")) {
        p->now = (uint32_t)vec_int(e, "t");
    } else if (!strcmp(op, "config")) {
        do_config(k, e);
    } else if (!strcmp(op, "set")) {
        do_set(k, e);
    } else if (!strcmp(op, "send") || !strcmp(op, "input")) {
        if (send_or_input(p, k, e, *op == 's') != ret)
            fail_msg("%s: %s at %u", p->scenario, op, p->now);
    } else if (!strncmp(op, "flush_", 6) && strcmp(op, "flush_range") != 0) {
        if (go_kcp_flush(k, !strcmp(op, "flush_ackonly"), p->now) != ret)
            fail_msg("%s: %s at %u: not %lld", p->scenario, op, p->now, ret);
    } else if (!strcmp(op, "flush_range")) {
        for (long long t = vec_int(e, "from"); t <= vec_int(e, "to"); t += vec_int(e, "step")) {
            p->now = (uint32_t)t;
            go_kcp_flush(k, false, p->now);
        }
    } else if (!strcmp(op, "recv")) {
        do_recv(k, e);
    } else if (!strcmp(op, "peeksize")) {
        assert_int_equal(go_kcp_peek_size(k), ret);
    } else if (!strcmp(op, "state")) {
        check_state(p, e);
    } else if (strcmp(op, "lost") != 0 && strcmp(op, "note") != 0) {
        fail_msg("op %s", op);
    }
}

static void replay(const char *file, bool newest)
{
    json_t *doc = vec_load(file), *list = vec_get(doc, "scenarios");

    assert_true(json_array_size(list) >= 20);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *s = json_array_get(list, i), *events = vec_get(s, "events");

        player = calloc(1, sizeof *player);
        player->scenario = vec_str(s, "name");
        for (size_t n = 0; n < json_array_size(events); n++)
            step(player, json_array_get(events, n), newest);
        assert_int_equal(player->at_out, player->n_out);
        go_kcp_fini(&player->ep[0]);
        go_kcp_fini(&player->ep[1]);
        free(player);
    }
    json_decref(doc);
}

static void test_kcptun_20210922(void **state)
{
    (void)state;
    replay("kcp_go_5.6.1.json", false);
}

static void test_newest(void **state)
{
    (void)state;
    replay("kcp_go_newest.json", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kcptun_20210922),
        cmocka_unit_test(test_newest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
