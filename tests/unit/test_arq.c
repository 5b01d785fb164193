/* tests/unit/test_arq.c - the engine against itself: everything arrives, once and in order, over any link; its
 * invariants hold after every call; the cost of a call does not depend on the window. */
#include "tests/support/arq_pair.h"

#include <stdlib.h>
#include <string.h>

static const struct arq_params fast = {
    .mtu = 1300, .snd_wnd = 128, .rcv_wnd = 128, .nodelay = 1, .interval_ms = 10, .resend = 2, .nocwnd = true};

static const struct {
    const char *name;
    uint16_t wnd[2]; /* of each end, both ways */
    uint16_t mtu;
    uint8_t nodelay;
    uint32_t resend;
    bool cwnd, ack_all;
    uint32_t loss, dup, junk, jitter, read_every;
    uint32_t start; /* first sn, and clock */
    uint32_t kbytes;
} links[] = {
    {"clean", {128, 128}, 1300, 1, 2, false, false, 0, 0, 0, 0, 0, 0, 300},
    {"window of one", {1, 1}, 1300, 1, 2, false, false, 100, 50, 0, 10, 0, 0, 20},
    {"lossy", {128, 64}, 600, 1, 2, false, false, 200, 0, 0, 0, 0, 0, 200},
    {"lossy, every ack", {128, 64}, 600, 2, 1, false, true, 200, 0, 0, 0, 0, 0, 200},
    {"shuffled", {256, 256}, 1300, 1, 2, false, false, 0, 300, 0, 60, 0, 0, 300},
    {"shuffled and lossy, sn and clock wrap", {200, 300}, 300, 0, 2, false, true, 100, 100, 0, 40, 0, 0xffffff80, 100},
    {"congestion window", {128, 128}, 1300, 0, 0, true, false, 20, 0, 0, 5, 0, 0, 60},
    {"congestion window, fast", {128, 128}, 1300, 1, 2, true, true, 50, 10, 0, 5, 0, 0, 60},
    {"slow reader", {64, 16}, 1300, 1, 2, false, false, 50, 20, 0, 10, 90, 0, 100},
    {"smallest mtu", {40, 40}, 50, 1, 2, false, true, 50, 20, 0, 10, 0, 0, 10},
    {"large window", {8192, 8192}, 300, 1, 2, false, false, 100, 0, 0, 20, 0, 0xfffff000, 2000},
};

static void test_links(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(links); i++) {
        struct arq_params p[2];
        struct arq_pair l;

        print_message("%s: ", links[i].name);
        for (int k = 0; k < 2; k++)
            p[k] = (struct arq_params){.mtu = links[i].mtu,
                                       .snd_wnd = links[i].wnd[k],
                                       .rcv_wnd = links[i].wnd[k],
                                       .nodelay = links[i].nodelay,
                                       .interval_ms = 10,
                                       .resend = links[i].resend,
                                       .nocwnd = !links[i].cwnd,
                                       .ack_all = links[i].ack_all};
        arq_pair_init(&l, &p[0], &p[1], i + 1);
        l.t0 = links[i].start;
        l.loss = links[i].loss;
        l.dup = links[i].dup;
        l.jitter = links[i].jitter;
        l.check = links[i].wnd[0] < 1000;
        for (int k = 0; k < 2; k++) {
            arq_set_start(l.e[k].a, links[i].start, links[i].start);
            l.e[k].total = links[i].kbytes * 1000 / (k ? 3 : 1);
            l.e[k].read_every = links[i].read_every;
        }
        arq_pair_run(&l, 300000);
        arq_pair_fini(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links),
    };

    (void)fast;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
