/* tests/unit/test_upgrade_wire.c - messages between two processes: there and back, cut short, and wrong. */
#include "daemon/upgrade_wire.h"
#include "tests/support/vectors.h"

#include <arpa/inet.h>
#include <stdlib.h>

static struct sockaddr_any addr4(const char *ip, uint16_t port)
{
    struct sockaddr_any a = {.in = {.sin_family = AF_INET, .sin_port = htons(port)}, .len = sizeof a.in};

    inet_pton(AF_INET, ip, &a.in.sin_addr);
    return a;
}

static struct sockaddr_any addr6(const char *ip, uint16_t port, uint32_t scope)
{
    struct sockaddr_any a = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_scope_id = scope},
                             .len = sizeof a.in6};

    inet_pton(AF_INET6, ip, &a.in6.sin6_addr);
    return a;
}

static void assert_same(const struct sockaddr_any *a, const struct sockaddr_any *b)
{
    assert_int_equal(a->len, b->len);
    if (a->len)
        assert_memory_equal(&a->sa, &b->sa, a->len);
}

/* On a heap block of its own size, so that a sanitizer sees what is read behind it. */
static int parse(struct upgrade_msg *m, char *text, const uint8_t *p, size_t n)
{
    uint8_t *copy = memcpy(malloc(n + !n), p, n);
    int r = upgrade_msg_parse(m, text, bytes_of(copy, n));

    free(copy);
    return r;
}

static void test_msg(void **state)
{
    const struct upgrade_msg m = {
        UPGRADE_UDP, 1, 2, 0xffffffff, UINT64_C(0x0123456789abcdef), "[::]:29900-29910", bytes_of("body", 4)};
    char text[UPGRADE_TEXT_MAX + 1];
    struct upgrade_msg got;
    uint8_t out[256];
    size_t n = upgrade_msg_put(out, sizeof out, &m);

    (void)state;
    assert_true(n);
    assert_int_equal(upgrade_msg_put(out, n - 1, &m), 0);
    assert_int_equal(upgrade_msg_put(out, n, &m), n);
    assert_int_equal(upgrade_msg_parse(&got, text, bytes_of(out, n)), 0);
    assert_int_equal(got.type, m.type);
    assert_true(got.a == m.a && got.b == m.b && got.c == m.c && got.d == m.d);
    assert_string_equal(got.text, m.text);
    assert_int_equal(got.body.len, 4);
    assert_memory_equal(got.body.p, "body", 4);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(parse(&got, text, out, cut), cut < n - 4 ? UPGRADE_MALFORMED : 0);
}

static void test_msg_refused(void **state)
{
    char text[UPGRADE_TEXT_MAX + 1], longest[UPGRADE_TEXT_MAX + 2];
    struct upgrade_msg got = {.a = 77}, m = {.type = UPGRADE_GO, .text = "x"};
    uint8_t out[UPGRADE_TEXT_MAX + 64];
    size_t n = upgrade_msg_put(out, sizeof out, &m);

    (void)state;
    out[0] = 0;
    assert_int_equal(parse(&got, text, out, n), UPGRADE_MALFORMED);
    out[0] = 255; /* of a later version: for whoever reads it to ignore */
    assert_int_equal(parse(&got, text, out, n), 0);
    got.a = 77;
    out[0] = UPGRADE_GO;
    out[n - 1] = 0; /* a text with an end in it */
    assert_int_equal(parse(&got, text, out, n), UPGRADE_MALFORMED);
    assert_int_equal(got.a, 77);
    memset(longest, 'x', sizeof longest);
    longest[UPGRADE_TEXT_MAX + 1] = 0;
    m.text = longest;
    assert_int_equal(upgrade_msg_put(out, sizeof out, &m), 0);
    longest[UPGRADE_TEXT_MAX] = 0;
    n = upgrade_msg_put(out, sizeof out, &m);
    assert_int_equal(parse(&got, text, out, n), 0);
    out[21] = 1; /* one byte longer than any text */
    out[22] = 4;
    assert_int_equal(parse(&got, text, out, n), UPGRADE_MALFORMED);
}

static void test_sessions(void **state)
{
    const struct upgrade_session v[] = {
        {1, 0xdeadbeef, addr4("192.0.2.1", 4711)},
        {UINT32_MAX, 0, addr6("fe80::1", 65535, 3)},
        {2, 1, addr6("::ffff:192.0.2.1", 1, 0)},
    };
    uint8_t out[256];
    struct wr w = wr_to(out, sizeof out);
    struct upgrade_session got;
    struct rd r;
    size_t n;

    (void)state;
    for (size_t i = 0; i < LEN(v); i++) {
        uint8_t *before = w.p;

        upgrade_session_put(&w, &v[i]);
        assert_true(w.p - before <= UPGRADE_SESSION_MAX);
    }
    n = (size_t)(w.p - out);
    r = rd_from(out, n);
    for (size_t i = 0; i < LEN(v); i++) {
        assert_true(upgrade_session_next(&r, &got));
        assert_true(got.set == v[i].set && got.conv == v[i].conv);
        assert_same(&got.remote, &v[i].remote);
    }
    assert_false(upgrade_session_next(&r, &got));
    assert_false(r.bad);
    for (size_t cut = 1; cut < n; cut++) {
        uint8_t *copy = memcpy(malloc(cut), out, cut);
        size_t whole = 0;

        r = rd_from(copy, cut);
        while (upgrade_session_next(&r, &got))
            whole++;
        assert_true(r.bad || whole < LEN(v));
        free(copy);
    }
    out[8] = 5; /* a family that is none */
    r = rd_from(out, n);
    assert_false(upgrade_session_next(&r, &got));
    assert_true(r.bad);
    out[8] = 0; /* no address: no session */
    r = rd_from(out, n);
    assert_false(upgrade_session_next(&r, &got));
    assert_true(r.bad);
}

static void test_counters(void **state)
{
    char name[UPGRADE_NAME_MAX + 1];
    uint8_t out[512];
    struct wr w = wr_to(out, sizeof out);
    uint64_t value;
    struct rd r;

    (void)state;
    upgrade_counter_put(&w, "BytesSent", UINT64_MAX);
    upgrade_counter_put(&w, "", 0);
    r = rd_from(out, (size_t)(w.p - out));
    assert_true(upgrade_counter_next(&r, name, &value));
    assert_string_equal(name, "BytesSent");
    assert_true(value == UINT64_MAX);
    assert_true(upgrade_counter_next(&r, name, &value));
    assert_string_equal(name, "");
    assert_false(upgrade_counter_next(&r, name, &value));
    assert_false(r.bad);
    out[0] = UPGRADE_NAME_MAX + 1; /* longer than a name may be, though the bytes are there */
    r = rd_from(out, sizeof out);
    assert_false(upgrade_counter_next(&r, name, &value));
    assert_true(r.bad);
    out[0] = 9;
    out[3] = 0;
    r = rd_from(out, sizeof out);
    assert_false(upgrade_counter_next(&r, name, &value));
    assert_true(r.bad);
}

static void test_run(void **state)
{
    struct upgrade_run got, run = {
                                .tunnel = UINT64_C(5) << 32 | 7,
                                .set = 3,
                                .port = 29900,
                                .seg = 4,
                                .from = addr6("2001:db8::1", 99, 0),
                                .to = addr4("192.0.2.9", 0),
                            };
    uint8_t out[256];
    size_t n = upgrade_run_put(out, sizeof out, &run);

    (void)state;
    memcpy(out + n, "aaaabbbbc", 9);
    assert_int_equal(upgrade_run_parse(&got, bytes_of(out, n + 9)), 0);
    assert_true(got.tunnel == run.tunnel && got.set == run.set && got.port == run.port && got.seg == run.seg);
    assert_same(&got.from, &run.from);
    assert_same(&got.to, &run.to);
    assert_int_equal(got.data.len, 9);
    assert_memory_equal(got.data.p, "aaaabbbbc", 9);
    for (size_t cut = 0; cut <= n; cut++) {
        uint8_t *copy = memcpy(malloc(cut + !cut), out, cut);

        assert_int_equal(upgrade_run_parse(&got, bytes_of(copy, cut)), UPGRADE_MALFORMED);
        free(copy);
    }
    assert_int_equal(upgrade_run_put(out, n - 1, &run), 0);
    run.seg = 0; /* no datagram has no size */
    n = upgrade_run_put(out, sizeof out, &run);
    assert_int_equal(upgrade_run_parse(&got, bytes_of(out, n + 9)), UPGRADE_MALFORMED);
    run.seg = 4;
    run.from.len = 0; /* nobody sent it */
    n = upgrade_run_put(out, sizeof out, &run);
    assert_int_equal(upgrade_run_parse(&got, bytes_of(out, n + 9)), UPGRADE_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_msg),      cmocka_unit_test(test_msg_refused), cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_counters), cmocka_unit_test(test_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
