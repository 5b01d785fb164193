/* tools/bench_limit.c - what the machine carries without a tunnel: the upper bound that a tunnel's rate is read by. */
#include "tools/bench_work.h"

#include "tools/bench_load.h"
#include "tools/bench_net.h"
#include "tools/bench_place.h"

#include <errno.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a tunnel sends: datagrams of its default mtu, as many as one send may cut from 64 KiB. */
enum { DATAGRAM = 1350, RUN = 48, BUFFER = 65536, SOCKBUF = 4 << 20 };

int bench_limit_tcp(const struct bench *b, double *mb_s)
{
    double warm = b->opts.time_s / 4, from;
    struct bench_load *l = NULL;
    struct sockaddr_in to;
    uint64_t before;
    int r = bench_load_open(&l, b, 1);

    if (r)
        return r;
    to = bench_load_target(l);
    r = bench_load_run(l, &to, BENCH_SINK, BENCH_FLOOD, 0, 1);
    r = r ? r : bench_sleep(warm);
    from = bench_now();
    before = bench_load_bytes(l, 0);
    r = r ? r : bench_sleep(b->opts.time_s);
    *mb_s = 1e-6 * (double)(bench_load_bytes(l, 0) - before) / (bench_now() - from);
    bench_load_close(l);
    return r;
}

struct udp { /* one thread of it sends, one receives */
    const struct bench *bench;
    int out, in;
    _Atomic bool stop;
    _Atomic uint64_t bytes;
};

static void *send_main(void *arg)
{
    static uint8_t data[DATAGRAM * RUN];
    struct udp *u = arg;

    bench_place_take(u->bench->place, SEAT_NEAR);
    while (!atomic_load_explicit(&u->stop, memory_order_relaxed))
        if (send(u->out, data, sizeof data, 0) < 0 && errno != ENOBUFS && errno != EAGAIN && errno != ECONNREFUSED)
            break;
    return NULL;
}

static void *recv_main(void *arg)
{
    uint8_t data[BUFFER];
    struct udp *u = arg;

    bench_place_take(u->bench->place, SEAT_FAR);
    while (!atomic_load_explicit(&u->stop, memory_order_relaxed)) {
        ssize_t n = recv(u->in, data, sizeof data, 0); /* ends after its timeout: the sender may have failed */

        if (n > 0)
            atomic_fetch_add_explicit(&u->bytes, (uint64_t)n, memory_order_relaxed);
    }
    return NULL;
}

static int sockets_open(struct udp *u)
{
    static const int size = DATAGRAM, one = 1, buffer = SOCKBUF;
    static const struct timeval slice = {.tv_usec = 100000};
    const struct bench_net *net = u->bench->net;
    struct sockaddr_in at = bench_net_at(net->server, 0);
    socklen_t len = sizeof at;

    if (!bench_net_enter(net, BENCH_SERVER))
        u->in = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (!bench_net_enter(net, BENCH_CLIENT))
        u->out = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (u->in < 0 || u->out < 0)
        return -1;
    setsockopt(u->in, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(u->in, SOL_SOCKET, SO_RCVTIMEO, &slice, sizeof slice);
    if (bind(u->in, (struct sockaddr *)&at, len) || getsockname(u->in, (struct sockaddr *)&at, &len) ||
        setsockopt(u->in, IPPROTO_UDP, UDP_GRO, &one, sizeof one) || connect(u->out, (struct sockaddr *)&at, len))
        return -1;
    return setsockopt(u->out, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size);
}

static int udp_over(struct udp *u, double *mb_s)
{
    const struct bench *b = u->bench;
    uint64_t before;
    double from;
    int r = bench_sleep(b->opts.time_s / 4);

    from = bench_now();
    before = atomic_load_explicit(&u->bytes, memory_order_relaxed);
    r = r ? r : bench_sleep(b->opts.time_s);
    *mb_s = 1e-6 * (double)(atomic_load_explicit(&u->bytes, memory_order_relaxed) - before) / (bench_now() - from);
    return r;
}

int bench_limit_udp(const struct bench *b, double *mb_s)
{
    struct udp u = {.bench = b, .out = -1, .in = -1};
    pthread_t sender, receiver;
    int r;

    if (sockets_open(&u))
        r = bench_fail("UDP with segmentation offload: %m");
    else if ((errno = pthread_create(&receiver, NULL, recv_main, &u)))
        r = bench_fail("cannot start a thread: %m");
    else {
        errno = pthread_create(&sender, NULL, send_main, &u);
        r = errno ? bench_fail("cannot start a thread: %m") : udp_over(&u, mb_s);
        atomic_store_explicit(&u.stop, true, memory_order_relaxed);
        if (r != BENCH_FAILED)
            pthread_join(sender, NULL);
        pthread_join(receiver, NULL);
    }
    if (u.in >= 0)
        close(u.in);
    if (u.out >= 0)
        close(u.out);
    return r;
}
