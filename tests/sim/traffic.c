/* tests/sim/traffic.c - the turns of all ends, their applications, and what is counted.
 * A datagram carries four bytes in front of it on the way: flow and direction. */
#include "tests/sim/traffic.h"

#include "core/base/wire.h"

#include <stdlib.h>
#include <string.h>

enum { TAG = 4, HEAD = 20, WIRE_HEADERS = 28, LINK_MEMORY = 64 << 20, SEGMENT = 1298 };

struct session_params traffic_session(bool client)
{
    return (struct session_params){
        .client = client,
        .mtu = 1350,
        .head = HEAD,
        .snd_wnd = 32768,
        .rcv_wnd = 32768,
        .interval_ms = 10,
        .nocwnd = true,
        .adaptive = true,
        .redundancy = 3,
        .fec_data = 10,
        .fec_parity = 3,
        .smux_ver = 2,
        .frame_max = 8192,
        .session_buf = 64 << 20,
        .stream_buf = 16 << 20,
        .max_streams = 100,
        .keepalive_ms = 10000,
        .peer_timeout_ms = 10000,
    };
}

struct flow_params traffic_flow(unsigned apps)
{
    return (struct flow_params){.sp = {traffic_session(true), traffic_session(false)}, .apps = apps};
}

struct flow_params traffic_to_kcptun(unsigned apps, uint32_t wnd)
{
    struct flow_params f = traffic_flow(apps);

    f.kcptun = true;
    f.kp = kcptun_peer_defaults("fast3");
    f.kp.snd_wnd = f.kp.rcv_wnd = wnd;
    f.sp[0].smux_ver = f.kp.smux_ver;
    return f;
}

struct link_params traffic_path(double loss_percent)
{
    return (struct link_params){
        .rate = 100 * 1000 * 1000,
        .queue_us = 50000,
        .delay_us = 50000,
        .loss_ppm = (uint64_t)(loss_percent * 10000),
        .overhead = WIRE_HEADERS - TAG,
    };
}

/* ---- applications ---- */

static void fill(struct node *n, struct smux_stream *st)
{
    static const uint8_t block[65536];
    size_t room = smux_stream_room(st);

    if (room)
        assert_int_equal(smux_stream_write(st, bytes_of(block, MIN(room, sizeof block))), 0);
    (void)n;
}

static size_t echo_size(const struct flow *f)
{
    return f->p.echo_bytes ? f->p.echo_bytes : 200;
}

static uint64_t echo_every(const struct flow *f)
{
    return f->p.echo_every_us ? f->p.echo_every_us : 20000;
}

/* The first byte of a stream tells the server what it is for. */
static uint8_t kind_of(unsigned app)
{
    return app == APP_ECHO ? 'e' : app == APP_DOWN ? 'd' : 'b';
}

/* Messages that are due by now. */
static void send_echoes(struct flow *f)
{
    uint8_t msg[1500] = {kind_of(APP_ECHO)};
    uint64_t now = f->t->now.us;

    for (; f->next_echo_us <= now; f->next_echo_us += echo_every(f)) {
        f->echo_sent_us[f->echo_out / echo_size(f) % LEN(f->echo_sent_us)] = f->next_echo_us;
        assert_int_equal(smux_stream_write(f->echo, bytes_of(msg, echo_size(f))), 0);
        assert_int_equal(smux_settle(session_smux(f->node[0].s)), 0);
        f->echo_out += echo_size(f);
    }
}

static struct smux_stream *open_stream(struct flow *f, unsigned app)
{
    struct smux_stream *st;
    uint8_t kind = kind_of(app);

    assert_int_equal(smux_open(session_smux(f->node[0].s), &st), 0);
    if (app != APP_ECHO)
        assert_int_equal(smux_stream_write(st, bytes_of(&kind, 1)), 0);
    assert_int_equal(smux_settle(session_smux(f->node[0].s)), 0);
    return st;
}

static void client_acts(struct flow *f)
{
    if (!f->bulk && f->p.apps & (APP_BULK | APP_DOWN))
        f->bulk = open_stream(f, f->p.apps & (APP_BULK | APP_DOWN));
    if (!f->echo && f->p.apps & APP_ECHO) {
        f->echo = open_stream(f, APP_ECHO);
        f->next_echo_us = f->t->now.us + rng_below(&f->t->rng, (uint32_t)echo_every(f));
    }
    if (f->p.apps & APP_BULK)
        fill(&f->node[0], f->bulk);
    if (f->echo)
        send_echoes(f);
}

static void took_echo(struct flow *f, size_t n)
{
    size_t size = echo_size(f);
    uint64_t first = f->echo_in / size, last = (f->echo_in + n) / size;

    for (; first < last; first++)
        if (f->n_echo < TRAFFIC_ECHOES)
            f->echo_us[f->n_echo++] = (uint32_t)(f->t->now.us - f->echo_sent_us[first % LEN(f->echo_sent_us)]);
    f->echo_in += n;
}

static void client_reads(struct flow *f, struct smux_stream *st)
{
    size_t n = smux_stream_readable(st);

    if (st == f->echo)
        took_echo(f, n);
    else
        f->received += n;
    smux_stream_read(st, n);
}

static void server_reads(struct flow *f, struct smux_stream *st)
{
    unsigned kind = (unsigned)(uintptr_t)smux_stream_ctx(st);
    struct bytes v;

    while (smux_stream_peek(st, &v, 1)) {
        if (!kind) {
            kind = v.p[0];
            smux_stream_set_ctx(st, (void *)(uintptr_t)kind);
        }
        if (kind == 'e') {
            assert_int_equal(smux_stream_write(st, v), 0);
            assert_int_equal(smux_settle(session_smux(f->node[1].s)), 0);
        } else if (kind == 'd') {
            f->server_bulk = st;
        } else {
            f->received += v.len;
        }
        smux_stream_read(st, v.len);
    }
}

/* ---- turns ---- */

/* False: nothing happened on any stream. */
static bool events(struct flow *f, unsigned side)
{
    struct smux_stream *st;
    bool any = false;

    while ((st = smux_next_event(session_smux(f->node[side].s)))) {
        any = true;
        smux_stream_events(st);
        if (side)
            server_reads(f, st);
        else
            client_reads(f, st);
    }
    if (side && f->server_bulk)
        fill(&f->node[1], f->server_bulk);
    if (!side)
        client_acts(f);
    return any;
}

static struct tick clock_of(const struct flow *f, unsigned side)
{
    return tick_add_us(f->t->now, f->p.ahead_us[side]);
}

static void put_on_way(struct flow *f, unsigned side, struct bytes dgram)
{
    struct link *l = &f->t->way[side];
    struct link_pkt *pkt = link_get(l);

    assert_non_null(pkt);
    put_le32(pkt->p, (uint32_t)(f - f->t->flow));
    memcpy(pkt->p + TAG, dgram.p, dgram.len);
    pkt->len = TAG + (uint32_t)dgram.len;
    link_take(l, pkt, f->t->now);
}

static void send_batch(struct flow *f, unsigned side)
{
    struct packet_batch *b = &f->node[side].batch;

    for (unsigned i = 0; i < b->n; i++)
        put_on_way(f, side, bytes_of(b->mem + b->v[i].off, b->v[i].len));
    packet_batch_reset(b);
}

static void kcptun_turn(struct flow *f)
{
    struct node *n = &f->node[1];
    struct tick now = clock_of(f, 1);
    struct bytes dgram;

    for (unsigned i = 0; i < n->n_got; i++)
        kcptun_peer_input(n->k, bytes_of(n->got[i]->p + TAG, n->got[i]->len - TAG), now);
    while (n->n_got)
        link_put(&f->t->way[0], n->got[--n->n_got]);
    while (kcptun_peer_poll(n->k, &dgram, now))
        put_on_way(f, 1, dgram);
    f->received = kcptun_peer_counts(n->k).received;
    n->due = tick_add_us(f->t->now, MAX(tick_since_us(kcptun_peer_deadline(n->k), now), 1));
}

static void turn(struct flow *f, unsigned side)
{
    struct node *n = &f->node[side];
    struct tick now = clock_of(f, side), at;
    int r;

    if (n->k) {
        kcptun_turn(f);
        return;
    }
    for (unsigned i = 0; i < n->n_got; i++)
        session_input(n->s, bytes_of(n->got[i]->p + TAG + HEAD, n->got[i]->len - TAG - HEAD), now);
    events(f, side);
    do {
        assert_int_equal(session_end(n->s), SESSION_ALIVE);
        r = session_poll(n->s, &n->batch, NULL, now);
        send_batch(f, side);
    } while (r == 0 || events(f, side));
    session_settle(n->s);
    while (n->n_got)
        link_put(&f->t->way[!side], n->got[--n->n_got]);
    at = tick_add_us(f->t->now, tick_since_us(session_deadline(n->s, now), now));
    if (!side && f->echo)
        at = tick_min(at, (struct tick){f->next_echo_us});
    n->due = (struct tick){MAX((at.us + 999) / 1000, f->t->now.us / 1000 + 1) * 1000};
}

static void start_flows(struct traffic *t)
{
    for (unsigned i = 0; i < t->n_flows; i++) {
        struct flow *f = &t->flow[i];

        if (f->node[0].s || t->now.us < t->start.us + f->p.start_us)
            continue;
        for (unsigned k = 0; k < 2; k++) {
            struct node *n = &f->node[k];
            struct session_params sp = f->p.sp[k];
            struct tick now = clock_of(f, k);

            n->due = t->now;
            if (k && f->p.kcptun) {
                f->p.kp.conv = session_conv(f->node[0].s);
                f->p.kp.head = HEAD;
                n->k = kcptun_peer_new(&f->p.kp, now);
                assert_non_null(n->k);
                continue;
            }
            n->pool = buf_pool_new(PACKET_MTU_MAX, 0);
            assert_int_equal(packet_batch_init(&n->batch), 0);
            sp.conv = 0x1000 + (uint32_t)rng_next(&t->rng);
            if (k)
                sp.conv = session_conv(f->node[0].s);
            sp.pool = n->pool;
            sp.stats = &n->stats;
            n->s = session_new(&sp, now);
            assert_non_null(n->s);
        }
    }
}

/* Gives what has arrived to the ends; each then has a turn at once. */
static void arrivals(struct traffic *t)
{
    for (unsigned side = 0; side < 2; side++) {
        struct link_pkt *pkt;

        while ((pkt = link_recv(&t->way[!side], t->now))) {
            struct node *n = &t->flow[get_le32(pkt->p)].node[side];

            n->got[n->n_got++] = pkt;
            n->due = t->now;
            if (n->n_got == LEN(n->got))
                turn(&t->flow[get_le32(pkt->p)], side);
        }
    }
}

static void look(struct traffic *t)
{
    uint64_t us = link_queue_us(&t->way[0], t->now);

    t->queue_us += us;
    t->queue_ms[MIN(us / 1000, LEN(t->queue_ms) - 1)]++;
    t->looks++;
}

static void run_until(struct traffic *t, struct tick until)
{
    for (;;) {
        struct tick next = until;

        start_flows(t);
        arrivals(t);
        for (unsigned i = 0; i < t->n_flows; i++)
            for (unsigned k = 0; k < 2 && t->flow[i].node[0].s; k++) {
                if (!tick_before(t->now, t->flow[i].node[k].due))
                    turn(&t->flow[i], k);
                next = tick_min(next, t->flow[i].node[k].due);
            }
        for (unsigned k = 0; k < 2; k++)
            next = tick_min(next, link_next(&t->way[k]));
        if (!tick_before(t->now, until))
            return;
        t->now = tick_max(next, tick_add_us(t->now, 1));
        t->now = tick_min(t->now, until);
    }
}

void traffic_run(struct traffic *t, uint64_t us)
{
    struct tick until = tick_add_us(t->now, us);

    while (tick_before(t->now, until)) {
        run_until(t, tick_min(until, tick_add_us(t->now, TRAFFIC_TICK_US)));
        look(t);
    }
}

void traffic_init(struct traffic *t, uint64_t seed, const struct link_params way[2], const struct flow_params *f,
                  unsigned n)
{
    memset(t, 0, sizeof *t);
    t->rng = rng_seed(seed);
    t->now = t->start = (struct tick){5000000};
    t->n_flows = n;
    for (unsigned i = 0; i < n; i++) {
        t->flow[i].p = f[i];
        t->flow[i].t = t;
        t->flow[i].echo_us = calloc(TRAFFIC_ECHOES, sizeof(uint32_t));
    }
    for (unsigned i = 0; i < 2; i++) {
        const struct link_setup ls = {way[i], rng_next(&t->rng) | 1, PACKET_MTU_MAX + TAG, LINK_MEMORY};

        link_init(&t->way[i], &ls);
    }
    traffic_mark(t);
}

void traffic_fini(struct traffic *t)
{
    for (unsigned i = 0; i < t->n_flows; i++) {
        for (unsigned k = 0; k < 2 && t->flow[i].node[0].s; k++) {
            struct node *n = &t->flow[i].node[k];

            kcptun_peer_free(n->k);
            if (n->k)
                continue;
            session_free(n->s);
            assert_int_equal(buf_pool_in_use(n->pool), 0);
            buf_pool_free(n->pool);
            packet_batch_fini(&n->batch);
        }
        free(t->flow[i].echo_us);
    }
    link_fini(&t->way[0]);
    link_fini(&t->way[1]);
}

/* ---- what came of it ---- */

static uint64_t offered(const struct traffic *t)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < 2; i++)
        sum += t->way[i].n.in_bytes + t->way[i].n.in * (WIRE_HEADERS - TAG);
    return sum;
}

static uint64_t count(const struct traffic *t, size_t offset)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < t->n_flows; i++)
        for (unsigned k = 0; k < 2; k++)
            sum += *(const uint64_t *)(const void *)((const char *)&t->flow[i].node[k].stats + offset);
    return sum;
}

void traffic_mark(struct traffic *t)
{
    t->marked = t->now;
    t->wire0 = offered(t);
    t->spurious0 = count(t, offsetof(struct stats, spurious_segs));
    t->retrans0 = count(t, offsetof(struct stats, retrans_segs));
    memset(t->queue_ms, 0, sizeof t->queue_ms);
    t->queue_us = t->looks = 0;
    for (unsigned i = 0; i < t->n_flows; i++) {
        t->received0[i] = t->flow[i].received;
        t->flow[i].n_echo = 0;
    }
}

double traffic_bytes(const struct traffic *t, unsigned flow)
{
    return (double)(t->flow[flow].received - t->received0[flow]);
}

double traffic_mbit(const struct traffic *t, unsigned flow)
{
    return traffic_bytes(t, flow) * 8 / (double)tick_since_us(t->now, t->marked);
}

double traffic_share(const struct traffic *t, unsigned flow, double mbit, double loss_percent)
{
    return 100 * traffic_mbit(t, flow) / (mbit * SEGMENT / (1350 + WIRE_HEADERS) * (1 - loss_percent / 100));
}

double traffic_wire_bytes(const struct traffic *t)
{
    return (double)(offered(t) - t->wire0);
}

double traffic_wire(const struct traffic *t)
{
    double got = 0;

    for (unsigned i = 0; i < t->n_flows; i++)
        got += traffic_bytes(t, i);
    return got > 0 ? traffic_wire_bytes(t) / got : 0;
}

double traffic_queue_ms(const struct traffic *t, double percentile)
{
    double n = 0;

    if (percentile < 0)
        return (double)t->queue_us / 1000 / MAX(t->looks, 1);
    for (unsigned i = 0; i < LEN(t->queue_ms); i++) {
        n += t->queue_ms[i];
        if (n >= t->looks * percentile / 100)
            return i;
    }
    return LEN(t->queue_ms);
}

double traffic_spurious(const struct traffic *t)
{
    double got = 0;

    for (unsigned i = 0; i < t->n_flows; i++)
        got += traffic_bytes(t, i);
    return 100.0 * (double)(count(t, offsetof(struct stats, spurious_segs)) - t->spurious0) * SEGMENT / MAX(got, 1);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

double traffic_echo_ms(const struct traffic *t, unsigned flow, double percentile)
{
    const struct flow *f = &t->flow[flow];

    if (!f->n_echo)
        return -1;
    qsort(f->echo_us, f->n_echo, sizeof *f->echo_us, by_value);
    return f->echo_us[MIN((unsigned)(percentile / 100 * f->n_echo), f->n_echo - 1)] / 1000.0;
}
