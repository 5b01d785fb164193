/* tests/support/arq_pair.c - the link in virtual time, and the slow way to every invariant. */
#include "tests/support/arq_pair.h"

#include <stdlib.h>
#include <string.h>

static int pull(void *ctx, struct arq *a, struct arq_chunk *c)
{
    struct arq_pair_end *e = ctx;
    uint32_t max = e->seg_max ? MIN(e->seg_max, arq_mss(a)) : arq_mss(a);
    uint32_t len = rng_below(e->rng, 4) ? max : 1 + rng_below(e->rng, max);
    uint32_t n = (uint32_t)MIN(e->total - e->made, len);

    if (!n)
        return ARQ_AGAIN;
    c->own = buf_get((struct buf_pool *)a->mem.ctx);
    assert_non_null(c->own);
    vec_pattern(c->own->mem, e->made, n);
    c->p = c->own->mem;
    c->len = n;
    e->made += n;
    return 0;
}

void arq_pair_init(struct arq_pair *l, const struct arq_params *p0, const struct arq_params *p1, uint64_t seed)
{
    const struct arq_params *given[] = {p0, p1};

    memset(l, 0, sizeof *l);
    l->rng = rng_seed(seed);
    l->pool = buf_pool_new(1500, 0);
    l->delay = 20;
    for (int i = 0; i < 2; i++) {
        struct arq_params p = *given[i];

        p.conv = 77;
        p.pool = l->pool;
        p.pull = pull;
        p.ctx = &l->e[i];
        l->e[i].rng = &l->rng;
        l->e[i].a = arq_new(&p);
        assert_non_null(l->e[i].a);
        for (int s = 0; s < ARQ_PAIR_SLOTS; s++)
            l->e[i].last[s] = &l->e[i].slot[s];
    }
}

static void check_lists(struct arq *a)
{
    uint32_t live = 0, listed = 0, at = a->ts_head;

    for (uint32_t sn = a->st.snd_una; sn != a->st.snd_nxt; sn++) {
        struct arq_out *s = arq_out_at(a, sn);
        uint32_t enough = a->k.resend ? a->k.resend : a->k.early ? 1 : UINT32_MAX;
        bool counts = s->live && s->xmit && (!a->k.fast_limit || s->xmit <= a->k.fast_limit);
        bool wanted = counts && s->fastack < enough;
        bool early = a->k.early && counts && s->fastack && (!a->k.resend || s->fastack < a->k.resend);

        live += s->live;
        listed += arq_bits_has(a, &a->count, sn);
        assert_int_equal(arq_bits_has(a, &a->count, sn), wanted);
        assert_true(early || !arq_bits_has(a, &a->passed, sn));
        assert_true(!early || arq_bits_has(a, &a->passed, sn) || arq_bits_has(a, &a->due, sn));
        if (!s->live)
            assert_false(arq_bits_has(a, &a->due, sn) || arq_bits_has(a, &a->pend, sn));
        if (s->live && !s->xmit)
            assert_true(arq_bits_has(a, &a->due, sn));
    }
    assert_int_equal(live, a->st.n_inflight);
    assert_int_equal(listed, a->count.n);
    assert_true(a->st.snd_una == a->st.snd_nxt || arq_out_at(a, a->st.snd_una)->live);
    assert_true(arq_within(a->snd_out, a->st.snd_una, a->st.snd_nxt + 1));
    for (uint32_t i = 0; i < listed; i++) {
        struct arq_out *s = arq_out_at(a, at);

        assert_true(arq_bits_has(a, &a->count, at));
        if (i + 1 == listed)
            assert_int_equal(at, a->ts_tail);
        else
            assert_true(s->ts == arq_out_at(a, s->newer)->ts ? serial_before(at, s->newer)
                                                             : serial_before(s->ts, arq_out_at(a, s->newer)->ts));
        at = s->newer;
    }
}

static void check_due(struct arq *a, uint32_t now)
{
    int64_t want = UINT32_MAX;

    for (uint32_t sn = a->st.snd_una; sn != a->st.snd_nxt; sn++) {
        struct arq_out *s = arq_out_at(a, sn);

        if (s->live && (!s->xmit || arq_snd_fast_due(a, s)))
            want = 0;
        else if (s->live)
            want = MIN(want, MAX(serial_diff(s->resend_at, now), 0));
    }
    if (!a->st.rmt_wnd)
        want = a->probe_wait ? MIN(want, MAX(serial_diff(a->probe_at, now), 0)) : 0;
    if (a->passed.n)
        want = MIN(want, MAX(serial_diff(a->early_at, now), 0));
    if (a->probe)
        want = 0;
    assert_int_equal(arq_due_in_ms(a, now), want);
}

void arq_check(struct arq *a, uint32_t now)
{
    uint32_t have = 0;

    check_lists(a);
    check_due(a, now);
    for (uint32_t i = 0; i < a->in_cap; i++)
        have += a->in[i].have;
    assert_int_equal(have, a->st.rcv_nxt - a->st.rcv_read + a->st.n_rcv_buf);
    assert_int_equal(a->st.n_acks, a->ack_n - a->ack_end);
    for (uint32_t sn = a->st.rcv_read; sn != a->st.rcv_nxt; sn++)
        assert_true(arq_rcv_has(a, sn));
    if (a->st.rcv_nxt - a->st.rcv_read < arq_rcv_wnd(a))
        assert_false(arq_rcv_has(a, a->st.rcv_nxt));
}

static void carry(struct arq_pair *l, struct arq_pair_end *to, const uint8_t *p, size_t n)
{
    struct arq_pair_dgram *d = malloc(sizeof *d + n);
    uint32_t at = (l->now + 1 + l->delay + rng_below(&l->rng, l->jitter + 1)) % ARQ_PAIR_SLOTS;

    memcpy(d->p, p, n);
    d->len = n;
    d->next = NULL;
    *to->last[at] = d;
    to->last[at] = &d->next;
}

static void send_all(struct arq_pair *l, int i)
{
    uint8_t out[1500];
    size_t n;

    while ((n = arq_emit(l->e[i].a, out))) {
        assert_true(n <= l->e[i].a->mtu);
        l->e[i].n_sent++;
        if (rng_below(&l->rng, 1000) >= l->loss)
            carry(l, &l->e[!i], out, n);
        if (rng_below(&l->rng, 1000) < l->dup)
            carry(l, &l->e[!i], out, n);
        if (rng_below(&l->rng, 1000) < l->junk) { /* a lie that passes for a datagram of the conversation */
            for (uint32_t k = 1 + rng_below(&l->rng, 3); k; k--)
                out[4 + rng_below(&l->rng, 20)] = (uint8_t)rng_next(&l->rng);
            carry(l, &l->e[!i], out, n);
        }
    }
}

static void read_all(struct arq_pair_end *e)
{
    uint8_t want[1500];
    struct arq_chunk c;

    while (!arq_recv(e->a, &c)) {
        vec_pattern(want, e->got, c.len);
        assert_bytes(bytes_of(c.p, c.len), bytes_of(want, c.len), "delivered");
        e->got += c.len;
        buf_put(c.own);
    }
}

static void flush(struct arq_pair *l, int i, enum arq_flush_kind kind)
{
    assert_int_equal(arq_flush(l->e[i].a, kind, l->t0 + l->now), 0);
    send_all(l, i);
    if (l->check)
        arq_check(l->e[i].a, l->t0 + l->now);
}

static void step_end(struct arq_pair *l, int i)
{
    struct arq_pair_end *e = &l->e[i];
    uint32_t at = l->now % ARQ_PAIR_SLOTS, una = arq_state(e->a)->snd_una;
    struct arq_pair_dgram *list = e->slot[at];

    e->slot[at] = NULL;
    e->last[at] = &e->slot[at];
    for (struct arq_pair_dgram *d = list; d; d = d->next) {
        int r = arq_input(e->a, bytes_of(d->p, d->len), rng_below(&l->rng, 20) ? 0 : ARQ_RECOVERED, l->t0 + l->now);

        assert_true(r == 0 || l->junk);
        if (l->check)
            arq_check(e->a, l->t0 + l->now);
        if (!e->read_every && rng_below(&l->rng, 2))
            read_all(e);
    }
    if (!e->read_every || l->now % e->read_every == 0)
        read_all(e);
    assert_int_equal(arq_settle(e->a), 0);
    for (struct arq_pair_dgram *d; (d = list);) { /* what was lent is gone from here on */
        list = d->next;
        free(d);
    }
    if (una != arq_state(e->a)->snd_una || !arq_due_in_ms(e->a, l->t0 + l->now) || l->now % 10 == 0)
        flush(l, i, ARQ_FLUSH_FULL);
    else if (arq_state(e->a)->n_acks)
        flush(l, i, ARQ_FLUSH_ACKS);
}

void arq_pair_step(struct arq_pair *l)
{
    step_end(l, 0);
    step_end(l, 1);
    l->now++;
}

uint32_t arq_pair_run(struct arq_pair *l, uint32_t max_ms)
{
    uint32_t start = l->now;

    while (l->e[0].got < l->e[1].total || l->e[1].got < l->e[0].total || arq_state(l->e[0].a)->n_inflight ||
           arq_state(l->e[1].a)->n_inflight) {
        if (l->now - start >= max_ms)
            fail_msg("after %u ms: read %llu of %llu, %llu of %llu", max_ms, (unsigned long long)l->e[0].got,
                     (unsigned long long)l->e[1].total, (unsigned long long)l->e[1].got,
                     (unsigned long long)l->e[0].total);
        arq_pair_step(l);
    }
    return l->now - start;
}

void arq_pair_fini(struct arq_pair *l)
{
    for (int i = 0; i < 2; i++) {
        for (int s = 0; s < ARQ_PAIR_SLOTS; s++)
            for (struct arq_pair_dgram *d; (d = l->e[i].slot[s]); free(d))
                l->e[i].slot[s] = d->next;
        l->e[i].a = arq_free(l->e[i].a);
    }
    assert_int_equal(buf_pool_in_use(l->pool), 0);
    l->pool = buf_pool_free(l->pool);
}
