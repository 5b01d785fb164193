/* tests/unit/test_io_streams.c - both I/O backends through the same scenarios: connections and listeners. */
#include "tests/support/io_env.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- streams ---- */

static void test_stream_read(void **state)
{
    struct env *e = *state;
    struct io_src s = {0};
    struct io_event *ev;
    int peer;

    tcp_pair(&s.fd, &peer);
    assert_int_equal(e->ops->add_stream(e->io, &s), 0);
    assert_int_equal(send(peer, "unasked", 7, 0), 7);
    expect_nothing(e);
    assert_int_equal(e->ops->read(e->io, &s), 0); /* data first, then the request */
    ev = expect(e, IO_READ, &s);
    assert_int_equal(ev->len, 7);
    assert_memory_equal(ev->data, "unasked", 7);
    assert_int_equal(e->ops->read(e->io, &s), 0); /* the request first */
    expect_nothing(e);
    assert_int_equal(send(peer, "asked", 5, 0), 5);
    ev = expect(e, IO_READ, &s);
    assert_memory_equal(ev->data, "asked", 5);
    assert_int_equal(send(peer, "last", 4, 0), 4);
    close(peer); /* bytes and end-of-file are there together */
    expect_nothing(e);
    assert_int_equal(e->ops->read(e->io, &s), 0);
    ev = expect(e, IO_READ, &s);
    assert_int_equal(ev->len, 4);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(e->ops->read(e->io, &s), 0);
        ev = expect(e, IO_READ, &s);
        assert_int_equal(ev->len, 0);
    }
    bury(e, &s);
}

static void test_stream_bulk(void **state)
{
    enum { TOTAL = 1 << 20 };
    struct env *e = *state;
    struct io_src s = {0};
    size_t sent = 0, got = 0;
    static uint8_t p[TOTAL];
    int peer;

    fill(p, TOTAL, 7);
    tcp_pair(&s.fd, &peer);
    assert_int_equal(e->ops->add_stream(e->io, &s), 0);
    assert_int_equal(e->ops->read(e->io, &s), 0);
    while (got < TOTAL) {
        struct bytes v[3] = {{p + sent, (TOTAL - sent) / 2}, {NULL, 0}, {p + sent + (TOTAL - sent) / 2, 0}};
        ssize_t w;

        v[2].len = TOTAL - sent - v[0].len;
        w = sent < TOTAL ? net_write(peer, v, 3) : 0;
        assert_true(w >= 0 || w == -EAGAIN);
        sent += w > 0 ? (size_t)w : 0;
        assert_int_equal(wait_ms(e, LONG_MS), 1);
        assert_int_equal(e->ev[0].kind, IO_READ);
        assert_true(e->ev[0].len > 0 && e->ev[0].len <= TOTAL - got);
        assert_memory_equal(e->ev[0].data, p + got, e->ev[0].len);
        got += e->ev[0].len;
        assert_int_equal(e->ops->read(e->io, &s), 0);
    }
    bury(e, &s); /* with a request in the kernel */
    close(peer);
}

/* A read stops at urgent data; what stands behind must not wait for another packet. */
static void test_stream_urgent(void **state)
{
    struct env *e = *state;
    struct io_src s = {0};
    size_t got = 0;
    int peer;

    tcp_pair(&s.fd, &peer);
    assert_int_equal(e->ops->add_stream(e->io, &s), 0);
    assert_int_equal(send(peer, "abc", 3, 0), 3);
    assert_int_equal(send(peer, "!", 1, MSG_OOB), 1);
    assert_int_equal(send(peer, "def", 3, 0), 3);
    while (got < 6) {
        assert_int_equal(e->ops->read(e->io, &s), 0);
        got += expect(e, IO_READ, &s)->len;
    }
    assert_int_equal(got, 6);
    bury(e, &s);
    close(peer);
}

static void test_stream_reset(void **state)
{
    struct env *e = *state;
    struct io_src s = {0};
    int peer;

    tcp_pair(&s.fd, &peer);
    assert_int_equal(e->ops->add_stream(e->io, &s), 0);
    assert_int_equal(e->ops->read(e->io, &s), 0);
    expect_nothing(e);
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(peer);
    assert_int_equal(expect(e, IO_READ_ERROR, &s)->res, -ECONNRESET);
    bury(e, &s);
}

static void test_back_pressure(void **state)
{
    static uint8_t p[65536];
    struct env *e = *state;
    struct io_src s = {0};
    struct bytes v = bytes_of(p, sizeof p);
    int peer;

    tcp_pair(&s.fd, &peer);
    assert_int_equal(e->ops->add_stream(e->io, &s), 0);
    for (int i = 0; i < 2; i++) { /* room is told as often as it is asked for */
        assert_int_equal(e->ops->want_write(e->io, &s), 0);
        expect(e, IO_WRITABLE, &s);
    }
    for (int round = 0; round < 2; round++) {
        stuff(s.fd);
        assert_int_equal(net_write(s.fd, &v, 1), -EAGAIN);
        assert_int_equal(e->ops->want_write(e->io, &s), 0);
        expect_nothing(e);
        while (!wait_ms(e, 1))
            while (recv(peer, p, sizeof p, MSG_DONTWAIT) > 0)
                ;
        assert_int_equal(e->n, 1);
        assert_int_equal(e->ev[0].kind, IO_WRITABLE);
        assert_true(net_write(s.fd, &v, 1) > 0);
    }
    bury(e, &s);
    close(peer);
}

static void test_connect(void **state)
{
    struct env *e = *state;
    struct sockaddr_any at;
    int l = tcp_listen(&at);
    struct io_src good = {.fd = net_connect(&at, NULL)}, bad;

    assert_true(good.fd >= 0);
    assert_int_equal(e->ops->add_stream(e->io, &good), 0);
    assert_int_equal(e->ops->want_write(e->io, &good), 0);
    expect(e, IO_WRITABLE, &good);
    assert_int_equal(net_socket_error(good.fd), 0);
    bury(e, &good);
    close(l);
    bad = (struct io_src){.fd = net_connect(&at, NULL)};
    if (bad.fd < 0) /* loopback may refuse at once */
        return;
    assert_int_equal(e->ops->add_stream(e->io, &bad), 0);
    assert_int_equal(e->ops->want_write(e->io, &bad), 0);
    expect(e, IO_WRITABLE, &bad);
    assert_int_equal(net_socket_error(bad.fd), -ECONNREFUSED);
    bury(e, &bad);
}

static void test_del_stream_requests(void **state)
{
    static uint8_t p[65536];
    struct env *e = *state;

    for (int round = 0; round < 6; round++) {
        struct io_src s = {0};
        int peer, r;

        tcp_pair(&s.fd, &peer);
        assert_int_equal(e->ops->add_stream(e->io, &s), 0);
        stuff(s.fd);
        assert_int_equal(e->ops->read(e->io, &s), 0);
        assert_int_equal(e->ops->want_write(e->io, &s), 0);
        if (round & 1) /* requests made, or still to be made */
            expect_nothing(e);
        if (round & 2) /* or already answered, and not told yet */
            assert_int_equal(send(peer, "x", 1, 0), 1);
        bury(e, &s);
        while ((r = (int)recv(peer, p, sizeof p, MSG_DONTWAIT)) > 0)
            ;
        assert_true(r == 0 || errno == ECONNRESET || errno == EAGAIN);
        close(peer);
    }
}

/* More readers than receive buffers, most of them idle: the last of them is heard all the same. */
static void test_idle_behind_busy(void **state)
{
    enum { N = 300, BUSY = 100 };
    struct env *e = *state;
    struct io_src s[N];
    int peer[N];

    for (int i = 0; i < N; i++) {
        int p[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p), 0);
        s[i] = (struct io_src){.fd = p[0]};
        peer[i] = p[1];
        assert_int_equal(e->ops->add_stream(e->io, &s[i]), 0);
        assert_int_equal(e->ops->read(e->io, &s[i]), 0);
        if (i < BUSY)
            assert_int_equal(write(peer[i], "x", 1), 1);
    }
    for (int got = 0; got < BUSY; got += e->n)
        assert_true(wait_ms(e, LONG_MS) > 0);
    assert_int_equal(write(peer[N - 1], "y", 1), 1);
    expect(e, IO_READ, &s[N - 1]);
    for (int i = 0; i < N; i++) {
        e->ops->del(e->io, &s[i]);
        close(peer[i]);
    }
    for (int gone = 0; gone < N; gone += e->n)
        assert_true(wait_ms(e, LONG_MS) > 0);
}

/* ---- listeners ---- */

static void test_accept_burst(void **state)
{
    enum { N = 100 };
    struct env *e = *state;
    struct sockaddr_any at;
    struct io_src l = {.fd = tcp_listen(&at)};
    int c[N], got = 0;

    assert_int_equal(e->ops->add_listener(e->io, &l), 0);
    for (int i = 0; i < N; i++)
        assert_true((c[i] = net_connect(&at, NULL)) >= 0);
    while (got < N) {
        assert_true(wait_n(e, LONG_MS, 7) > 0);
        for (int i = 0; i < e->n; i++, got++) {
            int fd = e->ev[i].res, on = 0;

            assert_int_equal(e->ev[i].kind, IO_ACCEPT);
            assert_true(fd >= 0);
            assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
            assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
            assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &(socklen_t){sizeof on}), 0);
            assert_true(on); /* else small messages wait for the application to acknowledge the ones before */
            close(fd);
        }
    }
    expect_nothing(e);
    for (int i = 0; i < N; i++)
        close(c[i]);
    bury(e, &l);
    c[0] = net_connect(&at, NULL); /* the port is really closed */
    if (c[0] >= 0) {
        await(c[0], POLLOUT);
        assert_int_equal(net_socket_error(c[0]), -ECONNREFUSED);
        close(c[0]);
    }
}

static void test_out_of_descriptors(void **state)
{
    struct env *e = *state;
    struct sockaddr_any at;
    struct io_src l = {.fd = tcp_listen(&at)};
    struct rlimit old, low;
    int c = net_connect(&at, NULL), lowest = dup(c);

    assert_true(lowest >= 0);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = (struct rlimit){(rlim_t)lowest, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_int_equal(e->ops->add_listener(e->io, &l), 0);
    assert_int_equal(expect(e, IO_ACCEPT, &l)->res, -EMFILE);
    assert_int_equal(wait_ms(e, 250), 0); /* told once, and no spinning: two retries lie in this time */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(expect(e, IO_ACCEPT, &l)->res >= 0);
    close(e->ev[0].res);
    close(c);
    bury(e, &l);
}

static void test_pause(void **state)
{
    struct env *e = *state;
    struct sockaddr_any at;
    struct io_src l = {.fd = tcp_listen(&at)};
    int c[3];

    assert_int_equal(e->ops->add_listener(e->io, &l), 0);
    expect_nothing(e);
    for (int i = 0; i < 3; i++) {
        e->ops->pause(e->io, &l, true);
        e->ops->pause(e->io, &l, false); /* at once: nothing may get lost in between */
        e->ops->pause(e->io, &l, true);
        expect_nothing(e);
        c[i] = net_connect(&at, NULL);
        assert_true(c[i] >= 0);
        expect_nothing(e);
        e->ops->pause(e->io, &l, false);
        assert_true(expect(e, IO_ACCEPT, &l)->res >= 0);
        close(e->ev[0].res);
        close(c[i]);
        expect_nothing(e);
    }
    bury(e, &l);
}

/* Resumed while the end of the pause is still on its way to us, behind other events. */
static void test_pause_overtaken(void **state)
{
    struct env *e = *state;
    struct sockaddr_any at;
    struct io_src l = {.fd = tcp_listen(&at)}, u = {.fd = udp_open(0, NULL)};
    int c = udp_open(0, NULL), t, got = 0;

    assert_int_equal(e->ops->add_listener(e->io, &l), 0);
    assert_int_equal(e->ops->add_udp(e->io, &u), 0);
    expect_nothing(e);
    for (int i = 0; i < 10; i++)
        send_run(c, u.fd, (const uint8_t *)"x", 1, 1);
    for (int i = 0; i < 10; i++) {
        e->ops->pause(e->io, &l, i % 3 != 2);
        assert_int_equal(wait_n(e, LONG_MS, 1), 1);
        assert_ptr_equal(e->ev[0].src, &u);
    }
    e->ops->pause(e->io, &l, false);
    assert_true((t = net_connect(&at, NULL)) >= 0);
    for (; !got; got = e->ev[0].kind == IO_ACCEPT)
        assert_int_equal(wait_n(e, LONG_MS, 1), 1);
    close(e->ev[0].res);
    close(t);
    close(c);
    bury(e, &u);
    bury(e, &l);
}

/* Connections that were taken from the queue but not told yet when the listener is deleted: none is forgotten open. */
static void test_del_listener(void **state)
{
    struct env *e = *state;
    struct sockaddr_any at;
    struct io_src l = {.fd = tcp_listen(&at)};
    int c[20], lowest, after;

    assert_int_equal(e->ops->add_listener(e->io, &l), 0);
    for (size_t i = 0; i < LEN(c); i++)
        assert_true((c[i] = net_connect(&at, NULL)) >= 0);
    lowest = dup(l.fd);
    close(lowest);
    assert_int_equal(wait_n(e, LONG_MS, 1), 1);
    assert_int_equal(e->ev[0].kind, IO_ACCEPT);
    close(e->ev[0].res);
    bury(e, &l);
    after = dup(c[0]);
    assert_true(after <= lowest);
    close(after);
    for (size_t i = 0; i < LEN(c); i++) {
        uint8_t b;

        for (int k = 0; k < 1000 && recv(c[i], &b, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN; k++)
            usleep(1000);
        assert_true(recv(c[i], &b, 1, MSG_DONTWAIT) == 0 || errno != EAGAIN);
        close(c[i]);
    }
}

static void test_unix(void **state)
{
    struct env *e = *state;
    char path[64];
    struct io_src l, a = {0}, b = {0};
    int fd;

    snprintf(path, sizeof path, "/tmp/test_io_%d_%s.sock", (int)getpid(), e->ops->name);
    fd = net_listen(NULL, path);
    assert_true(fd >= 0);
    close(fd); /* leaves a stale path */
    l = (struct io_src){.fd = net_listen(NULL, path)};
    assert_true(l.fd >= 0);
    assert_int_equal(net_listen(NULL, path), -EADDRINUSE);
    assert_int_equal(e->ops->add_listener(e->io, &l), 0);
    while (wait_ms(e, SHORT_MS)) /* the probe of the second listener knocked */
        close(e->ev[0].res);
    assert_true((a.fd = net_connect(NULL, path)) >= 0);
    b.fd = expect(e, IO_ACCEPT, &l)->res;
    assert_true(b.fd >= 0);
    assert_int_equal(e->ops->add_stream(e->io, &a), 0);
    assert_int_equal(e->ops->add_stream(e->io, &b), 0);
    assert_int_equal(e->ops->read(e->io, &b), 0);
    assert_int_equal(net_write(a.fd, (struct bytes[]){{(const uint8_t *)"one", 3}, {(const uint8_t *)"two", 3}}, 2), 6);
    assert_memory_equal(expect(e, IO_READ, &b)->data, "onetwo", 6);
    bury(e, &a);
    assert_int_equal(e->ops->read(e->io, &b), 0);
    assert_int_equal(expect(e, IO_READ, &b)->len, 0);
    bury(e, &b);
    bury(e, &l);
    unlink(path);
}

#define SCENARIOS(ops)                                                                                                 \
    SCENARIO(ops, test_stream_read), SCENARIO(ops, test_stream_bulk), SCENARIO(ops, test_stream_urgent),               \
        SCENARIO(ops, test_stream_reset), SCENARIO(ops, test_back_pressure), SCENARIO(ops, test_connect),              \
        SCENARIO(ops, test_accept_burst), SCENARIO(ops, test_out_of_descriptors), SCENARIO(ops, test_pause),           \
        SCENARIO(ops, test_pause_overtaken), SCENARIO(ops, test_del_listener), SCENARIO(ops, test_unix),               \
        SCENARIO(ops, test_del_stream_requests), SCENARIO(ops, test_idle_behind_busy)

int main(void)
{
    const struct CMUnitTest epoll[] = {SCENARIOS(&io_epoll_ops)}, uring[] = {SCENARIOS(&io_uring_ops)};
    int failed = cmocka_run_group_tests_name("epoll", epoll, NULL, NULL);

    if (io_uring_ops.usable())
        failed += cmocka_run_group_tests_name("io_uring", uring, NULL, NULL);
    else if (io_uring_ops.open && !failed)
        return SKIPPED; /* built in, but this kernel refuses */
    return failed;
}
