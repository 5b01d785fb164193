/* daemon/claims.c - two hash tables over one list. */
#include "daemon/claims.h"

#include "daemon/limits.h"
#include "daemon/net.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SLOTS_MIN = 64, LINGER_US = 60 * 1000000 };

struct claim {
    struct upgrade_session s;
    uint64_t tunnel;
    uint8_t ip[16];
    bool counted; /* in the limits, by tunnel and ip */
    struct tick ends; /* TICK_NEVER: it lives */
    struct list by_conv, by_addr, all; /* all: in living or ended */
};

struct claims {
    uint64_t seed;
    struct limits *limits; /* NULL: none */
    atomic_uint count;
    unsigned n_slots; /* of each table, a power of two */
    struct list *convs, *addrs;
    struct list living, ended; /* ended: in the order of their time */
    pthread_rwlock_t lock;
};

static struct list *conv_slot(const struct claims *c, uint32_t set, uint32_t conv)
{
    uint64_t x = (((uint64_t)set << 32 | conv) ^ c->seed) * UINT64_C(0x9e3779b97f4a7c15);

    return &c->convs[(x >> 32) & (c->n_slots - 1)];
}

static struct list *addr_slot(const struct claims *c, const struct sockaddr_any *a)
{
    return &c->addrs[net_addr_hash(a, c->seed) & (c->n_slots - 1)];
}

static void enter(struct claims *c, struct claim *m)
{
    list_init(&m->by_conv);
    list_init(&m->by_addr);
    list_push(conv_slot(c, m->s.set, m->s.conv), &m->by_conv);
    list_push(addr_slot(c, &m->s.remote), &m->by_addr);
}

/* 0, -ENOMEM. */
static int resize(struct claims *c, unsigned n)
{
    struct list *convs = malloc(n * sizeof *convs), *addrs = malloc(n * sizeof *addrs);

    if (!convs || !addrs) {
        free(convs);
        free(addrs);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < n; i++) {
        list_init(&convs[i]);
        list_init(&addrs[i]);
    }
    free(c->convs);
    free(c->addrs);
    c->convs = convs;
    c->addrs = addrs;
    c->n_slots = n;
    LIST_EACH(m, &c->living, struct claim, all) {
        enter(c, m);
    }
    LIST_EACH(m, &c->ended, struct claim, all) {
        enter(c, m);
    }
    return 0;
}

struct claims *claims_new(uint64_t seed, struct limits *limits)
{
    struct claims *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->seed = seed;
    c->limits = limits;
    list_init(&c->living);
    list_init(&c->ended);
    if (resize(c, SLOTS_MIN)) {
        free(c);
        return NULL;
    }
    pthread_rwlock_init(&c->lock, NULL);
    return c;
}

static void count(struct claims *c, struct claim *m)
{
    net_addr_ip(&m->s.remote, m->ip);
    m->counted = c->limits && !limits_count(c->limits, m->tunnel, m->ip);
}

static void uncount(struct claims *c, struct claim *m)
{
    if (m->counted)
        limits_give(c->limits, m->tunnel, m->ip);
    m->counted = false;
}

static void forget(struct claims *c, struct claim *m)
{
    uncount(c, m);
    list_del(&m->by_conv);
    list_del(&m->by_addr);
    list_del(&m->all);
    free(m);
    atomic_fetch_sub(&c->count, 1);
}

static void forget_all(struct claims *c, struct list *l)
{
    struct claim *m;

    while ((m = LIST_FIRST(l, struct claim, all)))
        forget(c, m);
}

void claims_clear(struct claims *c)
{
    pthread_rwlock_wrlock(&c->lock);
    forget_all(c, &c->living);
    forget_all(c, &c->ended);
    pthread_rwlock_unlock(&c->lock);
}

struct claims *claims_free(struct claims *c)
{
    if (!c)
        return NULL;
    claims_clear(c);
    pthread_rwlock_destroy(&c->lock);
    free(c->convs);
    free(c->addrs);
    free(c);
    return NULL;
}

static struct claim *find(const struct claims *c, uint32_t set, uint32_t conv)
{
    LIST_EACH(m, conv_slot(c, set, conv), struct claim, by_conv) {
        if (m->s.conv == conv && m->s.set == set)
            return m;
    }
    return NULL;
}

/* A new one, empty. NULL: out of memory, or too many. */
static struct claim *add(struct claims *c)
{
    unsigned n = atomic_load(&c->count);
    struct claim *m;

    if (n >= CLAIMS_MAX || (n >= c->n_slots && resize(c, c->n_slots * 2)))
        return NULL;
    m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    list_init(&m->all);
    list_push(&c->living, &m->all);
    atomic_fetch_add(&c->count, 1);
    return m;
}

int claims_put(struct claims *c, const struct upgrade_session *s, uint64_t tunnel)
{
    struct claim *m;

    pthread_rwlock_wrlock(&c->lock);
    m = find(c, s->set, s->conv);
    if (m) {
        uncount(c, m);
        list_del(&m->by_conv);
        list_del(&m->by_addr);
        list_del(&m->all);
        list_push(&c->living, &m->all);
    } else {
        m = add(c);
    }
    if (m) {
        m->s = *s;
        m->tunnel = tunnel;
        m->ends = TICK_NEVER;
        count(c, m);
        enter(c, m);
    }
    pthread_rwlock_unlock(&c->lock);
    return m ? 0 : -ENOMEM;
}

void claims_end(struct claims *c, const struct upgrade_session *s, struct tick now)
{
    struct claim *m;

    pthread_rwlock_wrlock(&c->lock);
    m = find(c, s->set, s->conv);
    if (m) {
        uncount(c, m);
        m->ends = tick_add_us(now, LINGER_US);
        list_del(&m->all);
        list_push(&c->ended, &m->all);
    }
    pthread_rwlock_unlock(&c->lock);
}

void claims_sweep(struct claims *c, struct tick now)
{
    struct claim *m;

    pthread_rwlock_wrlock(&c->lock);
    while ((m = LIST_FIRST(&c->ended, struct claim, all)) && !tick_before(now, m->ends))
        forget(c, m);
    pthread_rwlock_unlock(&c->lock);
}

void claims_each(const struct claims *c, void (*each)(void *ctx, const struct upgrade_session *s), void *ctx)
{
    LIST_EACH(m, &c->living, struct claim, all) {
        each(ctx, &m->s);
    }
}

bool claims_any(const struct claims *c)
{
    return atomic_load_explicit(&c->count, memory_order_relaxed);
}

bool claims_has(struct claims *c, uint32_t set, uint32_t conv)
{
    bool found;

    pthread_rwlock_rdlock(&c->lock);
    found = find(c, set, conv);
    pthread_rwlock_unlock(&c->lock);
    return found;
}

bool claims_at(struct claims *c, uint32_t set, const struct sockaddr_any *a, uint32_t *conv)
{
    bool found = false;

    pthread_rwlock_rdlock(&c->lock);
    LIST_EACH(m, addr_slot(c, a), struct claim, by_addr) {
        if (m->s.set != set || !net_addr_equal(&m->s.remote, a))
            continue;
        *conv = m->s.conv;
        found = true;
        break;
    }
    pthread_rwlock_unlock(&c->lock);
    return found;
}
