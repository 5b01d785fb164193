/* tests/sim/sender_table.c - one row of a path: what bulk gets over it. sender_table [KEY=VALUE...]. */
#include "crypto/kdf.h"
#include "tests/sim/pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv);

static double arg(int argc, char **argv, const char *key, double def)
{
    size_t n = strlen(key);

    for (int i = 1; i < argc; i++)
        if (!strncmp(argv[i], key, n) && argv[i][n] == '=')
            return atof(argv[i] + n + 1);
    return def;
}

struct bulk {
    uint64_t received;
    struct smux_stream *st;
};
static uint8_t block[65536];

static void client_turn(struct end *e, struct tick now)
{
    struct bulk *b = e->ctx;
    size_t room;

    (void)now;
    if (!b->st)
        assert_int_equal(smux_open(session_smux(e->s), &b->st), 0);
    room = smux_stream_room(b->st);
    if (room)
        assert_int_equal(smux_stream_write(b->st, bytes_of(block, MIN(room, sizeof block))), 0);
}
static void client_stream(struct end *e, struct smux_stream *st, unsigned ev)
{
    (void)e, (void)st, (void)ev;
}
static void server_stream(struct end *e, struct smux_stream *st, unsigned ev)
{
    struct bulk *b = e->ctx;
    struct bytes v;

    (void)ev;
    while (smux_stream_peek(st, &v, 1)) {
        b->received += v.len;
        smux_stream_read(st, v.len);
    }
}

int main(int argc, char **argv)
{
    double mbit = arg(argc, argv, "mbit", 100), delay = arg(argc, argv, "delay", 50), loss = arg(argc, argv, "loss", 0);
    double secs = arg(argc, argv, "secs", 10), qms = arg(argc, argv, "queue", 50);
    int seeds = (int)arg(argc, argv, "seeds", 1), trace = (int)arg(argc, argv, "trace", 0);

    if (crypto_init())
        return 1;
    for (int seed = 1; seed <= seeds; seed++) {
        struct session_params sp[2] = {pair_defaults(true), pair_defaults(false)};
        struct link_params lp[2];
        struct bulk b = {0};
        struct pair p;
        bool never = false;
        uint64_t r0, w0, s0 = 0, rate = (uint64_t)(mbit * 1e6 / 8 * 1350 / 1378);
        double limit, t, q = 0;
        unsigned hist[1000] = {0}, n = 0, p95 = 0;

        for (int i = 0; i < 2; i++) {
            sp[i].adaptive = arg(argc, argv, "auto", 1) != 0;
            sp[i].snd_wnd = sp[i].rcv_wnd = 32768;
            sp[i].stream_buf = 16 << 20;
            sp[i].session_buf = 64 << 20;
            lp[i] = (struct link_params){.delay_us = (uint32_t)(delay * 1000),
                                         .loss_ppm = (uint32_t)(loss * 10000),
                                         .rate = rate,
                                         .queue_bytes = (uint32_t)((double)rate * qms / 1000),
                                         .jitter_us = (uint32_t)(1000 * arg(argc, argv, "jitter", 0)),
                                         .dup_ppm = (uint32_t)(10000 * arg(argc, argv, "dup", 0))};
        }
        sp[0].fec_data = sp[1].fec_data = (uint16_t)arg(argc, argv, "fec", 0);
        pair_init(&p, (uint64_t)seed, "none", sp, lp);
        p.end[0].on_turn = client_turn;
        p.end[0].on_stream = client_stream;
        p.end[1].on_stream = server_stream;
        p.end[0].ctx = p.end[1].ctx = &b;
        pair_run(&p, &never, 2000000);
        r0 = b.received;
        w0 = p.end[0].out.bytes + p.end[1].out.bytes + 28 * (p.end[0].out.sent + p.end[1].out.sent);
        s0 = p.end[0].stats.spurious_segs;
        for (t = 0; t < secs; t += 0.01) {
            double ms;

            pair_run(&p, &never, 10000);
            ms = (double)tick_since_us(p.end[0].out.free_at, p.now) / 1000;
            q += ms;
            hist[MIN((unsigned)ms, 999)]++;
            n++;
            if (trace && n % (unsigned)trace == 0) {
                struct session_info si;
                session_info(p.end[0].s, &si, p.now);
                printf(
                    "%6.2f %-9s bw %6.2f pace %6.2f rtt %u/%u q %d real %.1f infl %u/%u loss %.3f got %.1f spur %lu\n",
                    t, si.phase, (double)si.rate * 8e-6, (double)si.pacing * 8e-6, si.min_rtt_us, si.srtt_us,
                    (int)si.queue_us, ms, (unsigned)si.wire_inflight, (unsigned)si.window, si.loss_ppm / 1e6,
                    (double)(b.received - r0) * 8e-6 / (t + .01), p.end[0].stats.spurious_segs);
            }
        }
        for (unsigned k = 0; p95 < 999; p95++)
            if ((k += hist[p95]) >= n * 95 / 100)
                break;
        limit = mbit * 1e6 / 8 * 1298 / 1378 * (1 - loss / 100) * secs;
        r0 = b.received - r0;
        w0 = p.end[0].out.bytes + p.end[1].out.bytes + 28 * (p.end[0].out.sent + p.end[1].out.sent) - w0;
        printf("mbit %g loss %g seed %d: %5.1f %% of limit, wire %.3f, queue %.1f/%u ms, spurious %.2f %%, retrans "
               "%.2f %%\n",
               mbit, loss, seed, 100.0 * (double)r0 / limit, (double)w0 / (double)r0, q / n, p95,
               100.0 * (double)(p.end[0].stats.spurious_segs - s0) * 1298 / (double)r0,
               100.0 * (double)p.end[0].stats.retrans_segs * 1298 / (double)b.received);
        fflush(stdout);
        pair_fini(&p);
    }
    return 0;
}
