/* tests/unit/test_io.c - both I/O backends through the same scenarios: UDP, and the loop itself; how one is chosen, and
 * older kernels. Connections: test_io_streams.c. */
#include "tests/support/io_env.h"

#include "daemon/io_common.h"
#include "tests/support/refuse.h"

#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- UDP ---- */

static void test_gro_runs(void **state)
{
    static const struct {
        size_t len, seg;
    } runs[] = {{10 * 1350 + 700, 1350}, {2 * 100, 100}, {48 * 1350, 1350}, {40 * 1400 + 1, 1400}, {1350, 1350}};
    static uint8_t p[65536];
    struct env *e = *state;
    struct io_src s = {.fd = udp_open(0, NULL)};
    int c = udp_open(0, NULL);
    struct sockaddr_any me = name_of(c);

    assert_int_equal(e->ops->add_udp(e->io, &s), 0);
    for (size_t i = 0; i < LEN(runs); i++) {
        struct io_event *ev;

        fill(p, runs[i].len, (unsigned)i);
        send_run(c, s.fd, p, runs[i].len, runs[i].seg);
        ev = expect(e, IO_UDP, &s);
        assert_int_equal(ev->len, runs[i].len);
        assert_int_equal(ev->seg, runs[i].seg);
        assert_memory_equal(ev->data, p, ev->len);
        assert_true(net_addr_equal(&ev->from, &me));
        assert_string_equal(net_addr_text(&ev->to), "127.0.0.1:0");
        memset(ev->data, 0, ev->len); /* ours to write in */
    }
    bury(e, &s);
    close(c);
}

static void test_lone_datagrams(void **state)
{
    static const size_t sizes[] = {1, 0, 1350, 0, 0, 65507, 9000};
    static uint8_t p[65536];
    struct env *e = *state;
    struct io_src s = {.fd = udp_open(1 << 20, NULL)};
    int c = udp_open(1 << 20, NULL);

    assert_int_equal(e->ops->add_udp(e->io, &s), 0);
    for (size_t i = 0; i < LEN(sizes); i++) {
        struct io_event *ev;

        fill(p, sizes[i], (unsigned)i);
        send_run(c, s.fd, p, sizes[i], sizes[i]);
        ev = expect(e, IO_UDP, &s);
        assert_int_equal(ev->len, sizes[i]);
        assert_int_equal(ev->seg, MAX(sizes[i], 1u));
        assert_memory_equal(ev->data, p, ev->len);
    }
    expect_nothing(e);
    bury(e, &s);
    close(c);
}

/* More than all receive buffers at once: nothing is lost, doubled or reordered, whatever the batch size. */
static void test_burst(void **state)
{
    struct env *e = *state;
    uint32_t got, seen = 0;
    struct io_src s = {.fd = udp_open(4 << 20, &got)};
    unsigned total = got / 4096;
    int c = udp_open(1 << 20, NULL);

    for (uint32_t i = 0; i < total; i++)
        send_run(c, s.fd, (uint8_t *)&i, sizeof i, sizeof i);
    assert_int_equal(e->ops->add_udp(e->io, &s), 0);
    for (unsigned round = 0; seen < total; round++) {
        if (!wait_n(e, LONG_MS, 1 + round % EVENTS))
            fail_msg("%u of %u", seen, total);
        for (int i = 0; i < e->n; i++, seen++) {
            assert_int_equal(e->ev[i].kind, IO_UDP);
            assert_memory_equal(e->ev[i].data, &seen, sizeof seen);
        }
    }
    expect_nothing(e);
    bury(e, &s);
    close(c);
}

static void test_burst_of_runs(void **state)
{
    static uint8_t p[44 * 1350];
    struct env *e = *state;
    uint32_t got;
    struct io_src s = {.fd = udp_open(4 << 20, &got)};
    size_t total = got / sizeof p / 2, bytes = 0;
    int c = udp_open(1 << 20, NULL);

    assert_int_equal(e->ops->add_udp(e->io, &s), 0);
    for (size_t i = 0; i < total; i++) {
        fill(p, sizeof p, (unsigned)i);
        send_run(c, s.fd, p, sizeof p, 1350);
    }
    for (size_t k = 0; bytes < total * sizeof p;) {
        assert_true(wait_ms(e, LONG_MS) > 0);
        for (int i = 0; i < e->n; i++, k++) { /* all memory of a batch holds until the next wait */
            fill(p, sizeof p, (unsigned)k);
            assert_int_equal(e->ev[i].len, sizeof p);
            assert_memory_equal(e->ev[i].data, p, sizeof p);
            bytes += e->ev[i].len;
        }
    }
    bury(e, &s);
    close(c);
}

static void test_udp_fair(void **state)
{
    struct env *e = *state;
    struct io_src a = {.fd = udp_open(1 << 20, NULL)}, b = {.fd = udp_open(0, NULL)};
    unsigned of_a = 0, of_b = 0, a_before_b = 0;
    int c = udp_open(0, NULL);

    assert_int_equal(e->ops->add_udp(e->io, &a), 0);
    assert_int_equal(e->ops->add_udp(e->io, &b), 0);
    for (unsigned i = 0; i < 120; i++)
        send_run(c, a.fd, (const uint8_t *)"flood", 5, 5);
    send_run(c, b.fd, (const uint8_t *)"quiet", 5, 5);
    while (of_a < 120 || !of_b) {
        assert_true(wait_n(e, LONG_MS, 8) > 0);
        for (int i = 0; i < e->n; i++) {
            assert_int_equal(e->ev[i].kind, IO_UDP);
            of_a += e->ev[i].src == &a;
            of_b += e->ev[i].src == &b;
            if (!of_b)
                a_before_b = of_a;
        }
    }
    assert_in_range(a_before_b, 0, 100);
    bury(e, &a);
    bury(e, &b);
    close(c);
}

/* An ICMP error on a connected socket is told, and the datagrams around it are not lost for it. */
static void test_udp_error(void **state)
{
    struct env *e = *state;
    struct io_src s = {.fd = udp_open(0, NULL)};
    int gone = udp_open(0, NULL), errors = 0, datagrams = 0, again;
    struct sockaddr_any at = name_of(gone);
    struct net_udp_params p = {.bind = at, .family = AF_INET};

    assert_int_equal(connect(s.fd, &at.sa, at.len), 0);
    close(gone);
    assert_int_equal(e->ops->add_udp(e->io, &s), 0);
    assert_int_equal(send(s.fd, "x", 1, 0), 1);
    await(s.fd, 0);
    again = net_udp_open(&p);
    assert_true(again >= 0);
    send_run(again, s.fd, (const uint8_t *)"alive", 5, 5);
    while (!datagrams) {
        assert_true(wait_ms(e, LONG_MS) > 0);
        for (int i = 0; i < e->n; i++) {
            errors += e->ev[i].kind == IO_UDP_ERROR && e->ev[i].res == -ECONNREFUSED;
            datagrams += e->ev[i].kind == IO_UDP && e->ev[i].len == 5;
        }
    }
    assert_int_equal(datagrams, 1);
    assert_int_equal(errors, 1);
    expect_nothing(e);
    bury(e, &s);
    close(again);
}

/* ---- the loop itself ---- */

/* One source deletes the other while a batch is handled: from then on only IO_GONE comes of it, and its memory may go. */
static void test_del_in_batch(void **state)
{
    struct env *e = *state;
    int c = udp_open(0, NULL);

    for (int round = 0; round < 20; round++) {
        struct io_src *s[2];
        int gone = 0;

        for (int i = 0; i < 2; i++) {
            s[i] = calloc(1, sizeof *s[i]);
            s[i]->fd = udp_open(0, NULL);
            s[i]->kind = (uint8_t)i;
            assert_int_equal(e->ops->add_udp(e->io, s[i]), 0);
        }
        for (int k = 0; k < 10; k++)
            for (int i = 0; i < 2; i++)
                send_run(c, s[i]->fd, (const uint8_t *)"data", 4, 4);
        assert_true(wait_n(e, LONG_MS, 1 + (unsigned)round) > 0);
        struct io_src *victim = s[!e->ev[0].src->kind], *other = e->ev[0].src;
        struct sockaddr_any at = name_of(victim->fd);
        e->ops->del(e->io, victim);
        while (!gone) {
            assert_true(wait_n(e, LONG_MS, 3) > 0);
            for (int i = 0; i < e->n; i++) {
                assert_true(e->ev[i].src == other || e->ev[i].kind == IO_GONE);
                gone += e->ev[i].kind == IO_GONE;
            }
        }
        free(victim);
        struct net_udp_params p = {.bind = at, .family = AF_INET};
        int fd = net_udp_open(&p); /* the kernel has let go of the port */
        assert_true(fd >= 0);
        close(fd);
        e->ops->del(e->io, other);
        for (gone = 0; !gone;) {
            assert_true(wait_n(e, LONG_MS, 3) > 0);
            for (int i = 0; i < e->n; i++)
                gone += e->ev[i].kind == IO_GONE;
            assert_true(e->n == 1 && gone);
        }
        free(other);
    }
    close(c);
}

static void test_deadline(void **state)
{
    struct env *e = *state;
    struct tick start = io_now(), until;

    for (unsigned ms = 0; ms < 20; ms += 3) {
        until = tick_add_us(io_now(), ms * 1000 + 137);
        assert_int_equal(e->ops->wait(e->io, until, e->ev, EVENTS), 0);
        assert_false(tick_before(io_now(), until));
    }
    assert_int_equal(e->ops->wait(e->io, start, e->ev, EVENTS), 0);
    assert_int_equal(e->ops->wait(e->io, (struct tick){0}, e->ev, EVENTS), 0);
}

static void test_watch(void **state)
{
    struct env *e = *state;
    struct io_src w = {.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    uint64_t v = 1;

    assert_int_equal(e->ops->watch(e->io, &w), 0);
    expect_nothing(e);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(write(w.fd, &v, sizeof v), sizeof v);
        for (int i = 0; i < 3; i++)
            expect(e, IO_READABLE, &w); /* level: told until it is read */
        assert_int_equal(read(w.fd, &v, sizeof v), sizeof v);
        v = 1;
        wait_ms(e, 0); /* a request made before the read may be answered once more */
        expect_nothing(e);
    }
    bury(e, &w);
}

struct waker {
    int fd;
    unsigned times;
};

static void *wake_often(void *arg)
{
    struct waker *w = arg;
    uint64_t one = 1;

    for (unsigned i = 0; i < w->times; i++) {
        if (write(w->fd, &one, sizeof one) != sizeof one)
            abort();
        if (i % 16 == 0)
            usleep(100);
    }
    return NULL;
}

static void test_wake_from_thread(void **state)
{
    struct env *e = *state;
    struct io_src s = {.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    struct waker w = {s.fd, 2000};
    uint64_t sum = 0, v;
    pthread_t t;

    assert_int_equal(e->ops->watch(e->io, &s), 0);
    assert_int_equal(pthread_create(&t, NULL, wake_often, &w), 0);
    while (sum < w.times) {
        assert_int_equal(wait_ms(e, LONG_MS), 1);
        if (read(s.fd, &v, sizeof v) == sizeof v)
            sum += v;
    }
    assert_int_equal(sum, w.times);
    pthread_join(t, NULL);
    wait_ms(e, 0);
    bury(e, &s);
}

/* Opened here, used there: as main() opens what the workers run. */
static void *use_elsewhere(void *arg)
{
    void *state = arg;

    test_gro_runs(&state);
    return NULL;
}

static void test_other_thread(void **state)
{
    struct env *e = *state;
    pthread_t t;

    assert_int_equal(pthread_create(&t, NULL, use_elsewhere, e), 0);
    pthread_join(t, NULL);
}

static void test_many_sources(void **state)
{
    enum { N = 1000 };
    struct env *e = *state;
    struct io_src *s = calloc(N, sizeof *s);
    int *peer = calloc(N, sizeof *peer), left, rounds = 3;
    struct rlimit r;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
    r.rlim_cur = MIN(MAX(r.rlim_cur, 4096), r.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
    for (int i = 0; i < N; i++) {
        int p[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p), 0);
        s[i].fd = p[0];
        peer[i] = p[1];
        assert_int_equal(e->ops->add_stream(e->io, &s[i]), 0);
    }
    while (rounds--) {
        for (int i = 0; i < N; i++) {
            assert_int_equal(e->ops->read(e->io, &s[i]), 0);
            assert_int_equal(write(peer[i], &i, sizeof i), sizeof i);
        }
        for (left = N; left; left -= e->n) {
            assert_true(wait_ms(e, LONG_MS) > 0);
            for (int i = 0; i < e->n; i++) {
                ptrdiff_t k = e->ev[i].src - s;

                assert_int_equal(e->ev[i].kind, IO_READ);
                assert_int_equal(e->ev[i].len, sizeof(int));
                assert_memory_equal(e->ev[i].data, &(int){(int)k}, sizeof(int));
            }
        }
        expect_nothing(e);
    }
    for (int i = 0; i < N; i++) { /* with a request each, more than a submission queue holds */
        assert_int_equal(e->ops->read(e->io, &s[i]), 0);
        if (i == N / 2)
            expect_nothing(e);
    }
    for (int i = 0; i < N; i++)
        e->ops->del(e->io, &s[i]);
    for (left = N; left; left -= e->n) {
        assert_true(wait_ms(e, LONG_MS) > 0);
        for (int i = 0; i < e->n; i++)
            assert_int_equal(e->ev[i].kind, IO_GONE);
    }
    for (int i = 0; i < N; i++)
        close(peer[i]);
    free(s);
    free(peer);
}

static void test_max_events(void **state)
{
    struct env *e = *state;
    struct io_src s = {.fd = udp_open(0, NULL)};
    struct io *io;
    int c = udp_open(0, NULL), got = 0;

    assert_int_equal(e->ops->open(&io, &(struct io_params){.max_events = 3}), 0);
    assert_int_equal(e->ops->add_udp(io, &s), 0);
    for (int i = 0; i < 10; i++)
        send_run(c, s.fd, (const uint8_t *)"x", 1, 1);
    while (got < 10) {
        int n = e->ops->wait(io, tick_add_ms(io_now(), LONG_MS), e->ev, EVENTS);

        assert_in_range(n, 1, 3);
        got += n;
    }
    e->ops->close(io); /* with the receive still armed: the descriptor stays ours, and usable */
    send_run(c, s.fd, (const uint8_t *)"later", 5, 5);
    await(s.fd, POLLIN);
    assert_int_equal(recv(s.fd, e->ev, sizeof e->ev, 0), 5);
    close(s.fd);
    close(c);
}

static void put_control(struct msghdr *h, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)((uint8_t *)h->msg_control + h->msg_controllen);

    *c = (struct cmsghdr){.cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(len)};
    memcpy(CMSG_DATA(c), data, len);
    h->msg_controllen += CMSG_SPACE(len);
}

/* What a kernel may say of a run, and rarely does. */
static void test_run_event(void **state)
{
    static const struct {
        int gro, flags;
        uint32_t len, seg; /* seg 0: cut */
    } rows[] = {
        {0, 0, 100, 100},     {-1, 0, 100, 100},     {100, 0, 100, 100},       {101, 0, 100, 100},
        {99, 0, 100, 99},     {99, 0, 0, 1},         {INT32_MAX, 0, 100, 100}, {50, MSG_ERRQUEUE, 100, 50},
        {1, MSG_TRUNC, 9, 0}, {1, MSG_CTRUNC, 9, 0},
    };
    _Alignas(struct cmsghdr) uint8_t control[IO_CONTROL] = {0};
    struct in_pktinfo own = {.ipi_addr.s_addr = htonl(0x7f000009)};
    struct sockaddr_any from = loop4(7);
    struct io_event ev[LEN(rows)];
    struct io_batch b = {.ev = ev, .max = LEN(ev)};
    struct io_src s = {0};
    uint8_t p[100];

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct msghdr h = {.msg_name = &from.in6, .msg_namelen = from.len, .msg_control = control};

        memset(control, 0, sizeof control);
        put_control(&h, IPPROTO_IP, IP_TTL, &(int){1}, sizeof(int));
        put_control(&h, SOL_UDP, UDP_GRO, &rows[i].gro, sizeof rows[i].gro);
        put_control(&h, IPPROTO_IP, IP_PKTINFO, &own, sizeof own);
        h.msg_flags = rows[i].flags;
        io_batch_run(&b, &s, &h, p, rows[i].len);
        if (rows[i].seg) {
            assert_int_equal(b.n, i + 1);
            assert_int_equal(ev[i].kind, IO_UDP);
            assert_int_equal(ev[i].seg, rows[i].seg);
            assert_string_equal(net_addr_text(&ev[i].to), "127.0.0.9:0");
            assert_true(net_addr_equal(&ev[i].from, &from));
        }
    }
    assert_int_equal(b.n, LEN(rows) - 1); /* the two cut ones in one event */
    assert_int_equal(ev[b.n - 1].kind, IO_UDP_CUT);
    assert_int_equal(ev[b.n - 1].res, 2);
}

static int uring_forbidden(void)
{
    struct io *io;

    if (refuse_call(__NR_io_uring_setup, REFUSE_ANY, EPERM))
        return CHILD_SKIPPED;
    if (io_uring_ops.usable() || io_choose("io_uring") || io_choose("auto") != &io_epoll_ops)
        return 1;
    return io_uring_ops.open && io_uring_ops.open(&io, &(struct io_params){.max_events = 1}) != -EPERM;
}

/* Comes first: what usable() has found out is kept. */
static void test_uring_forbidden(void **state)
{
    int r = in_child(uring_forbidden);

    (void)state;
    if (r == CHILD_SKIPPED)
        skip();
    assert_int_equal(r, 0);
}

static int coarse_clock(void)
{
    struct io_src w = {.fd = eventfd(1, EFD_NONBLOCK)};
    struct io_event ev[2];
    struct io *io;

    if (refuse_call(__NR_epoll_pwait2, REFUSE_ANY, ENOSYS))
        return CHILD_SKIPPED;
    if (io_epoll_ops.open(&io, &(struct io_params){.max_events = 2}))
        return 1;
    for (int i = 0; i < 5; i++) {
        struct tick until = tick_add_us(io_now(), 3100);

        if (io_epoll_ops.wait(io, until, ev, 2) != 0 || tick_before(io_now(), until))
            return 2;
    }
    return io_epoll_ops.watch(io, &w) || io_epoll_ops.wait(io, TICK_NEVER, ev, 2) != 1 || ev[0].kind != IO_READABLE;
}

/* Before Linux 5.11 epoll sleeps whole milliseconds: never too short. */
static void test_epoll_coarse(void **state)
{
    int r = in_child(coarse_clock);

    (void)state;
    if (r == CHILD_SKIPPED)
        skip();
    assert_int_equal(r, 0);
}

static void test_choose(void **state)
{
    (void)state;
    assert_ptr_equal(io_choose("epoll"), &io_epoll_ops);
    assert_ptr_equal(io_choose("io_uring"), io_uring_ops.usable() ? &io_uring_ops : NULL);
    assert_ptr_equal(io_choose("auto"), &io_epoll_ops);
    assert_null(io_choose("kqueue"));
}

#define SCENARIOS(ops)                                                                                                 \
    SCENARIO(ops, test_gro_runs), SCENARIO(ops, test_lone_datagrams), SCENARIO(ops, test_burst),                       \
        SCENARIO(ops, test_burst_of_runs), SCENARIO(ops, test_udp_fair), SCENARIO(ops, test_udp_error),                \
        SCENARIO(ops, test_del_in_batch), SCENARIO(ops, test_deadline), SCENARIO(ops, test_watch),                     \
        SCENARIO(ops, test_wake_from_thread), SCENARIO(ops, test_other_thread), SCENARIO(ops, test_many_sources),      \
        SCENARIO(ops, test_max_events)

int main(void)
{
    const struct CMUnitTest epoll[] = {cmocka_unit_test(test_uring_forbidden), cmocka_unit_test(test_choose),
                                       cmocka_unit_test(test_epoll_coarse), cmocka_unit_test(test_run_event),
                                       SCENARIOS(&io_epoll_ops)};
    const struct CMUnitTest uring[] = {SCENARIOS(&io_uring_ops)};
    int failed = cmocka_run_group_tests_name("epoll", epoll, NULL, NULL);

    if (io_uring_ops.usable())
        failed += cmocka_run_group_tests_name("io_uring", uring, NULL, NULL);
    else if (io_uring_ops.open && !failed)
        return SKIPPED; /* built in, but this kernel refuses */
    return failed;
}
