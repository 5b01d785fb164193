/* tests/sim/sender_table.c - what bulk and echo get over one kind of path, in virtual time, for who tunes the sender:
 *   sender_table [KEY=NUMBER...]     keys: see below; trace=N prints the sender's state every N looks. */
#include "tests/sim/traffic.h"

#include "crypto/kdf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int n_args;
static char **args;

static double arg(const char *key, double def)
{
    size_t n = strlen(key);

    for (int i = 1; i < n_args; i++)
        if (!strncmp(args[i], key, n) && args[i][n] == '=')
            return atof(args[i] + n + 1);
    return def;
}

static struct link_params path(const char *suffix)
{
    struct link_params p = traffic_path(arg("loss", 0));
    char key[32];

#define P(name, field, unit)                                                                                           \
    snprintf(key, sizeof key, "%s%s", name, suffix);                                                                   \
    p.field = (uint64_t)(arg(key, arg(name, (double)p.field / (unit))) * (unit))
    P("mbit", rate, 1e6);
    P("queue", queue_us, 1e3);
    P("delay", delay_us, 1e3);
    P("jitter", jitter_us, 1e3);
    P("reorder", reorder, 1);
    P("loss", loss_ppm, 1e4);
    P("burst", burst, 1);
    P("dup", dup_ppm, 1e4);
#undef P
    return p;
}

static void trace(const struct traffic *t)
{
    struct session_info i;

    for (unsigned k = 0; k < t->n_flows; k++) {
        const struct flow *f = &t->flow[k];

        if (!f->node[0].s)
            continue;
        session_info(f->node[f->p.apps & APP_DOWN ? 1 : 0].s, &i, t->now);
        if (arg("thrift", 0) > 0) {
            struct session_info o;

            session_info(f->node[1].s, &o, t->now);
            printf("thrift %u ", o.ack_thrift);
        }
        printf("%6.2f %u %-9s bw %6.2f pace %6.2f rtt %u/%u q %u real %.1f infl %u/%u loss %.3f got %.1f\n",
               (double)tick_since_us(t->now, t->start) / 1e6, k, i.phase, (double)i.rate * 8e-6,
               (double)i.pacing * 8e-6, i.min_rtt_us, i.srtt_us, i.queue_us,
               (double)link_queue_us((struct link *)&t->way[0], t->now) / 1000, (unsigned)i.wire_inflight,
               (unsigned)i.window, i.loss_ppm / 1e6, (double)f->received * 8e-6);
    }
}

static void print_counts(const struct traffic *t)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct link_counts *n = &t->way[i].n;
        const struct stats *st = &t->flow[0].node[i].stats;

        printf("way %u: in %" PRIu64 ", %" PRIu64 " B, dropped %" PRIu64 ", lost %" PRIu64 "; ", i, n->in, n->in_bytes,
               n->dropped, n->lost);
        printf("its end: segments out %" PRIu64 ", again %" PRIu64 ", in vain %" PRIu64 "; in again %" PRIu64
               ", parity in %" PRIu64 "\n",
               st->out_segs, st->retrans_segs, st->spurious_segs, st->repeat_segs, st->fec_parity_shards);
    }
}

static void run(uint64_t seed, double sum[])
{
    const struct link_params way[2] = {path(""), path("2")};
    double at = arg("at", 0), warm = arg("warm", 2), secs = arg("secs", 10);
    struct link_change ch[8];
    struct flow_params f[TRAFFIC_FLOWS] = {0};
    unsigned flows = (unsigned)arg("flows", 1), n = 0, every = (unsigned)arg("trace", 0);
    static struct traffic t;

    for (unsigned i = 0; i < flows; i++) {
        char key[16];

        f[i] = (struct flow_params){.sp = {traffic_session(true), traffic_session(false)}};
        snprintf(key, sizeof key, "apps%u", i);
        f[i].apps = (unsigned)arg(key, APP_BULK);
        snprintf(key, sizeof key, "start%u", i);
        f[i].start_us = (uint64_t)(arg(key, 0) * 1e6);
        f[i].kcptun = arg("kcptun", 0) > 0;
        f[i].kp = kcptun_peer_defaults(arg("tick", 10) > 10 ? "fast" : "fast3");
        f[i].kp.rcv_wnd = (uint32_t)arg("rcvwnd", 4096);
        f[i].kp.snd_wnd = (uint32_t)arg("rcvwnd", 4096);
        f[i].kp.smux_ver = (uint8_t)arg("smux", 1);
        f[i].kp.newest = arg("newest", 0) > 0;
        for (unsigned k = 0; k < 2; k++) {
            f[i].sp[k].smux_ver = arg("kcptun", 0) > 0 ? f[i].kp.smux_ver : 2;
            f[i].sp[k].fec_data = (uint16_t)arg("fec", 10);
            f[i].sp[k].abreast = (uint32_t)arg("conn", 0);
            f[i].sp[k].redundancy = (uint32_t)arg("red", 3);
            f[i].sp[k].adaptive = arg("auto", 1) != 0;
            f[i].sp[k].snd_wnd = f[i].sp[k].rcv_wnd = (uint32_t)arg("wnd", 32768);
            if (!f[i].sp[k].adaptive) {
                f[i].sp[k].nodelay = 1;
                f[i].sp[k].resend = 2;
            }
        }
    }
    traffic_init(&t, seed, way, f, flows);
#define CH(name, fld, unit)                                                                                            \
    if (arg(name, -1) >= 0)                                                                                            \
    ch[n++] = (struct link_change){(uint64_t)(at * 1e6), offsetof(struct link_params, fld), 3,                         \
                                   (uint64_t)(arg(name, 0) * (unit))}
    CH("to_mbit", rate, 1e6);
    CH("to_delay", delay_us, 1e3);
    CH("to_loss", loss_ppm, 1e4);
#undef CH
    if (arg("outage", 0) > 0) {
        ch[n++] = (struct link_change){(uint64_t)(at * 1e6), offsetof(struct link_params, loss_ppm), 3, LINK_PPM};
        ch[n++] = (struct link_change){(uint64_t)((at + arg("outage", 0)) * 1e6),
                                       offsetof(struct link_params, loss_ppm), 3, way[0].loss_ppm};
    }
    for (unsigned i = 0; i < 2; i++)
        link_schedule(&t.way[i], ch, n, i, t.now);
    for (double s = 0; s < warm + secs - 0.005; s += 0.01) {
        if (s >= warm && s < warm + 0.01)
            traffic_mark(&t);
        traffic_run(&t, 10000);
        if (every && t.looks % every == 0)
            trace(&t);
    }
    for (unsigned i = 0; i < flows; i++)
        sum[8 + i] += traffic_mbit(&t, i);
    sum[0] += traffic_share(&t, 0, arg("to_mbit", arg("mbit", 100)), arg("to_loss", arg("loss", 0)));
    sum[1] += traffic_wire(&t);
    sum[2] += traffic_queue_ms(&t, -1);
    sum[3] += traffic_queue_ms(&t, 95);
    sum[4] += traffic_spurious(&t);
    for (unsigned i = 0; i < flows; i++)
        if (f[i].apps & APP_ECHO) {
            sum[5] += traffic_echo_ms(&t, i, 50);
            sum[6] += traffic_echo_ms(&t, i, 99);
            if (arg("tail", 0) > 0)
                for (double q = 90; q < 100; q += q < 98 ? 1 : 0.2)
                    printf("p%.1f %.0f ms\n", q, traffic_echo_ms(&t, i, q));
            sum[7] += traffic_wire_bytes(&t) / secs;
        }
    if (arg("counts", 0) > 0)
        print_counts(&t);
    traffic_fini(&t);
}

int main(int argc, char **argv)
{
    double v[8 + TRAFFIC_FLOWS] = {0}, seeds;

    n_args = argc;
    args = argv;
    seeds = arg("seeds", 3);
    if (crypto_init())
        return 1;
    for (int i = 1; i <= seeds; i++)
        run((uint64_t)(i + arg("seed", 0)), v);
    for (unsigned i = 0; i < LEN(v); i++)
        v[i] /= seeds;
    printf("%5.1f %%  wire %.3f  queue %.1f/%.0f ms  spurious %.2f %%  echo %.0f/%.0f ms %.0f B/s  flows %.1f %.1f "
           "%.1f %.1f\n",
           v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11]);
    return 0;
}
