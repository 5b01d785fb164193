/* tests/sim/pair.c - turns of two ends in virtual time. */
#include "tests/sim/pair.h"

#include <stdlib.h>
#include <string.h>

enum { LINK_MEMORY = 256 << 20 };

struct session_params pair_defaults(bool client)
{
    return (struct session_params){
        .conv = 0x01020304,
        .client = client,
        .mtu = 1350,
        .snd_wnd = 512,
        .rcv_wnd = 512,
        .nodelay = 1,
        .interval_ms = 10,
        .resend = 2,
        .nocwnd = true,
        .fec_data = 10,
        .fec_parity = 3,
        .smux_ver = 2,
        .frame_max = 8192,
        .session_buf = 4 << 20,
        .stream_buf = 2 << 20,
        .max_streams = 1000,
        .keepalive_ms = 10000,
        .peer_timeout_ms = 10000,
    };
}

void pair_init(struct pair *p, uint64_t seed, const char *crypt, const struct session_params sp[2],
               const struct link_params link[2])
{
    static const uint8_t key[CIPHER_KEY] = "a key for simulated tunnels.....";

    memset(p, 0, sizeof *p);
    p->rng = rng_seed(seed);
    p->now = (struct tick){5000000};
    for (int i = 0; i < 2; i++) {
        struct end *e = &p->end[i];
        struct session_params s = sp[i];
        const struct link_setup ls = {link[i], seed + (uint64_t)i, PACKET_MTU_MAX, LINK_MEMORY};
        uint8_t nonce[NONCE_SEED];

        rng_fill(&p->rng, nonce, sizeof nonce);
        nonce_init(&e->nonce, nonce);
        assert_int_equal(cipher_new(&e->cipher, crypt, key), 0);
        assert_int_equal(packet_batch_init(&e->batch), 0);
        e->pool = buf_pool_new(PACKET_MTU_MAX, 0);
        s.head = (uint8_t)cipher_head(e->cipher);
        s.tail = (uint8_t)cipher_tail(e->cipher);
        s.pool = e->pool;
        s.stats = &e->stats;
        e->s = session_new(&s, p->now);
        assert_non_null(e->s);
        link_init(&e->out, &ls);
    }
}

void pair_schedule(struct pair *p, const struct link_change *v, size_t n)
{
    for (unsigned i = 0; i < 2; i++)
        link_schedule(&p->end[i].out, v, n, i, p->now);
}

void pair_fini(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        struct end *e = &p->end[i];

        session_free(e->s);
        assert_int_equal(buf_pool_in_use(e->pool), 0);
        buf_pool_free(e->pool);
        cipher_free(e->cipher);
        nonce_fini(&e->nonce);
        packet_batch_fini(&e->batch);
        link_fini(&e->out);
    }
}

static void send_batch(struct end *e, struct tick now)
{
    packet_batch_seal(&e->batch, e->cipher, &e->nonce);
    for (unsigned i = 0; i < e->batch.n; i++)
        link_send(&e->out, bytes_of(e->batch.mem + e->batch.v[i].off, e->batch.v[i].len), now);
    packet_batch_reset(&e->batch);
}

/* One turn of an end: what arrived, the application, what leaves. */
static void turn(struct end *e, struct link *in, struct tick now)
{
    struct link_pkt *got[32];
    unsigned n = 0;
    struct smux_stream *st;
    int r;

    while (n < LEN(got) && (got[n] = link_recv(in, now))) {
        struct cipher_pkt v = {.p = got[n]->p, .len = got[n]->len};

        n++;
        cipher_open(e->cipher, &v, 1);
        if (v.ok)
            session_input(
                e->s, bytes_of(v.p + cipher_head(e->cipher), v.len - cipher_head(e->cipher) - cipher_tail(e->cipher)),
                now);
        else
            e->stats.in_csum_errors++;
    }
    if (e->on_turn && !session_end(e->s))
        e->on_turn(e, now);
    do {
        while (!session_end(e->s) && (st = smux_next_event(session_smux(e->s))))
            e->on_stream(e, st, smux_stream_events(st));
        r = session_poll(e->s, &e->batch, NULL, now);
        send_batch(e, now);
    } while (r == 0);
    session_settle(e->s);
    while (n)
        link_put(in, got[--n]);
}

bool pair_run(struct pair *p, const bool *done, uint64_t us)
{
    struct tick until = tick_add_us(p->now, us);

    while (!*done && tick_before(p->now, until)) {
        struct tick next = until;

        for (int i = 0; i < 2; i++) {
            struct end *e = &p->end[i];

            if (e->stopped)
                continue;
            turn(e, &p->end[!i].out, p->now);
            next = tick_min(next, link_next(&p->end[!i].out));
            if (!session_end(e->s))
                next = tick_min(next, session_deadline(e->s, p->now));
        }
        for (int i = 0; i < 2; i++)
            if (!p->end[!i].stopped)
                next = tick_min(next, link_next(&p->end[i].out));
        if (!tick_before(p->now, next))
            next = tick_add_us(p->now, 50);
        p->now = next;
        p->turns++;
    }
    return *done;
}
