/* core/arq_timer.c - retransmission deadlines: a heap of runs. Segments first sent in one flush share a deadline, so a
 * run costs what one segment would. Runs are not updated when a segment is acknowledged or sent again; they are
 * compared with the segments when they come to the top. */
#include "core/arq_priv.h"

static bool before(const struct arq_run *x, const struct arq_run *y)
{
    return serial_before(x->at, y->at);
}

static void sift_down(struct arq *a, uint32_t i)
{
    struct arq_run r = a->runs[i];

    for (uint32_t kid; (kid = 2 * i + 1) < a->n_runs; i = kid) {
        ARQ_STEP();
        if (kid + 1 < a->n_runs && before(&a->runs[kid + 1], &a->runs[kid]))
            kid++;
        if (!before(&a->runs[kid], &r))
            break;
        a->runs[i] = a->runs[kid];
    }
    a->runs[i] = r;
}

void arq_timer_add(struct arq *a, struct arq_run run)
{
    uint32_t i = a->n_runs++;

    while (i && before(&run, &a->runs[(i - 1) / 2])) {
        ARQ_STEP();
        a->runs[i] = a->runs[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    a->runs[i] = run;
}

static void pop(struct arq *a)
{
    a->runs[0] = a->runs[--a->n_runs];
    if (a->n_runs)
        sift_down(a, 0);
}

/* True if segment sn waits for deadline `at`. */
static bool waits(const struct arq *a, uint32_t sn, uint32_t at)
{
    const struct arq_out *s;

    if (!arq_within(sn, a->st.snd_una, a->st.snd_nxt))
        return false;
    s = arq_out_at(a, sn);
    return s->live && s->xmit && s->resend_at == at;
}

/* Skips the front of a run that waits no more. */
static void trim_front(const struct arq *a, struct arq_run *r)
{
    if (serial_before(r->first, a->st.snd_una)) {
        uint32_t gone = MIN(a->st.snd_una - r->first, r->n);

        r->first += gone;
        r->n -= gone;
    }
    while (r->n && !waits(a, r->first, r->at)) {
        ARQ_STEP();
        r->first++;
        r->n--;
    }
}

void arq_timer_prune(struct arq *a)
{
    if (!a->st.n_inflight)
        a->n_runs = 0;
    while (a->n_runs) {
        trim_front(a, &a->runs[0]);
        if (a->runs[0].n)
            return;
        pop(a);
    }
}

void arq_timer_due(struct arq *a, uint32_t now)
{
    while (a->n_runs && !serial_before(now, a->runs[0].at)) {
        struct arq_run r = a->runs[0];

        pop(a);
        for (trim_front(a, &r); r.n; r.n--, r.first++) {
            ARQ_STEP();
            if (waits(a, r.first, r.at))
                arq_bits_add(a, &a->due, r.first);
        }
    }
}

void arq_resend(struct arq *a, uint32_t now)
{
    for (uint32_t sn = a->st.snd_una; sn != a->st.snd_nxt; sn++) {
        struct arq_out *s = arq_out_at(a, sn);

        ARQ_STEP();
        if (!s->live || !s->xmit)
            continue;
        s->resend_at = now; /* its run finds that nobody waits for it */
        s->rto = a->st.rto_ms;
        arq_bits_add(a, &a->due, sn);
    }
}

/* Leaves only runs that somebody waits for. */
void arq_timer_rebuild(struct arq *a)
{
    a->n_runs = 0;
    for (uint32_t sn = a->st.snd_una; sn != a->st.snd_nxt; sn++) {
        const struct arq_out *s = arq_out_at(a, sn);
        struct arq_run *last = a->n_runs ? &a->runs[a->n_runs - 1] : NULL;

        ARQ_STEP();
        if (!s->live || !s->xmit)
            continue;
        if (last && last->at == s->resend_at && last->first + last->n == sn)
            last->n++;
        else
            a->runs[a->n_runs++] = (struct arq_run){s->resend_at, sn, 1};
    }
    for (uint32_t i = a->n_runs / 2; i--;)
        sift_down(a, i);
}

/* Runs that nobody waits for pile up when flushes are frequent and deadlines far; rebuilding once they outnumber the
 * window twice costs each of them a constant. */
int arq_timer_fit(struct arq *a, uint32_t n)
{
    uint32_t span = a->st.snd_nxt - a->st.snd_una, cap;
    struct arq_run *runs;

    if (a->n_runs + n <= a->runs_cap)
        return 0;
    if (a->runs_cap >= span && a->n_runs > 2 * span)
        arq_timer_rebuild(a);
    if (a->n_runs + n <= a->runs_cap)
        return 0;
    cap = arq_ring_for(a->n_runs + n);
    runs = arq_regrow(a, a->runs, a->n_runs, cap, sizeof *runs);
    if (!runs)
        return -ENOMEM;
    a->runs = runs;
    a->runs_cap = cap;
    return 0;
}
