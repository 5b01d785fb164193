/* tests/unit/test_claims.c - whose session a datagram is: entries come, move, end, linger and go. */
#include "core/base/bytes.h"
#include "daemon/claims.h"
#include "daemon/limits.h"
#include "daemon/net.h"
#include "tests/support/vectors.h"

#include <arpa/inet.h>

enum { MANY = 5000, SECOND = 1000000 };

static struct upgrade_session session(uint32_t set, uint32_t conv, uint32_t ip, uint16_t port)
{
    struct upgrade_session s = {.set = set, .conv = conv};

    s.remote.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip)};
    s.remote.len = sizeof s.remote.in;
    return s;
}

static void test_find(void **state)
{
    struct claims *c = claims_new(1, NULL);
    struct upgrade_session a = session(1, 10, 0x01020304, 5), b = session(2, 11, 0x01020304, 5);
    uint32_t conv = 0;

    (void)state;
    assert_false(claims_any(c));
    assert_int_equal(claims_put(c, &a, 7), 0);
    assert_true(claims_any(c));
    assert_true(claims_has(c, 1, 10));
    assert_false(claims_has(c, 2, 10)); /* on another port it is another's */
    assert_false(claims_has(c, 1, 11));
    assert_true(claims_at(c, 1, &a.remote, &conv));
    assert_int_equal(conv, 10);
    assert_false(claims_at(c, 2, &a.remote, &conv));
    assert_int_equal(claims_put(c, &b, 7), 0);
    assert_true(claims_at(c, 2, &a.remote, &conv));
    assert_int_equal(conv, 11);
    claims_clear(c);
    assert_false(claims_any(c) || claims_has(c, 1, 10) || claims_at(c, 2, &a.remote, &conv));
    claims_free(c);
}

static void test_move(void **state)
{
    struct claims *c = claims_new(2, NULL);
    struct upgrade_session a = session(1, 10, 1, 5), b = session(1, 10, 2, 6);
    uint32_t conv;

    (void)state;
    assert_int_equal(claims_put(c, &a, 7), 0);
    assert_int_equal(claims_put(c, &b, 7), 0);
    assert_true(claims_has(c, 1, 10));
    assert_false(claims_at(c, 1, &a.remote, &conv));
    assert_true(claims_at(c, 1, &b.remote, &conv));
    claims_free(c);
}

static void count(void *ctx, const struct upgrade_session *s)
{
    (void)s;
    ++*(unsigned *)ctx;
}

static void test_end(void **state)
{
    struct claims *c = claims_new(3, NULL);
    struct upgrade_session a = session(1, 10, 1, 5), b = session(1, 11, 1, 6);
    struct tick now = {UINT64_C(1000) * SECOND};
    unsigned n = 0;

    (void)state;
    assert_int_equal(claims_put(c, &a, 7), 0);
    assert_int_equal(claims_put(c, &b, 7), 0);
    claims_end(c, &a, now);
    claims_end(c, &(struct upgrade_session){.set = 1, .conv = 99}, now); /* of nobody */
    claims_each(c, count, &n);
    assert_int_equal(n, 1);
    claims_sweep(c, tick_add_us(now, 50 * SECOND));
    assert_true(claims_has(c, 1, 10)); /* late datagrams */
    claims_sweep(c, tick_add_us(now, 70 * SECOND));
    assert_false(claims_has(c, 1, 10));
    assert_true(claims_has(c, 1, 11));
    claims_end(c, &b, now);
    assert_int_equal(claims_put(c, &b, 7), 0); /* the number is used again */
    claims_sweep(c, tick_add_us(now, 70 * SECOND));
    assert_true(claims_has(c, 1, 11));
    claims_free(c);
}

static void test_many(void **state)
{
    struct claims *c = claims_new(4, NULL);
    struct tick now = {0};
    uint32_t conv;

    (void)state;
    for (uint32_t i = 0; i < MANY; i++) {
        struct upgrade_session s = session(i % 3, i * 7, i, (uint16_t)i);

        assert_int_equal(claims_put(c, &s, 7), 0);
        if (i % 2)
            claims_end(c, &s, now);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        struct upgrade_session s = session(i % 3, i * 7, i, (uint16_t)i);

        assert_true(claims_has(c, s.set, s.conv));
        assert_true(claims_at(c, s.set, &s.remote, &conv) && conv == s.conv);
    }
    claims_sweep(c, tick_add_us(now, 61 * SECOND));
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(claims_has(c, i % 3, i * 7), !(i % 2));
    claims_free(c);
}

/* They count as sessions of their tunnel and source, wherever they are, as long as they live. */
static void test_limits(void **state)
{
    struct limits *l = limits_new(4);
    struct claims *c = claims_new(5, l);
    struct upgrade_session a = session(1, 10, 1, 5), b = session(1, 11, 1, 6), moved = session(1, 10, 2, 5);
    uint8_t ip[16];

    (void)state;
    net_addr_ip(&a.remote, ip);
    assert_int_equal(claims_put(c, &a, 7), 0);
    assert_int_equal(claims_put(c, &b, 7), 0);
    assert_int_equal(claims_put(c, &b, 7), 0); /* told twice */
    assert_int_equal(limits_total(l), 2);
    assert_int_equal(limits_take(l, 7, 2, ip, 0), LIMIT_PROFILE);
    assert_int_equal(limits_take(l, 7, 0, ip, 2), LIMIT_SOURCE);
    assert_int_equal(claims_put(c, &moved, 7), 0);
    assert_int_equal(limits_take(l, 7, 0, ip, 2), 0);
    limits_give(l, 7, ip);
    claims_end(c, &b, (struct tick){0});
    assert_int_equal(limits_total(l), 1);
    claims_sweep(c, (struct tick){100 * (uint64_t)SECOND});
    assert_int_equal(limits_total(l), 1);
    limits_set_total(l, 1);
    assert_int_equal(claims_put(c, &b, 7), 0); /* it is there, whatever the limit */
    assert_int_equal(limits_total(l), 2);
    claims_clear(c);
    assert_int_equal(limits_total(l), 0);
    claims_free(c);
    limits_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find), cmocka_unit_test(test_move),   cmocka_unit_test(test_end),
        cmocka_unit_test(test_many), cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
