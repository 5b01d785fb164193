/* tests/sim/link.c - a heap of datagrams by time of arrival. */
#include "tests/sim/link.h"

#include <stdlib.h>
#include <string.h>

void link_init(struct link *l, const struct link_params *p, struct rng *rng)
{
    *l = (struct link){.p = *p, .rng = rng};
}

void link_fini(struct link *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->heap[i].p);
    free(l->heap);
    *l = (struct link){.n = 0};
}

static bool before(const struct link_pkt *a, const struct link_pkt *b)
{
    return a->at.us != b->at.us ? a->at.us < b->at.us : a->order < b->order;
}

static void swap(struct link *l, size_t i, size_t k)
{
    struct link_pkt t = l->heap[i];

    l->heap[i] = l->heap[k];
    l->heap[k] = t;
}

static void push(struct link *l, struct bytes dgram, struct tick at)
{
    size_t i = l->n;

    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->heap = realloc(l->heap, l->cap * sizeof *l->heap);
    }
    l->heap[l->n++] = (struct link_pkt){at, l->next_order++, malloc(dgram.len + 1), dgram.len};
    memcpy(l->heap[i].p, dgram.p, dgram.len);
    for (; i && before(&l->heap[i], &l->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(l, i, (i - 1) / 2);
}

static bool chance(struct link *l, uint32_t ppm)
{
    return ppm && rng_below(l->rng, 1000000) < ppm;
}

/* When the bottleneck has passed the datagram on, or TICK_NEVER if its queue is full. */
static struct tick pass(struct link *l, size_t len, struct tick now)
{
    struct tick begin = tick_before(now, l->free_at) ? l->free_at : now;

    if (!l->p.rate)
        return now;
    if (tick_since_us(begin, now) * l->p.rate / 1000000 + len > l->p.queue_bytes)
        return TICK_NEVER;
    l->free_at = tick_add_us(begin, len * UINT64_C(1000000) / l->p.rate);
    return l->free_at;
}

void link_send(struct link *l, struct bytes dgram, struct tick now)
{
    struct tick out = pass(l, dgram.len, now);
    unsigned copies = 1 + chance(l, l->p.dup_ppm);

    l->sent++;
    l->bytes += dgram.len;
    if (out.us == TICK_NEVER.us || chance(l, l->p.loss_ppm)) {
        l->lost++;
        return;
    }
    while (copies--)
        push(l, dgram, tick_add_us(out, l->p.delay_us + (l->p.jitter_us ? rng_below(l->rng, l->p.jitter_us) : 0)));
}

struct tick link_next(const struct link *l)
{
    return l->n ? l->heap[0].at : TICK_NEVER;
}

bool link_recv(struct link *l, struct tick now, struct link_pkt *out)
{
    if (!l->n || tick_before(now, l->heap[0].at))
        return false;
    *out = l->heap[0];
    l->heap[0] = l->heap[--l->n];
    for (size_t i = 0, k; (k = 2 * i + 1) < l->n; i = k) {
        if (k + 1 < l->n && before(&l->heap[k + 1], &l->heap[k]))
            k++;
        if (!before(&l->heap[k], &l->heap[i]))
            break;
        swap(l, i, k);
    }
    if (out->len && chance(l, l->p.corrupt_ppm))
        out->p[rng_below(l->rng, (uint32_t)out->len)] ^= (uint8_t)(1 + rng_below(l->rng, 255));
    return true;
}
