/* tests/unit/test_secret.c - a key is derived once for each pass phrase, at its first use, however many share it and
 * whichever threads ask. What derives is a stand-in that counts. */
#include "crypto/kdf.h"
#include "crypto/qpp.h"
#include "daemon/secret.h"
#include "tests/support/vectors.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { PROFILES = 10000, PHRASES = 3, THREADS = 4 };

static atomic_uint derived, wiped;

int kdf_derive(uint8_t out[32], struct bytes passphrase)
{
    derived++;
    memset(out, 0, 32);
    memcpy(out, passphrase.p, MIN(passphrase.len, 32));
    return 0;
}

void crypto_wipe(void *p, size_t n)
{
    wiped++;
    memset(p, 0, n);
}

int qpp_new(struct qpp **qp, struct bytes seed, unsigned count, unsigned generation)
{
    (void)qp, (void)seed, (void)count, (void)generation;
    return -1;
}

struct qpp *qpp_free(struct qpp *q)
{
    return q;
}

static struct secret *secrets[PROFILES];

static void *use_all(void *arg)
{
    uint8_t key[32];

    (void)arg;
    for (unsigned i = 0; i < PROFILES; i++) {
        char phrase[32];

        snprintf(phrase, sizeof phrase, "phrase %u", i % PHRASES);
        if (secret_key(secrets[i], key) || memcmp(key, phrase, strlen(phrase)) != 0)
            return secrets;
    }
    return NULL;
}

static void test_once_for_each(void **state)
{
    struct secrets *t = secrets_new();
    pthread_t v[THREADS];
    void *failed;

    (void)state;
    for (unsigned i = 0; i < PROFILES; i++) {
        char phrase[32];

        snprintf(phrase, sizeof phrase, "phrase %u", i % PHRASES);
        secrets[i] = secrets_get(t, phrase);
        assert_non_null(secrets[i]);
        assert_int_equal(secret_id(secrets[i]), i % PHRASES);
    }
    assert_int_equal(derived, 0); /* nobody has asked */
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&v[i], NULL, use_all, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(v[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(derived, PHRASES);
    secrets_sweep(t);
    assert_int_equal(wiped, 0);
    for (unsigned i = 0; i < PROFILES; i++)
        secret_put(secrets[i]);
    secrets_sweep(t);
    assert_int_equal(wiped, 2 * PHRASES); /* phrase and key */
    secrets_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_once_for_each)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
