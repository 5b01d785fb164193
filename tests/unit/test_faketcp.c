/* tests/unit/test_faketcp.c - segments: the recorded ones, every way of being malformed, checksums of both families, and
 * numbers that follow the peer's. */
#include "daemon/faketcp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t local4[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};
static const uint8_t local6[16] = {[15] = 1};
static const char payload[] = "PAYLOAD";

/* Of the same segment by three generations of the peers, 127.0.0.1 to itself. */
#define PORTS   0x9c, 0x40, 0x0f, 0xa0
#define NUMBERS 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88
#define STAMPS  0xaa, 0xbb, 0xcc, 0xdd, 1, 2, 3, 4
#define PAYLOAD 'P', 'A', 'Y', 'L', 'O', 'A', 'D'
static const struct {
    const char *name;
    uint8_t head;
    uint8_t v[48];
} recorded[] = {
    {"without options", 20, {PORTS, NUMBERS, 0x50, 0x18, 0xff, 0xff, 0xb7, 0xbe, 0, 0, PAYLOAD}},
    {"an option longer than it may be", 36, {PORTS, NUMBERS, 0x90, 0x18, 0xff,   0xff, 0xf3, 0x03, 0, 0,
                                             1,     1,       8,    12,   STAMPS, 0,    0,    0,    0, PAYLOAD}},
    {"timestamps", 32, {PORTS, NUMBERS, 0x80, 0x18, 0xff, 0xff, 0x03, 0x08, 0, 0, 1, 1, 8, 10, STAMPS, PAYLOAD}},
};

/* As the standard says it: slowly, over one buffer. */
static bool is_intact(struct bytes tcp, const uint8_t from[16], const uint8_t to[16])
{
    bool v4 = from[10];
    uint32_t acc = 6 + (uint32_t)tcp.len;

    for (unsigned i = v4 ? 12 : 0; i < 16; i++)
        acc += (uint32_t)(from[i] + to[i]) << (i % 2 ? 0 : 8);
    for (size_t i = 0; i < tcp.len; i++)
        acc += (uint32_t)tcp.p[i] << (i % 2 ? 0 : 8);
    while (acc >> 16)
        acc = (acc & 0xffff) + (acc >> 16);
    return acc == 0xffff;
}

static void test_recorded(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(recorded); i++) {
        struct bytes tcp = bytes_of(recorded[i].v, recorded[i].head + 7u);
        struct faketcp_segment s;

        if (faketcp_parse(&s, tcp) || s.from != 40000 || s.to != 4000 || s.seq != 0x11223344 || s.ack != 0x55667788 ||
            s.flags != (FAKETCP_PSH | FAKETCP_ACK) || s.payload.len != 7 || memcmp(s.payload.p, payload, 7) != 0)
            fail_msg("%s: read as something else", recorded[i].name);
        assert_int_equal(is_intact(tcp, local4, local4), recorded[i].head != 36);
    }
}

/* Ours is what the newest of them sends. */
static void test_put(void **state)
{
    const struct faketcp_header h = {40000, 4000, {0x11223344, 0x55667788}, 0xaabbccdd, 0x01020304};
    uint8_t head[FAKETCP_HEADER];

    (void)state;
    faketcp_put(head, &h, bytes_of(payload, 7), local4, local4);
    assert_memory_equal(head, recorded[2].v, sizeof head);
}

/* Every truncation, on its own heap block, and header lengths that do not fit. */
static void test_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEN(recorded); i++)
        for (size_t n = 0; n <= recorded[i].head + 7u; n++) {
            struct faketcp_segment s = {.from = 7};
            uint8_t *v = memcpy(malloc(n + !n), recorded[i].v, n);
            int want = n < recorded[i].head ? FAKETCP_MALFORMED : 0;

            if (faketcp_parse(&s, bytes_of(v, n)) != want || (want && s.from != 7))
                fail_msg("%s, cut at %zu", recorded[i].name, n);
            free(v);
        }
    for (unsigned words = 0; words < 16; words++) {
        struct faketcp_segment s;
        uint8_t v[27];

        memcpy(v, recorded[0].v, sizeof v);
        v[12] = (uint8_t)(words << 4);
        assert_int_equal(faketcp_parse(&s, bytes_of(v, sizeof v)), words == 5 || words == 6 ? 0 : FAKETCP_MALFORMED);
    }
}

/* Any single bit; payloads of every length up to some, even and odd; both families. */
static void test_checksum(void **state)
{
    const struct faketcp_header h = {1, 65535, {0xffffffff, 0}, 5, 0};
    const uint8_t *const addresses[] = {local4, local6};
    uint8_t v[FAKETCP_HEADER + 67];

    (void)state;
    for (size_t n = 0; n <= sizeof v - FAKETCP_HEADER; n++)
        for (size_t a = 0; a < LEN(addresses); a++) {
            struct bytes all = bytes_of(v, FAKETCP_HEADER + n);

            for (size_t i = 0; i < n; i++)
                v[FAKETCP_HEADER + i] = (uint8_t)(255 - i * n);
            faketcp_put(v, &h, bytes_of(v + FAKETCP_HEADER, n), addresses[a], addresses[a]);
            assert_true(is_intact(all, addresses[a], addresses[a]));
            for (size_t bit = 0; bit < all.len * 8; bit++) {
                v[bit / 8] ^= (uint8_t)(1u << bit % 8);
                assert_false(is_intact(all, addresses[a], addresses[a]));
                v[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
        }
}

static void test_ip4(void **state)
{
    static const struct {
        const char *name;
        uint8_t at, value;
        int want;
    } rows[] = {
        {"as it is", 0, 0x46, 0},
        {"IPv6", 0, 0x66, FAKETCP_MALFORMED},
        {"a header of 16 bytes", 0, 0x44, FAKETCP_MALFORMED},
        {"a header longer than the packet", 0, 0x4f, FAKETCP_MALFORMED},
        {"longer than it says", 3, 51, 0},
        {"shorter than it says", 3, 53, FAKETCP_MALFORMED},
        {"shorter than its header", 3, 23, FAKETCP_MALFORMED},
        {"UDP", 9, 17, FAKETCP_MALFORMED},
    };
    uint8_t good[52] = {[0] = 0x46, [3] = 52, [9] = 6, [12] = 1, 2, 3, 4, 5, 6, 7, 8, [24] = 99};

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        uint8_t v[sizeof good], from[4] = {0}, to[4] = {0};
        struct bytes p = bytes_of(v, sizeof v);

        memcpy(v, good, sizeof v);
        v[rows[i].at] = rows[i].value;
        if (faketcp_strip_ip4(&p, from, to) != rows[i].want)
            fail_msg("%s", rows[i].name);
        if (rows[i].want)
            assert_true(p.p == v && p.len == sizeof v && !from[0] && !to[0]);
        else
            assert_true(p.p == v + 24 && p.len == v[3] - 24u && from[3] == 4 && to[3] == 8);
    }
    for (size_t n = 0; n < 20; n++) {
        uint8_t *v = memcpy(malloc(n + !n), good, n), from[4], to[4];
        struct bytes p = bytes_of(v, n);

        assert_int_equal(faketcp_strip_ip4(&p, from, to), FAKETCP_MALFORMED);
        free(v);
    }
}

static void test_heard(void **state)
{
    struct faketcp_segment s = {.flags = FAKETCP_SYN | FAKETCP_ACK, .seq = UINT32_MAX, .ack = 5};

    (void)state;
    assert_int_equal(faketcp_heard(&s).seq, 5);
    assert_int_equal(faketcp_heard(&s).ack, 0);
    s.flags = FAKETCP_PSH | FAKETCP_ACK;
    s.payload.len = 1350;
    assert_int_equal(faketcp_heard(&s).ack, 1349);
}

static void test_follow(void **state)
{
    static const struct {
        const char *name;
        struct faketcp_numbers is, heard, want;
    } rows[] = {
        {"a new flow", {0, 0}, {0x80000000, 0x90000000}, {0x80000000, 0x90000000}},
        {"all arrived", {1000, 500}, {1000, 600}, {1000, 600}},
        {"some are under way", {9000, 500}, {1000, 600}, {9000, 600}},
        {"a window is", {66535, 500}, {1000, 600}, {66535, 600}},
        {"more than a window", {66536, 500}, {1000, 600}, {1000, 600}},
        {"the peer has more than we sent", {1000, 500}, {1001, 600}, {1001, 600}},
        {"a late one", {1000, 5000}, {1000, 600}, {1000, 5000}},
        {"from another life", {1000, 5000}, {1000, 5000u - (1u << 20) - 1}, {1000, 5000u - (1u << 20) - 1}},
        {"over the end of the numbers", {100, 0xffffff00}, {0xffffff00, 100}, {100, 100}},
    };

    (void)state;
    for (size_t i = 0; i < LEN(rows); i++) {
        struct faketcp_numbers n = rows[i].is;

        faketcp_follow(&n, &rows[i].heard);
        if (n.seq != rows[i].want.seq || n.ack != rows[i].want.ack)
            fail_msg("%s: %u %u", rows[i].name, n.seq, n.ack);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded), cmocka_unit_test(test_put), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_checksum), cmocka_unit_test(test_ip4), cmocka_unit_test(test_heard),
        cmocka_unit_test(test_follow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
