/* tests/unit/test_steer.c - the program puts each address on its worker's socket, for every family and port; what it does
 * not know reaches a socket all the same; a kernel that refuses it is told from one that does not. */
#include "daemon/steer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/bpf.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/err.h"
#include "daemon/net.h"
#include "tests/support/refuse.h"

enum { WORKERS = 3, PORTS = 2, SENDERS = 12, ANSWER_MS = 5000 };

struct group { /* the sockets of one tunnel: two neighbouring ports, three workers */
    struct steer *steer;
    uint16_t port;
    int fd[PORTS][WORKERS];
};

struct sender {
    int fd;
    struct sockaddr_any name;
};

static struct sockaddr_any addr(const char *host, uint16_t port)
{
    struct sockaddr_any a;

    if (net_bytes_in_name(host, port, &a))
        fail_msg("not numeric: %s", host);
    return a;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_any a = {.len = sizeof a.in6};

    assert_int_equal(getsockname(fd, &a.sa, &a.len), 0);
    return ntohs(a.sa.sa_family == AF_INET ? a.in.sin_port : a.in6.sin6_port);
}

static int open_at(const char *host, uint16_t port)
{
    struct net_udp_params p = {.bind = addr(host, port), .reuseport = true, .pktinfo = true};

    p.family = p.bind.sa.sa_family;
    return net_udp_open(&p);
}

/* Two free neighbouring ports, or none after a while. */
static bool find_ports(struct group *g, const char *host)
{
    for (unsigned i = 0; i < 100; i++) {
        g->fd[0][0] = open_at(host, 0);
        assert_true(g->fd[0][0] >= 0);
        g->port = port_of(g->fd[0][0]);
        g->fd[1][0] = g->port == UINT16_MAX ? -1 : open_at(host, (uint16_t)(g->port + 1));
        if (g->fd[1][0] >= 0)
            return true;
        close(g->fd[0][0]);
    }
    return false;
}

/* False: the kernel does not let us. */
static bool group_open(struct group *g, const char *host)
{
    assert_true(find_ports(g, host));
    g->steer = steer_new(g->port, PORTS, WORKERS);
    assert_non_null(g->steer);
    for (unsigned p = 0; p < PORTS; p++)
        for (unsigned w = 0; w < WORKERS; w++) {
            if (w)
                g->fd[p][w] = open_at(host, (uint16_t)(g->port + p));
            assert_true(g->fd[p][w] >= 0);
            steer_join(g->steer, p, w, g->fd[p][w]);
        }
    return steer_refusal(g->steer) == 0;
}

static void group_close(struct group *g)
{
    for (unsigned p = 0; p < PORTS; p++)
        for (unsigned w = 0; w < WORKERS; w++)
            if (g->fd[p][w] >= 0)
                close(g->fd[p][w]);
    steer_free(g->steer);
}

static void need(bool permitted)
{
    if (permitted)
        return;
    printf("the kernel does not permit an sk_reuseport program\n");
    skip();
}

/* Its name, as steer_add() gets it, is learnt from a datagram, as the owner of a session does. */
static struct sender sender_open(const char *host)
{
    struct sockaddr_any a = addr(host, 0);
    struct sender s = {.fd = socket(a.sa.sa_family, SOCK_DGRAM, 0)};

    assert_true(s.fd >= 0);
    assert_int_equal(bind(s.fd, &a.sa, a.len), 0);
    return s;
}

/* Sends a datagram, or a run, to port number p. Returns the worker whose socket has it; *from: who sent it, as told there. */
static unsigned ask(struct group *g, const struct sender *s, const char *to, unsigned p, struct sockaddr_any *from)
{
    struct sockaddr_any a = addr(to, (uint16_t)(g->port + p));
    struct pollfd fds[WORKERS];
    uint8_t data[3000] = {0};
    unsigned got = WORKERS;

    assert_int_equal(sendto(s->fd, data, sizeof data, 0, &a.sa, a.len), sizeof data);
    for (unsigned w = 0; w < WORKERS; w++)
        fds[w] = (struct pollfd){.fd = g->fd[p][w], .events = POLLIN};
    assert_true(poll(fds, WORKERS, ANSWER_MS) == 1);
    for (unsigned w = 0; w < WORKERS; w++) {
        if (!fds[w].revents)
            continue;
        got = w;
        from->len = sizeof from->in6;
        while (recvfrom(g->fd[p][w], data, sizeof data, 0, &from->sa, &from->len) >= 0)
            ;
    }
    assert_true(got < WORKERS);
    return got;
}

static unsigned where(struct group *g, const struct sender *s, const char *to, unsigned p)
{
    struct sockaddr_any from;

    return ask(g, s, to, p, &from);
}

static void learn(struct group *g, struct sender *s, const char *to)
{
    ask(g, s, to, 0, &s->name);
}

static void check_family(const char *listen, const char *host, const char *to)
{
    struct sender s[SENDERS];
    struct group g;

    need(group_open(&g, listen));
    for (unsigned i = 0; i < SENDERS; i++) {
        s[i] = sender_open(host);
        learn(&g, &s[i], to);
        assert_int_equal(steer_add(g.steer, &s[i].name, i % WORKERS), 0);
    }
    for (unsigned i = 0; i < SENDERS * PORTS; i++)
        assert_int_equal(where(&g, &s[i % SENDERS], to, i / SENDERS), i % SENDERS % WORKERS);
    for (unsigned i = 0; i < SENDERS; i++) {
        steer_del(g.steer, &s[i].name);
        assert_int_equal(steer_add(g.steer, &s[i].name, (i + 1) % WORKERS), 0);
        assert_int_equal(where(&g, &s[i], to, 1), (i + 1) % WORKERS);
        close(s[i].fd);
    }
    group_close(&g);
}

static void test_ipv4(void **state)
{
    (void)state;
    check_family("127.0.0.1", "127.0.0.1", "127.0.0.1");
    check_family("0.0.0.0", "127.0.0.2", "127.0.0.3");
}

static bool have_ipv6(void)
{
    int fd = open_at("::1", 0);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void test_ipv6_and_dual_stack(void **state)
{
    (void)state;
    if (!have_ipv6())
        skip();
    check_family("::1", "::1", "::1");
    check_family("::", "::1", "::1");
    check_family("::", "127.0.0.2", "127.0.0.1");
}

/* The same numbers in another family, from another port, or of another address, are somebody else. */
static void test_only_that_address(void **state)
{
    struct sender s[SENDERS];
    unsigned before[SENDERS], moved = 0;
    struct group g;

    (void)state;
    need(group_open(&g, "127.0.0.1"));
    for (unsigned i = 0; i < SENDERS; i++) {
        s[i] = sender_open("127.0.0.1");
        before[i] = ask(&g, &s[i], "127.0.0.1", 0, &s[i].name);
    }
    assert_int_equal(steer_add(g.steer, &s[0].name, (before[0] + 1) % WORKERS), 0);
    for (unsigned i = 1; i < SENDERS; i++)
        moved += where(&g, &s[i], "127.0.0.1", 0) != before[i];
    assert_int_equal(moved, 0);
    assert_int_equal(where(&g, &s[0], "127.0.0.1", 0), (before[0] + 1) % WORKERS);
    steer_del(g.steer, &s[0].name);
    assert_int_equal(where(&g, &s[0], "127.0.0.1", 0), before[0]);
    for (unsigned i = 0; i < SENDERS; i++)
        close(s[i].fd);
    group_close(&g);
}

/* Two sessions of one address do not take it from each other, and the dual-stack form of an address is the same one. */
static void test_first_comes_first(void **state)
{
    struct sockaddr_any v4 = addr("192.0.2.1", 4000), mapped = addr("::ffff:192.0.2.1", 4000);
    struct group g;

    (void)state;
    need(group_open(&g, "127.0.0.1"));
    assert_int_equal(steer_add(g.steer, &v4, 1), 0);
    assert_int_equal(steer_add(g.steer, &v4, 2), STEER_TAKEN);
    assert_int_equal(steer_add(g.steer, &mapped, 2), STEER_TAKEN);
    steer_del(g.steer, &mapped);
    assert_int_equal(steer_add(g.steer, &v4, 2), 0);
    group_close(&g);
}

/* A socket that leaves takes nothing with it: its addresses go by the hash, and back to it when it joins again. */
static void test_a_socket_leaves(void **state)
{
    struct sender s = sender_open("127.0.0.1");
    struct group g;

    (void)state;
    need(group_open(&g, "127.0.0.1"));
    learn(&g, &s, "127.0.0.1");
    assert_int_equal(steer_add(g.steer, &s.name, 1), 0);
    assert_int_equal(where(&g, &s, "127.0.0.1", 0), 1);
    close(g.fd[0][1]);
    g.fd[0][1] = -1;
    assert_int_not_equal(where(&g, &s, "127.0.0.1", 0), 1);
    assert_int_equal(where(&g, &s, "127.0.0.1", 1), 1);
    g.fd[0][1] = open_at("127.0.0.1", g.port);
    assert_true(g.fd[0][1] >= 0);
    steer_join(g.steer, 0, 1, g.fd[0][1]);
    assert_int_equal(steer_refusal(g.steer), 0);
    assert_int_equal(where(&g, &s, "127.0.0.1", 0), 1);
    close(s.fd);
    group_close(&g);
}

/* A run that the kernel holds as one packet goes whole to one socket. */
static void test_runs(void **state)
{
    struct sender s = sender_open("127.0.0.1");
    int size = 1000;
    struct group g;

    (void)state;
    need(group_open(&g, "127.0.0.1"));
    learn(&g, &s, "127.0.0.1");
    if (setsockopt(s.fd, SOL_UDP, 103 /* UDP_SEGMENT */, &size, sizeof size))
        skip();
    for (unsigned w = 0; w < WORKERS; w++) {
        assert_int_equal(steer_add(g.steer, &s.name, w), 0);
        assert_int_equal(where(&g, &s, "127.0.0.1", 1), w);
        steer_del(g.steer, &s.name);
    }
    close(s.fd);
    group_close(&g);
}

/* ---- without it ---- */

static int refused_with(long command, int err)
{
    struct group g;

    if (refuse_call(__NR_bpf, command, err))
        return CHILD_SKIPPED;
    if (group_open(&g, "127.0.0.1"))
        return 1;
    if (steer_refusal(g.steer) != -err)
        return 2;
    group_close(&g);
    return 0;
}

static int no_maps(void)
{
    return refused_with(REFUSE_ANY, EPERM);
}

static int no_program(void)
{
    return refused_with(BPF_PROG_LOAD, ENOSYS);
}

static int no_update(void)
{
    return refused_with(BPF_MAP_UPDATE_ELEM, EPERM);
}

static void test_refusals(void **state)
{
    int (*const cases[])(void) = {no_maps, no_program, no_update};
    struct group g;
    bool permitted = group_open(&g, "127.0.0.1");

    (void)state;
    group_close(&g);
    for (size_t i = 0; i < LEN(cases); i++) {
        int r = in_child(cases[i]);

        if (r == CHILD_SKIPPED)
            skip();
        if (r && (i == 0 || permitted)) /* not permitted: it is refused earlier, and otherwise */
            fail_msg("case %zu: %d", i, r);
    }
}

static void test_connected_sockets_are_few(void **state)
{
    struct steer *s = steer_new(1000, PORTS, WORKERS);

    (void)state;
    assert_non_null(s);
    for (unsigned i = 0; i < STEER_FLOWS_MAX; i++)
        assert_int_equal(steer_flow_begin(s, 1), 0);
    assert_int_equal(steer_flow_begin(s, 1), STEER_TAKEN);
    assert_int_equal(steer_flow_begin(s, 1), STEER_TAKEN);
    assert_int_equal(steer_flow_begin(s, 0), 0);
    steer_flow_end(s, 1);
    assert_int_equal(steer_flow_begin(s, 1), 0);
    assert_int_equal(steer_flow_begin(s, 1), STEER_TAKEN);
    steer_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ipv4),
        cmocka_unit_test(test_ipv6_and_dual_stack),
        cmocka_unit_test(test_only_that_address),
        cmocka_unit_test(test_first_comes_first),
        cmocka_unit_test(test_a_socket_leaves),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_connected_sockets_are_few),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
