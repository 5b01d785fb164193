/* tests/sim/go_kcp.c - sections 5 to 12 of the KCP description, Go columns. */
#include "tests/sim/go_kcp.h"

#include "core/base/tick.h"

#include <stdlib.h>
#include <string.h>

enum { ASK = 1, TELL = 2, SLOTS = 65536, HEADER = 24, PROBE_MAX = 120000, DEAD_LINK = 20 };

static const uint32_t done_with = UINT32_MAX; /* newest: no more early transmissions before a timeout */

void go_kcp_init(struct go_kcp *k, uint32_t conv)
{
    *k = (struct go_kcp){.conv = conv, .mtu = 1400, .mss = 1400 - HEADER, .ssthresh = 2};
    k->rto = 200;
    k->min_rto = 100;
    k->snd_wnd = k->rcv_wnd = k->rmt_wnd = 32;
    k->interval = 100;
    k->rcv_buf = calloc(SLOTS, sizeof *k->rcv_buf);
}

static struct go_seg *at(const struct go_queue *q, uint32_t i)
{
    return &q->v[(q->head + i) & (q->cap - 1)];
}

static struct go_seg *push(struct go_queue *q, const struct go_seg *s)
{
    if (q->n == q->cap) {
        struct go_queue big = {.cap = q->cap ? q->cap * 2 : 64};

        big.v = malloc(big.cap * sizeof *big.v);
        for (; big.n < q->n; big.n++)
            big.v[big.n] = *at(q, big.n);
        free(q->v);
        *q = big;
    }
    q->n++;
    *at(q, q->n - 1) = *s;
    return at(q, q->n - 1);
}

static struct go_seg pop(struct go_queue *q)
{
    struct go_seg s = *at(q, 0);

    q->head++;
    q->n--;
    return s;
}

void go_kcp_fini(struct go_kcp *k)
{
    struct go_queue *all[] = {&k->snd_queue, &k->snd_buf, &k->rcv_queue};

    for (size_t i = 0; i < LEN(all); i++) {
        while (all[i]->n)
            free(pop(all[i]).p);
        free(all[i]->v);
    }
    for (uint32_t i = 0; k->rcv_buf && i < SLOTS; i++)
        free(k->rcv_buf[i].p);
    free(k->rcv_buf);
    free(k->acks);
    *k = (struct go_kcp){.n_acks = 0};
}

void go_kcp_nodelay(struct go_kcp *k, uint32_t nodelay, uint32_t interval, uint32_t resend, bool nc)
{
    k->nodelay = nodelay;
    k->min_rto = nodelay ? 30 : 100;
    k->interval = MIN(MAX(interval, 10u), 5000u);
    k->resend = resend;
    k->nc = nc;
}

int go_kcp_set_mtu(struct go_kcp *k, uint32_t mtu)
{
    if (mtu < 50 || mtu > sizeof k->buf)
        return -1;
    k->mtu = mtu;
    k->mss = mtu - HEADER;
    return 0;
}

uint32_t go_kcp_waiting(const struct go_kcp *k)
{
    return k->snd_buf.n + k->snd_queue.n;
}

/* In stream mode the last segment waiting is filled first. */
int go_kcp_send(struct go_kcp *k, struct bytes b)
{
    struct go_seg *tail = k->snd_queue.n ? at(&k->snd_queue, k->snd_queue.n - 1) : NULL;
    size_t n;

    if (!b.len)
        return -1;
    if (k->stream && tail && tail->h.len < k->mss) {
        n = MIN(b.len, k->mss - tail->h.len);
        memcpy(tail->p + tail->h.len, b.p, n);
        tail->h.len += (uint32_t)n;
        b = bytes_of(b.p + n, b.len - n);
        if (!b.len)
            return 0;
    }
    n = (b.len + k->mss - 1) / k->mss;
    if (n > 255)
        return -2;
    while (n--) {
        struct go_seg s = {.h.len = (uint32_t)MIN(b.len, k->mss), .h.frg = k->stream ? 0 : (uint8_t)n};

        s.p = memcpy(malloc(MAX(k->mss, s.h.len) + 1), b.p, s.h.len);
        b = bytes_of(b.p + s.h.len, b.len - s.h.len);
        push(&k->snd_queue, &s);
    }
    return 0;
}

int go_kcp_peek_size(const struct go_kcp *k)
{
    int sum = 0;

    if (!k->rcv_queue.n || k->rcv_queue.n <= at(&k->rcv_queue, 0)->h.frg)
        return -1;
    for (uint32_t i = 0; i < k->rcv_queue.n; i++) {
        sum += (int)at(&k->rcv_queue, i)->h.len;
        if (!at(&k->rcv_queue, i)->h.frg)
            break;
    }
    return sum;
}

static void deliver(struct go_kcp *k)
{
    for (;;) {
        struct go_seg *s = &k->rcv_buf[k->rcv_nxt % SLOTS];

        if (!s->p || k->rcv_queue.n >= k->rcv_wnd)
            return;
        push(&k->rcv_queue, s);
        s->p = NULL;
        k->n_rcv_buf--;
        k->rcv_nxt++;
    }
}

int go_kcp_recv(struct go_kcp *k, struct room out)
{
    int n = go_kcp_peek_size(k);
    bool full = k->rcv_queue.n >= k->rcv_wnd, more = true;
    uint8_t *to = out.p;

    if (n < 0)
        return -1;
    if ((size_t)n > out.len)
        return -2;
    while (more) {
        struct go_seg s = pop(&k->rcv_queue);

        memcpy(to, s.p, s.h.len);
        to += s.h.len;
        more = s.h.frg;
        free(s.p);
    }
    deliver(k);
    if (full && k->rcv_queue.n < k->rcv_wnd)
        k->probe |= TELL;
    return n;
}

static void take_rtt(struct go_kcp *k, int32_t rtt)
{
    if (!k->srtt) {
        k->srtt = rtt;
        k->rttvar = rtt >> 1;
    } else {
        int32_t d = rtt - k->srtt, far = abs(d);

        k->srtt += d >> 3;
        k->rttvar += rtt < k->srtt - k->rttvar ? (far - k->rttvar) >> 5 : (far - k->rttvar) >> 2;
    }
    k->rto = k->srtt + MAX((int32_t)k->interval, k->rttvar * 4);
    k->rto = MIN(MAX(k->rto, k->min_rto), 60000);
}

/* True if una removed something. */
static bool take_una(struct go_kcp *k, uint32_t una)
{
    bool any = false;

    for (; k->snd_buf.n && serial_before(at(&k->snd_buf, 0)->h.sn, una); any = true)
        free(pop(&k->snd_buf).p);
    k->snd_una = k->snd_buf.n ? at(&k->snd_buf, 0)->h.sn : k->snd_nxt;
    return any;
}

/* True (newest only) if that made a segment due. The segment stays in its place until una passes it. */
static bool take_ack(struct go_kcp *k, uint32_t sn, uint32_t ts)
{
    bool due = false;

    if (serial_before(sn, k->snd_una) || !serial_before(sn, k->snd_nxt))
        return false;
    at(&k->snd_buf, sn - k->snd_una)->acked = true;
    for (uint32_t i = 0; i < sn - k->snd_una; i++) {
        struct go_seg *s = at(&k->snd_buf, i);

        if (serial_before(ts, s->h.ts) || (k->newest && s->fastack == done_with))
            continue;
        s->fastack++;
        due |= k->newest && s->fastack >= k->resend;
    }
    return due;
}

static void owe_ack(struct go_kcp *k, const struct arq_seg *h)
{
    if (k->n_acks == k->acks_cap) {
        k->acks_cap = k->acks_cap ? k->acks_cap * 2 : 64;
        k->acks = realloc(k->acks, k->acks_cap * sizeof *k->acks);
    }
    k->acks[k->n_acks++] = (struct go_ack){h->sn, h->ts};
}

static void take_push(struct go_kcp *k, const struct arq_seg *h, const uint8_t *body, bool regular)
{
    struct go_seg *slot = &k->rcv_buf[h->sn % SLOTS];

    if (!serial_before(h->sn, k->rcv_nxt + k->rcv_wnd)) {
        k->n_repeat += regular;
        return;
    }
    owe_ack(k, h);
    if (serial_before(h->sn, k->rcv_nxt) || slot->p) {
        k->n_repeat += regular;
        return;
    }
    *slot = (struct go_seg){.h = *h, .p = malloc(h->len + 1)};
    memcpy(slot->p, body, h->len);
    k->n_rcv_buf++;
    deliver(k);
}

static void grow(struct go_kcp *k)
{
    if (k->cwnd >= k->rmt_wnd)
        return;
    if (k->cwnd < k->ssthresh) {
        k->cwnd++;
        k->incr += k->mss;
    } else {
        k->incr = MAX(k->incr, k->mss);
        k->incr += k->mss * k->mss / k->incr + k->mss / 16;
        if ((k->cwnd + 1) * k->mss <= k->incr)
            k->cwnd = (k->incr + k->mss - 1) / k->mss;
    }
    if (k->cwnd > k->rmt_wnd) {
        k->cwnd = k->rmt_wnd;
        k->incr = k->rmt_wnd * k->mss;
    }
}

struct taking {
    bool slid, due, acked;
    uint32_t ts; /* of the last ACK */
};

/* 0; 1: no more segments; -1, -2, -3. */
static int take_seg(struct go_kcp *k, struct rd *r, unsigned flags, struct taking *t)
{
    struct arq_seg h;
    const uint8_t *body;

    if (rd_left(r) < HEADER)
        return 1;
    h = arq_seg_get(r);
    if (h.conv != k->conv)
        return -1;
    if (rd_left(r) < h.len)
        return -2;
    if (h.cmd < ARQ_SEG_PUSH || h.cmd > ARQ_SEG_WINS)
        return -3;
    body = rd_take(r, h.len);
    if (flags & GO_REGULAR)
        k->rmt_wnd = h.wnd;
    t->slid |= take_una(k, h.una);
    if (h.cmd == ARQ_SEG_ACK) {
        t->due |= take_ack(k, h.sn, h.ts);
        t->acked = true;
        t->ts = h.ts;
    } else if (h.cmd == ARQ_SEG_PUSH) {
        take_push(k, &h, body, flags & GO_REGULAR);
    } else if (h.cmd == ARQ_SEG_WASK) {
        k->probe |= TELL;
    }
    return 0;
}

int go_kcp_input(struct go_kcp *k, struct bytes dgram, unsigned flags, uint32_t now)
{
    struct rd r = rd_from(dgram.p, dgram.len);
    uint32_t una = k->snd_una;
    struct taking t = {.ts = 0};
    int res = dgram.len < HEADER ? -1 : 0;

    while (!res)
        res = take_seg(k, &r, flags, &t);
    if (res < 0)
        return res;
    if (t.acked && flags & GO_REGULAR && !serial_before(now, t.ts))
        take_rtt(k, serial_diff(now, t.ts));
    if (!k->nc && serial_before(una, k->snd_una))
        grow(k);
    if (t.slid || t.due)
        go_kcp_flush(k, false, now);
    else if ((k->newest && k->n_acks >= k->mtu / HEADER) || (flags & GO_ACK_NODELAY && k->n_acks))
        go_kcp_flush(k, true, now);
    return 0;
}

static void emit(struct go_kcp *k)
{
    if (k->used)
        k->output(k->ctx, bytes_of(k->buf, k->used));
    k->used = 0;
}

static void put(struct go_kcp *k, struct arq_seg *h, const uint8_t *body)
{
    struct wr w;

    if (k->used + HEADER + h->len > k->mtu)
        emit(k);
    w = wr_to(k->buf + k->used, sizeof k->buf - k->used);
    h->conv = k->conv;
    h->wnd = (uint16_t)(k->rcv_queue.n < k->rcv_wnd ? k->rcv_wnd - k->rcv_queue.n : 0);
    h->una = k->rcv_nxt;
    arq_seg_put(&w, h);
    wr_bytes(&w, body, h->len);
    k->used += HEADER + h->len;
}

/* h keeps the last ts and sn, for WASK and WINS. */
static void flush_acks(struct go_kcp *k, struct arq_seg *h)
{
    h->cmd = ARQ_SEG_ACK;
    for (uint32_t i = 0; i < k->n_acks; i++) {
        if (serial_before(k->acks[i].sn, k->rcv_nxt) && i + 1 < k->n_acks)
            continue;
        h->sn = k->acks[i].sn;
        h->ts = k->acks[i].ts;
        put(k, h, NULL);
    }
    k->n_acks = 0;
}

static void flush_probes(struct go_kcp *k, struct arq_seg *h, uint32_t now)
{
    uint32_t first = k->newest ? 500 : 7000;

    if (k->rmt_wnd) {
        k->probe_wait = k->probe_at = 0;
    } else if (!k->probe_wait) {
        k->probe_wait = first;
        k->probe_at = now + first;
    } else if (!serial_before(now, k->probe_at)) {
        k->probe_wait = MAX(k->probe_wait, first);
        k->probe_wait = MIN(k->probe_wait + k->probe_wait / 2, (uint32_t)PROBE_MAX);
        k->probe_at = now + k->probe_wait;
        k->probe |= ASK;
    }
    for (unsigned bit = ASK; bit <= TELL; bit *= 2)
        if (k->probe & bit) {
            h->cmd = bit == ASK ? ARQ_SEG_WASK : ARQ_SEG_WINS;
            put(k, h, NULL);
        }
    k->probe = 0;
}

/* How many segments move into the window, whose size is *window. */
static unsigned move_new(struct go_kcp *k, uint32_t *window)
{
    unsigned n = 0;

    *window = MIN(k->snd_wnd, k->rmt_wnd);
    if (!k->nc)
        *window = MIN(*window, k->cwnd);
    for (; k->snd_queue.n && serial_before(k->snd_nxt, k->snd_una + *window); n++) {
        struct go_seg s = pop(&k->snd_queue);

        s.h.cmd = ARQ_SEG_PUSH;
        s.h.sn = k->snd_nxt++;
        push(&k->snd_buf, &s);
    }
    return n;
}

enum why { NOTHING, FIRST, FAST, EARLY, LATE };

static enum why why_send(const struct go_kcp *k, const struct go_seg *s, bool nothing_new, uint32_t now)
{
    bool may = !k->newest || s->fastack != done_with;

    if (s->acked)
        return NOTHING;
    if (!s->xmit)
        return FIRST;
    if (k->resend && s->fastack >= k->resend && may)
        return FAST;
    if (s->fastack && nothing_new && may)
        return EARLY;
    return serial_before(now, s->resend_at) ? NOTHING : LATE;
}

static void transmit(struct go_kcp *k, struct go_seg *s, enum why why, uint32_t now)
{
    if (why == LATE)
        s->rto += (uint32_t)(k->nodelay ? k->rto / 2 : k->rto);
    else
        s->rto = (uint32_t)k->rto;
    s->fastack = k->newest && (why == FAST || why == EARLY) ? done_with : 0;
    s->resend_at = now + s->rto;
    s->xmit++;
    s->h.ts = now;
    put(k, &s->h, s->p);
    k->dead |= s->xmit >= DEAD_LINK;
}

static void shrink(struct go_kcp *k, bool early, bool late, uint32_t window)
{
    if (early) {
        k->ssthresh = MAX((k->snd_nxt - k->snd_una) / 2, 2u);
        k->cwnd = k->ssthresh + (k->resend ? k->resend : UINT32_MAX);
        k->incr = k->cwnd * k->mss;
    }
    if (late) {
        k->ssthresh = MAX(window / 2, 2u);
        k->cwnd = 1;
        k->incr = k->mss;
    }
    if (k->cwnd < 1) {
        k->cwnd = 1;
        k->incr = k->mss;
    }
}

uint32_t go_kcp_flush(struct go_kcp *k, bool acks_only, uint32_t now)
{
    uint32_t next = k->interval, window, count[LATE + 1] = {0};
    struct arq_seg h = {.cmd = 0};
    unsigned n_new;

    flush_acks(k, &h);
    if (acks_only && !k->newest) {
        emit(k);
        return k->interval;
    }
    flush_probes(k, &h, now);
    n_new = move_new(k, &window);
    for (uint32_t i = 0; !acks_only && i < k->snd_buf.n; i++) {
        struct go_seg *s = at(&k->snd_buf, i);
        enum why why = why_send(k, s, !n_new, now);

        count[why]++;
        if (why)
            transmit(k, s, why, now);
        if (!s->acked && serial_before(now, s->resend_at))
            next = MIN(next, s->resend_at - now);
    }
    emit(k);
    k->n_fast += count[FAST];
    k->n_early += count[EARLY];
    k->n_lost += count[LATE];
    if (!acks_only && !k->nc)
        shrink(k, count[FAST] || count[EARLY], count[LATE], window);
    return next;
}
