/* core/ikcp_cc.c - pluggable congestion control of the face (IKCPOPS over the engine's hooks), and its log lines.
 * Source: the KCP description, section 14. */
#include "core/ikcp_priv.h"

#include <stdarg.h>
#include <stdio.h>

static void on_tick(void *ctx)
{
    ikcpcb *kcp = ctx;

    ikcp_priv_leave(kcp);
    kcp->ccops->on_tick(kcp);
    ikcp_priv_enter(kcp);
}

static int32_t on_budget(void *ctx)
{
    ikcpcb *kcp = ctx;
    int32_t r;

    ikcp_priv_leave(kcp);
    r = (int32_t)kcp->ccops->pacing_rate(kcp);
    ikcp_priv_enter(kcp);
    return r;
}

static void on_pulled(void *ctx)
{
    ikcpcb *kcp = ctx;

    ikcp_priv_leave(kcp);
    if (!kcp->nsnd_que && kcp->nsnd_buf < MIN(MIN(kcp->snd_wnd, kcp->rmt_wnd), kcp->cwnd))
        kcp->ccops->on_app_limited(kcp, kcp->nsnd_buf);
    ikcp_priv_enter(kcp);
}

static void on_sent(void *ctx, const struct arq_sent *s)
{
    ikcpcb *kcp = ctx;

    ikcp_priv_leave(kcp);
    kcp->ccops->on_pkt_sent(kcp, s->sn, s->ts, s->len, kcp->nsnd_buf, s->xmit);
    ikcp_priv_enter(kcp);
}

static void on_acked(void *ctx, const struct arq_sent *s, int32_t rtt_ms)
{
    ikcpcb *kcp = ctx;

    ikcp_priv_leave(kcp);
    kcp->ccops->on_pkt_acked(kcp, s->sn, s->ts, s->len, rtt_ms, s->xmit);
    ikcp_priv_enter(kcp);
}

static void on_rtt(void *ctx, uint32_t rtt_ms)
{
    ikcpcb *kcp = ctx;

    ikcp_priv_leave(kcp);
    kcp->ccops->on_rtt(kcp, (IINT32)rtt_ms);
    ikcp_priv_enter(kcp);
}

static void on_ack(void *ctx, uint32_t segs, uint32_t bytes, uint32_t prior_inflight)
{
    ikcpcb *kcp = ctx;

    ikcp_priv_leave(kcp);
    kcp->ackedlen = bytes;
    kcp->ccops->on_ack(kcp, segs, bytes, prior_inflight);
    ikcp_priv_enter(kcp);
}

static void on_fast(void *ctx, uint32_t n, uint32_t prior_cwnd)
{
    ikcpcb *kcp = ctx;

    ikcp_priv_leave(kcp);
    kcp->ccops->on_fast_retransmit(kcp, n, kcp->nsnd_buf, prior_cwnd);
    ikcp_priv_enter(kcp);
}

static void on_timeout(void *ctx, uint32_t prior_cwnd)
{
    ikcpcb *kcp = ctx;

    ikcp_priv_leave(kcp);
    kcp->ccops->on_timeout(kcp, prior_cwnd);
    ikcp_priv_enter(kcp);
}

static void install(ikcpcb *kcp, const struct IKCPOPS *ops)
{
    struct arq_hooks h = {.ctx = kcp, .defer_counts = true};

    kcp->ccops = ops;
    kcp->congest = NULL;
    if (!ops) {
        arq_set_hooks(kcp->arq, NULL);
        return;
    }
    h.tick = ops->on_tick ? on_tick : NULL;
    h.budget = ops->pacing_rate ? on_budget : NULL;
    h.pulled = ops->on_app_limited ? on_pulled : NULL;
    h.sent = ops->on_pkt_sent ? on_sent : NULL;
    h.acked = ops->on_pkt_acked ? on_acked : NULL;
    h.rtt = ops->on_rtt ? on_rtt : NULL;
    h.ack = ops->on_ack ? on_ack : NULL;
    h.fast = ops->on_fast_retransmit ? on_fast : NULL;
    h.timeout = ops->on_timeout ? on_timeout : NULL;
    arq_set_hooks(kcp->arq, &h);
}

/* The built-in window goes on from where an algorithm left cwnd. */
static void built_in(ikcpcb *kcp)
{
    install(kcp, NULL);
    kcp->cwnd = MAX(kcp->cwnd, 1u);
    kcp->incr = kcp->cwnd * kcp->mss;
}

int ikcp_setcc(ikcpcb *kcp, const struct IKCPOPS *ops)
{
    if (kcp->ccops && kcp->ccops->release)
        kcp->ccops->release(kcp);
    if (!ops) {
        built_in(kcp);
        return 0;
    }
    install(kcp, ops);
    if (!ops->init || ops->init(kcp) >= 0)
        return 0;
    built_in(kcp);
    return -1;
}

static bool wanted(const ikcpcb *kcp, int mask)
{
    return (kcp->logmask & mask) && kcp->writelog;
}

void ikcp_log(ikcpcb *kcp, int mask, const char *fmt, ...)
{
    char line[1024];
    va_list ap;

    if (!wanted(kcp, mask))
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    kcp->writelog(line, kcp, kcp->user);
}

void ikcp_priv_log_segs(ikcpcb *kcp, bool in, const uint8_t *p, size_t len)
{
    static const char *const name[] = {"push", "ack", "window probe", "window"};
    const int base = in ? IKCP_LOG_IN_DATA : IKCP_LOG_OUT_DATA;
    struct rd r = rd_from(p, len);

    if (!wanted(kcp, base * 15))
        return;
    while (rd_left(&r) >= ARQ_HEADER) {
        struct arq_seg s = arq_seg_get(&r);

        if (s.cmd < ARQ_SEG_PUSH || s.cmd > ARQ_SEG_WINS || !rd_take(&r, s.len))
            return;
        ikcp_log(kcp, base << (s.cmd - ARQ_SEG_PUSH), "%s %s: sn=%lu ts=%lu una=%lu wnd=%u len=%lu",
                 in ? "input" : "output", name[s.cmd - ARQ_SEG_PUSH], (unsigned long)s.sn, (unsigned long)s.ts,
                 (unsigned long)s.una, (unsigned)s.wnd, (unsigned long)s.len);
    }
}
