/* tests/bench/bench_arq.c - ns of a flush with nothing due and of the input of an acknowledgement, at windows of 32 and
 * 8192; and segments per second from one engine to another, on a perfect link and on one that loses a tenth. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/arq.h"
#include "core/arq_seg.h"

enum { ROUNDS = 40, LEN_MAX = 1300, BULK_MS = 300 };

static struct buf_pool *pool;
static const uint8_t payload[LEN_MAX];
static uint64_t to_pull;

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* Payload of its own is what the pool is for; here it is all the same bytes. */
static int pull(void *ctx, struct arq *a, struct arq_chunk *c)
{
    (void)ctx;
    if (!to_pull)
        return ARQ_AGAIN;
    to_pull--;
    c->p = payload;
    c->len = arq_mss(a);
    return 0;
}

static struct arq *engine(uint16_t wnd)
{
    const struct arq_params p = {.conv = 7,
                                 .mtu = LEN_MAX,
                                 .snd_wnd = wnd,
                                 .rcv_wnd = wnd,
                                 .nodelay = 1,
                                 .interval_ms = 10,
                                 .resend = 2,
                                 .nocwnd = true,
                                 .pool = pool,
                                 .pull = pull};

    return arq_new(&p);
}

static void input_seg(struct arq *a, struct arq_seg s, uint32_t now)
{
    uint8_t d[ARQ_HEADER];
    struct wr w = wr_to(d, sizeof d);

    s.conv = 7;
    s.wnd = UINT16_MAX;
    arq_seg_put(&w, &s);
    arq_input(a, bytes_of(d, sizeof d), 0, now);
}

static struct arq *filled(uint16_t wnd)
{
    struct arq *a = engine(wnd);
    uint8_t out[LEN_MAX];

    input_seg(a, (struct arq_seg){.cmd = ARQ_SEG_WINS}, 0);
    to_pull = wnd;
    arq_flush(a, ARQ_FLUSH_FULL, 0);
    while (arq_emit(a, out))
        ;
    return a;
}

/* The fastest of some rounds, here and below: what else the machine does only ever slows one down. */
static double flush_ns(uint16_t wnd)
{
    struct arq *a = filled(wnd);
    uint8_t out[LEN_MAX];
    double best = 1e9;

    for (int r = 0; r < ROUNDS; r++) {
        double t = now_ns();

        for (int i = 0; i < 1000; i++) {
            arq_flush(a, ARQ_FLUSH_FULL, 1);
            arq_emit(a, out);
        }
        t = (now_ns() - t) / 1000;
        best = t < best ? t : best;
    }
    arq_free(a);
    return best;
}

/* with_una: each ack moves una; else the first segment is missing and every ack is selective. */
static double ack_ns(uint16_t wnd, bool with_una)
{
    double best = 1e9;

    for (int r = 0; r < ROUNDS; r++) {
        struct arq *a = filled(wnd);
        double t = now_ns();

        for (uint32_t sn = !with_una; sn < wnd; sn++)
            input_seg(a, (struct arq_seg){.cmd = ARQ_SEG_ACK, .sn = sn, .una = with_una ? sn + 1 : 0}, 10);
        t = (now_ns() - t) / wnd;
        best = t < best ? t : best;
        arq_free(a);
    }
    return best;
}

/* What one engine emits goes to the other in the same ms, and what that answers a ms later. */
static void step(struct arq *from, struct arq *to, uint32_t now, unsigned loss, uint64_t *bytes)
{
    static uint8_t out[64][LEN_MAX];
    static uint32_t seed = 1;
    struct arq_chunk c;
    unsigned n;

    arq_flush(from, ARQ_FLUSH_FULL, now);
    do {
        for (n = 0; n < 64;) {
            size_t len = arq_emit(from, out[n]);

            if (!len)
                break;
            seed = seed * 1664525 + 1013904223;
            if (seed >> 16 >= loss * 65536 / 100)
                arq_input(to, bytes_of(out[n], len), 0, now);
            n++; /* lent: not overwritten before the settling */
        }
        while (!arq_recv(to, &c)) {
            *bytes += c.len;
            buf_put(c.own);
        }
        arq_settle(to);
    } while (n == 64);
}

static void bulk(uint16_t wnd, unsigned loss)
{
    struct arq *a = engine(wnd), *b = engine(wnd);
    uint64_t bytes = 0, none = 0;
    double t = now_ns(), s;

    for (uint32_t now = 1; now_ns() - t < 1e6 * BULK_MS; now++) {
        to_pull = UINT32_MAX;
        step(a, b, now, loss, &bytes);
        to_pull = 0;
        step(b, a, now, loss, &none);
    }
    s = 1e-9 * (now_ns() - t);
    printf("bulk, window %5u, loss %2u %%: %6.2f million segments/s, %5.2f GB/s\n", wnd, loss,
           1e-6 * (double)bytes / (LEN_MAX - ARQ_HEADER) / s, 1e-9 * (double)bytes / s);
    arq_free(a);
    arq_free(b);
}

int main(void)
{
    pool = buf_pool_new(1500, 0);
    for (unsigned wnd = 32; wnd <= 8192; wnd *= 256)
        printf("window %5u: flush with nothing due %5.1f ns, ack %5.1f ns, selective ack %5.1f ns\n", wnd,
               flush_ns((uint16_t)wnd), ack_ns((uint16_t)wnd, true), ack_ns((uint16_t)wnd, false));
    for (unsigned loss = 0; loss <= 10; loss += 10) {
        bulk(128, loss);
        bulk(8192, loss);
    }
    buf_pool_free(pool);
    return 0;
}
