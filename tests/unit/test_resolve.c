/* tests/unit/test_resolve.c - the resolver's threads and clients, with lookups that the test answers or lets hang. */
#include "daemon/resolve.h"

#include "tests/support/vectors.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned n_threads; /* before there was a resolver */
static sem_t begun, go, ended; /* of lookups of "hang" */

static void fake(const char *host, uint16_t port, struct resolve_result *out)
{
    if (!strcmp(host, "hang")) {
        sem_post(&begun);
        sem_wait(&go);
        sem_post(&ended);
    } else if (!strcmp(host, "bad")) {
        snprintf(out->text, sizeof out->text, "no such name");
        return;
    }
    out->n = 1;
    out->addr[0].in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    out->addr[0].in.sin_addr.s_addr = htonl((uint32_t)strlen(host));
    out->addr[0].len = sizeof out->addr[0].in;
}

static bool readable(const struct resolver_client *c, int timeout_ms)
{
    struct pollfd p = {resolver_client_fd(c), POLLIN, 0};

    return poll(&p, 1, timeout_ms) == 1;
}

static struct resolve_result next(struct resolver_client *c)
{
    struct resolve_result res;

    assert_true(readable(c, -1));
    assert_true(resolver_next(c, &res));
    return res;
}

static void wait_for(sem_t *s, unsigned n)
{
    while (n--)
        while (sem_wait(s))
            assert_int_equal(errno, EINTR);
}

static void open_both(struct resolver **r, struct resolver_client **c, resolve_lookup lookup)
{
    assert_int_equal(resolver_new(r, lookup), 0);
    assert_int_equal(resolver_client_new(c, *r), 0);
    assert_false(readable(*c, 0));
}

static void test_numeric(void **state)
{
    struct resolver *r;
    struct resolver_client *c;
    struct resolve_result res;
    struct in6_addr want6;

    (void)state;
    open_both(&r, &c, fake);
    assert_int_equal(resolver_ask(c, "192.0.2.7", 4000, 1), 0);
    assert_int_equal(resolver_ask(c, "2001:db8::7", 65535, UINT64_MAX), 0);
    assert_int_equal(resolver_ask(c, "", 1, 3), 0);
    assert_true(readable(c, 0)); /* at once, without a thread */
    assert_true(resolver_next(c, &res));
    assert_int_equal(res.token, 1);
    assert_int_equal(res.n, 1);
    assert_int_equal(res.addr[0].len, sizeof res.addr[0].in);
    assert_int_equal(res.addr[0].in.sin_family, AF_INET);
    assert_int_equal(res.addr[0].in.sin_port, htons(4000));
    assert_int_equal(res.addr[0].in.sin_addr.s_addr, htonl(0xc0000207));
    assert_true(resolver_next(c, &res));
    assert_true(res.token == UINT64_MAX);
    assert_int_equal(res.n, 1);
    assert_int_equal(res.addr[0].len, sizeof res.addr[0].in6);
    assert_int_equal(res.addr[0].in6.sin6_port, htons(65535));
    inet_pton(AF_INET6, "2001:db8::7", &want6);
    assert_memory_equal(&res.addr[0].in6.sin6_addr, &want6, 16);
    assert_true(readable(c, 0));
    assert_true(resolver_next(c, &res)); /* this host */
    assert_true(res.n >= 1);
    assert_false(readable(c, 0));
    assert_false(resolver_next(c, &res));
    resolver_client_free(c);
    resolver_free(r);
}

static void test_names(void **state)
{
    struct resolver *r;
    struct resolver_client *c;
    struct resolve_result res;
    char name[300];

    (void)state;
    open_both(&r, &c, fake);
    assert_int_equal(resolver_ask(c, "abcdef", 80, 5), 0);
    res = next(c);
    assert_int_equal(res.token, 5);
    assert_int_equal(res.n, 1);
    assert_int_equal(res.addr[0].in.sin_addr.s_addr, htonl(6));
    assert_int_equal(resolver_ask(c, "bad", 80, 6), 0);
    res = next(c);
    assert_int_equal(res.token, 6);
    assert_int_equal(res.n, 0);
    assert_string_equal(res.text, "no such name");
    memset(name, 'a', sizeof name);
    name[256] = 0;
    assert_int_equal(resolver_ask(c, name, 80, 7), -ENAMETOOLONG);
    name[255] = 0;
    assert_int_equal(resolver_ask(c, name, 80, 8), 0);
    assert_int_equal(next(c).addr[0].in.sin_addr.s_addr, htonl(255));
    resolver_client_free(c);
    resolver_free(r);
}

static void test_libc(void **state)
{
    struct resolver *r;
    struct resolver_client *c;
    struct resolve_result res;

    (void)state;
    open_both(&r, &c, NULL);
    assert_int_equal(resolver_ask(c, "localhost", 80, 5), 0);
    res = next(c);
    assert_true(res.n >= 1 && res.n <= RESOLVE_ADDRS);
    for (unsigned i = 0; i < res.n; i++) /* each once, though TCP and UDP share it */
        for (unsigned k = 0; k < i; k++)
            assert_true(res.addr[i].len != res.addr[k].len ||
                        memcmp(&res.addr[i].sa, &res.addr[k].sa, res.addr[i].len));
    resolver_client_free(c);
    resolver_free(r);
}

static void test_bounded(void **state)
{
    struct resolver *r;
    struct resolver_client *c, *other;
    bool seen[RESOLVE_PENDING + 1] = {false};

    (void)state;
    open_both(&r, &c, fake);
    assert_int_equal(resolver_client_new(&other, r), 0);
    for (unsigned i = 0; i < RESOLVE_PENDING; i++)
        assert_int_equal(resolver_ask(c, i % 3 ? "name" : "::1", 1, i), 0);
    assert_int_equal(resolver_ask(c, "name", 1, 0), RESOLVE_BUSY);
    assert_int_equal(resolver_ask(c, "::1", 1, 0), RESOLVE_BUSY);
    assert_int_equal(resolver_ask(other, "name", 1, 99), 0); /* each has its own share */
    assert_int_equal(next(other).token, 99);
    seen[next(c).token] = true;
    assert_int_equal(resolver_ask(c, "name", 1, RESOLVE_PENDING), 0);
    for (unsigned i = 0; i < RESOLVE_PENDING; i++) {
        uint64_t token = next(c).token;

        assert_true(token <= RESOLVE_PENDING && !seen[token]); /* each question exactly one answer */
        seen[token] = true;
    }
    assert_false(readable(c, 0));
    resolver_client_free(other);
    resolver_client_free(c);
    resolver_free(r);
}

/* All threads but one hang: other names are answered all the same. Then the last hangs too: whoever goes, goes. */
static void test_hang(void **state)
{
    struct resolver *r;
    struct resolver_client *a, *b;

    (void)state;
    open_both(&r, &a, fake);
    assert_int_equal(resolver_client_new(&b, r), 0);
    for (unsigned i = 0; i < RESOLVE_THREADS - 1; i++) {
        assert_int_equal(resolver_ask(a, "hang", 1, i), 0);
        wait_for(&begun, 1);
    }
    assert_int_equal(resolver_ask(b, "name", 1, 7), 0);
    assert_int_equal(next(b).token, 7);
    assert_int_equal(resolver_ask(b, "hang", 1, 8), 0);
    wait_for(&begun, 1);
    assert_int_equal(resolver_ask(a, "name", 1, 9), 0); /* waits in the queue */
    assert_int_equal(resolver_ask(b, "name", 1, 10), 0);
    assert_int_equal(resolver_ask(a, "::1", 1, 11), 0); /* an answer nobody takes */
    resolver_client_free(a);
    sem_post(&go); /* one of the hanging lookups ends: for nobody, or b's */
    wait_for(&ended, 1);
    for (uint64_t token; (token = next(b).token) != 10;)
        assert_int_equal(token, 8);
    assert_int_equal(resolver_ask(b, "hang", 1, 12), 0);
    wait_for(&begun, 1);
    resolver_free(r);
    assert_int_equal(resolver_ask(b, "name", 1, 13), -ESHUTDOWN);
    resolver_client_free(b);
    for (unsigned i = 0; i < RESOLVE_THREADS; i++)
        sem_post(&go);
    wait_for(&ended, RESOLVE_THREADS);
}

/* The end comes while questions wait that no thread has taken: they go with their client. */
static void test_end_with_queue(void **state)
{
    struct resolver *r;
    struct resolver_client *c;

    (void)state;
    open_both(&r, &c, fake);
    for (unsigned i = 0; i < RESOLVE_THREADS; i++)
        assert_int_equal(resolver_ask(c, "hang", 1, i), 0);
    wait_for(&begun, RESOLVE_THREADS);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(resolver_ask(c, "name", 1, i), 0);
    resolver_free(r);
    resolver_client_free(c);
    for (unsigned i = 0; i < RESOLVE_THREADS; i++)
        sem_post(&go);
    wait_for(&ended, RESOLVE_THREADS);
}

static void *asker(void *arg)
{
    struct resolver_client *c;
    struct resolve_result res;
    unsigned asked = 0, got = 0;

    if (resolver_client_new(&c, arg))
        return arg;
    while (got < 2000) {
        while (asked < 2000 && resolver_ask(c, asked % 5 ? "name" : "192.0.2.1", 1, asked) == 0)
            asked++;
        if (readable(c, -1) && resolver_next(c, &res))
            got++;
    }
    resolver_client_free(c);
    return NULL;
}

static void test_threads(void **state)
{
    struct resolver *r;
    pthread_t t[3];

    (void)state;
    assert_int_equal(resolver_new(&r, fake), 0);
    for (unsigned i = 0; i < LEN(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, asker, r), 0);
    for (unsigned i = 0; i < LEN(t); i++) {
        void *failed;

        pthread_join(t[i], &failed);
        assert_null(failed);
    }
    resolver_free(r);
    assert_null(resolver_free(NULL));
    assert_null(resolver_client_free(NULL));
}

static unsigned count_threads(void)
{
    DIR *d = opendir("/proc/self/task");
    unsigned n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Threads without work end with their resolver, too. */
static void test_threads_end(void **state)
{
    struct resolver *r;
    struct resolver_client *c;

    (void)state;
    while (count_threads() > n_threads) /* those of the tests before */
        poll(NULL, 0, 1);
    open_both(&r, &c, fake);
    assert_true(count_threads() > n_threads);
    assert_int_equal(resolver_ask(c, "name", 1, 1), 0);
    next(c);
    resolver_client_free(c);
    resolver_free(r);
    while (count_threads() > n_threads) /* or the harness ends us */
        poll(NULL, 0, 1);
}

static void *nothing(void *arg)
{
    return arg;
}

int main(void)
{
    pthread_t first;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numeric), cmocka_unit_test(test_names),       cmocka_unit_test(test_libc),
        cmocka_unit_test(test_bounded), cmocka_unit_test(test_hang),        cmocka_unit_test(test_end_with_queue),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_threads_end),
    };

    sem_init(&begun, 0, 0);
    sem_init(&go, 0, 0);
    sem_init(&ended, 0, 0);
    pthread_create(&first, NULL, nothing, NULL); /* a sanitizer brings a thread of its own along with the first */
    pthread_join(first, NULL);
    n_threads = count_threads();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
