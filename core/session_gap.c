/* core/session_gap.c - which of the peer's datagrams are missing, and may still be brought back by its FEC. Our own kind says
 * again what it acknowledged in them; a kcptun does not. */
#include "core/session_priv.h"

void session_gap_shard(struct session *s, const struct shard *sh, struct tick now)
{
    struct gap_watch *g = &s->gap;
    unsigned d = 0, p = 0, pos, from;
    bool sure = false;
    uint32_t group;
    int32_t step;

    if (!s->dec || smux_peer_is_ours(s->smux))
        return;
    fec_decoder_shape(s->dec, &d, &p, &sure);
    if (!sure)
        return;
    group = sh->seqid / (d + p);
    pos = sh->seqid % (d + p);
    step = serial_diff(group, g->group);
    if ((step < 0 && step > -SESSION_GROUPS_KEPT) || (!step && pos < g->next))
        return; /* late: it says itself what it acknowledges */
    from = step ? 0 : g->next;
    if (step) { /* what is missing of the one before will not come any more */
        sender_gap_over(s->sender);
        g->group = group;
        g->missing = 0;
    }
    g->next = pos + 1;
    g->missing += pos - from;
    if (g->missing > p)
        sender_gap_over(s->sender);
    else if (from < MIN(pos, d))
        sender_gap(s->sender, now);
}
