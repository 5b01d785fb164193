/* daemon/limits.c - counts of sessions in one hash table: a profile and a source of a profile are rows alike.
 * Open addressing, at most half full; a row whose count falls to zero is removed, and the table shrinks with its rows, so
 * memory follows the sessions that are there. Sources can be forged: the hash is keyed. */
#include "daemon/limits.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MIN = 64 };

struct key { /* hashed and compared as bytes: no padding */
    uint64_t profile;
    uint8_t source[16]; /* a whole profile: all ones */
};

struct row {
    struct key key;
    uint32_t count; /* 0: free */
};

struct limits {
    _Atomic uint32_t open, most; /* sessions of whatever role, now and at one time */
    pthread_mutex_t lock;
    uint32_t max_total, total;
    struct row *rows;
    size_t cap, n; /* cap: a power of two */
    unsigned char seed[crypto_shorthash_KEYBYTES];
};

static struct key profile_key(uint64_t profile)
{
    struct key k = {.profile = profile};

    memset(k.source, 0xff, sizeof k.source);
    return k;
}

static struct key source_key(uint64_t profile, const uint8_t ip[16])
{
    static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct key k = {.profile = profile};

    memcpy(k.source, ip, memcmp(ip, v4_mapped, sizeof v4_mapped) ? 8 : 16);
    return k;
}

static size_t home(const struct limits *l, const struct key *k)
{
    unsigned char h[crypto_shorthash_BYTES];
    size_t v;

    crypto_shorthash(h, (const unsigned char *)k, sizeof *k, l->seed);
    memcpy(&v, h, sizeof v);
    return v & (l->cap - 1);
}

/* The row of k, or the free one where it would go. */
static struct row *find(const struct limits *l, const struct key *k)
{
    size_t i = home(l, k);

    while (l->rows[i].count && memcmp(&l->rows[i].key, k, sizeof *k))
        i = (i + 1) & (l->cap - 1);
    return &l->rows[i];
}

static bool resize(struct limits *l, size_t cap)
{
    struct row *rows = calloc(cap, sizeof *rows), *old = l->rows;
    size_t old_cap = l->cap;

    if (!rows)
        return false;
    l->rows = rows;
    l->cap = cap;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].count)
            *find(l, &old[i].key) = old[i];
    free(old);
    return true;
}

static void add(struct limits *l, const struct key *k)
{
    struct row *r = find(l, k);

    if (!r->count) {
        r->key = *k;
        l->n++;
    }
    r->count++;
}

/* Removes a row and moves up those behind it that its place kept from their home. */
static void remove_row(struct limits *l, struct row *r)
{
    size_t mask = l->cap - 1, hole = (size_t)(r - l->rows);

    for (size_t i = (hole + 1) & mask; l->rows[i].count; i = (i + 1) & mask)
        if (((i - home(l, &l->rows[i].key)) & mask) >= ((i - hole) & mask)) {
            l->rows[hole] = l->rows[i];
            hole = i;
        }
    l->rows[hole].count = 0;
    l->n--;
}

static void sub(struct limits *l, const struct key *k)
{
    struct row *r = find(l, k);

    assert(r->count);
    if (r->count && --r->count == 0)
        remove_row(l, r);
}

struct limits *limits_new(uint32_t max_total)
{
    struct limits *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->max_total = max_total;
    if (sodium_init() < 0 || !resize(l, ROWS_MIN)) {
        free(l);
        return NULL;
    }
    crypto_shorthash_keygen(l->seed);
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

struct limits *limits_free(struct limits *l)
{
    if (!l)
        return NULL;
    pthread_mutex_destroy(&l->lock);
    free(l->rows);
    free(l);
    return NULL;
}

void limits_set_total(struct limits *l, uint32_t max_total)
{
    pthread_mutex_lock(&l->lock);
    l->max_total = max_total;
    pthread_mutex_unlock(&l->lock);
}

/* 0, -ENOMEM. */
static int enter(struct limits *l, const struct key *profile, const struct key *source)
{
    if ((l->n + 2) * 2 > l->cap && !resize(l, l->cap * 2))
        return -ENOMEM;
    add(l, profile);
    add(l, source);
    l->total++;
    return 0;
}

static int take(struct limits *l, const struct key *profile, uint32_t profile_max, const struct key *source,
                uint32_t per_source_max)
{
    if (l->total == UINT32_MAX || (l->max_total && l->total >= l->max_total))
        return LIMIT_TOTAL;
    if (profile_max && find(l, profile)->count >= profile_max)
        return LIMIT_PROFILE;
    if (per_source_max && find(l, source)->count >= per_source_max)
        return LIMIT_SOURCE;
    return enter(l, profile, source);
}

int limits_take(struct limits *l, uint64_t key, uint32_t profile_max, const uint8_t ip[16], uint32_t per_source_max)
{
    struct key profile = profile_key(key), source = source_key(key, ip);
    int r;

    pthread_mutex_lock(&l->lock);
    r = take(l, &profile, profile_max, &source, per_source_max);
    pthread_mutex_unlock(&l->lock);
    return r;
}

int limits_count(struct limits *l, uint64_t key, const uint8_t ip[16])
{
    struct key profile = profile_key(key), source = source_key(key, ip);
    int r;

    pthread_mutex_lock(&l->lock);
    r = enter(l, &profile, &source);
    pthread_mutex_unlock(&l->lock);
    return r;
}

void limits_give(struct limits *l, uint64_t key, const uint8_t ip[16])
{
    struct key profile = profile_key(key), source = source_key(key, ip);

    pthread_mutex_lock(&l->lock);
    sub(l, &source);
    sub(l, &profile);
    l->total--;
    if (l->cap > ROWS_MIN && l->n * 8 < l->cap)
        resize(l, l->cap / 2); /* without memory for it, it stays */
    pthread_mutex_unlock(&l->lock);
}

uint32_t limits_total(struct limits *l)
{
    uint32_t n;

    pthread_mutex_lock(&l->lock);
    n = l->total;
    pthread_mutex_unlock(&l->lock);
    return n;
}

void limits_opened(struct limits *l)
{
    uint32_t open = atomic_fetch_add(&l->open, 1) + 1, most = atomic_load(&l->most);

    while (most < open && !atomic_compare_exchange_weak(&l->most, &most, open))
        ;
}

void limits_ended(struct limits *l)
{
    atomic_fetch_sub(&l->open, 1);
}

uint32_t limits_most(const struct limits *l)
{
    return atomic_load(&l->most);
}
