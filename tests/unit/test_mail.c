/* tests/unit/test_mail.c - the mailboxes of all pairs: a burst fits, who is woken, memory afterwards. */
#include "daemon/mail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BURST = 2048, PAYLOAD = 1350 };

static const uint8_t payload[PAYLOAD] = {1, 2, 3};

static int put(struct post *p, unsigned from, unsigned to, uint32_t conv)
{
    const struct mail_datagram m = {.conv = conv};

    return post_put(p, from, to, MAIL_DATAGRAM, bytes_of(&m, sizeof m), bytes_of(payload, sizeof payload));
}

/* Takes what is there for `me`. Its number. */
static unsigned take_all(struct post *p, unsigned me, const uint8_t **last)
{
    enum mail_type type;
    struct bytes rec;
    unsigned n = 0;

    while (!post_get(p, me, &type, &rec)) {
        struct mail_datagram m;

        memcpy(&m, rec.p, sizeof m);
        assert_int_equal(type, MAIL_DATAGRAM);
        assert_int_equal(m.conv, n);
        assert_int_equal(rec.len, sizeof m + sizeof payload);
        assert_memory_equal(rec.p + sizeof m, payload, sizeof payload);
        *last = rec.p;
        post_done(p, me);
        n++;
    }
    return n;
}

/* A client of the default window sends all of it at once, and it arrives in one turn of the wrong worker. */
static void test_first_burst(void **state)
{
    const uint8_t *last;

    (void)state;
    for (unsigned n = 2; n <= 9; n += 7) {
        struct post *p = post_new(n);

        assert_non_null(p);
        for (unsigned round = 0; round < 3; round++) { /* wherever in the ring it begins */
            for (uint32_t i = 0; i < (n == 2 ? BURST : BURST / 2); i++)
                assert_int_equal(put(p, 0, 1, i), 0);
            post_publish(p, 0);
            assert_int_equal(take_all(p, 1, &last), n == 2 ? BURST : BURST / 2);
        }
        post_free(p);
    }
}

static bool is_resident(const uint8_t *at)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char in;

    assert_int_equal(mincore((void *)((uintptr_t)at & ~(page - 1)), 1, &in), 0);
    return in & 1;
}

static void test_trim(void **state)
{
    struct post *p = post_new(3);
    const uint8_t *last = NULL;

    (void)state;
    assert_false(post_has_spare(p, 0));
    for (uint32_t i = 0; i < BURST / 2; i++)
        assert_int_equal(put(p, 0, 1, i), 0);
    post_publish(p, 0);
    post_trim(p, 0); /* not while they are unread */
    assert_int_equal(take_all(p, 1, &last), BURST / 2);
    assert_true(post_has_spare(p, 0));
    assert_false(post_has_spare(p, 1));
    assert_true(is_resident(last));
    post_trim(p, 0);
    assert_false(post_has_spare(p, 0));
    assert_false(is_resident(last));
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(put(p, 0, 1, i), 0);
    post_publish(p, 0);
    assert_int_equal(take_all(p, 1, &last), 3);
    post_free(p);
}

/* Only a sleeper is woken, and only by a letter. */
static void test_wake(void **state)
{
    struct post *p = post_new(2);
    const uint8_t *last;
    uint64_t n;

    (void)state;
    assert_int_equal(put(p, 0, 1, 0), 0);
    post_publish(p, 0);
    assert_int_equal(read(post_fd(p, 1), &n, sizeof n), -1);
    assert_false(post_may_sleep(p, 1)); /* there is one */
    post_awake(p, 1);
    assert_int_equal(take_all(p, 1, &last), 1);
    assert_true(post_may_sleep(p, 1));
    post_publish(p, 0);
    assert_int_equal(read(post_fd(p, 1), &n, sizeof n), -1);
    assert_int_equal(put(p, 0, 1, 0), 0);
    post_publish(p, 0);
    assert_int_equal(read(post_fd(p, 1), &n, sizeof n), sizeof n);
    post_awake(p, 1);
    assert_int_equal(take_all(p, 1, &last), 1);
    post_free(p);
    assert_null(post_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_burst),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_wake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
