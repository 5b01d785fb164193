/* tests/unit/test_arq_peer.c - the engine as the other end of recorded cores: what each endpoint put on the wire is fed
 * to an engine in its counterpart's place, which sends what the counterpart sent. Checked against a naive receiver:
 * delivered bytes, and the duties of section 15 of the KCP description. */
#include "tests/support/arq_pair.h"

#include <stdlib.h>
#include <string.h>

enum { SN_MAX = 4096, ACKS_MAX = 512 };

/* A receiver as the description has it, with no thought for speed. */
struct naive {
    uint32_t start, nxt, wnd; /* first sn; next in order; window */
    struct bytes seg[SN_MAX]; /* by sn - start */
    bool have[SN_MAX];
    struct arq_ack acks[ACKS_MAX];
    unsigned n_acks;
    bool asked; /* a WASK came */
};

struct play {
    const char *scenario;
    struct arq *a;
    struct naive n;
    uint32_t now, mtu;
    bool ack_all;
    uint8_t *to_send; /* what the counterpart was given to send */
    size_t n_to_send, n_pulled;
    uint8_t *sent; /* what the peer was given to send */
    size_t n_sent, n_got;
};

static int pull(void *ctx, struct arq *a, struct arq_chunk *c)
{
    struct play *p = ctx;
    size_t n = MIN(p->n_to_send - p->n_pulled, arq_mss(a));

    if (!n)
        return ARQ_AGAIN;
    c->own = buf_get((struct buf_pool *)a->mem.ctx);
    memcpy(c->own->mem, p->to_send + p->n_pulled, n);
    c->p = c->own->mem;
    c->len = (uint32_t)n;
    p->n_pulled += n;
    return 0;
}

static void naive_push(struct naive *n, const struct arq_seg *s, const uint8_t *body)
{
    uint32_t i = s->sn - n->start;

    if (!serial_before(s->sn, n->nxt + n->wnd))
        return;
    assert_true(n->n_acks < ACKS_MAX);
    n->acks[n->n_acks++] = (struct arq_ack){s->sn, s->ts};
    if (i >= SN_MAX || n->have[i])
        return;
    n->have[i] = true;
    n->seg[i] = bytes_of(memcpy(malloc(s->len + 1), body, s->len), s->len);
    while (n->have[n->nxt - n->start])
        n->nxt++;
}

static void naive_input(struct naive *n, struct bytes d)
{
    struct rd r = rd_from(d.p, d.len);

    while (rd_left(&r) >= ARQ_HEADER) {
        struct arq_seg s = arq_seg_get(&r);
        const uint8_t *body = rd_take(&r, s.len);

        assert_false(r.bad);
        n->asked |= s.cmd == ARQ_SEG_WASK;
        if (s.cmd == ARQ_SEG_PUSH)
            naive_push(n, &s, body);
    }
}

/* One acknowledgement of ours: the next that is owed, in order. */
static void check_ack(struct play *p, const struct arq_seg *s, unsigned *at)
{
    struct naive *n = &p->n;

    while (!p->ack_all && *at + 1 < n->n_acks && serial_before(n->acks[*at].sn, n->nxt))
        ++*at; /* una tells it */
    if (*at >= n->n_acks)
        fail_msg("%s: an ack too many, sn %u", p->scenario, s->sn);
    assert_int_equal(s->sn, n->acks[*at].sn);
    assert_int_equal(s->ts, n->acks[*at].ts);
    ++*at;
}

static void check_answer(struct play *p)
{
    uint8_t out[1500];
    unsigned acked = 0;
    bool told = false;
    size_t len;

    assert_int_equal(arq_flush(p->a, ARQ_FLUSH_FULL, p->now), 0);
    while ((len = arq_emit(p->a, out))) {
        struct rd r = rd_from(out, len);

        assert_true(len <= p->mtu);
        while (rd_left(&r)) {
            struct arq_seg s = arq_seg_get(&r);

            rd_take(&r, s.len);
            assert_false(r.bad);
            assert_int_equal(s.una, p->n.nxt);
            assert_int_equal(s.wnd, p->n.wnd); /* all has been read */
            told |= s.cmd == ARQ_SEG_WINS;
            assert_int_equal(s.len > 0, s.cmd == ARQ_SEG_PUSH);
            if (s.cmd == ARQ_SEG_ACK)
                check_ack(p, &s, &acked);
        }
    }
    if (acked != p->n.n_acks)
        fail_msg("%s: %u acks of %u", p->scenario, acked, p->n.n_acks);
    assert_true(told || !p->n.asked);
    p->n.n_acks = 0;
    p->n.asked = false;
    arq_check(p->a, p->now);
}

static void read_all(struct play *p)
{
    struct arq_chunk c;

    while (!arq_recv(p->a, &c)) {
        if (p->n_got + c.len > p->n_sent || memcmp(p->sent + p->n_got, c.p, c.len))
            fail_msg("%s: wrong bytes at %zu", p->scenario, p->n_got);
        p->n_got += c.len;
        buf_put(c.own);
    }
}

static void feed(struct play *p, const json_t *e)
{
    struct bytes d = vec_hex(e, "data");

    naive_input(&p->n, d);
    assert_int_equal(arq_input(p->a, d, 0, p->now), 0);
    read_all(p);
    assert_int_equal(arq_settle(p->a), 0);
    vec_free(d);
    check_answer(p);
}

/* Everything endpoint `ep` was given to send, up to event n. */
static uint8_t *all_sent(const json_t *events, long long ep, size_t n, size_t *len)
{
    uint8_t *all = malloc(1 << 20);

    *len = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(events, i);
        struct bytes d;

        if (strcmp(vec_str(e, "op"), "send") != 0 || vec_int(e, "ep") != ep || vec_int(e, "ret") < 0 ||
            !strcmp(vec_str(e, "data"), "omitted"))
            continue;
        d = vec_hex(e, "data");
        assert_true(*len + d.len <= 1 << 20);
        memcpy(all + *len, d.p, d.len);
        *len += d.len;
        vec_free(d);
    }
    return all;
}

/* The counterpart's settings; a `set` in the recording moves the sequence numbers of one direction. */
static void set_up(struct play *p, const json_t *events, long long ep, struct buf_pool *pool)
{
    struct arq_params ap = {.mtu = 1400, .snd_wnd = 128, .rcv_wnd = 128, .nodelay = 1, .interval_ms = 10, .resend = 2};
    uint32_t snd = 0;

    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *e = json_array_get(events, i);
        const char *op = vec_str(e, "op");
        bool ours = json_object_get(e, "ep") && vec_int(e, "ep") != ep;

        if (!strcmp(op, "create"))
            ap.conv = (uint32_t)vec_int(e, "conv");
        if (!strcmp(op, "config") && ours)
            ap.mtu = (uint16_t)vec_int(e, "mtu");
        if (!strcmp(op, "set")) /* the snd_* of one end are the rcv_* of the other */
            *(ours == (vec_str(e, "field")[0] == 's') ? &snd : &p->n.start) = (uint32_t)vec_int(e, "value");
    }
    ap.nocwnd = true;
    ap.ack_all = p->ack_all;
    ap.pool = pool;
    ap.pull = pull;
    ap.ctx = p;
    p->mtu = ap.mtu;
    p->a = arq_new(&ap);
    assert_non_null(p->a);
    p->n.nxt = p->n.start;
    p->n.wnd = ap.rcv_wnd;
    arq_set_start(p->a, snd, p->n.start);
}

static size_t total_delivered;

static void play(const json_t *scenario, long long ep, bool ack_all)
{
    const json_t *events = vec_get(scenario, "events");
    struct buf_pool *pool = buf_pool_new(1500, 0);
    struct play *p = calloc(1, sizeof *p);
    size_t count = 0;

    p->scenario = vec_str(scenario, "name");
    p->ack_all = ack_all;
    set_up(p, events, ep, pool);
    p->sent = all_sent(events, ep, json_array_size(events), &p->n_sent);
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *e = json_array_get(events, i);

        if (!strcmp(vec_str(e, "op"), "output") && vec_int(e, "ep") == ep) {
            free(p->to_send);
            p->to_send = all_sent(events, !ep, i, &p->n_to_send);
            p->now = (uint32_t)vec_int(e, "t");
            feed(p, e);
        }
    }
    for (uint32_t sn = p->n.start; sn != p->n.nxt; sn++)
        count += p->n.seg[sn - p->n.start].len;
    if (p->n_got != count)
        fail_msg("%s: %zu bytes delivered of %zu", p->scenario, p->n_got, count);
    total_delivered += count;
    p->a = arq_free(p->a);
    assert_int_equal(buf_pool_in_use(pool), 0);
    buf_pool_free(pool);
    for (size_t i = 0; i < SN_MAX; i++)
        vec_free(p->n.seg[i]);
    free(p->to_send);
    free(p->sent);
    free(p);
}

static const char *const files[] = {"kcp_c_1.7_differences.json", "kcp_c_1.7.1_differences.json", "kcp_c_2.1.1.json",
                                    "kcp_go_5.6.1.json", "kcp_go_newest.json"};

static void test_peers(void **state)
{
    (void)state;
    for (size_t f = 0; f < LEN(files); f++) {
        json_t *doc = vec_load(files[f]), *list = vec_get(doc, "scenarios");

        for (size_t i = 0; i < json_array_size(list); i++)
            for (int k = 0; k < 4; k++)
                play(json_array_get(list, i), k & 1, k & 2);
        json_decref(doc);
    }
    assert_true(total_delivered > 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
