/* core/sender_gap.c - what the peer may have acknowledged in datagrams that are missing, but may still be brought back by its
 * FEC. A kcptun acknowledges a segment once: taken for lost, what such a datagram answers would be sent again in vain.
 * Its datagrams answer for segments in the order in which those arrived. So what one of them answers was sent between what
 * the datagrams before and after it answer. */
#include "core/sender_priv.h"

#include <string.h>

static const uint64_t open_end = UINT64_MAX; /* the datagram after the gap is still to come */

/* The newest, if it has no end yet. */
static struct gap *open_gap(struct gaps *g)
{
    return g->n && g->v[g->n - 1].to == open_end ? &g->v[g->n - 1] : NULL;
}

/* A group that is not complete by then saves hardly anything over a repair. */
static uint64_t over_at(const struct sender *s, const struct gap *gap)
{
    return gap->since + s->srtt * 7 / 10;
}

void sender_gap(struct sender *s, struct tick now)
{
    uint64_t reo = MIN(s->reo, s->srtt / 2);
    struct gaps *g = &s->gaps;

    if (!open_gap(g) && g->n < LEN(g->v))
        g->v[g->n++].from = s->rack_t > reo ? s->rack_t - reo : 0;
    g->v[g->n - 1].to = open_end; /* the last place stands for all that follow */
    g->v[g->n - 1].since = now.us;
}

void sender_gap_ends(struct sender *s)
{
    struct gap *gap = open_gap(&s->gaps);

    if (gap && s->in.oldest)
        gap->to = s->in.oldest;
}

bool sender_gap_holds(const struct sender *s, uint64_t t_sent)
{
    const struct gaps *g = &s->gaps;

    for (unsigned i = 0; i < g->n; i++)
        if (t_sent >= g->v[i].from && t_sent < g->v[i].to)
            return true;
    return false;
}

uint64_t sender_gap_due(const struct sender *s)
{
    return s->gaps.n && s->spared != s->scan ? over_at(s, &s->gaps.v[0]) : UINT64_MAX;
}

void sender_gap_forget(struct sender *s)
{
    struct gaps *g = &s->gaps;
    unsigned old = 0;

    while (old < g->n && over_at(s, &g->v[old]) <= s->now)
        old++;
    g->n -= old;
    memmove(g->v, g->v + old, g->n * sizeof g->v[0]);
}

void sender_gap_over(struct sender *s)
{
    s->gaps.n = 0;
}
