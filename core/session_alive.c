/* core/session_alive.c - signs of life: keepalives for the peer, probes when it is silent, and when it is taken to be gone. */
#include "core/session_priv.h"

enum {
    PROBES = 40, /* in a whole peer timeout: at 20 % loss each way one in three is not answered */
    PROBES_MIN = 8, /* unanswered, before that says anything */
    PROBES_QUICK = 20, /* of a busy peer, closer together: ... */
    PROBE_QUICK_US = 100 * 1000,
    LATE_US = 1000 * 1000, /* a probe this late tells of us, not of the peer */
    DOUBT_US = 1500 * 1000, /* with PROBE_BUSY_US before: a break of 2 s is borne in peace */
    REFUSALS_MIN = 3, /* a host may send one a second */
    REFUSED_US = 2000 * 1000,
    PROBE_BUSY_US = 1000 * 1000, /* silence that is suspicious while the peer owes acknowledgements */
    PROBE_BEHIND_US = 400 * 1000, /* between probes of a peer that seems to have lost its state */
    GRID_US = 250 * 1000, /* keepalives and probes are put on this grid, so that many sessions share a wake-up */
};

/* The peer owes acknowledgements, or was just sending data. */
static bool is_busy(const struct session *s)
{
    return arq_state(s->arq)->n_inflight || tick_since_us(s->heard, s->active) < PROBE_BUSY_US;
}

/* Between probes that go unanswered. */
static uint64_t probe_gap(const struct session *s)
{
    uint64_t gap = s->p.peer_timeout_ms * UINT64_C(1000) / PROBES;

    if (is_busy(s) && s->probes < PROBES_QUICK)
        gap = MIN(gap, MAX((uint64_t)PROBE_QUICK_US, arq_state(s->arq)->srtt_ms * UINT64_C(250)));
    return gap;
}

/* When the peer is to be asked for a sign of life: late in the timeout at rest (the client first, so that one exchange does
 * for both), sooner if it fell silent while busy, its host refused something, or its last word was strange. Every peer
 * answers a WASK. */
static struct tick next_probe(const struct session *s)
{
    uint64_t quiet_us = s->p.peer_timeout_ms * UINT64_C(1000) / 10 * (s->p.client ? 7 : 8);

    if (arq_state(s->arq)->behind)
        return tick_add_us(tick_max(s->last_probe, s->behind_since), PROBE_BEHIND_US);
    if (s->refusals)
        quiet_us = 0;
    else if (is_busy(s))
        quiet_us = MIN((uint64_t)PROBE_BUSY_US, quiet_us);
    return tick_max(tick_add_us(s->heard, quiet_us), tick_add_us(s->last_probe, probe_gap(s)));
}

/* A probe that leaves late begins a new series: while we did not run, the peer may have answered all the time, or not have
 * been asked. */
static void probe(struct session *s, struct tick now, bool late)
{
    arq_probe(s->arq);
    if (s->p.client && !arq_state(s->arq)->n_inflight && (is_busy(s) || tick_before(s->heard, s->last_probe)))
        smux_keepalive(s->smux); /* something new, by which a server follows us to where a NAT has put us */
    s->last_probe = now;
    if (!s->probes || late) {
        s->probing = now;
        s->probes = 0;
    }
    s->probes++;
}

void session_greet(struct session *s)
{
    smux_keepalive(s->smux);
}

/* Enough probes, for at least so long, have gone unanswered. */
static bool is_unanswered(const struct session *s, uint64_t us, struct tick now)
{
    us = MAX(us, 2 * arq_state(s->arq)->rto_ms * UINT64_C(1000));
    return s->probes >= PROBES_MIN && tick_since_us(now, s->probing) >= us;
}

bool session_is_doubtful(const struct session *s, struct tick now)
{
    return is_unanswered(s, DOUBT_US, now);
}

void session_refused(struct session *s, struct tick now)
{
    if (!s->refusals++)
        s->refused = now;
}

/* Asks for a sign of life when one is due; gives up after enough of that. Silence counts from the last sign of life, but
 * only while we listened: a series of probes, each sent when it was due, must have gone unanswered. */
static bool look_after(struct session *s, struct tick now)
{
    uint64_t limit_us = s->p.peer_timeout_ms * UINT64_C(1000);
    struct tick due = next_probe(s);
    bool late = tick_since_us(now, due) >= LATE_US;

    if (tick_before(now, due))
        return true;
    if (s->refusals >= REFUSALS_MIN && tick_since_us(now, s->refused) >= REFUSED_US)
        return session_fail(s, SESSION_REFUSED);
    if (!late && tick_since_us(now, s->heard) >= limit_us && is_unanswered(s, limit_us / 6, now))
        return session_fail(s, SESSION_SILENT);
    probe(s, now, late);
    return true;
}

bool session_tend(struct session *s, struct tick now)
{
    if (!look_after(s, now))
        return false;
    session_proof_tend(s, now);
    if (!tick_before(now, s->next_nop)) {
        /* our own kind goes by what it hears of any sort; another counts frames */
        if (!smux_peer_is_ours(s->smux) || tick_since_us(now, s->last_io) >= s->p.keepalive_ms * UINT64_C(1000))
            smux_keepalive(s->smux);
        s->next_nop = tick_add_ms(now, s->p.keepalive_ms);
    }
    return true;
}

static struct tick on_grid(struct tick t)
{
    return (struct tick){(t.us + GRID_US - 1) / GRID_US * GRID_US};
}

struct tick session_tend_due(const struct session *s)
{
    struct tick ask = next_probe(s);
    bool asking = s->probes || s->refusals;
    struct tick prove = s->proof.step == PROOF_RESTS ? s->proof.again : TICK_NEVER;

    return tick_min(prove, tick_min(on_grid(s->next_nop), asking ? ask : on_grid(ask)));
}
