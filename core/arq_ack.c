/* core/arq_ack.c - acknowledgements on their way out: what arrived, and (ack_repeats) what has been said before.
 * A lost acknowledgement costs the peer a transmission for nothing, and at high rates there is always a hole before it,
 * so that una does not repair it: said again in a later datagram it costs 24 bytes.
 * Source: the KCP description, sections 6 and 7. */
#include "core/arq_priv.h"

/* Acknowledgements kept for the next flush beyond two windows of them: a peer that repeats itself without end gets no
 * more; what is left out is asked for again. */
enum { ACK_SLACK = 256 };

static uint32_t acks_max(uint32_t rcv_wnd)
{
    return 2 * rcv_wnd + ACK_SLACK;
}

size_t arq_acks_max(uint32_t rcv_wnd, uint32_t repeats_max)
{
    uint32_t n = acks_max(rcv_wnd);

    return arq_ring_for(n) * sizeof(struct arq_ack) + arq_ring_for(2 * n + repeats_max) * sizeof(struct arq_again);
}

/* Room for one more. 0, -ENOMEM; also at the bound. */
static int fit(struct arq *a)
{
    uint32_t cap = arq_ring_for(a->ack_cap + 1);
    struct arq_ack *v;

    if (a->ack_n >= acks_max(arq_rcv_wnd(a)))
        return -ENOMEM;
    if (a->ack_n < a->ack_cap)
        return 0;
    v = arq_regrow(a, a->acks, a->ack_n, cap, sizeof *v);
    if (!v)
        return -ENOMEM;
    a->acks = v;
    a->ack_cap = cap;
    return 0;
}

void arq_ack_add(struct arq *a, uint32_t sn, uint32_t ts)
{
    if (fit(a))
        return;
    a->acks[a->ack_n++] = (struct arq_ack){sn, ts};
    a->st.n_acks++;
}

/* Freezes the list. Unless every segment is acknowledged singly, what una tells anyway is left out; the last entry stays,
 * for it carries una, the window and an RTT sample. */
void arq_ack_decide(struct arq *a)
{
    uint32_t keep = a->ack_end;

    if (a->st.came_again && !a->st.n_acks && !a->pend.n)
        arq_ack_add(a, a->again_ack.sn, a->again_ack.ts);
    a->st.came_again = false;
    if (!a->st.n_acks)
        return;
    if (a->k.ack_all) {
        a->ack_end = a->ack_n;
    } else {
        for (uint32_t i = a->ack_end; i < a->ack_n; i++)
            if (!serial_before(a->acks[i].sn, a->st.rcv_nxt) || i + 1 == a->ack_n)
                a->acks[keep++] = a->acks[i];
        a->ack_n = a->ack_end = keep;
    }
    a->st.n_acks = a->st.n_fresh = 0;
    a->again_at = a->again_n;
    a->again_lo = a->again_n - MIN(a->again_n, (uint32_t)a->k.repeats_max);
}

bool arq_ack_next(struct arq *a, struct arq_ack *out)
{
    if (a->ack_at < a->ack_end) {
        *out = a->acks[a->ack_at];
        return true;
    }
    while (a->again_at > a->again_lo) {
        *out = a->again[a->again_at - 1].ack;
        if (!serial_before(out->sn, a->st.rcv_nxt))
            return true;
        a->again[--a->again_at].left = 0;
    }
    return false;
}

void arq_ack_wrote(struct arq *a)
{
    if (a->ack_at < a->ack_end)
        a->ack_at++;
    else
        a->again[--a->again_at].left--;
}

/* What was written is to be written again as often as is left, unless una covers it by now. */
static void keep_again(struct arq *a)
{
    uint32_t n = 0, most = a->again_n + a->ack_end;
    struct arq_again *v;

    if (most > a->again_cap) {
        v = arq_regrow(a, a->again, a->again_n, arq_ring_for(most), sizeof *v);
        if (!v) {
            a->again_n = 0;
            return;
        }
        a->again = v;
        a->again_cap = arq_ring_for(most);
    }
    for (uint32_t i = a->again_lo; i < a->again_n; i++)
        if (a->again[i].left && !serial_before(a->again[i].ack.sn, a->st.rcv_nxt))
            a->again[n++] = a->again[i];
    for (uint32_t i = 0; i < a->ack_end; i++)
        if (!serial_before(a->acks[i].sn, a->st.rcv_nxt))
            a->again[n++] = (struct arq_again){a->acks[i], a->k.ack_repeats};
    a->again_n = n;
}

void arq_ack_done(struct arq *a)
{
    if (!a->ack_end)
        return;
    if (a->k.ack_repeats)
        keep_again(a);
    for (uint32_t i = a->ack_end; i < a->ack_n; i++)
        a->acks[i - a->ack_end] = a->acks[i];
    a->ack_n -= a->ack_end;
    a->ack_at = a->ack_end = 0;
    a->again_lo = a->again_at = a->again_n;
}

void arq_ack_trim(struct arq *a)
{
    if (a->ack_n)
        return;
    if (a->acks)
        a->mem.free(a->acks);
    if (a->again)
        a->mem.free(a->again);
    a->acks = NULL;
    a->again = NULL;
    a->ack_cap = 0;
    a->again_lo = a->again_at = a->again_n = a->again_cap = 0;
}
