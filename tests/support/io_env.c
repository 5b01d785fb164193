/* tests/support/io_env.c - see io_env.h */
#include "tests/support/io_env.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

int env_open(void **state)
{
    struct env *e = calloc(1, sizeof *e);

    e->ops = *state;
    assert_int_equal(e->ops->open(&e->io, &(struct io_params){.max_events = EVENTS}), 0);
    *state = e;
    return 0;
}

int env_close(void **state)
{
    struct env *e = *state;

    assert_null(e->ops->close(e->io));
    free(e);
    return 0;
}

int wait_n(struct env *e, unsigned ms, unsigned n)
{
    e->n = e->ops->wait(e->io, tick_add_ms(io_now(), ms), e->ev, n);
    assert_in_range(e->n, 0, n);
    for (int i = 0; i < e->n; i++)
        if (e->ev[i].kind == IO_UDP)
            assert_true(e->ev[i].seg > 0);
    return e->n;
}

int wait_ms(struct env *e, unsigned ms)
{
    return wait_n(e, ms, EVENTS);
}

void await(int fd, short events)
{
    struct pollfd p = {fd, events, 0};

    assert_int_equal(poll(&p, 1, LONG_MS), 1);
}

struct io_event *expect(struct env *e, enum io_kind kind, struct io_src *s)
{
    if (wait_ms(e, LONG_MS) != 1 || e->ev[0].kind != kind || e->ev[0].src != s)
        fail_msg("wanted %d, got %d events, the first %d res %d", kind, e->n, e->n ? (int)e->ev[0].kind : 0,
                 e->n ? e->ev[0].res : 0);
    return &e->ev[0];
}

void expect_nothing(struct env *e)
{
    if (wait_ms(e, SHORT_MS))
        fail_msg("wanted nothing, got %d events, the first %d res %d", e->n, e->ev[0].kind, e->ev[0].res);
}

void bury(struct env *e, struct io_src *s)
{
    int fd = s->fd;

    e->ops->del(e->io, s);
    assert_true(s->dying);
    expect(e, IO_GONE, s);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

struct sockaddr_any name_of(int fd)
{
    struct sockaddr_any a = {.len = sizeof a.in6};

    assert_int_equal(getsockname(fd, &a.sa, &a.len), 0);
    return a;
}

struct sockaddr_any loop4(uint16_t port)
{
    struct sockaddr_any a;

    assert_int_equal(net_bytes_in_name("127.0.0.1", port, &a), 0);
    return a;
}

int udp_open(uint32_t sockbuf, uint32_t *got)
{
    struct net_udp_params p = {.bind = loop4(0), .family = AF_INET, .pktinfo = true, .sockbuf = sockbuf};
    int fd = net_udp_open(&p);

    assert_true(fd >= 0);
    if (got)
        *got = net_udp_sockbuf(fd);
    return fd;
}

void stuff(int fd)
{
    static uint8_t p[65536];
    struct bytes v = bytes_of(p, sizeof p);
    struct pollfd room = {fd, POLLOUT, 0};
    bool more = true;

    while (more) { /* an acknowledgement makes room when it comes, and it may be delayed */
        poll(&room, 1, DELAYED_ACK_MS);
        for (more = false; net_write(fd, &v, 1) > 0; more = true)
            ;
    }
}

void fill(uint8_t *p, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(i * 31 + i / 251 + seed);
}

void send_run(int fd, int to_fd, const uint8_t *p, size_t len, size_t seg)
{
    struct sockaddr_any to = name_of(to_fd);
    struct net_gso gso = {0};
    int err;

    assert_int_equal(net_udp_send(fd, &to, NULL, p, len, seg, &gso, &err), len ? (len + seg - 1) / seg : 1);
    assert_int_equal(err, 0);
}

int tcp_listen(struct sockaddr_any *at)
{
    int fd;

    *at = loop4(0);
    fd = net_listen(at, NULL);
    assert_true(fd >= 0);
    *at = name_of(fd);
    return fd;
}

void tcp_pair(int *a, int *b)
{
    struct sockaddr_any at;
    int l = tcp_listen(&at);

    *a = net_connect(&at, NULL);
    assert_true(*a >= 0);
    await(l, POLLIN);
    *b = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(*b >= 0);
    close(l);
}
