/* tests/support/arq_solo.c - an engine that pulls without end, and segments made up for it. */
#include "tests/support/arq_solo.h"

#include <string.h>

const struct arq_params solo_params = {
    .mtu = 1300, .snd_wnd = 128, .rcv_wnd = 128, .nodelay = 1, .interval_ms = 10, .resend = 2, .nocwnd = true};

static int solo_pull(void *ctx, struct arq *a, struct arq_chunk *c)
{
    struct solo *s = ctx;

    (void)a;
    if (!s->left)
        return ARQ_AGAIN;
    s->left--;
    c->own = buf_get(s->pool);
    memset(c->own->mem, 'd', s->len);
    c->p = c->own->mem;
    c->len = s->len;
    return 0;
}

void solo_init(struct solo *s, const struct arq_params *base, uint16_t wnd)
{
    struct arq_params p = *base;

    memset(s, 0, sizeof *s);
    s->pool = buf_pool_new(1500, 0);
    s->len = 10;
    p.conv = 7;
    p.snd_wnd = p.rcv_wnd = wnd;
    p.pool = s->pool;
    p.pull = solo_pull;
    p.ctx = s;
    s->a = arq_new(&p);
    assert_non_null(s->a);
}

void solo_fini(struct solo *s)
{
    s->a = arq_free(s->a);
    assert_int_equal(buf_pool_in_use(s->pool), 0);
    buf_pool_free(s->pool);
}

void solo_emit(struct solo *s)
{
    uint8_t out[1500];
    size_t n;

    s->n_segs = s->n_dgrams = 0;
    while ((n = arq_emit(s->a, out))) {
        struct rd r = rd_from(out, n);

        s->n_dgrams++;
        while (rd_left(&r)) {
            struct arq_seg *seg = &s->seg[s->n_segs++ % LEN(s->seg)];

            *seg = arq_seg_get(&r);
            rd_take(&r, seg->len);
            assert_false(r.bad);
        }
    }
}

void solo_flush(struct solo *s, uint32_t now)
{
    assert_int_equal(arq_flush(s->a, ARQ_FLUSH_FULL, now), 0);
    solo_emit(s);
}

unsigned solo_count(const struct solo *s, uint8_t cmd)
{
    unsigned n = 0;

    for (unsigned i = 0; i < s->n_segs; i++)
        n += s->seg[i].cmd == cmd;
    return n;
}

int solo_input(struct solo *s, struct arq_seg seg, unsigned flags, uint32_t now)
{
    uint8_t d[1500] = {0};
    struct wr w = wr_to(d, sizeof d);
    int r;

    seg.conv = 7;
    arq_seg_put(&w, &seg);
    r = arq_input(s->a, bytes_of(d, ARQ_HEADER + seg.len), flags, now);
    assert_int_equal(arq_settle(s->a), 0);
    return r;
}

void solo_ack(struct solo *s, uint32_t sn, uint32_t ts, uint32_t una, uint32_t now)
{
    const struct arq_seg seg = {.cmd = ARQ_SEG_ACK, .wnd = 65535, .ts = ts, .sn = sn, .una = una};

    assert_int_equal(solo_input(s, seg, 0, now), 0);
}

void solo_open(struct solo *s)
{
    assert_int_equal(solo_input(s, (struct arq_seg){.cmd = ARQ_SEG_WINS, .wnd = 65535}, 0, 0), 0);
}

void solo_push(struct solo *s, uint32_t sn, uint32_t len, uint32_t now)
{
    const struct arq_seg seg = {.cmd = ARQ_SEG_PUSH, .wnd = 128, .ts = now, .sn = sn, .len = len};

    assert_int_equal(solo_input(s, seg, 0, now), 0);
}
