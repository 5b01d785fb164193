/* core/session_count.c - from the counters of a session's parts to those of its profile. Counters grow by what is new. Of a
 * gauge each session tells the difference to what it told before, so the sum over sessions is always there to be read. */
#include "core/session_priv.h"

static void count_arq(struct session *s, struct stats *st)
{
    struct arq_counts c = arq_take_counts(s->arq);

    stat_add(&st->in_segs, c.in_segs);
    stat_add(&st->out_segs, c.out_segs);
    stat_add(&st->lost_segs, c.lost_segs);
    stat_add(&st->fast_retrans_segs, c.fast_segs);
    stat_add(&st->early_retrans_segs, c.early_segs);
    stat_add(&st->retrans_segs, c.lost_segs + c.fast_segs + c.early_segs);
    stat_add(&st->repeat_segs, c.repeat_segs);
    stat_add(&st->spurious_segs, c.spurious_segs);
    s->retrans += c.lost_segs + c.fast_segs + c.early_segs;
}

static void count_sender(struct session *s, struct stats *st)
{
    struct sender_counts n = sender_take_counts(s->sender);

    stat_add(&st->fast_retrans_segs, n.lost);
    stat_add(&st->early_retrans_segs, n.early);
    stat_add(&st->lost_segs, n.probes);
    stat_add(&st->retrans_segs, n.lost + n.early + n.probes);
    stat_add(&st->spurious_segs, n.spurious);
    s->retrans += n.lost + n.early + n.probes;
    s->copies += n.copies;
    s->spurious += n.spurious;
}

static void count_fec(struct session *s, struct stats *st)
{
    struct fec_decoder_counts f = fec_decoder_take_counts(s->dec);

    stat_add(&st->fec_full_shards, f.full);
    stat_add(&st->fec_parity_shards, f.parity);
    stat_add(&st->fec_errs, f.errs);
    stat_add(&st->fec_recovered, f.recovered);
    stat_add(&st->fec_shape_changes, f.shape_changes);
    stat_add(&st->fec_short_shards, f.stranded);
    if (f.full || f.parity)
        stat_set(&st->fec_shard_min, fec_decoder_newest(s->dec));
}

/* All of them are rare: trouble that the peer makes. */
static void count_smux(struct session *s, struct stats *st)
{
    const struct smux_counts *c = smux_counts(s->smux), *had = &s->smux_told;

    if (!memcmp(c, had, sizeof *c))
        return;
    stat_add(&st->streams_refused, c->refused - had->refused);
    stat_add(&st->streams_reset_by_peer, c->resets - had->resets);
    stat_add(&st->streams_broken, c->broken - had->broken);
    stat_add(&st->refusals_lost, c->refusals_lost - had->refusals_lost);
    stat_add(&st->bytes_discarded, c->discarded - had->discarded);
    stat_add(&st->window_overruns, c->overruns - had->overruns);
    s->smux_told = *c;
}

/* The gauge counts modulo 2^64, so a fall is a rise as well. */
static void tell(uint64_t *gauge, uint64_t *told, uint64_t now)
{
    if (*told == now)
        return;
    stat_add(gauge, now - *told);
    *told = now;
}

static void tell_gauges(struct session *s, const struct gauges *g)
{
    struct stats *st = s->p.stats;

    tell(&st->ring_snd_queue, &s->told.snd_queue, g->snd_queue);
    tell(&st->ring_rcv_queue, &s->told.rcv_queue, g->rcv_queue);
    tell(&st->ring_snd_buffer, &s->told.snd_buffer, g->snd_buffer);
    tell(&st->fec_shard_set, &s->told.fec_groups, g->fec_groups);
}

void session_count(struct session *s)
{
    const struct arq_state *a = arq_state(s->arq);
    size_t waits = smux_backlog(s->smux) + (s->z.len - s->z.at), mss = arq_mss(s->arq);
    const struct gauges g = {
        .snd_queue = (waits + mss - 1) / mss,
        .rcv_queue = a->rcv_nxt - a->rcv_read,
        .snd_buffer = a->n_inflight,
        .fec_groups = s->dec ? fec_decoder_groups(s->dec) : 0,
    };

    count_arq(s, s->p.stats);
    if (s->sender)
        count_sender(s, s->p.stats);
    count_smux(s, s->p.stats);
    if (s->dec)
        count_fec(s, s->p.stats);
    tell_gauges(s, &g);
}

void session_count_end(struct session *s)
{
    tell_gauges(s, &(const struct gauges){0});
}

/* Round trips and the time in the queue, a sample of each a turn at most. Of the queue one is taken at a time: of whatever
 * is in it now, until that many bytes have left; what came and left in the same turn did not wait. */
void session_sample(struct session *s, struct tick now)
{
    const struct arq_state *a = arq_state(s->arq);
    uint64_t queued = smux_queued(s->smux), left = queued - smux_backlog(s->smux);

    if (a->n_rtts != s->n_rtts)
        histogram_add(&s->p.stats->rtt, a->rtt_ms * UINT64_C(1000));
    s->n_rtts = a->n_rtts;
    if (s->queue.upto && left >= s->queue.upto) {
        histogram_add(&s->p.stats->queue_delay, tick_since_us(now, s->queue.since));
        s->queue.upto = 0;
    } else if (!s->queue.upto && left == queued && queued != s->queue.seen) {
        histogram_add(&s->p.stats->queue_delay, 0);
    }
    if (!s->queue.upto && left != queued) {
        s->queue.upto = queued;
        s->queue.since = now;
    }
    s->queue.seen = queued;
}
