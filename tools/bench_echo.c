/* tools/bench_echo.c - round trips: echoes on one stream, and connections that live for one echo. */
#include "tools/bench_echo.h"

#include "tools/bench_dial.h"
#include "tools/bench_net.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ECHO = 64, WIDTH = 16, GAP_MIN_US = 1000, GAP_US = 10000 };

static const double ANSWER_S = 10;

struct times { /* ms */
    double *v;
    unsigned n, cap;
};

static int times_add(struct times *t, double ms)
{
    if (t->n == t->cap) {
        unsigned cap = t->cap ? 2 * t->cap : 1024;
        double *more = reallocarray(t->v, cap, sizeof *more);

        if (!more)
            return bench_fail("out of memory");
        t->v = more;
        t->cap = cap;
    }
    t->v[t->n++] = ms;
    return 0;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The smallest value that p of all values do not exceed (nearest rank). */
static double rank(struct times *t, double p)
{
    if (!t->n)
        return NAN;
    qsort(t->v, t->n, sizeof *t->v, by_size);
    return t->v[(unsigned)ceil(p * t->n) - 1];
}

/* ---- echo ---- */

static int one_echo(int fd)
{
    uint8_t out[ECHO] = {1}, in[ECHO];
    double until = bench_now() + ANSWER_S;
    size_t got = 0;

    if (send(fd, out, sizeof out, MSG_NOSIGNAL) != sizeof out)
        return bench_fail("cannot write to the tunnel: %m");
    while (got < sizeof in) {
        ssize_t n = recv(fd, in + got, sizeof in - got, 0);

        if (bench_stopped())
            return BENCH_STOPPED;
        if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
            return bench_fail("the stream ended during an echo");
        if (bench_now() > until)
            return bench_fail("no echo in %.0f s", ANSWER_S);
        got += n > 0 ? (size_t)n : 0;
    }
    return memcmp(in, out, sizeof in) ? bench_fail("an echo came back changed") : 0;
}

int bench_echo_run(struct bench_echo *out, int fd, double seconds)
{
    double end = bench_now() + seconds;
    struct times t = {0};
    uint32_t x = 1; /* the same gaps in every run */
    int r = 0;

    while (!r && bench_now() < end) {
        double from = bench_now();

        r = one_echo(fd);
        r = r ? r : times_add(&t, 1e3 * (bench_now() - from));
        x = x * 1664525 + 1013904223;
        r = r ? r : bench_sleep(1e-6 * (GAP_MIN_US + (x >> 8) % GAP_US));
    }
    *out = (struct bench_echo){.n = t.n, .p50_ms = rank(&t, 0.5), .p99_ms = rank(&t, 0.99)};
    free(t.v);
    return r;
}

/* ---- churn ---- */

struct lane { /* one connection after the other */
    int fd; /* -1: none */
    unsigned got;
    double from;
};

struct churn {
    const struct sockaddr_in *to;
    struct lane lanes[WIDTH];
    struct times t;
    unsigned failed;
    int ep;
};

static void lane_end(struct lane *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

static int lane_fail(struct churn *c, struct lane *l)
{
    lane_end(l);
    c->failed++;
    return -1;
}

/* -1: it failed, and was counted. */
static int lane_start(struct churn *c, struct lane *l)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = l};
    uint8_t out[BENCH_HELLO + ECHO] = {0};

    bench_dial_hello(out, BENCH_ECHO, 0);
    *l = (struct lane){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .from = bench_now()};
    if (l->fd < 0)
        return lane_fail(c, l);
    bench_net_tcp(l->fd);
    /* on loopback a connection stands at once, unless the tunnel's backlog is full: then we are fast enough */
    if (connect(l->fd, (const struct sockaddr *)c->to, sizeof *c->to) ||
        send(l->fd, out, sizeof out, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof out ||
        epoll_ctl(c->ep, EPOLL_CTL_ADD, l->fd, &ev))
        return lane_fail(c, l);
    return 0;
}

/* The target's answer to the hello, and the echo. */
static int lane_turn(struct churn *c, struct lane *l)
{
    uint8_t in[1 + ECHO];
    ssize_t n = recv(l->fd, in, sizeof in - l->got, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        lane_fail(c, l);
        return 0;
    }
    l->got += (unsigned)n;
    if (l->got < sizeof in)
        return 0;
    lane_end(l);
    return times_add(&c->t, 1e3 * (bench_now() - l->from));
}

static int churn_loop(struct churn *c, double end)
{
    struct epoll_event ev[WIDTH];
    int r = 0;

    while (!r && bench_now() < end) {
        bool refused = false;
        int n;

        for (int i = 0; i < WIDTH; i++)
            if (c->lanes[i].fd < 0 && !refused)
                refused = lane_start(c, &c->lanes[i]) < 0;
        n = epoll_wait(c->ep, ev, WIDTH, refused ? 10 : 100);
        for (int i = 0; !r && i < n; i++)
            r = lane_turn(c, ev[i].data.ptr);
        if (bench_stopped())
            r = BENCH_STOPPED;
    }
    return r;
}

int bench_churn_run(struct bench_churn *out, const struct sockaddr_in *to, double seconds)
{
    struct churn c = {.to = to, .ep = epoll_create1(EPOLL_CLOEXEC)};
    int r;

    if (c.ep < 0)
        return bench_fail("cannot make an epoll set: %m");
    for (int i = 0; i < WIDTH; i++)
        c.lanes[i].fd = -1;
    r = churn_loop(&c, bench_now() + seconds);
    for (int i = 0; i < WIDTH; i++)
        lane_end(&c.lanes[i]);
    close(c.ep);
    *out = (struct bench_churn){.n = c.t.n, .failed = c.failed, .p99_ms = rank(&c.t, 0.99)};
    free(c.t.v);
    return r;
}
