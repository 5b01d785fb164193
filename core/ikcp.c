/* core/ikcp.c - the reference's programming interface over the engine: message boundaries, the send queue, copies in and
 * out, the clock of ikcp_update().
 * Source: the KCP description, sections 5, 6, 13 and 14. */
#include "core/ikcp_priv.h"

#include <limits.h>
#include <string.h>

enum {
    WND_SND = 32,
    WND_RCV = 128, /* also the least, and what a peer is taken to offer before it speaks */
    MTU = 1400,
    MTU_MIN = 50,
    INTERVAL_MS = 100,
    PROBE_FIRST_MS = 5000,
    CLOCK_JUMP_MS = 10000, /* further than this from the last flush, the schedule begins anew */
    FRAGMENTS = 128, /* a message has fewer */
};

static void *(*heap_alloc)(size_t) = malloc;
static void (*heap_free)(void *) = free;

void ikcp_allocator(void *(*new_malloc)(size_t), void (*new_free)(void *))
{
    heap_alloc = new_malloc ? new_malloc : malloc;
    heap_free = new_free ? new_free : free;
}

static struct buf *mem_get(void *ctx, uint32_t len)
{
    struct buf *b = heap_alloc(sizeof *b + len);

    (void)ctx;
    if (b)
        *b = (struct buf){0};
    return b;
}

static void mem_put(struct buf *b)
{
    heap_free(b);
}

/* A segment of the send queue lies inside the buffer that the engine takes over when it pulls. */
static struct buf *buf_of(struct IKCPSEG *seg)
{
    return CONTAINER(seg, struct buf, mem);
}

static struct IKCPSEG *seg_new(uint32_t len)
{
    struct buf *b = mem_get(NULL, (uint32_t)offsetof(struct IKCPSEG, data) + len);
    struct IKCPSEG *seg = b ? (struct IKCPSEG *)(void *)b->mem : NULL;

    if (seg)
        memset(seg, 0, offsetof(struct IKCPSEG, data) + len);
    return seg;
}

static int pull(void *ctx, struct arq *a, struct arq_chunk *c)
{
    ikcpcb *kcp = ctx;
    struct IKCPSEG *seg;

    (void)a;
    if (iqueue_is_empty(&kcp->snd_queue))
        return ARQ_AGAIN;
    seg = iqueue_entry(kcp->snd_queue.next, struct IKCPSEG, node);
    iqueue_del(&seg->node);
    kcp->nsnd_que--;
    *c = (struct arq_chunk){(const uint8_t *)seg->data, seg->len, (uint8_t)seg->frg, buf_of(seg)};
    return 0;
}

void ikcp_priv_enter(ikcpcb *kcp)
{
    struct arq *a = kcp->arq;

    a->k = (struct arq_knobs){.snd_wnd = kcp->snd_wnd,
                              .rcv_wnd = kcp->rcv_wnd,
                              .min_rto_ms = (uint32_t)MAX(kcp->rx_minrto, 0),
                              .interval_ms = kcp->interval,
                              .resend = (uint32_t)MAX(kcp->fastresend, 0),
                              .fast_limit = (uint32_t)MAX(kcp->fastlimit, 0),
                              .dead_link = kcp->dead_link,
                              .nodelay = (uint8_t)MIN(kcp->nodelay, 2u),
                              .nocwnd = kcp->nocwnd && !kcp->ccops,
                              .ack_all = true,
                              .keep_fastack = true,
                              .probe_first_ms = PROBE_FIRST_MS};
    if (kcp->snd_nxt != a->st.snd_nxt || kcp->rcv_nxt != a->st.rcv_nxt)
        arq_set_start(a, kcp->snd_nxt, kcp->rcv_nxt);
    a->st.conv = kcp->conv;
    a->st.rmt_wnd = kcp->rmt_wnd;
    a->st.cwnd = kcp->cwnd;
    a->st.ssthresh = kcp->ssthresh;
    a->st.incr = kcp->incr;
    a->st.srtt_ms = (uint32_t)kcp->rx_srtt;
    a->st.rttvar_ms = (uint32_t)kcp->rx_rttval;
    a->st.rto_ms = (uint32_t)kcp->rx_rto;
    a->st.xmit = kcp->xmit;
    a->st.dead = kcp->state == (IUINT32)-1;
    a->probe = kcp->probe & (ARQ_ASK | ARQ_TELL);
    a->probe_wait = kcp->probe_wait;
    a->probe_at = kcp->ts_probe;
}

void ikcp_priv_leave(ikcpcb *kcp)
{
    const struct arq *a = kcp->arq;

    kcp->snd_una = a->st.snd_una;
    kcp->snd_nxt = a->st.snd_nxt;
    kcp->rcv_nxt = a->st.rcv_nxt;
    kcp->rmt_wnd = a->st.rmt_wnd;
    kcp->cwnd = a->st.cwnd;
    kcp->ssthresh = a->st.ssthresh;
    kcp->incr = a->st.incr;
    kcp->rx_srtt = (IINT32)a->st.srtt_ms;
    kcp->rx_rttval = (IINT32)a->st.rttvar_ms;
    kcp->rx_rto = (IINT32)a->st.rto_ms;
    kcp->xmit = a->st.xmit;
    kcp->state = a->st.dead ? (IUINT32)-1 : kcp->state;
    kcp->probe = a->probe;
    kcp->probe_wait = a->probe_wait;
    kcp->ts_probe = a->probe_at;
    kcp->nsnd_buf = a->st.n_inflight;
    kcp->nrcv_buf = a->st.n_rcv_buf;
    kcp->nrcv_que = a->st.rcv_nxt - a->st.rcv_read;
    kcp->ackcount = a->st.n_acks;
}

ikcpcb *ikcp_create(IUINT32 conv, void *user)
{
    const struct arq_mem mem = {
        .get = mem_get, .put = mem_put, .alloc = heap_alloc, .free = heap_free, .seg_max = INT_MAX / 2};
    ikcpcb *kcp = heap_alloc(sizeof *kcp);
    const struct arq_params p = {.conv = conv,
                                 .mtu = MTU,
                                 .snd_wnd = WND_SND,
                                 .rcv_wnd = WND_RCV,
                                 .interval_ms = INTERVAL_MS,
                                 .pull = pull,
                                 .ctx = kcp};

    if (!kcp)
        return NULL;
    *kcp = (ikcpcb){.conv = conv, .mtu = MTU, .mss = MTU - ARQ_HEADER, .user = user, .snd_wnd = WND_SND};
    kcp->rcv_wnd = WND_RCV;
    iqueue_init(&kcp->snd_queue);
    iqueue_init(&kcp->rcv_queue);
    iqueue_init(&kcp->snd_buf);
    iqueue_init(&kcp->rcv_buf);
    kcp->buffer = heap_alloc(MTU);
    kcp->arq = arq_new_in(&p, &mem);
    if (!kcp->buffer || !kcp->arq) {
        ikcp_release(kcp);
        return NULL;
    }
    kcp->interval = INTERVAL_MS;
    kcp->rx_minrto = (IINT32)arq_knobs(kcp->arq)->min_rto_ms;
    kcp->fastlimit = (int)arq_knobs(kcp->arq)->fast_limit;
    kcp->dead_link = arq_knobs(kcp->arq)->dead_link;
    ikcp_priv_leave(kcp);
    kcp->rmt_wnd = WND_RCV;
    return kcp;
}

void ikcp_release(ikcpcb *kcp)
{
    assert(kcp);
    if (kcp->ccops && kcp->ccops->release)
        kcp->ccops->release(kcp);
    while (!iqueue_is_empty(&kcp->snd_queue)) {
        struct IKCPSEG *seg = iqueue_entry(kcp->snd_queue.next, struct IKCPSEG, node);

        iqueue_del(&seg->node);
        mem_put(buf_of(seg));
    }
    arq_free(kcp->arq);
    if (kcp->buffer)
        heap_free(kcp->buffer);
    heap_free(kcp);
}

void ikcp_setoutput(ikcpcb *kcp, int (*output)(const char *buf, int len, ikcpcb *kcp, void *user))
{
    kcp->output = output;
}

int ikcp_peeksize(const ikcpcb *kcp)
{
    struct arq_chunk c;
    uint64_t total = 0;
    uint32_t i = 0;

    do {
        if (arq_peek(kcp->arq, i++, &c))
            return -1;
        total += c.len;
    } while (c.frg);
    return total > INT_MAX ? -1 : (int)total;
}

/* Copies a message without taking it. */
static void copy_message(const ikcpcb *kcp, char *to)
{
    struct arq_chunk c;
    uint32_t i = 0;

    do {
        (void)arq_peek(kcp->arq, i++, &c);
        if (c.len)
            memcpy(to, c.p, c.len);
        to += c.len;
    } while (c.frg);
}

static void drop_message(ikcpcb *kcp)
{
    struct arq_chunk c;

    ikcp_priv_enter(kcp);
    do {
        ikcp_log(kcp, IKCP_LOG_RECV, "recv sn=%lu", (unsigned long)kcp->arq->st.rcv_read);
        (void)arq_recv(kcp->arq, &c);
        if (c.own)
            mem_put(c.own);
    } while (c.frg);
    ikcp_priv_leave(kcp);
}

int ikcp_recv(ikcpcb *kcp, char *buffer, int len)
{
    bool peek = len < 0;
    int size = ikcp_peeksize(kcp);

    if (!kcp->nrcv_que)
        return -1;
    if (size < 0)
        return -2;
    if (size > (peek ? -(int64_t)len : len))
        return -3;
    if (buffer)
        copy_message(kcp, buffer);
    if (!peek)
        drop_message(kcp);
    return size;
}

static int queue_seg(ikcpcb *kcp, const char *data, uint32_t len, uint32_t frg)
{
    struct IKCPSEG *seg = seg_new(len);

    if (!seg)
        return -2;
    if (data && len)
        memcpy(seg->data, data, len);
    seg->conv = kcp->conv;
    seg->len = len;
    seg->frg = frg;
    iqueue_add_tail(&seg->node, &kcp->snd_queue);
    kcp->nsnd_que++;
    return 0;
}

/* Fills the last queued segment up. Bytes it took; -2. */
static int extend_tail(ikcpcb *kcp, const char *data, uint32_t len)
{
    struct IKCPSEG *old, *seg;
    uint32_t n;

    if (iqueue_is_empty(&kcp->snd_queue))
        return 0;
    old = iqueue_entry(kcp->snd_queue.prev, struct IKCPSEG, node);
    if (old->len >= kcp->mss)
        return 0;
    n = MIN(len, kcp->mss - old->len);
    seg = seg_new(old->len + n);
    if (!seg)
        return -2;
    seg->conv = kcp->conv;
    seg->len = old->len + n;
    memcpy(seg->data, old->data, old->len);
    if (data)
        memcpy(seg->data + old->len, data, n);
    iqueue_add_tail(&seg->node, &kcp->snd_queue);
    iqueue_del(&old->node);
    mem_put(buf_of(old));
    return (int)n;
}

int ikcp_send(ikcpcb *kcp, const char *buffer, int len)
{
    uint32_t left = (uint32_t)len, count;
    int sent = 0;

    if (len < 0)
        return -1;
    if (kcp->stream) {
        sent = left ? extend_tail(kcp, buffer, left) : 0;
        if (sent < 0 || (uint32_t)sent == left)
            return sent;
        left -= (uint32_t)sent;
    }
    count = left <= kcp->mss ? 1 : (left + kcp->mss - 1) / kcp->mss;
    if (count >= FRAGMENTS)
        return sent ? sent : -2;
    while (count--) {
        uint32_t n = MIN(left, kcp->mss);

        if (queue_seg(kcp, buffer ? buffer + sent : NULL, n, kcp->stream ? 0 : count))
            return -2;
        left -= n;
        sent += (int)n;
    }
    ikcp_log(kcp, IKCP_LOG_SEND, "send %d bytes", sent);
    return sent;
}

/* The results of arq_input() are the reference's, the other way round. */
int ikcp_input(ikcpcb *kcp, const char *data, long size)
{
    static const int result[] = {[0] = 0, [ARQ_ALIEN] = -1, [ARQ_MALFORMED] = -2, [ARQ_BAD_CMD] = -3};
    int r;

    if (!data || size < ARQ_HEADER)
        return -1;
    ikcp_log(kcp, IKCP_LOG_INPUT, "input %ld bytes", size);
    ikcp_priv_log_segs(kcp, true, (const uint8_t *)data, (size_t)size);
    ikcp_priv_enter(kcp);
    r = result[arq_input(kcp->arq, bytes_of(data, (size_t)size), 0, kcp->current)];
    if (arq_settle(kcp->arq)) { /* an acknowledged segment is lost: nothing after it can be delivered */
        kcp->arq->st.dead = true;
        r = -4;
    }
    ikcp_priv_leave(kcp);
    return r;
}

void ikcp_flush(ikcpcb *kcp)
{
    size_t n;

    if (!kcp->updated)
        return;
    ikcp_priv_enter(kcp);
    (void)arq_flush(kcp->arq, ARQ_FLUSH_FULL, kcp->current);
    ikcp_priv_leave(kcp);
    while ((n = arq_emit(kcp->arq, (uint8_t *)kcp->buffer))) {
        ikcp_log(kcp, IKCP_LOG_OUTPUT, "output %lu bytes", (unsigned long)n);
        ikcp_priv_log_segs(kcp, false, (const uint8_t *)kcp->buffer, n);
        if (kcp->output)
            kcp->output(kcp->buffer, (int)n, kcp, kcp->user);
    }
    ikcp_priv_leave(kcp);
}

/* The time of the next flush as of now: the schedule does not survive a clock that jumps. */
static IUINT32 next_flush(const ikcpcb *kcp, IUINT32 now)
{
    int32_t slap = serial_diff(now, kcp->ts_flush);

    return slap >= CLOCK_JUMP_MS || slap < -CLOCK_JUMP_MS ? now : kcp->ts_flush;
}

void ikcp_update(ikcpcb *kcp, IUINT32 current)
{
    kcp->current = current;
    if (!kcp->updated) {
        kcp->updated = 1;
        kcp->ts_flush = current;
    }
    kcp->ts_flush = next_flush(kcp, current);
    if (serial_before(current, kcp->ts_flush))
        return;
    kcp->ts_flush += kcp->interval;
    if (!serial_before(current, kcp->ts_flush))
        kcp->ts_flush = current + kcp->interval;
    ikcp_flush(kcp);
}

IUINT32 ikcp_check(const ikcpcb *kcp, IUINT32 current)
{
    IUINT32 flush = next_flush(kcp, current), wait;

    if (!kcp->updated || !serial_before(current, flush))
        return current;
    wait = MIN(flush - current, arq_rto_in_ms(kcp->arq, current));
    return current + MIN(wait, kcp->interval);
}

int ikcp_setmtu(ikcpcb *kcp, int mtu)
{
    char *buffer;

    if (mtu < MTU_MIN || mtu > UINT16_MAX)
        return -1;
    if ((IUINT32)mtu > kcp->mtu) { /* never smaller: segments already cut keep their size */
        buffer = heap_alloc((size_t)mtu);
        if (!buffer)
            return -2;
        heap_free(kcp->buffer);
        kcp->buffer = buffer;
    }
    (void)arq_set_mtu(kcp->arq, (uint16_t)mtu);
    kcp->mtu = (IUINT32)mtu;
    kcp->mss = arq_mss(kcp->arq);
    return 0;
}

int ikcp_wndsize(ikcpcb *kcp, int sndwnd, int rcvwnd)
{
    if (sndwnd > 0)
        kcp->snd_wnd = (IUINT32)sndwnd;
    if (rcvwnd > 0)
        kcp->rcv_wnd = (IUINT32)MAX(rcvwnd, WND_RCV);
    return 0;
}

int ikcp_waitsnd(const ikcpcb *kcp)
{
    return (int)(kcp->nsnd_buf + kcp->nsnd_que);
}

int ikcp_interval(ikcpcb *kcp, int interval)
{
    kcp->interval = (IUINT32)MIN(MAX(interval, 10), 5000);
    return 0;
}

int ikcp_nodelay(ikcpcb *kcp, int nodelay, int interval, int resend, int nc)
{
    if (nodelay >= 0) {
        kcp->nodelay = (IUINT32)nodelay;
        kcp->rx_minrto = nodelay ? 30 : 100;
    }
    if (interval >= 0)
        ikcp_interval(kcp, interval);
    if (resend >= 0)
        kcp->fastresend = resend;
    if (nc >= 0)
        kcp->nocwnd = nc;
    return 0;
}

IUINT32 ikcp_getconv(const void *ptr)
{
    return get_le32(ptr);
}
