/* daemon/secret.c - the table of pass phrases, sorted by text, and their lazily derived keys. */
#include "daemon/secret.h"

#include "core/base/err.h"
#include "crypto/kdf.h"
#include "crypto/qpp.h"

#include <pthread.h>
#include <search.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct pads {
    struct pads *next;
    unsigned count, generation;
    struct qpp *qpp;
};

struct secret {
    struct secret *next; /* in the table's list */
    char *phrase;
    uint32_t id;
    atomic_uint refs; /* one is the table's */
    pthread_mutex_t lock; /* of what follows */
    bool derived;
    uint8_t key[32];
    struct pads *pads;
};

struct secrets {
    void *tree; /* of tsearch() */
    struct secret *list;
    uint32_t next_id;
};

static int by_phrase(const void *a, const void *b)
{
    return strcmp(((const struct secret *)a)->phrase, ((const struct secret *)b)->phrase);
}

struct secrets *secrets_new(void)
{
    return calloc(1, sizeof(struct secrets));
}

static struct secret *secret_new(const char *phrase, uint32_t id)
{
    struct secret *s = calloc(1, sizeof *s);

    if (!s || !(s->phrase = strdup(phrase))) {
        free(s);
        return NULL;
    }
    s->id = id;
    atomic_init(&s->refs, 1);
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

struct secret *secret_ref(struct secret *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

struct secret *secret_put(struct secret *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return NULL;
    crypto_wipe(s->phrase, strlen(s->phrase));
    crypto_wipe(s->key, sizeof s->key);
    pthread_mutex_destroy(&s->lock);
    for (struct pads *p; (p = s->pads);) {
        s->pads = p->next;
        qpp_free(p->qpp);
        free(p);
    }
    free(s->phrase);
    free(s);
    return NULL;
}

struct secret *secrets_get(struct secrets *t, const char *phrase)
{
    struct secret probe = {.phrase = (char *)(uintptr_t)phrase}, **found = tfind(&probe, &t->tree, by_phrase), *s;

    if (found)
        return secret_ref(*found);
    s = secret_new(phrase, t->next_id);
    if (!s)
        return NULL;
    if (!tsearch(s, &t->tree, by_phrase))
        return secret_put(s);
    t->next_id++;
    s->next = t->list;
    t->list = s;
    return secret_ref(s);
}

/* Forgets those with at most `refs` references. */
static void forget(struct secrets *t, unsigned refs)
{
    for (struct secret **at = &t->list, *s; (s = *at);) {
        if (atomic_load_explicit(&s->refs, memory_order_acquire) > refs) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        tdelete(s, &t->tree, by_phrase);
        secret_put(s);
    }
}

void secrets_sweep(struct secrets *t)
{
    forget(t, 1);
}

struct secrets *secrets_free(struct secrets *t)
{
    if (t)
        forget(t, ~0u);
    free(t);
    return NULL;
}

uint32_t secret_id(const struct secret *s)
{
    return s->id;
}

int secret_key(struct secret *s, uint8_t key[32])
{
    int r = 0;

    pthread_mutex_lock(&s->lock);
    if (!s->derived)
        r = kdf_derive(s->key, bytes_of(s->phrase, strlen(s->phrase)));
    s->derived = s->derived || !r;
    memcpy(key, s->key, sizeof s->key);
    pthread_mutex_unlock(&s->lock);
    return r;
}

/* Under the lock. NULL: not made yet. */
static struct qpp *find_pads(const struct secret *s, unsigned count, unsigned generation)
{
    const struct pads *p = s->pads;

    while (p && (p->count != count || p->generation != generation))
        p = p->next;
    return p ? p->qpp : NULL;
}

static struct pads *pads_new(const struct secret *s, unsigned count, unsigned generation)
{
    struct pads *p = calloc(1, sizeof *p);

    if (!p || qpp_new(&p->qpp, bytes_of(s->phrase, strlen(s->phrase)), count, generation)) {
        free(p);
        return NULL;
    }
    p->count = count;
    p->generation = generation;
    return p;
}

struct qpp *secret_qpp(struct secret *s, unsigned count, unsigned generation)
{
    struct pads *p;
    struct qpp *q;

    pthread_mutex_lock(&s->lock);
    q = find_pads(s, count, generation);
    pthread_mutex_unlock(&s->lock);
    if (q)
        return q;
    p = pads_new(s, count, generation); /* may take seconds: nobody waits for the lock meanwhile */
    if (!p)
        return NULL;
    pthread_mutex_lock(&s->lock);
    q = find_pads(s, count, generation);
    if (!q) {
        q = p->qpp;
        p->next = s->pads;
        s->pads = p;
        p = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    if (p) { /* another thread was faster */
        qpp_free(p->qpp);
        free(p);
    }
    return q;
}
