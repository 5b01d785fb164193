/* tests/unit/test_addr.c - addresses: what is taken, what is refused and as what, and that printing loses nothing. */
#include "conf/addr.h"

#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

enum { UNIX = 1, RANGE = 2 };

static const struct {
    const char *text;
    int flags, want;
    const char *host, *path;
    uint16_t min, max;
} rows[] = {
    {":29900", 0, 0, "", NULL, 29900, 29900},
    {"host.example:1", 0, 0, "host.example", NULL, 1, 1},
    {"my_host-1:65535", 0, 0, "my_host-1", NULL, 65535, 65535},
    {"1.2.3.4:5", 0, 0, "1.2.3.4", NULL, 5, 5},
    {"[::1]:4000-4010", RANGE, 0, "::1", NULL, 4000, 4010},
    {"[fe80::1%eth0.5]:1", 0, 0, "fe80::1%eth0.5", NULL, 1, 1},
    {"[::ffff:1.2.3.4]:1", 0, 0, "::ffff:1.2.3.4", NULL, 1, 1},
    {":1-65535", RANGE, 0, "", NULL, 1, 65535},
    {":7-7", RANGE, 0, "", NULL, 7, 7},
    {":00080", 0, 0, "", NULL, 80, 80},
    /* ports */
    {":", 0, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":0", 0, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":65536", 0, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":123456", RANGE, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":000001", RANGE, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":99999999999999999999", 0, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":2000-", RANGE, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":-2000", RANGE, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":2001-2000", RANGE, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":1-2-3", RANGE, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":1-0", RANGE, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":1-2", 0, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":http", UNIX, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":+1", 0, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    {":1 ", 0, ADDR_BAD_PORT, NULL, NULL, 0, 0},
    /* hosts */
    {"", UNIX | RANGE, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"host", 0, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"ho st:1", 0, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"::1", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"1.2.3.4", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"::1:80", 0, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"[::1]", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"[::1", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"[::1:80", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"[]:80", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"[:80", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"[host]:80", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"[1.2.3.4]:80", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"[::1]x:80", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"[::1%]:80", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"[::1%a/b]:80", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"[" X50 "::1]:80", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {X50 X50 X50 X50 X50 "xxx:1", 0, 0, X50 X50 X50 X50 X50 "xxx", NULL, 1, 1},
    {X50 X50 X50 X50 X50 "xxxx:1", 0, ADDR_MALFORMED, NULL, NULL, 0, 0},
    /* unix sockets */
    {"/run/x.sock", UNIX, 0, NULL, "/run/x.sock", 0, 0},
    {"/run/x:1", UNIX, 0, NULL, "/run/x:1", 0, 0},
    {"12948", UNIX, 0, NULL, "12948", 0, 0},
    {"::1:80", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0}, /* an address as a whole: brackets were forgotten */
    {"a:b:80", UNIX, 0, NULL, "a:b:80", 0, 0},
    {"/run/\x01", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"/run/x.sock", RANGE, ADDR_MALFORMED, NULL, NULL, 0, 0},
    {"/" X50 X50 "123456", UNIX, 0, NULL, "/" X50 X50 "123456", 0, 0}, /* 107 bytes */
    {"/" X50 X50 "1234567", UNIX, ADDR_MALFORMED, NULL, NULL, 0, 0},
};

static int parse(struct addr_text *a, const char *text, int flags)
{
    return addr_text_parse(a, text, flags & UNIX, flags & RANGE);
}

static bool same(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct addr_text a = {0};
        int r = parse(&a, rows[i].text, rows[i].flags);

        if (r != rows[i].want || !same(a.host, rows[i].host) || !same(a.path, rows[i].path) ||
            a.port_min != rows[i].min || a.port_max != rows[i].max)
            fail_msg("%s: %d, host %s path %s %u-%u", rows[i].text, r, a.host, a.path, a.port_min, a.port_max);
        assert_int_equal(addr_text_none(&a), r != 0);
        addr_text_fini(&a);
        assert_true(addr_text_none(&a));
    }
}

/* Every prefix on its own heap block; what parses prints to what parses to the same. */
static void test_truncations(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(rows); i++)
        for (size_t n = 0; n <= strlen(rows[i].text); n++) {
            char *text = strndup(rows[i].text, n), out[320], small[4];
            struct addr_text a = {0}, b = {0};

            if (!parse(&a, text, rows[i].flags)) {
                int len = addr_text_print(&a, out, sizeof out);

                assert_int_equal(len, strlen(out));
                assert_int_equal(addr_text_print(&a, small, sizeof small), len);
                assert_int_equal(parse(&b, out, rows[i].flags), 0);
                assert_true(addr_text_equal(&a, &b));
                addr_text_fini(&b);
            }
            addr_text_fini(&a);
            free(text);
        }
}

static void test_equal(void **state)
{
    static const char *const texts[] = {":1", ":2", ":1-2", "a:1", "[::1]:1", "/a", "/b"};

    (void)state;
    for (size_t i = 0; i < LEN(texts); i++)
        for (size_t j = 0; j < LEN(texts); j++) {
            struct addr_text a = {0}, b = {0};

            assert_int_equal(parse(&a, texts[i], UNIX | RANGE) | parse(&b, texts[j], UNIX | RANGE), 0);
            assert_int_equal(addr_text_equal(&a, &b), i == j);
            addr_text_fini(&a);
            addr_text_fini(&b);
        }
}

static void test_blocks(void **state)
{
    static const struct {
        const char *text, *printed; /* NULL: refused */
        const char *in, *out; /* an address inside, and one outside */
    } blocks[] = {
        {"10.0.0.0/8", "10.0.0.0/8", "10.255.0.1", "11.0.0.0"},
        {"10.1.2.3/8", "10.0.0.0/8", "10.0.0.0", "::10.0.0.0"},
        {"10.1.2.3", "10.1.2.3/32", "10.1.2.3", "10.1.2.2"},
        {"10.1.2.3/31", "10.1.2.2/31", "10.1.2.2", "10.1.2.4"},
        {"0.0.0.0/0", "0.0.0.0/0", "255.1.1.1", "::1"},
        {"::/0", "::/0", "1.2.3.4", NULL},
        {"::1", "::1/128", "::1", "::"},
        {"2001:db8::/33", "2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"},
        {"::ffff:10.0.0.0/104", "10.0.0.0/8", "10.1.1.1", "11.1.1.1"},
        {"::ffff:0:0/95", "::fffe:0:0/95", "10.1.1.1", "::fffd:0:0"},
        {"10.0.0.0/33", NULL, NULL, NULL},
        {"::/129", NULL, NULL, NULL},
        {"::/256", NULL, NULL, NULL},
        {"::/4294967296", NULL, NULL, NULL},
        {"10.0.0.0/", NULL, NULL, NULL},
        {"10.0.0.0/08", NULL, NULL, NULL},
        {"10.0.0.0/-1", NULL, NULL, NULL},
        {"10.0.0.0/8x", NULL, NULL, NULL},
        {"10.0.0.0/8/8", NULL, NULL, NULL},
        {"10.0.0/8", NULL, NULL, NULL},
        {"host/8", NULL, NULL, NULL},
        {"", NULL, NULL, NULL},
        {"/8", NULL, NULL, NULL},
        {" 10.0.0.1", NULL, NULL, NULL},
        {X50 "/8", NULL, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < LEN(blocks); i++) {
        struct addr_block b, again;
        uint8_t ip[16];
        char text[64];
        int r = addr_block_parse(&b, blocks[i].text);

        if (r != (blocks[i].printed ? 0 : ADDR_MALFORMED))
            fail_msg("%s: %d", blocks[i].text, r);
        if (r)
            continue;
        addr_block_print(&b, text, sizeof text);
        assert_string_equal(text, blocks[i].printed);
        assert_int_equal(addr_block_parse(&again, text), 0);
        assert_memory_equal(&b, &again, sizeof b);
        assert_true(addr_ip(ip, blocks[i].in) && addr_block_has(&b, ip));
        if (blocks[i].out)
            assert_true(addr_ip(ip, blocks[i].out) && !addr_block_has(&b, ip));
    }
}

/* A block has exactly the addresses that agree with it in its first bits. */
static void test_block_bits(void **state)
{
    struct rng r = rng_seed(3);

    (void)state;
    for (int i = 0; i < 20000; i++) {
        unsigned bits = rng_below(&r, 129), agree = 0;
        struct addr_block b, again;
        char text[64];
        uint8_t ip[16];

        rng_fill(&r, b.ip, sizeof b.ip);
        memcpy(ip, b.ip, sizeof ip);
        for (unsigned n = rng_below(&r, 3); n; n--)
            ip[rng_below(&r, 16)] ^= (uint8_t)(1u << rng_below(&r, 8));
        while (agree < 128 && !((b.ip[agree / 8] ^ ip[agree / 8]) & 0x80 >> agree % 8))
            agree++;
        b.bits = (uint8_t)bits;
        addr_block_print(&b, text, sizeof text);
        assert_int_equal(addr_block_parse(&again, text), 0);
        assert_int_equal(again.bits, bits);
        assert_int_equal(addr_block_has(&again, ip), agree >= bits);
    }
}

static void test_ip(void **state)
{
    uint8_t ip[16] = {7}, want[16] = {[10] = 0xff, [11] = 0xff, 1, 2, 3, 4};

    (void)state;
    assert_false(addr_ip(ip, "host") || addr_ip(ip, "") || addr_ip(ip, "[::1]") || addr_ip(ip, "::1%lo"));
    assert_int_equal(ip[0], 7);
    assert_true(addr_ip(ip, "1.2.3.4"));
    assert_memory_equal(ip, want, sizeof ip);
    assert_true(addr_ip(ip, "::ffff:1.2.3.4"));
    assert_memory_equal(ip, want, sizeof ip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),  cmocka_unit_test(test_truncations), cmocka_unit_test(test_equal),
        cmocka_unit_test(test_blocks), cmocka_unit_test(test_block_bits),  cmocka_unit_test(test_ip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
