/* tests/fuzz/fuzz_arq.c - one engine under arbitrary datagrams and calls. Properties: what is delivered is what was first
 * accepted under that number, in order; what is sent is what was pulled; una and acknowledgements stay within what was
 * received; the invariants of arq_check(); nothing stays behind. */
#include "tests/support/arq_pair.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(x) ((x) ? (void)0 : abort())

enum { WND = 64, HELD = 4 * WND, PAYLOAD = 200, BLOCKS = 256 };

struct fuzz {
    uint32_t ts; /* latest of any PUSH */
    bool ts_known;
    const uint8_t *p, *end;
    struct arq *a;
    struct buf_pool *pool;
    uint32_t now, wnd, mtu_max;
    uint32_t left, seg_len; /* to be pulled; length of each */
    uint32_t pulled_len[HELD]; /* by sn */
    uint32_t nxt, read; /* the model's receiver */
    bool have[HELD];
    uint32_t len[HELD], sum[HELD];
    uint8_t *block[BLOCKS]; /* datagrams lent */
    unsigned n_blocks;
};

static uint8_t u8(struct fuzz *f)
{
    return f->p < f->end ? *f->p++ : 0;
}

static uint8_t sent_byte(uint32_t sn, uint32_t i)
{
    return (uint8_t)(sn * 31 + i * 7);
}

static uint32_t sum_of(const uint8_t *p, uint32_t n)
{
    uint32_t h = 2166136261u;

    for (uint32_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 16777619u;
    return h;
}

static int pull(void *ctx, struct arq *a, struct arq_chunk *c)
{
    struct fuzz *f = ctx;
    uint32_t sn = arq_state(a)->snd_nxt, n = MIN(f->seg_len, arq_mss(a));

    if (!f->left)
        return ARQ_AGAIN;
    f->left--;
    c->own = buf_get(f->pool);
    for (uint32_t i = 0; i < n; i++)
        c->own->mem[i] = sent_byte(sn, i);
    c->p = c->own->mem;
    c->len = n;
    f->pulled_len[sn % HELD] = n;
    return 0;
}

static void model_move_up(struct fuzz *f)
{
    while (f->nxt - f->read < f->wnd && f->have[f->nxt % HELD])
        f->nxt++;
}

static void model_push(struct fuzz *f, const struct arq_seg *s, const uint8_t *body)
{
    uint32_t i = s->sn % HELD;

    if (!arq_within(s->sn, f->nxt, f->nxt + f->wnd) || f->have[i])
        return;
    f->have[i] = true;
    f->len[i] = s->len;
    f->sum[i] = sum_of(body, s->len);
    model_move_up(f);
}

/* What the engine must make of a datagram, segment by segment. */
static int model_input(struct fuzz *f, struct bytes d, bool *news)
{
    struct rd r = rd_from(d.p, d.len);
    uint32_t ts0 = f->ts;
    bool known0 = f->ts_known;

    *news = false;
    if (d.len < ARQ_HEADER)
        return ARQ_ALIEN;
    while (rd_left(&r) >= ARQ_HEADER) {
        struct arq_seg s = arq_seg_get(&r);
        const uint8_t *body;

        if (s.conv != 7)
            return ARQ_ALIEN;
        if (s.len > rd_left(&r))
            return ARQ_MALFORMED;
        if (s.cmd < ARQ_SEG_PUSH || s.cmd > ARQ_SEG_WINS)
            return ARQ_BAD_CMD;
        body = rd_take(&r, s.len);
        if (s.cmd == ARQ_SEG_PUSH && s.len > buf_pool_size(f->pool))
            return ARQ_MALFORMED;
        if (s.cmd == ARQ_SEG_PUSH) {
            *news |= arq_within(s.sn, f->nxt, f->nxt + f->wnd) && !f->have[s.sn % HELD];
            *news |= known0 && serial_before(ts0, s.ts);
            if (!f->ts_known || serial_before(f->ts, s.ts))
                f->ts = s.ts;
            f->ts_known = true;
            model_push(f, &s, body);
        }
    }
    return 0;
}

static void settle(struct fuzz *f)
{
    MUST(arq_settle(f->a) == 0);
    while (f->n_blocks)
        free(f->block[--f->n_blocks]);
}

static void feed(struct fuzz *f, const uint8_t *p, size_t n, unsigned flags)
{
    uint8_t *block = malloc(n + !n);
    bool said, news;
    int want;

    if (f->n_blocks == BLOCKS)
        settle(f);
    memcpy(block, p, n);
    f->block[f->n_blocks++] = block;
    said = arq_is_news(f->a, bytes_of(block, n));
    want = model_input(f, bytes_of(block, n), &news);
    MUST(arq_input(f->a, bytes_of(block, n), flags, f->now) == want);
    MUST(!said || news);
    MUST(arq_state(f->a)->rcv_nxt == f->nxt);
}

/* Segments whose numbers lie near the engine's own. */
static void op_segments(struct fuzz *f, unsigned flags)
{
    const struct arq_state *st = arq_state(f->a);
    uint8_t d[4 * (ARQ_HEADER + PAYLOAD)], fill;
    struct wr w = wr_to(d, sizeof d);

    for (unsigned n = u8(f) % 4 + 1; n; n--) {
        uint8_t kind = u8(f);
        struct arq_seg s = {.conv = 7, .cmd = (uint8_t)(ARQ_SEG_PUSH + kind % 4), .frg = kind >> 6};
        uint32_t base = s.cmd == ARQ_SEG_PUSH ? st->rcv_nxt : st->snd_una;

        s.wnd = u8(f) % 80;
        s.ts = f->now - u8(f);
        s.sn = base + u8(f) - 64;
        s.una = st->snd_una + (kind & 16 ? u8(f) - 64u : 0);
        s.len = s.cmd == ARQ_SEG_PUSH ? u8(f) % PAYLOAD : 0;
        fill = u8(f);
        arq_seg_put(&w, &s);
        memset(wr_skip(&w, s.len), fill, s.len);
    }
    feed(f, d, (size_t)(w.p - d), flags);
}

static void op_raw(struct fuzz *f)
{
    size_t want = u8(f) * 8u, n = MIN(want, (size_t)(f->end - f->p));
    uint8_t *d = malloc(n + 4);

    memcpy(d, f->p, n);
    if (n >= 4)
        memcpy(d, "\7\0\0", 4);
    f->p += n;
    feed(f, d, n, 0);
    free(d);
}

static void op_recv(struct fuzz *f, unsigned n)
{
    struct arq_chunk c;

    for (; n && !arq_recv(f->a, &c); n--) {
        uint32_t i = f->read % HELD;

        MUST(f->read != f->nxt && f->have[i] && c.len == f->len[i] && sum_of(c.p, c.len) == f->sum[i]);
        f->have[i] = false;
        f->read++;
        model_move_up(f);
        buf_put(c.own);
    }
    MUST(arq_state(f->a)->rcv_read == f->read && arq_state(f->a)->rcv_nxt == f->nxt);
}

static void check_out(struct fuzz *f, const uint8_t *p, size_t n)
{
    const struct arq_state *st = arq_state(f->a);
    struct rd r = rd_from(p, n);

    while (rd_left(&r)) {
        struct arq_seg s = arq_seg_get(&r);
        const uint8_t *body = rd_take(&r, s.len);

        MUST(!r.bad && s.conv == 7 && s.una == f->nxt);
        MUST(s.wnd == (f->nxt - f->read < f->wnd ? f->wnd - (f->nxt - f->read) : 0));
        MUST(s.cmd == ARQ_SEG_PUSH || s.len == 0);
        MUST(s.cmd != ARQ_SEG_ACK || serial_before(s.sn, f->nxt + f->wnd));
        if (s.cmd != ARQ_SEG_PUSH)
            continue;
        MUST(arq_within(s.sn, st->snd_una, st->snd_nxt) && s.len == f->pulled_len[s.sn % HELD]);
        for (uint32_t i = 0; i < s.len; i++)
            MUST(body[i] == sent_byte(s.sn, i));
    }
}

static void op_flush(struct fuzz *f, enum arq_flush_kind kind, unsigned max)
{
    uint8_t *out = malloc(f->mtu_max);
    size_t n = 1;

    MUST(arq_flush(f->a, kind, f->now) == 0);
    while (max-- && (n = arq_emit(f->a, out)))
        check_out(f, out, n);
    free(out);
}

static void op_knobs(struct fuzz *f)
{
    struct arq_knobs *k = arq_knobs(f->a);
    uint8_t b = u8(f);

    k->snd_wnd = b % WND + 1;
    k->nodelay = b % 3;
    k->nocwnd = b & 128;
    k->min_rto_ms = b;
    if (b & 1)
        MUST(arq_set_mtu(f->a, (uint16_t)(50 + b * 4)) == 0);
    f->mtu_max = MAX(f->mtu_max, 50u + b * 4);
}

static void op(struct fuzz *f, uint8_t b)
{
    switch (b % 12) {
    case 0:
    case 1:
    case 2:
        op_segments(f, b & 16 ? ARQ_RECOVERED : 0);
        break;
    case 3:
        op_raw(f);
        break;
    case 4:
        op_recv(f, b / 12 + 1);
        break;
    case 5:
        settle(f);
        break;
    case 6:
    case 7:
        op_flush(f, b & 32 ? ARQ_FLUSH_ACKS : ARQ_FLUSH_FULL, b & 16 ? u8(f) % 4 : UINT32_MAX);
        break;
    case 8:
        f->now += b & 32 ? u8(f) * 300u : u8(f) - 8u; /* the clock may stumble backwards */
        break;
    case 9:
        f->left += u8(f) % 32;
        f->seg_len = 1 + u8(f);
        break;
    case 10:
        op_knobs(f);
        break;
    default:
        settle(f);
        arq_trim(f->a);
        arq_probe(f->a);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz *f = calloc(1, sizeof *f);
    struct arq_params p = {.conv = 7, .mtu = 300, .snd_wnd = WND, .interval_ms = 10, .pull = pull, .ctx = f};
    uint8_t how;

    f->p = data;
    f->end = data + len;
    how = u8(f);
    f->pool = buf_pool_new(1500, 0);
    p.nodelay = how % 3;
    p.resend = how & 4 ? 2 : 0;
    p.nocwnd = how & 8;
    p.ack_all = how & 16;
    p.rcv_wnd = (uint16_t)(u8(f) % WND + 1);
    p.pool = f->pool;
    f->wnd = p.rcv_wnd;
    f->mtu_max = p.mtu;
    f->seg_len = 20;
    f->a = arq_new(&p);
    if (how & 32) {
        f->nxt = f->read = f->now = UINT32_MAX - 20;
        arq_set_start(f->a, f->nxt, f->nxt);
    }
    while (f->p < f->end) {
        op(f, u8(f));
        arq_check(f->a, f->now);
    }
    settle(f);
    op_recv(f, UINT32_MAX);
    f->a = arq_free(f->a);
    MUST(buf_pool_in_use(f->pool) == 0);
    buf_pool_free(f->pool);
    free(f);
    return 0;
}
