/* tests/unit/test_ikcp_latency.c - the reference project's latency benchmark, in virtual time: 8 bytes every 20 ms over
 * a link that loses 5 % each way and takes 60 to 125 ms there and back, echoed; windows 128, updates every ms.
 * Source: the KCP description, section 16. */
#include "core/ikcp.h"
#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>

enum {
    LINK = 1000,
    ECHOES = 1000,
    EVERY_MS = 20,
    ONE_WAY_MIN = 30,
    ONE_WAY_MAX = 62,
    LOSS_PERCENT = 5,
    LIMIT_MS = 120000
};

struct dgram {
    uint32_t at;
    int len;
    char p[1500];
};

struct way { /* one direction of the link */
    struct dgram *d[LINK];
    unsigned n;
};

struct bench {
    struct way way[2]; /* to endpoint 0, to endpoint 1 */
    struct rng rng;
    uint32_t now;
    ikcpcb *kcp[2];
};

static struct bench b;

static int on_output(const char *buf, int len, ikcpcb *kcp, void *user)
{
    struct way *w = &b.way[!(intptr_t)user];
    struct dgram *d;

    (void)kcp;
    if (rng_below(&b.rng, 100) < LOSS_PERCENT || w->n == LINK)
        return -1;
    d = malloc(sizeof *d);
    d->at = b.now + ONE_WAY_MIN + rng_below(&b.rng, ONE_WAY_MAX - ONE_WAY_MIN + 1);
    d->len = len;
    memcpy(d->p, buf, (size_t)len);
    w->d[w->n++] = d;
    return 0;
}

static void arrive(int ep)
{
    struct way *w = &b.way[ep];
    unsigned n = 0;

    for (unsigned i = 0; i < w->n; i++) {
        if (w->d[i]->at > b.now) {
            w->d[n++] = w->d[i];
            continue;
        }
        assert_int_equal(ikcp_input(b.kcp[ep], w->d[i]->p, w->d[i]->len), 0);
        free(w->d[i]);
    }
    w->n = n;
}

static void say(ikcpcb *kcp, uint32_t index, uint32_t at)
{
    const uint32_t msg[2] = {index, at};

    assert_int_equal(ikcp_send(kcp, (const char *)msg, sizeof msg), sizeof msg);
}

/* Runs until all echoes are back. Average and longest round trip in ms. */
static void run(uint64_t seed, int nodelay, int resend, double *avg, uint32_t *max)
{
    uint32_t heard = 0, said = 0, msg[2];
    uint64_t sum = 0;

    memset(&b, 0, sizeof b);
    b.rng = rng_seed(seed);
    *max = 0;
    for (int i = 0; i < 2; i++) {
        b.kcp[i] = ikcp_create(0x11223344, (void *)(intptr_t)i);
        b.kcp[i]->output = on_output;
        ikcp_wndsize(b.kcp[i], 128, 128);
        ikcp_nodelay(b.kcp[i], nodelay, 10, resend, 1);
        if (nodelay) {
            b.kcp[i]->rx_minrto = 10;
            b.kcp[i]->fastresend = 1;
        }
    }
    for (; heard < ECHOES; b.now++) {
        assert_true(b.now < LIMIT_MS);
        ikcp_update(b.kcp[0], b.now);
        ikcp_update(b.kcp[1], b.now);
        if (b.now % EVERY_MS == 0)
            say(b.kcp[0], said++, b.now);
        arrive(1);
        while (ikcp_recv(b.kcp[1], (char *)msg, sizeof msg) > 0)
            say(b.kcp[1], msg[0], msg[1]);
        arrive(0);
        while (heard < ECHOES && ikcp_recv(b.kcp[0], (char *)msg, sizeof msg) > 0) {
            assert_int_equal(msg[0], heard++);
            sum += b.now - msg[1];
            if (b.now - msg[1] > *max)
                *max = b.now - msg[1];
        }
    }
    *avg = (double)sum / ECHOES;
    for (int i = 0; i < 2; i++) {
        while (b.way[i].n)
            free(b.way[i].d[--b.way[i].n]);
        ikcp_release(b.kcp[i]);
    }
}

/* Published: normal 156 ms, at most 571; fast 138, at most 392. The bounds leave room for an unlucky seed. */
static void test_latency(void **state)
{
    static const struct {
        const char *name;
        int nodelay, resend;
        double avg;
        uint32_t max;
    } rows[] = {{"normal", 0, 0, 200, 1200}, {"fast", 2, 2, 165, 700}};

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++)
        for (uint64_t seed = 1; seed <= 5; seed++) {
            uint32_t max;
            double avg;

            run(seed, rows[i].nodelay, rows[i].resend, &avg, &max);
            print_message("%s: average %.1f ms, longest %u ms\n", rows[i].name, avg, max);
            assert_true(avg > 92 && avg < rows[i].avg); /* no faster than the link */
            assert_true(max < rows[i].max);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latency),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
