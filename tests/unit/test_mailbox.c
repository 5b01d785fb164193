/* tests/unit/test_mailbox.c - the ring between two threads: order, wrap-around, fullness, visibility. */
#include "daemon/mailbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 4096, RECORDS = 1000000 };

static uint32_t next_random(uint32_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 17;
    *s ^= *s << 5;
    return *s;
}

/* Record i: its length and bytes follow from i, so that a reader can tell every other record from it. */
static size_t record_len(uint32_t i, size_t max)
{
    uint32_t s = i * 2654435761u + 1;

    return next_random(&s) % (max + 1);
}

static void record_fill(uint8_t *p, size_t len, uint32_t i)
{
    for (size_t k = 0; k < len; k++)
        p[k] = (uint8_t)(i + i / 256 + k * 7);
}

static int put_record(struct mailbox *m, uint32_t i, size_t max)
{
    static _Thread_local uint8_t p[SIZE];
    size_t len = record_len(i, max), head = len / 3;

    record_fill(p, len, i);
    return mailbox_put(m, i ^ 0x5a5a, bytes_of(p, head), bytes_of(p + head, len - head));
}

/* 0, or 1 if it is not record i. */
static int check_record(uint32_t i, size_t max, uint32_t type, struct bytes rec)
{
    static _Thread_local uint8_t p[SIZE];
    size_t len = record_len(i, max);

    record_fill(p, len, i);
    return type != (i ^ 0x5a5a) || rec.len != len || (uintptr_t)rec.p % 8 || memcmp(rec.p, p, len);
}

static void test_empty_and_invisible(void **state)
{
    struct mailbox *m = mailbox_new(SIZE);
    struct bytes rec;
    uint32_t type;

    (void)state;
    assert_int_equal(mailbox_get(m, &type, &rec), MAILBOX_EMPTY);
    assert_false(mailbox_publish(m));
    assert_int_equal(mailbox_put(m, 7, bytes_of("ab", 2), bytes_of("cde", 3)), 0);
    assert_int_equal(mailbox_get(m, &type, &rec), MAILBOX_EMPTY); /* not published */
    assert_true(mailbox_publish(m));
    assert_false(mailbox_publish(m));
    for (int i = 0; i < 2; i++) { /* got again until it is done */
        assert_int_equal(mailbox_get(m, &type, &rec), 0);
        assert_int_equal(type, 7);
        assert_int_equal(rec.len, 5);
        assert_memory_equal(rec.p, "abcde", 5);
    }
    mailbox_done(m);
    assert_int_equal(mailbox_get(m, &type, &rec), MAILBOX_EMPTY);
    assert_int_equal(mailbox_put(m, UINT32_MAX, bytes_of(NULL, 0), bytes_of(NULL, 0)), 0);
    assert_true(mailbox_publish(m));
    assert_int_equal(mailbox_get(m, &type, &rec), 0);
    assert_int_equal(type, UINT32_MAX);
    assert_int_equal(rec.len, 0);
    mailbox_done(m);
    assert_null(mailbox_free(m));
    assert_null(mailbox_free(NULL));
}

/* Full is refused without a trace, and the room comes back, byte for byte, after any number of rounds. */
static void test_full(void **state)
{
    struct mailbox *m = mailbox_new(SIZE);
    uint8_t p[56] = {0};
    struct bytes rec;
    uint32_t type;

    (void)state;
    for (uint32_t round = 0; round < 100; round++) {
        uint32_t n = 0, got;

        while (!mailbox_put(m, n, bytes_of(p, sizeof p), bytes_of(NULL, 0)))
            n++;
        assert_int_equal(n, SIZE / 64); /* 8 of header, 56 of bytes */
        assert_int_equal(mailbox_put(m, n, bytes_of(NULL, 0), bytes_of(NULL, 0)), MAILBOX_FULL);
        mailbox_publish(m);
        for (got = 0; !mailbox_get(m, &type, &rec); got++) {
            assert_int_equal(type, got);
            mailbox_done(m);
        }
        assert_int_equal(got, n);
    }
    mailbox_free(m);
}

/* Random puts, publishes and gets against a model that only counts. */
static void test_wrap(void **state)
{
    struct mailbox *m = mailbox_new(SIZE);
    uint32_t seed = 12345, put = 0, visible = 0, got = 0, full = 0;

    (void)state;
    while (got < 200000) {
        uint32_t dice = next_random(&seed) % 8, type;
        struct bytes rec;

        if (dice < 4) {
            int r = put_record(m, put, SIZE / 4 - 1);

            put += !r;
            full += r == MAILBOX_FULL;
            assert_false(r == MAILBOX_FULL && put == got); /* an empty ring takes any record */
        } else if (dice < 5) {
            assert_int_equal(mailbox_publish(m), put != visible);
            visible = put;
        } else if (!mailbox_get(m, &type, &rec)) {
            assert_true(got < visible);
            assert_int_equal(check_record(got, SIZE / 4 - 1, type, rec), 0);
            mailbox_done(m);
            got++;
        } else {
            assert_int_equal(got, visible);
        }
    }
    assert_true(full > 1000);
    mailbox_free(m);
}

static void *produce(void *arg)
{
    struct mailbox *m = arg;

    for (uint32_t i = 0; i < RECORDS;) {
        bool full = put_record(m, i, 40);

        i += !full;
        if (full || i % 16 == 0)
            mailbox_publish(m);
        if (full)
            sched_yield();
    }
    mailbox_publish(m);
    return NULL;
}

static void test_two_threads(void **state)
{
    struct mailbox *m = mailbox_new(SIZE);
    uint32_t bad = 0, type;
    struct bytes rec;
    pthread_t t;

    (void)state;
    assert_int_equal(pthread_create(&t, NULL, produce, m), 0);
    for (uint32_t i = 0; i < RECORDS;) {
        if (mailbox_get(m, &type, &rec)) {
            sched_yield();
            continue;
        }
        bad += (uint32_t)check_record(i++, 40, type, rec);
        mailbox_done(m);
    }
    pthread_join(t, NULL);
    assert_int_equal(bad, 0);
    assert_int_equal(mailbox_get(m, &type, &rec), MAILBOX_EMPTY);
    mailbox_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_and_invisible),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_two_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
