/* tools/link_model.c - a queue in front of a rate, and a heap of what is behind it by time of arrival.
 * Nothing happens between calls: each call first goes through the departures and changes up to its `now`, in their
 * order and at their own times, so the result does not depend on how often anybody calls. */
#include "tools/link_model.h"

#include <stdlib.h>
#include <string.h>

enum { SLAB_PKTS = 64, NS = 1000 };

struct slab {
    struct slab *next;
    _Alignas(16) uint8_t mem[];
};

static size_t pkt_size(const struct link *l)
{
    return (sizeof(struct link_pkt) + l->packet_max + 15) & ~(size_t)15;
}

void link_init(struct link *l, const struct link_setup *s)
{
    *l = (struct link){.p = s->p, .rng = s->seed, .packet_max = s->packet_max};
    l->pkts_max = s->memory / (pkt_size(l) + sizeof *l->heap);
}

void link_fini(struct link *l)
{
    for (struct slab *s = l->slabs, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    free(l->heap);
    *l = (struct link){.p = l->p, .n = l->n};
}

/* splitmix64 */
static uint64_t draw(struct link *l)
{
    uint64_t z = l->rng += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t below(struct link *l, uint64_t n) /* n < 2^32 */
{
    return (draw(l) >> 32) * n >> 32;
}

static bool chance(struct link *l, uint64_t ppm)
{
    return ppm && below(l, LINK_PPM) < ppm;
}

static bool grow(struct link *l)
{
    size_t size = pkt_size(l), n = MIN((size_t)SLAB_PKTS, l->pkts_max - l->n_pkts);
    struct slab *s = n ? malloc(sizeof *s + n * size) : NULL;
    struct link_arrival *heap = s ? realloc(l->heap, (l->n_pkts + n) * sizeof *heap) : NULL;

    if (!heap) {
        free(s);
        return false;
    }
    l->heap = heap;
    s->next = l->slabs;
    l->slabs = s;
    for (size_t i = 0; i < n; i++)
        link_put(l, (struct link_pkt *)(void *)(s->mem + i * size));
    l->n_pkts += n;
    return true;
}

struct link_pkt *link_get(struct link *l)
{
    struct link_pkt *pkt;

    if (!l->unused && !grow(l))
        return NULL;
    pkt = l->unused;
    l->unused = pkt->next;
    return pkt;
}

void link_put(struct link *l, struct link_pkt *pkt)
{
    if (!pkt)
        return;
    pkt->next = l->unused;
    l->unused = pkt;
}

static bool before(const struct link_arrival *a, const struct link_arrival *b)
{
    return a->at.us != b->at.us ? a->at.us < b->at.us : a->order < b->order;
}

static void swap(struct link *l, size_t i, size_t k)
{
    struct link_arrival t = l->heap[i];

    l->heap[i] = l->heap[k];
    l->heap[k] = t;
}

/* The heap has room for every packet there is. */
static void heap_push(struct link *l, struct link_pkt *pkt, struct tick at)
{
    size_t i = l->n_heap++;

    l->heap[i] = (struct link_arrival){at, l->next_order++, pkt};
    for (; i && before(&l->heap[i], &l->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(l, i, (i - 1) / 2);
}

static struct link_pkt *heap_pop(struct link *l)
{
    struct link_pkt *pkt = l->heap[0].pkt;

    l->heap[0] = l->heap[--l->n_heap];
    for (size_t i = 0, k; (k = 2 * i + 1) < l->n_heap; i = k) {
        if (k + 1 < l->n_heap && before(&l->heap[k + 1], &l->heap[k]))
            k++;
        if (!before(&l->heap[k], &l->heap[i]))
            break;
        swap(l, i, k);
    }
    return pkt;
}

/* Gilbert: all is lost in the bad state, which is left with 1 / burst after each packet and entered so often that the
 * share of losses is loss_ppm. */
static bool is_lost(struct link *l)
{
    uint64_t p = l->p.loss_ppm, good = LINK_PPM - MIN(p, (uint64_t)LINK_PPM);

    if (l->p.burst <= 1 || !p || !good)
        return chance(l, p);
    l->bad = l->bad ? !chance(l, LINK_PPM / l->p.burst) : below(l, l->p.burst * good) < p;
    return l->bad;
}

/* With reorder a draw; else a line from one draw to the next over as much time as the jitter is long: it never falls
 * faster than time goes on, so nothing overtakes. */
static uint64_t jitter(struct link *l, uint64_t t_us)
{
    uint64_t most = l->p.jitter_us, past;

    if (!most || l->p.reorder)
        return most ? below(l, most + 1) : 0;
    if (t_us - l->jitter_begin_us >= most) {
        bool idle = t_us - l->jitter_begin_us >= 2 * most;

        l->jitter_from = idle ? below(l, most + 1) : l->jitter_to;
        l->jitter_begin_us = idle ? t_us : l->jitter_begin_us + most;
        l->jitter_to = below(l, most + 1);
    }
    past = t_us - l->jitter_begin_us;
    return (l->jitter_from * (most - past) + l->jitter_to * past) / most;
}

/* The packet has passed the bottleneck. */
static void travel(struct link *l, struct link_pkt *pkt, uint64_t t_ns)
{
    uint64_t t_us = (t_ns + NS - 1) / NS;
    struct tick at = {t_us + l->p.delay_us + jitter(l, t_us)};

    if (chance(l, l->p.corrupt_ppm) && pkt->len) {
        pkt->p[below(l, pkt->len)] ^= (uint8_t)(1 + below(l, 255));
        l->n.corrupted++;
    }
    if (!l->p.reorder)
        at = tick_max(at, l->last_at);
    l->last_at = at;
    heap_push(l, pkt, at);
}

static uint64_t service_ns(const struct link *l, const struct link_pkt *pkt)
{
    return l->p.rate ? pkt->charged * 8 * UINT64_C(1000000000) / l->p.rate : 0;
}

static void serve(struct link *l, uint64_t t_ns)
{
    uint64_t wait_us = (t_ns - l->head->in_ns) / NS;

    l->n.wait_us += wait_us;
    l->n.wait_max_us = MAX(l->n.wait_max_us, wait_us);
    l->head_done_ns = t_ns + service_ns(l, l->head);
}

static void depart(struct link *l)
{
    struct link_pkt *pkt = l->head, *copy;
    uint64_t t_ns = l->head_done_ns;

    l->head = pkt->next;
    l->n.passed++;
    l->n.wire_bytes += pkt->charged;
    if (l->head) {
        l->waiting -= l->head->charged;
        serve(l, t_ns);
    }
    if (is_lost(l)) {
        l->n.lost++;
        link_put(l, pkt);
        return;
    }
    if (chance(l, l->p.dup_ppm) && (copy = link_get(l))) {
        l->n.duplicated++;
        memcpy(copy, pkt, sizeof *pkt + pkt->len);
        travel(l, copy, t_ns);
    }
    travel(l, pkt, t_ns);
}

static void skip_others(struct link *l)
{
    while (l->n_changes && !(l->change->ways >> l->way & 1)) {
        l->change++;
        l->n_changes--;
    }
}

static uint64_t next_change_ns(const struct link *l)
{
    return l->n_changes ? (l->start.us + l->change->at_us) * NS : UINT64_MAX;
}

static void apply_change(struct link *l)
{
    memcpy((char *)&l->p + l->change->field, &l->change->value, sizeof l->change->value);
    l->change++;
    l->n_changes--;
}

static void advance(struct link *l, uint64_t now_ns)
{
    for (;;) {
        uint64_t done = l->head ? l->head_done_ns : UINT64_MAX;

        skip_others(l);
        if (MIN(done, next_change_ns(l)) > now_ns)
            return;
        if (done < next_change_ns(l))
            depart(l);
        else
            apply_change(l);
    }
}

void link_schedule(struct link *l, const struct link_change *v, size_t n, unsigned way, struct tick now)
{
    l->change = v;
    l->n_changes = n;
    l->way = way;
    l->start = now;
    skip_others(l);
}

/* The packet in service has left the queue. */
static bool is_full(const struct link *l, uint64_t charged)
{
    uint64_t most = l->p.queue_us ? l->p.rate / 8 * l->p.queue_us / 1000000 : l->p.queue_bytes;

    return l->head && (l->p.queue_us || l->p.queue_bytes) && l->waiting + charged > most;
}

static void enter(struct link *l, struct link_pkt *pkt, struct tick now)
{
    pkt->in_ns = now.us * NS;
    pkt->next = NULL;
    if (l->head) {
        l->tail = l->tail->next = pkt;
        l->waiting += pkt->charged;
        return;
    }
    l->head = l->tail = pkt;
    serve(l, now.us * NS);
    if (!l->p.rate)
        depart(l);
}

void link_take(struct link *l, struct link_pkt *pkt, struct tick now)
{
    advance(l, now.us * NS);
    l->n.in++;
    l->n.in_bytes += pkt->len;
    pkt->charged = (uint32_t)(pkt->len + l->p.overhead);
    if (is_full(l, pkt->charged)) {
        l->n.dropped++;
        link_put(l, pkt);
        return;
    }
    enter(l, pkt, now);
}

void link_send(struct link *l, struct bytes b, struct tick now)
{
    struct link_pkt *pkt;

    advance(l, now.us * NS);
    pkt = link_get(l);
    if (!pkt) {
        l->n.in++;
        l->n.in_bytes += b.len;
        l->n.no_memory++;
        return;
    }
    pkt->len = (uint32_t)MIN(b.len, l->packet_max);
    if (pkt->len)
        memcpy(pkt->p, b.p, pkt->len);
    link_take(l, pkt, now);
}

/* The head arrives a delay after it has departed, unless a change comes first: then it is looked at again. */
struct tick link_next(const struct link *l)
{
    struct tick next = l->n_heap ? l->heap[0].at : TICK_NEVER;
    uint64_t change = next_change_ns(l);

    if (!l->head)
        return next;
    if (l->head_done_ns < change)
        return tick_min(next, (struct tick){(l->head_done_ns + NS - 1) / NS + l->p.delay_us});
    return tick_min(next, (struct tick){change / NS});
}

struct link_pkt *link_recv(struct link *l, struct tick now)
{
    struct link_pkt *pkt;

    advance(l, now.us * NS);
    if (!l->n_heap || tick_before(now, l->heap[0].at))
        return NULL;
    now = l->heap[0].at;
    pkt = heap_pop(l);
    pkt->at = now;
    l->n.out++;
    l->n.out_bytes += pkt->len;
    return pkt;
}

uint64_t link_queue_us(struct link *l, struct tick now)
{
    advance(l, now.us * NS);
    if (!l->head)
        return 0;
    return (l->head_done_ns - now.us * NS) / NS + (l->p.rate ? l->waiting * 8 * 1000000 / l->p.rate : 0);
}
