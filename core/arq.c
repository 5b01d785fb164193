/* core/arq.c - one engine: its life, its knobs, and the way in of a datagram.
 * Source: the KCP description, sections 2 to 6. */
#include "core/arq_priv.h"

#include <string.h>

#ifdef ARQ_COUNT_STEPS
uint64_t arq_steps;
#endif

enum { /* defaults where the known cores differ: see arq_new_in() */
       RMT_WND_FIRST = 32, /* what the smaller of the known cores offer before they say so */
       RTO_FIRST_MS = 200,
       PROBE_FIRST_MS = 500,
       FAST_LIMIT = 5,
       DEAD_LINK = 20,
       SSTHRESH_MIN = 2,
};

void *arq_regrow(const struct arq *a, void *old, uint32_t n, uint32_t cap, size_t size)
{
    void *p = a->mem.alloc(cap * size);

    if (!p)
        return NULL;
    if (n)
        memcpy(p, old, n * size);
    if (old)
        a->mem.free(old);
    return p;
}

struct arq *arq_new_in(const struct arq_params *p, const struct arq_mem *m)
{
    struct arq *a;

    if (p->mtu < 50 || p->mtu > 1500 || p->snd_wnd < 1 || p->snd_wnd > ARQ_WND_MAX || p->rcv_wnd < 1 ||
        p->rcv_wnd > ARQ_WND_MAX || p->nodelay > 2 || p->interval_ms < 10 || p->interval_ms > 5000)
        return NULL;
    a = m->alloc(sizeof *a);
    if (!a)
        return NULL;
    *a = (struct arq){.mem = *m, .pull = p->pull, .pull_ctx = p->ctx, .mtu = p->mtu, .mss = p->mtu - ARQ_HEADER};
    a->st.conv = p->conv;
    a->st.rmt_wnd = RMT_WND_FIRST;
    a->st.rto_ms = RTO_FIRST_MS;
    a->st.ssthresh = SSTHRESH_MIN;
    a->k.snd_wnd = p->snd_wnd;
    a->k.rcv_wnd = p->rcv_wnd;
    a->k.min_rto_ms = p->nodelay ? ARQ_MIN_RTO_EAGER_MS : ARQ_MIN_RTO_MS;
    a->k.interval_ms = p->interval_ms;
    a->k.resend = p->resend;
    a->k.fast_limit = FAST_LIMIT;
    a->k.dead_link = DEAD_LINK;
    a->k.nodelay = p->nodelay;
    a->k.nocwnd = p->nocwnd;
    a->k.ack_all = p->ack_all;
    a->k.probe_first_ms = PROBE_FIRST_MS;
    return a;
}

struct arq *arq_free(struct arq *a)
{
    if (!a)
        return NULL;
    for (uint32_t sn = a->st.snd_una; sn != a->st.snd_nxt; sn++)
        if (arq_out_at(a, sn)->own)
            a->mem.put(arq_out_at(a, sn)->own);
    for (uint32_t i = 0; i < a->in_cap; i++)
        if (a->in[i].own)
            a->mem.put(a->in[i].own);
    void *blocks[] = {a->out, a->runs, a->in, a->lent, a->acks, a->again, a};
    void (*release)(void *) = a->mem.free;
    for (size_t i = 0; i < LEN(blocks); i++)
        if (blocks[i])
            release(blocks[i]);
    return NULL;
}

struct arq_knobs *arq_knobs(struct arq *a)
{
    return &a->k;
}

const struct arq_state *arq_state(const struct arq *a)
{
    return &a->st;
}

struct arq_counts arq_take_counts(struct arq *a)
{
    struct arq_counts n = a->n;

    a->n = (struct arq_counts){0};
    return n;
}

void arq_set_hooks(struct arq *a, const struct arq_hooks *h)
{
    a->hooks = h ? *h : (struct arq_hooks){0};
    a->has_hooks = h;
}

void arq_set_start(struct arq *a, uint32_t snd_sn, uint32_t rcv_sn)
{
    if (!a->st.n_inflight)
        a->st.snd_una = a->st.snd_nxt = a->snd_out = snd_sn;
    if (a->st.rcv_read == a->st.rcv_nxt && !a->st.n_rcv_buf)
        a->st.rcv_nxt = a->st.rcv_read = rcv_sn;
    a->rmt_una = a->st.snd_una;
}

int arq_set_mtu(struct arq *a, uint16_t mtu)
{
    if (mtu < 50)
        return -EINVAL;
    a->mtu = mtu;
    a->mss = mtu - ARQ_HEADER;
    return 0;
}

uint32_t arq_mss(const struct arq *a)
{
    return a->mss;
}

/* What one datagram did so far. */
struct taking {
    uint32_t una0, inflight0; /* as they were */
    uint32_t segs, bytes; /* taken in; acknowledged */
    uint32_t una; /* newest in the datagram */
    uint32_t ack_sn, ack_ts; /* the ack that counts against earlier segments */
    bool acked;
};

static void take_ack(struct arq *a, const struct arq_seg *s, struct taking *t, unsigned flags, uint32_t now)
{
    int32_t rtt = serial_diff(now, s->ts);

    if (rtt >= 0 && !(flags & ARQ_RECOVERED))
        arq_snd_rtt(a, (uint32_t)rtt);
    if (a->drv.ack)
        a->drv.ack(a->drv.ctx, s->sn, s->ts, arq_tag(a, s->sn), flags);
    t->bytes += arq_snd_ack(a, s->sn, now);
    arq_snd_slide(a);
    if (!t->acked || (serial_before(t->ack_sn, s->sn) && serial_before(t->ack_ts, s->ts))) {
        t->ack_sn = s->sn;
        t->ack_ts = s->ts;
    }
    t->acked = true;
}

/* True if an ack shows that an earlier transmission of a segment arrived after all. */
static bool is_spurious(const struct arq *a, const struct arq_seg *s)
{
    const struct arq_out *o;

    if (s->cmd != ARQ_SEG_ACK || a->drv.ack || !arq_within(s->sn, a->st.snd_una, a->snd_out))
        return false;
    o = arq_out_at(a, s->sn);
    return o->live && o->xmit > 1 && serial_before(s->ts, o->ts);
}

static int take_seg(struct arq *a, const struct arq_seg *s, const uint8_t *body, struct taking *t, unsigned flags,
                    uint32_t now)
{
    if (!(flags & ARQ_RECOVERED))
        a->st.rmt_wnd = s->wnd;
    a->n.spurious_segs += is_spurious(a, s); /* before una takes the segment away */
    t->bytes += arq_snd_una(a, s->una);
    if (!t->segs++ || serial_before(t->una, s->una))
        t->una = s->una;
    if (s->cmd == ARQ_SEG_ACK)
        take_ack(a, s, t, flags, now);
    else if (s->cmd == ARQ_SEG_PUSH)
        return arq_rcv_push(a, s, body, flags);
    if (s->cmd == ARQ_SEG_WASK)
        a->probe |= ARQ_TELL;
    return 0;
}

/* Who began anew says the same una for ever, and who disowns a conversation one beyond any window. One that moves up to what
 * we know is of datagrams that come late, however many. */
static void look_behind(struct arq *a, uint32_t una)
{
    bool late = serial_before(a->behind_una, una) && a->rmt_una - una < ARQ_FAR_BEHIND;

    if (!serial_before(una, a->rmt_una))
        a->st.behind = 0;
    else if (!a->st.behind || late)
        a->st.behind = 1;
    else
        a->st.behind++;
    a->behind_una = una;
}

/* The steps after the last segment of a datagram that was good to its end. */
static void taken(struct arq *a, const struct taking *t, unsigned flags)
{
    uint32_t advance = a->st.snd_una - t->una0;

    if (t->acked)
        arq_snd_later_ack(a, t->ack_sn, t->ack_ts);
    a->n.in_segs += t->segs;
    if (!(flags & ARQ_RECOVERED))
        look_behind(a, t->una);
    if (arq_within(t->una, a->rmt_una, a->st.snd_una + 1))
        a->rmt_una = t->una;
    if (!advance)
        return;
    if (a->hooks.ack)
        a->hooks.ack(a->hooks.ctx, advance, t->bytes, t->inflight0);
    else
        arq_snd_grow(a);
}

/* Reads the next segment of a datagram. 0; ARQ_AGAIN: none left; ARQ_ALIEN, ARQ_MALFORMED, ARQ_BAD_CMD. */
static int next_seg(const struct arq *a, struct rd *r, struct arq_seg *s, const uint8_t **body)
{
    if (rd_left(r) < ARQ_HEADER)
        return ARQ_AGAIN;
    *s = arq_seg_get(r);
    if (s->conv != a->st.conv)
        return ARQ_ALIEN;
    if (rd_left(r) < s->len)
        return ARQ_MALFORMED;
    if (s->cmd < ARQ_SEG_PUSH || s->cmd > ARQ_SEG_WINS)
        return ARQ_BAD_CMD;
    *body = rd_take(r, s->len);
    return 0;
}

int arq_input(struct arq *a, struct bytes dgram, unsigned flags, uint32_t now)
{
    struct taking t = {.una0 = a->st.snd_una, .inflight0 = a->st.n_inflight};
    struct rd r = rd_from(dgram.p, dgram.len);
    const uint8_t *body;
    struct arq_seg s;
    int res;

    if (dgram.len < ARQ_HEADER)
        return ARQ_ALIEN;
    while (!(res = next_seg(a, &r, &s, &body))) {
        a->st.heard_ms = now;
        res = take_seg(a, &s, body, &t, flags, now);
        if (res)
            break;
    }
    if (res == ARQ_AGAIN) {
        taken(a, &t, flags);
        res = 0;
    }
    arq_timer_prune(a);
    return res;
}

bool arq_is_news(const struct arq *a, struct bytes dgram)
{
    struct rd r = rd_from(dgram.p, dgram.len);
    const uint8_t *body;
    struct arq_seg s;
    bool news = false;
    int res;

    while (!(res = next_seg(a, &r, &s, &body))) {
        bool wanted = arq_within(s.sn, a->st.rcv_nxt, a->st.rcv_nxt + arq_rcv_wnd(a)) && !arq_rcv_has(a, s.sn);
        bool later = a->st.rmt_ts_known && serial_before(a->st.rmt_ts, s.ts);

        news |= s.cmd == ARQ_SEG_PUSH && (wanted || later);
    }
    return news && res == ARQ_AGAIN;
}

void arq_probe(struct arq *a)
{
    a->probe |= ARQ_ASK;
}

uint32_t arq_rto_in_ms(const struct arq *a, uint32_t now)
{
    if (a->due.n)
        for (uint32_t sn = arq_bits_next(a, &a->due, a->st.snd_una); sn != a->st.snd_nxt;
             sn = arq_bits_next(a, &a->due, sn + 1))
            if (!serial_before(now, arq_out_at(a, sn)->resend_at))
                return 0;
    if (!a->n_runs)
        return UINT32_MAX;
    return serial_before(a->runs[0].at, now) ? 0 : a->runs[0].at - now;
}

uint32_t arq_due_in_ms(const struct arq *a, uint32_t now)
{
    int64_t due = UINT32_MAX;

    if ((a->due.n && !a->drv.may_send) || a->probe || (!a->st.rmt_wnd && !a->probe_wait))
        return 0;
    if (a->n_runs)
        due = serial_diff(a->runs[0].at, now);
    if (a->passed.n)
        due = MIN(due, (int64_t)serial_diff(a->early_at, now));
    if (!a->st.rmt_wnd)
        due = MIN(due, (int64_t)serial_diff(a->probe_at, now));
    return due < 0 ? 0 : (uint32_t)due;
}

void arq_trim(struct arq *a)
{
    uint32_t span = a->st.snd_nxt - a->st.snd_una;

    (void)arq_snd_resize(a, span ? MIN(a->out_cap, arq_ring_for(span)) : 0);
    (void)arq_rcv_resize(a, 0);
    if (!a->n_runs && a->runs) {
        a->mem.free(a->runs);
        a->runs = NULL;
        a->runs_cap = 0;
    }
    if (!a->n_lent && a->lent) {
        a->mem.free(a->lent);
        a->lent = NULL;
        a->lent_cap = 0;
    }
    arq_ack_trim(a);
}

size_t arq_memory(const struct arq *a)
{
    return sizeof *a + (a->out_cap ? arq_snd_bytes(a->out_cap) : 0) + a->runs_cap * sizeof *a->runs +
           a->in_cap * sizeof *a->in + a->lent_cap * sizeof *a->lent + a->ack_cap * sizeof *a->acks +
           a->again_cap * sizeof *a->again;
}
