/* core/sender_gap.c - what the peer may have acknowledged in datagrams that are missing, but may still be brought back by its
 * FEC. A kcptun acknowledges a segment once: taken for lost, what such a datagram answers would be sent again in vain.
 * Its datagrams answer for segments in the order in which those arrived. So what one of them answers was sent between what
 * the datagrams before and after it answer. */
#include "core/sender_priv.h"

void sender_gap(struct sender *s, struct tick now)
{
    struct gaps *g = &s->gaps;

    if (!g->n && !g->open)
        g->since = now.us;
    if (!g->open)
        g->from = s->rack_t > s->reo ? s->rack_t - s->reo : 0;
    g->open = true;
}

/* The datagram after a gap has been taken. */
void sender_gap_ends(struct sender *s)
{
    struct gaps *g = &s->gaps;

    if (!g->open || !s->in.oldest)
        return;
    g->open = false;
    if (g->n == LEN(g->v))
        g->n--;
    else
        g->v[g->n].from = g->from;
    g->v[g->n++].to = s->in.oldest;
}

bool sender_gap_holds(const struct sender *s, uint64_t t_sent)
{
    const struct gaps *g = &s->gaps;

    if (g->open && t_sent >= g->from)
        return true;
    for (unsigned i = 0; i < g->n; i++)
        if (t_sent >= g->v[i].from && t_sent < g->v[i].to)
            return true;
    return false;
}

void sender_gap_spare(struct sender *s, uint32_t no)
{
    if (!s->gaps.holds)
        s->gaps.held = no;
    s->gaps.holds = true;
}

uint64_t sender_gap_due(const struct sender *s)
{
    const struct gaps *g = &s->gaps;

    return g->holds ? g->since + s->srtt * 7 / 10 : UINT64_MAX;
}

void sender_gap_over(struct sender *s)
{
    struct gaps *g = &s->gaps;

    if (g->holds)
        s->scan = g->held;
    g->n = 0;
    g->open = g->holds = false;
}
