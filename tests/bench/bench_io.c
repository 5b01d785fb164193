/* tests/bench/bench_io.c - UDP receive on loopback through each I/O backend: bytes per second, and the receiving thread's
 * CPU per byte and per datagram. The sender is a thread of its own. argv[1]: milliseconds of a run, 500 by default. */
#include "daemon/io.h"
#include "daemon/net.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/base/err.h"

enum { SEG = 1350, EVENTS = 256, RUN_MS = 500 };

struct sender {
    struct sockaddr_any to;
    unsigned segs; /* datagrams of a run */
    atomic_bool stop;
};

struct result {
    uint64_t bytes, datagrams, waits, wall_us, cpu_us;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, err_text());
    exit(1);
}

static int open_loopback(void)
{
    struct net_udp_params p = {.family = AF_INET, .sockbuf = 4 << 20};
    int fd;

    net_bytes_in_name("127.0.0.1", 0, &p.bind);
    fd = net_udp_open(&p);
    if (fd < 0)
        die("socket");
    return fd;
}

static void *flood(void *arg)
{
    static const uint8_t run[NET_GSO_SEGS * SEG];
    struct sender *s = arg;
    struct net_gso gso = {0};
    int fd = open_loopback(), err;

    while (!atomic_load_explicit(&s->stop, memory_order_relaxed))
        net_udp_send(fd, &s->to, NULL, run, (size_t)s->segs * SEG, SEG, &gso, &err);
    close(fd);
    return NULL;
}

static uint64_t thread_cpu_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* One touch per cache line, as whoever opens the datagrams does at least. */
static void touch(const struct io_event *ev)
{
    const volatile uint8_t *p = ev->data;

    for (uint32_t i = 0; i < ev->len; i += 64)
        (void)p[i];
}

static struct result receive(const struct io_ops *ops, struct io *io, unsigned ms)
{
    static struct io_event ev[EVENTS];
    struct result r = {0};
    uint64_t cpu = thread_cpu_us();
    struct tick start = io_now(), until = tick_add_ms(start, ms);

    while (tick_before(io_now(), until)) {
        int n = ops->wait(io, until, ev, EVENTS);

        if (n < 0)
            die("wait");
        for (int i = 0; i < n; i++) {
            touch(&ev[i]);
            r.bytes += ev[i].len;
            r.datagrams += (ev[i].len + ev[i].seg - 1) / MAX(ev[i].seg, 1u);
        }
        r.waits++;
    }
    r.cpu_us = thread_cpu_us() - cpu;
    r.wall_us = tick_since_us(io_now(), start);
    return r;
}

static void bench(const struct io_ops *ops, unsigned segs, unsigned ms)
{
    struct io_src src = {.fd = open_loopback()};
    struct sender s = {.to = {.len = sizeof s.to.in6}, .segs = segs};
    struct result r;
    struct io *io;
    pthread_t t;

    getsockname(src.fd, &s.to.sa, &s.to.len);
    if (ops->open(&io, &(struct io_params){.max_events = EVENTS}) || ops->add_udp(io, &src))
        die(ops->name);
    if (pthread_create(&t, NULL, flood, &s))
        die("thread");
    r = receive(ops, io, ms);
    atomic_store(&s.stop, true);
    pthread_join(t, NULL);
    printf("%-9s runs of %2u: %6.2f GB/s, CPU %.3f ns/B, %4.0f ns/datagram, %5.1f datagrams a wait\n", ops->name, segs,
           (double)r.bytes / 1e3 / (double)r.wall_us, (double)r.cpu_us * 1e3 / (double)r.bytes,
           (double)r.cpu_us * 1e3 / (double)r.datagrams, (double)r.datagrams / (double)r.waits);
    ops->close(io);
    close(src.fd);
}

int main(int argc, char **argv)
{
    static const struct io_ops *const all[] = {&io_epoll_ops, &io_uring_ops};
    static const unsigned segs[] = {44, 8, 1};
    unsigned ms = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : RUN_MS;

    for (size_t k = 0; k < LEN(segs); k++)
        for (size_t i = 0; i < LEN(all); i++)
            if (all[i]->usable())
                bench(all[i], segs[k], ms);
    return 0;
}
