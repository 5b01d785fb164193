/* tests/unit/test_net.c - addresses, socket options, and sending of runs where segmentation is refused. */
#include "daemon/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/err.h"
#include "tests/support/refuse.h"

enum { LONG_MS = 30000 };

/* Until fd has something, or with events 0 an error: loopback may take its time on a busy machine. */
static void await(int fd, short events)
{
    struct pollfd p = {fd, events, 0};

    assert_int_equal(poll(&p, 1, LONG_MS), 1);
}

static struct sockaddr_any addr(const char *host, uint16_t port)
{
    struct sockaddr_any a;

    if (net_bytes_in_name(host, port, &a))
        fail_msg("not numeric: %s", host);
    return a;
}

static struct sockaddr_any name_of(int fd)
{
    struct sockaddr_any a = {.len = sizeof a.in6};

    assert_int_equal(getsockname(fd, &a.sa, &a.len), 0);
    return a;
}

static int option(int fd, int level, int name)
{
    int v = -1;
    socklen_t len = sizeof v;

    assert_int_equal(getsockopt(fd, level, name, &v, &len), 0);
    return v;
}

static int udp(const char *host)
{
    struct net_udp_params p = {.bind = addr(host, 0), .family = AF_INET, .sockbuf = 1 << 20};
    int fd = net_udp_open(&p);

    if (fd < 0)
        fail_msg("%s", err_text());
    return fd;
}

/* ---- addresses ---- */

static void test_text(void **state)
{
    static const struct {
        const char *host;
        uint16_t port;
        const char *text;
    } rows[] = {
        {"1.2.3.4", 5, "1.2.3.4:5"},
        {"255.255.255.255", 65535, "255.255.255.255:65535"},
        {"::1", 5, "[::1]:5"},
        {"2001:db8::1", 0, "[2001:db8::1]:0"},
        {"::ffff:1.2.3.4", 5, "1.2.3.4:5"},
        {"fe80::1%7", 5, "[fe80::1%7]:5"},
        {"fe80::1%lo", 5, "[fe80::1%1]:5"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
        {"", 5, "[::]:5"},
    };
    struct sockaddr_any a = {.len = 0}, b = addr("::1", 2);
    const char *first, *second;

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        a = addr(rows[i].host, rows[i].port);
        assert_string_equal(net_addr_text(&a), rows[i].text);
    }
    a = addr("9.9.9.9", 1);
    first = net_addr_text(&a);
    second = net_addr_text(&b);
    assert_string_equal(first, "9.9.9.9:1"); /* two in one log line */
    assert_string_equal(second, "[::1]:2");
    assert_string_equal(net_addr_text(&(struct sockaddr_any){.len = 0}), "none");
    assert_string_equal(net_addr_text(&(struct sockaddr_any){.sa.sa_family = AF_UNIX, .len = 2}), "unix");
}

static void test_not_numeric(void **state)
{
    static const char *const rows[] = {
        "example.com", "1.2.3",
        "1.2.3.4.5",   "1.2.3.256",
        ":::",         "fe80::1%nosuchlink",
        "fe80::1%",    "fe80::1%0",
        "1.2.3.4%1",   "[::1]",
        " 1.2.3.4",    "::1 ",
        "%1",          "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff",
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct sockaddr_any a = {.len = 99};

        if (net_bytes_in_name(rows[i], 1, &a) != 1 || a.len != 99)
            fail_msg("'%s'", rows[i]);
    }
}

static void test_equal_and_hash(void **state)
{
    static const struct {
        const char *a, *b;
        uint16_t port_a, port_b;
        bool same;
    } rows[] = {
        {"1.2.3.4", "1.2.3.4", 5, 5, true},
        {"1.2.3.4", "::ffff:1.2.3.4", 5, 5, true},
        {"1.2.3.4", "1.2.3.4", 5, 6, false},
        {"1.2.3.4", "1.2.3.5", 5, 5, false},
        {"1.2.3.4", "::1.2.3.4", 5, 5, false},
        {"::1", "::1", 5, 5, true},
        {"::1", "1::", 5, 5, false},
        {"fe80::1%1", "fe80::1%2", 5, 5, false}, /* other links, other hosts */
        {"2001:db8::1%1", "2001:db8::1%2", 5, 5, true},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct sockaddr_any a = addr(rows[i].a, rows[i].port_a), b = addr(rows[i].b, rows[i].port_b);

        if (net_addr_equal(&a, &b) != rows[i].same || net_addr_equal(&b, &a) != rows[i].same ||
            (net_addr_hash(&a, 42) == net_addr_hash(&b, 42)) != rows[i].same)
            fail_msg("row %zu", i);
        assert_true(net_addr_hash(&a, 42) != net_addr_hash(&a, 43));
    }
}

/* Neighbouring addresses and ports, as one network has them, spread over every part of the hash and under any seed. */
static void test_hash_spreads(void **state)
{
    enum { N = 65536, BUCKETS = 1024 };

    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++)
        for (unsigned shift = 0; shift <= 54; shift += 27)
            for (int by_port = 0; by_port < 2; by_port++) {
                static unsigned load[BUCKETS];
                struct sockaddr_any a = addr("2001:db8::", 1);

                memset(load, 0, sizeof load);
                for (unsigned i = 0; i < N; i++) {
                    if (by_port)
                        a.in6.sin6_port = htons((uint16_t)i);
                    else
                        memcpy(a.in6.sin6_addr.s6_addr + 12, &i, sizeof i);
                    load[(net_addr_hash(&a, seed) >> shift) % BUCKETS]++;
                }
                for (unsigned i = 0; i < BUCKETS; i++) /* the mean is 64; 9 standard deviations */
                    assert_in_range(load[i], 1, 64 + 9 * 8);
            }
}

/* ---- sockets ---- */

static void test_udp_options(void **state)
{
    struct net_udp_params p = {.bind = addr("", 0), .family = AF_INET6, .pktinfo = true, .sockbuf = 65536, .dscp = 46};
    int fd = net_udp_open(&p);

    (void)state;
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(option(fd, IPPROTO_IP, IP_TOS), 46 << 2);
    if (name_of(fd).sa.sa_family == AF_INET6) {
        assert_int_equal(option(fd, IPPROTO_IPV6, IPV6_TCLASS), 46 << 2);
        assert_int_equal(option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO), 1);
        assert_int_equal(option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
    }
    assert_int_equal(net_udp_sockbuf(fd), 65536);
    assert_int_equal(option(fd, SOL_SOCKET, SO_RCVBUF), 2 * 65536);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){16384}, sizeof(int)), 0);
    assert_int_equal(net_udp_sockbuf(fd), 16384); /* either may be the smaller one */
    close(fd);
    p = (struct net_udp_params){.bind = addr("127.0.0.1", 0), .family = AF_INET, .pktinfo = true};
    fd = net_udp_open(&p);
    assert_true(fd >= 0);
    assert_int_equal(option(fd, IPPROTO_IP, IP_PKTINFO), 1);
    assert_int_equal(option(fd, IPPROTO_IP, IP_TOS), 0);
    close(fd);
    p = (struct net_udp_params){.family = AF_INET};
    fd = net_udp_open(&p);
    assert_true(fd >= 0);
    assert_true(name_of(fd).in.sin_port != 0); /* bound: it can receive */
    close(fd);
}

static void test_udp_ports(void **state)
{
    struct net_udp_params p = {.bind = addr("127.0.0.1", 0), .family = AF_INET, .reuseport = true};
    int a = net_udp_open(&p), b;

    (void)state;
    assert_true(a >= 0);
    p.bind = name_of(a);
    b = net_udp_open(&p);
    assert_true(b >= 0);
    p.reuseport = false;
    assert_int_equal(net_udp_open(&p), -EADDRINUSE);
    assert_non_null(strstr(err_text(), net_addr_text(&p.bind)));
    close(a);
    close(b);
    p.interface = "nosuchlink0";
    assert_true(net_udp_open(&p) < 0);
    assert_non_null(strstr(err_text(), "nosuchlink0"));
}

static int clamped(void)
{
    struct net_udp_params p = {.family = AF_INET, .sockbuf = 1u << 30};
    int fd;

    if (getuid() == 0 && setuid(65534))
        return CHILD_SKIPPED;
    fd = net_udp_open(&p);
    return fd < 0 || net_udp_sockbuf(fd) == 0 ||
           net_udp_sockbuf(fd) >= p.sockbuf; /* no system lets everybody have a gigabyte */
}

static void test_buffer_clamped(void **state)
{
    struct net_udp_params p = {.family = AF_INET, .sockbuf = UINT32_MAX};
    int r = in_child(clamped), fd;

    (void)state;
    if (r == CHILD_SKIPPED)
        skip();
    assert_int_equal(r, 0);
    fd = net_udp_open(&p); /* the largest number asked for is no error */
    assert_true(fd >= 0);
    close(fd);
}

static int without_ipv6(void)
{
    struct net_udp_params p = {.family = AF_INET6};
    struct sockaddr_any a = {.len = sizeof a.in6};
    int fd;

    if (refuse_call(__NR_socket, AF_INET6, EAFNOSUPPORT))
        return CHILD_SKIPPED;
    if (net_udp_open(&p) != -EAFNOSUPPORT) /* a client that asked for IPv6 gets no substitute */
        return 1;
    p.bind.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
    p.bind.len = sizeof p.bind.in6;
    fd = net_udp_open(&p);
    if (fd < 0 || getsockname(fd, &a.sa, &a.len) || a.sa.sa_family != AF_INET)
        return 2;
    fd = net_listen(&p.bind, NULL);
    a.len = sizeof a.in6;
    if (fd < 0 || getsockname(fd, &a.sa, &a.len) || a.sa.sa_family != AF_INET)
        return 3;
    p.bind.in6.sin6_addr = in6addr_loopback;
    return net_udp_open(&p) != -EAFNOSUPPORT || net_listen(&p.bind, NULL) != -EAFNOSUPPORT;
}

static void test_without_ipv6(void **state)
{
    int r = in_child(without_ipv6);

    (void)state;
    if (r == CHILD_SKIPPED)
        skip();
    assert_int_equal(r, 0);
}

static void test_loopback(void **state)
{
    static const struct {
        const char *ip;
        bool want;
    } rows[] = {{"127.0.0.1", true},  {"127.9.8.7", true},   {"::1", true},  {"::ffff:127.0.0.1", true},
                {"126.0.0.1", false}, {"10.0.0.127", false}, {"::2", false}, {"::ffff:10.0.0.1", false},
                {"7f00::1", false},   {"0.0.0.0", false},    {"::", false}};

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct sockaddr_any a = addr(rows[i].ip, 80);

        if (net_addr_is_loopback(&a) != rows[i].want)
            fail_msg("%s", rows[i].ip);
    }
    assert_false(net_addr_is_loopback(&(struct sockaddr_any){.len = 0}));
}

static void assert_control(int fd, const char *want)
{
    char control[16] = "";
    socklen_t len = sizeof control;

    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, control, &len), 0);
    assert_string_equal(control, want);
}

/* A listener for all addresses learns with each connection whether it came from this machine. */
static void test_accepted(void **state)
{
    struct sockaddr_any a = addr("0.0.0.0", 0), far = addr("192.0.2.1", 9), from = {.len = 0};
    char standard[16] = "";
    socklen_t len = sizeof standard;
    int l = net_listen(&a, NULL), c, s;

    (void)state;
    assert_true(l >= 0);
    assert_int_equal(getsockopt(l, IPPROTO_TCP, TCP_CONGESTION, standard, &len), 0);
    a = name_of(l);
    a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c = net_connect(&a, NULL);
    fcntl(l, F_SETFL, 0);
    s = accept(l, NULL, NULL);
    assert_true(c >= 0 && s >= 0);
    net_accepted(s, &far);
    assert_control(s, standard);
    assert_true(net_accepted_from(s, &from));
    assert_true(net_addr_is_loopback(&from));
    net_accepted(s, &from);
    assert_control(s, "reno");
    close(c);
    close(s);
    close(l);
}

static void test_tcp(void **state)
{
    struct sockaddr_any a = addr("127.0.0.1", 0);
    static uint8_t big[1000];
    struct bytes v[300];
    int l = net_listen(&a, NULL), c, s, yes = 1;
    size_t sum = 0;

    (void)state;
    assert_true(l >= 0);
    a = name_of(l);
    c = net_connect(&a, NULL);
    assert_true(c >= 0);
    fcntl(l, F_SETFL, 0);
    s = accept(l, NULL, NULL);
    assert_true(s >= 0);
    for (int fd = s, i = 0; i < 2; i++, fd = c) {
        assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), yes);
        assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), yes);
        assert_true(option(fd, IPPROTO_TCP, TCP_KEEPIDLE) <= 120);
        assert_control(fd, "reno"); /* nothing that paces, between programs of one machine; s has it from l */
    }
    for (size_t i = 0; i < LEN(v); i++, sum += v[i - 1].len)
        v[i] = bytes_of(big, i % 7 * 10);
    assert_int_equal(net_write(c, v, LEN(v)), sum); /* more pieces than one call gathers */
    assert_int_equal(net_write(c, v, 0), 0);
    setsockopt(s, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(s);
    for (int i = 0; i < 1000 && net_write(c, v, 2) >= 0; i++)
        usleep(1000);
    assert_int_equal(net_write(c, v, 2), -EPIPE); /* and no signal */
    close(c);
    close(l);
}

static void test_unix_paths(void **state)
{
    char path[64], longer[200];
    struct stat st;
    mode_t old;
    int fd, c;

    (void)state;
    snprintf(path, sizeof path, "/tmp/test_net_%d.sock", (int)getpid());
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(net_listen(NULL, longer), -ENAMETOOLONG);
    assert_int_equal(net_connect(NULL, longer), -ENAMETOOLONG);
    assert_int_equal(net_listen(NULL, ""), -EINVAL);
    assert_int_equal(net_connect(NULL, path), -ENOENT);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    assert_int_equal(net_listen(NULL, path), -EADDRINUSE); /* somebody's file is not ours to remove */
    assert_int_equal(stat(path, &st), 0);
    unlink(path);
    old = umask(0117);
    fd = net_listen(NULL, path);
    umask(old);
    assert_true(fd >= 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(net_listen(NULL, path), -EADDRINUSE);
    close(fd);
    assert_int_equal(net_connect(NULL, path), -ECONNREFUSED);
    fd = net_listen(NULL, path);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    snprintf(path, sizeof path, "@test_net_%d", (int)getpid());
    fd = net_listen(NULL, path);
    assert_true(fd >= 0);
    assert_int_equal(access(path, F_OK), -1);
    c = net_connect(NULL, path);
    assert_true(c >= 0);
    close(c);
    close(fd);
}

/* ---- sending ---- */

/* Takes everything that has come to fd apart and checks that it is p[0..len) in pieces of seg. */
static void check_received(int fd, const uint8_t *p, size_t len, size_t seg)
{
    struct io *io;
    struct io_event ev[8];
    struct io_src s = {.fd = dup(fd)};
    size_t off = 0;

    assert_int_equal(io_epoll_ops.open(&io, &(struct io_params){.max_events = LEN(ev)}), 0);
    assert_int_equal(io_epoll_ops.add_udp(io, &s), 0);
    while (off < len) {
        int n = io_epoll_ops.wait(io, tick_add_ms(io_now(), LONG_MS), ev, LEN(ev));

        assert_true(n > 0);
        for (int i = 0; i < n; i++) {
            assert_int_equal(ev[i].kind, IO_UDP);
            assert_int_equal(ev[i].seg, MIN(seg, len - off)); /* of a lone tail: its own length */
            assert_true(ev[i].len <= len - off);
            assert_memory_equal(ev[i].data, p + off, ev[i].len);
            off += ev[i].len;
        }
    }
    assert_int_equal(io_epoll_ops.wait(io, (struct tick){0}, ev, LEN(ev)), 0);
    io_epoll_ops.del(io, &s);
    io_epoll_ops.close(io);
}

static uint8_t run[200000];

static void fill_run(void)
{
    for (size_t i = 0; i < sizeof run; i++)
        run[i] = (uint8_t)(i * 13 + i / 257);
}

static const struct {
    size_t len, seg;
    unsigned n;
} run_rows[] = {
    {1, 1, 1},          {1350, 1350, 1},     {1351, 1350, 2},    {13500, 1350, 10}, {64800, 1350, 48},
    {64801, 1350, 49},  {135000, 1350, 100}, {200, 1, 200},      {100, 200, 1},     {65507, 65507, 1},
    {130000, 65000, 2}, {129600, 64800, 2},  {100000, 33000, 4}, {97, 2, 49},
};

static void send_rows(bool refuse)
{
    int to = udp("127.0.0.1"), fd = udp("127.0.0.1"), err;
    struct sockaddr_any at = name_of(to);

    fill_run();
    if (refuse) /* no checksum: the kernel refuses to segment, and only that */
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &(int){1}, sizeof(int)), 0);
    for (size_t i = 0; i < LEN(run_rows); i++) {
        struct net_gso gso = {0};
        unsigned n = net_udp_send(fd, &at, NULL, run, run_rows[i].len, run_rows[i].seg, &gso, &err);

        if (n != run_rows[i].n || err)
            fail_msg("row %zu: %u, err %d", i, n, err);
        assert_int_equal(gso.off, refuse && n > 1 && run_rows[i].seg <= NET_GSO_BYTES / 2);
        check_received(to, run, run_rows[i].len, run_rows[i].seg);
    }
    close(fd);
    close(to);
}

static void test_send_runs(void **state)
{
    (void)state;
    send_rows(false);
}

static void test_send_refused(void **state)
{
    struct sockaddr_any at;
    struct net_gso gso = {0};
    int fd = udp("127.0.0.1"), to = udp("127.0.0.1"), err, tries = 0;

    (void)state;
    send_rows(true);
    at = name_of(to);
    setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &(int){1}, sizeof(int));
    for (int i = 0; i < 10000; i++) {
        uint16_t before = gso.rest;

        assert_int_equal(net_udp_send(fd, &at, NULL, run, 20, 10, &gso, &err), 2);
        assert_true(gso.off);
        tries += gso.rest > before;
        while (recv(to, run, 20, 0) > 0)
            ;
    }
    assert_int_equal(tries, 3); /* asked again only now and then */
    setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &(int){0}, sizeof(int));
    for (int i = 0; i < 10000 && gso.off; i++)
        assert_int_equal(net_udp_send(fd, &at, NULL, run, 20, 10, &gso, &err), 2);
    assert_false(gso.off); /* and found out when it works again */
    close(fd);
    close(to);
}

static void test_send_errors(void **state)
{
    struct net_udp_params p = {.bind = addr("127.0.0.1", 0), .family = AF_INET};
    int fd = udp("127.0.0.1"), gone = udp("127.0.0.1"), back, err;
    struct net_gso gso = {0};
    uint8_t got[8];

    (void)state;
    p.bind = name_of(gone);
    assert_int_equal(net_udp_send(fd, &p.bind, NULL, run, 65508, 65508, &gso, &err), 0);
    assert_int_equal(err, -EMSGSIZE);
    assert_int_equal(net_udp_send(fd, &p.bind, NULL, run, 131016 + 100, 65508, &gso, &err), 1); /* the tail fits */
    assert_int_equal(err, -EMSGSIZE);
    assert_false(gso.off);
    await(gone, POLLIN);
    assert_int_equal(recv(gone, run, sizeof run, 0), 100);
    assert_int_equal(connect(fd, &p.bind.sa, p.bind.len), 0);
    close(gone);
    assert_int_equal(net_udp_send(fd, NULL, NULL, run, 1, 1, &gso, &err), 1);
    await(fd, 0);
    back = net_udp_open(&p);
    assert_true(back >= 0);
    /* the ICMP error of the first is there, and costs the second nothing */
    assert_int_equal(net_udp_send(fd, NULL, NULL, (const uint8_t *)"ab", 2, 1, &gso, &err), 2);
    assert_int_equal(err, 0);
    await(back, POLLIN);
    assert_int_equal(recv(back, got, sizeof got, 0), 2); /* as one run */
    close(fd);
    close(back);
}

/* A server on the dual-stack wildcard answers from the very address it was asked at, IPv4 and IPv6. */
static void test_dual_stack(void **state)
{
    static const struct {
        const char *client, *asked;
    } rows[] = {{"127.0.0.1", "127.0.0.3"}, {"127.0.0.9", "127.0.0.1"}, {"::1", "::1"}};
    struct net_udp_params p = {.bind = addr("", 0), .family = AF_INET6, .pktinfo = true};
    struct io_src s = {.fd = net_udp_open(&p)};
    struct io *io;

    (void)state;
    assert_int_equal(io_epoll_ops.open(&io, &(struct io_params){.max_events = 1}), 0);
    assert_int_equal(io_epoll_ops.add_udp(io, &s), 0);
    for (size_t i = 0; i < LEN(rows); i++) {
        struct net_udp_params cp = {.bind = addr(rows[i].client, 0)};
        struct sockaddr_any at = addr(rows[i].asked, ntohs(name_of(s.fd).in6.sin6_port)), me, from = {.len = 28};
        struct net_gso gso = {0};
        struct io_event ev;
        int c = net_udp_open(&cp), err;

        if (c < 0 && at.sa.sa_family == AF_INET6)
            continue; /* no IPv6 on this machine */
        assert_true(c >= 0);
        me = name_of(c);
        assert_int_equal(net_udp_send(c, &at, NULL, (const uint8_t *)"ask", 3, 3, &gso, &err), 1);
        assert_int_equal(io_epoll_ops.wait(io, tick_add_ms(io_now(), LONG_MS), &ev, 1), 1);
        assert_true(net_addr_equal(&ev.from, &me));
        assert_int_equal(net_udp_send(s.fd, &ev.from, &ev.to, (const uint8_t *)"answer", 6, 3, &gso, &err), 2);
        await(c, POLLIN);
        assert_int_equal(recvfrom(c, &ev, sizeof ev, 0, &from.sa, &from.len), 6); /* a run: this socket has GRO */
        if (!net_addr_equal(&from, &at))
            fail_msg("asked %s, answered by %s", net_addr_text(&at), net_addr_text(&from));
        /* a plain IPv4 target works through the IPv6 socket too */
        assert_int_equal(net_udp_send(s.fd, &me, &at, (const uint8_t *)"again", 5, 5, &gso, &err), 1);
        await(c, POLLIN);
        assert_int_equal(recv(c, &ev, sizeof ev, 0), 5);
        close(c);
    }
    io_epoll_ops.del(io, &s);
    io_epoll_ops.close(io);
}

/* A path whose MTU is below the segment: datagrams go out one by one (fragmented), and that is remembered; datagrams that
 * may not be fragmented are refused without blaming segmentation. */
static int small_mtu(void)
{
    static const char *const set_up[] = {"ip link add v0 mtu 600 type veth peer name v1 mtu 600 2>/dev/null",
                                         "ip addr add 192.0.2.1/24 dev v0", "ip link set v0 up", "ip link set v1 up",
                                         "ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev v0"};
    struct net_udp_params p = {.family = AF_INET};
    struct net_gso gso = {0};
    struct sockaddr_any to;
    int fd, err;

    if (getuid() || unshare(CLONE_NEWNET))
        return CHILD_SKIPPED;
    for (size_t i = 0; i < LEN(set_up); i++)
        if (system(set_up[i]))
            return CHILD_SKIPPED;
    fd = net_udp_open(&p);
    if (fd < 0 || net_bytes_in_name("192.0.2.2", 9, &to))
        return 1;
    if (net_udp_send(fd, &to, NULL, run, 5000, 500, &gso, &err) != 10 || err || gso.off)
        return 2;
    if (net_udp_send(fd, &to, NULL, run, 13500, 1350, &gso, &err) != 10 || err || !gso.off)
        return 3;
    gso = (struct net_gso){0};
    setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &(int){IP_PMTUDISC_DO}, sizeof(int));
    if (net_udp_send(fd, &to, NULL, run, 13600, 1350, &gso, &err) != 1 || err != -EMSGSIZE || gso.off)
        return 4;
    return 0;
}

static void test_small_mtu(void **state)
{
    int r = in_child(small_mtu);

    (void)state;
    if (r == CHILD_SKIPPED)
        skip();
    assert_int_equal(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_not_numeric),
        cmocka_unit_test(test_equal_and_hash),
        cmocka_unit_test(test_hash_spreads),
        cmocka_unit_test(test_udp_options),
        cmocka_unit_test(test_udp_ports),
        cmocka_unit_test(test_buffer_clamped),
        cmocka_unit_test(test_without_ipv6),
        cmocka_unit_test(test_loopback),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_unix_paths),
        cmocka_unit_test(test_send_runs),
        cmocka_unit_test(test_send_refused),
        cmocka_unit_test(test_send_errors),
        cmocka_unit_test(test_dual_stack),
        cmocka_unit_test(test_small_mtu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
