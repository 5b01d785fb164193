/* core/arq_rcv.c - the receive ring: what can be read and what still has gaps before it, and payload that is lent until
 * arq_settle().
 * Source: the KCP description, sections 6 and 7. */
#include "core/arq_priv.h"

#include <string.h>

bool arq_rcv_has(const struct arq *a, uint32_t sn)
{
    return sn - a->st.rcv_read < a->in_cap && arq_in_at(a, sn)->have;
}

/* The furthest sn held, exclusive: how much ring is needed. */
static uint32_t held_to(const struct arq *a)
{
    uint32_t to = a->st.rcv_nxt;

    if (a->st.n_rcv_buf)
        for (to = a->st.rcv_read + a->in_cap; !arq_rcv_has(a, to - 1);)
            to--;
    return to;
}

/* Smaller only as far as everything held still fits. */
int arq_rcv_resize(struct arq *a, uint32_t cap)
{
    uint32_t read = a->st.rcv_read, to = held_to(a);
    struct arq was = *a;

    cap = to == read ? cap : MAX(cap, arq_ring_for(to - read));
    if (cap == a->in_cap)
        return 0;
    a->in = cap ? a->mem.alloc(cap * sizeof *a->in) : NULL;
    if (cap && !a->in) {
        a->in = was.in;
        return -ENOMEM;
    }
    a->in_cap = cap;
    if (cap)
        memset(a->in, 0, cap * sizeof *a->in);
    for (uint32_t sn = read; sn != to; sn++)
        *arq_in_at(a, sn) = *arq_in_at(&was, sn);
    if (was.in)
        a->mem.free(was.in);
    return 0;
}

/* Drops from the list what was read, settled or fell out meanwhile. */
static void prune_lent(struct arq *a)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < a->n_lent; i++) {
        uint32_t sn = a->lent[i];

        if (arq_rcv_has(a, sn) && !arq_in_at(a, sn)->own)
            a->lent[n++] = sn;
    }
    a->n_lent = n;
}

/* Room for one more lent segment. A list half of which was dropped need not grow. */
static int lent_fit(struct arq *a)
{
    uint32_t cap = arq_ring_for(a->lent_cap + 1), *v;

    if (a->st.rcv_read == a->st.rcv_nxt && !a->st.n_rcv_buf)
        a->n_lent = 0;
    if (a->n_lent < a->lent_cap)
        return 0;
    prune_lent(a);
    if (a->n_lent < a->lent_cap / 2)
        return 0;
    v = arq_regrow(a, a->lent, a->n_lent, cap, sizeof *v);
    if (!v)
        return -ENOMEM;
    a->lent = v;
    a->lent_cap = cap;
    return 0;
}

static void deliver(struct arq *a)
{
    struct arq_state *st = &a->st;

    while (st->n_rcv_buf && st->rcv_nxt - st->rcv_read < arq_rcv_wnd(a) && arq_rcv_has(a, st->rcv_nxt)) {
        ARQ_STEP();
        st->rcv_nxt++;
        st->n_rcv_buf--;
    }
}

/* Keeps a segment; it is lent from now on. */
static int store(struct arq *a, const struct arq_seg *s, const uint8_t *body)
{
    uint32_t need = s->sn - a->st.rcv_read + 1;

    if (need > a->in_cap && arq_rcv_resize(a, arq_ring_for(need)))
        return -ENOMEM;
    if (s->len && lent_fit(a))
        return -ENOMEM;
    *arq_in_at(a, s->sn) = (struct arq_in){.p = body, .len = s->len, .frg = s->frg, .have = true};
    if (s->len)
        a->lent[a->n_lent++] = s->sn;
    a->st.n_rcv_buf++;
    return 0;
}

/* The first acknowledgement may be lost, but una says it, too. */
static void acknowledge_again(struct arq *a, const struct arq_seg *s)
{
    if (!a->k.lazy_acks || !serial_before(s->sn, a->st.rcv_nxt)) {
        arq_ack_add(a, s->sn, s->ts);
        return;
    }
    a->st.came_again = true;
    a->again_ack = (struct arq_ack){s->sn, s->ts};
}

/* An old segment is acknowledged again; one beyond the window is not. What could not be
 * stored for want of memory is not acknowledged either, so that it comes again. */
int arq_rcv_push(struct arq *a, const struct arq_seg *s, const uint8_t *body, unsigned flags)
{
    struct arq_state *st = &a->st;
    bool beyond = !serial_before(s->sn, st->rcv_nxt + arq_rcv_wnd(a));

    if (s->len > a->mem.seg_max)
        return ARQ_MALFORMED;
    if (!a->st.rmt_ts_known || serial_before(a->st.rmt_ts, s->ts))
        a->st.rmt_ts = s->ts;
    a->st.rmt_ts_known = true;
    if (beyond || serial_before(s->sn, st->rcv_nxt) || arq_rcv_has(a, s->sn)) {
        a->n.repeat_segs += !(flags & ARQ_RECOVERED);
        if (!beyond)
            acknowledge_again(a, s);
        return 0;
    }
    if (store(a, s, body))
        return 0;
    st->n_fresh++;
    arq_ack_add(a, s->sn, s->ts);
    deliver(a);
    return 0;
}

int arq_peek(const struct arq *a, uint32_t i, struct arq_chunk *c)
{
    const struct arq_in *in;

    if (i >= a->st.rcv_nxt - a->st.rcv_read)
        return ARQ_AGAIN;
    in = arq_in_at(a, a->st.rcv_read + i);
    *c = (struct arq_chunk){in->p, in->len, in->frg, in->own};
    return 0;
}

int arq_recv(struct arq *a, struct arq_chunk *c)
{
    bool full = !arq_rcv_room(a);
    int r = arq_peek(a, 0, c);

    if (r)
        return r;
    *arq_in_at(a, a->st.rcv_read) = (struct arq_in){0};
    a->st.rcv_read++;
    deliver(a);
    if (full && arq_rcv_room(a))
        a->probe |= ARQ_TELL;
    return 0;
}

int arq_settle(struct arq *a)
{
    int r = 0;

    for (uint32_t i = 0; i < a->n_lent; i++) {
        struct arq_in *in = arq_in_at(a, a->lent[i]);
        struct buf *b;

        ARQ_STEP();
        if (!arq_rcv_has(a, a->lent[i]) || in->own || !in->len)
            continue;
        b = a->mem.get(a->mem.ctx, in->len);
        if (!b) {
            in->p = NULL;
            in->len = 0;
            r = -ENOMEM;
            continue;
        }
        memcpy(b->mem, in->p, in->len);
        b->len = in->len;
        in->own = b;
        in->p = b->mem;
    }
    a->n_lent = 0;
    return r;
}
