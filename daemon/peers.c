/* daemon/peers.c - hash tables of sessions and addresses. */
#include "daemon/peers.h"

#include "daemon/net.h"

#include <errno.h>
#include <stdlib.h>

enum {
    SLOTS_MIN = 16,
    ROUTE_IDLE_US = 30 * 1000000, /* an address not heard of for so long is forgotten */
    MIXED_US = 60 * 1000000,
    GRAVE_US = 60 * 1000000, /* longer than a peer goes on retransmitting before it gives up */
};

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ x >> 33;
}

static struct list *conv_slot(const struct peers *ps, uint32_t conv)
{
    return &ps->convs[mix(conv ^ ps->seed) & (ps->n_convs - 1)];
}

static struct list *route_slot(const struct peers *ps, const struct sockaddr_any *a)
{
    return &ps->routes[net_addr_hash(a, ps->seed) & (ps->n_routes - 1)];
}

static struct list *slots_new(unsigned n)
{
    struct list *v = malloc(n * sizeof *v);

    for (unsigned i = 0; v && i < n; i++)
        list_init(&v[i]);
    return v;
}

void peers_init(struct peers *ps, uint64_t seed)
{
    *ps = (struct peers){.seed = seed};
    list_init(&ps->all);
    list_init(&ps->lru);
}

static void route_free(struct peers *ps, struct route *r)
{
    if (r->peer)
        r->peer->route = NULL;
    list_del(&r->bucket);
    list_del(&r->lru);
    free(r);
    ps->route_count--;
}

void peers_fini(struct peers *ps)
{
    struct route *r;

    while ((r = LIST_FIRST(&ps->lru, struct route, lru)))
        route_free(ps, r);
    free(ps->convs);
    free(ps->routes);
    free(ps->graves);
}

static int grow_convs(struct peers *ps)
{
    unsigned n = ps->n_convs ? ps->n_convs * 2 : SLOTS_MIN;
    struct list *v;

    if (ps->count < ps->n_convs)
        return 0;
    v = slots_new(n);
    if (!v)
        return -ENOMEM;
    free(ps->convs);
    ps->convs = v;
    ps->n_convs = n;
    LIST_EACH(p, &ps->all, struct peer, all) {
        list_init(&p->by_conv);
        list_push(conv_slot(ps, session_conv(p->session)), &p->by_conv);
    }
    return 0;
}

int peers_add(struct peers *ps, struct peer *p, uint32_t conv)
{
    if (grow_convs(ps))
        return -ENOMEM;
    list_init(&p->by_conv);
    list_init(&p->all);
    list_push(&ps->all, &p->all);
    list_push(conv_slot(ps, conv), &p->by_conv);
    ps->count++;
    return 0;
}

void peers_del(struct peers *ps, struct peer *p)
{
    if (p->route) /* would also pin a page of the heap each, among thousands that end together */
        route_free(ps, p->route);
    list_del(&p->by_conv);
    list_del(&p->all);
    ps->count--;
}

struct peer *peers_find(struct peers *ps, uint32_t conv, const struct sockaddr_any *a)
{
    if (!ps->count)
        return NULL;
    LIST_EACH(p, conv_slot(ps, conv), struct peer, by_conv) {
        if (session_conv(p->session) == conv && net_addr_equal(&p->remote, a))
            return p;
    }
    return NULL;
}

struct peer *peers_find_conv(struct peers *ps, uint32_t conv)
{
    if (!ps->count)
        return NULL;
    LIST_EACH(p, conv_slot(ps, conv), struct peer, by_conv) {
        if (session_conv(p->session) == conv)
            return p;
    }
    return NULL;
}

static int grow_routes(struct peers *ps)
{
    unsigned n = ps->n_routes ? ps->n_routes * 2 : SLOTS_MIN;
    struct list *v;

    if (ps->route_count < ps->n_routes || n > ROUTES_MAX)
        return 0;
    v = slots_new(n);
    if (!v)
        return -ENOMEM;
    free(ps->routes);
    ps->routes = v;
    ps->n_routes = n;
    LIST_EACH(r, &ps->lru, struct route, lru) {
        list_init(&r->bucket);
        list_push(route_slot(ps, &r->addr), &r->bucket);
    }
    return 0;
}

bool routes_age(struct peers *ps, struct tick now)
{
    struct route *r = LIST_FIRST(&ps->lru, struct route, lru);

    while (r && (ps->route_count >= ROUTES_MAX || tick_since_us(now, r->seen) > ROUTE_IDLE_US)) {
        route_free(ps, r);
        r = LIST_FIRST(&ps->lru, struct route, lru);
    }
    return r;
}

struct route *routes_find(struct peers *ps, const struct sockaddr_any *a, struct tick now)
{
    struct route *last;

    if (!ps->route_count)
        return NULL;
    last = CONTAINER(ps->lru.prev, struct route, lru); /* datagrams come in runs */
    if (net_addr_equal(&last->addr, a)) {
        last->seen = now;
        return last;
    }
    LIST_EACH(r, route_slot(ps, a), struct route, bucket) {
        if (!net_addr_equal(&r->addr, a))
            continue;
        r->seen = now;
        list_del(&r->lru);
        list_push(&ps->lru, &r->lru);
        return r;
    }
    return NULL;
}

struct route *routes_learn(struct peers *ps, const struct sockaddr_any *a, uint32_t conv, struct tick now)
{
    struct route *r = routes_find(ps, a, now);

    if (r) {
        if (r->conv != conv) {
            r->mixed_until = tick_add_us(now, MIXED_US);
            r->conv = conv;
            if (r->peer)
                r->peer->route = NULL;
            r->peer = NULL;
        }
        return r;
    }
    routes_age(ps, now);
    if (grow_routes(ps))
        return NULL;
    r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->addr = *a;
    r->conv = conv;
    r->seen = now;
    list_init(&r->bucket);
    list_init(&r->lru);
    list_push(route_slot(ps, a), &r->bucket);
    list_push(&ps->lru, &r->lru);
    ps->route_count++;
    return r;
}

void graves_add(struct peers *ps, uint32_t conv, const struct sockaddr_any *a, struct tick now)
{
    if (!ps->graves)
        ps->graves = calloc(PEERS_GRAVES, sizeof *ps->graves);
    if (!ps->graves)
        return;
    ps->graves[ps->next_grave++ % PEERS_GRAVES] =
        (struct grave){conv, net_addr_hash(a, ps->seed), tick_add_us(now, GRAVE_US)};
}

bool graves_has(const struct peers *ps, uint32_t conv, const struct sockaddr_any *a, struct tick now)
{
    uint64_t h = net_addr_hash(a, ps->seed);

    for (unsigned i = 0; ps->graves && i < PEERS_GRAVES; i++)
        if (ps->graves[i].conv == conv && ps->graves[i].addr == h && tick_before(now, ps->graves[i].until))
            return true;
    return false;
}
