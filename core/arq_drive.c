/* core/arq_drive.c - transmissions as a driver decides them. */
#include "core/arq_priv.h"

void arq_set_driver(struct arq *a, const struct arq_driver *d)
{
    a->drv = *d;
    a->k.resend = 0;
}

uint32_t arq_tag(const struct arq *a, uint32_t sn)
{
    return a->out_cap && a->st.snd_nxt - sn - 1 < a->out_cap ? arq_out_at(a, sn)->tag : 0;
}

bool arq_again(struct arq *a, uint32_t sn)
{
    struct arq_out *s;

    if (!arq_within(sn, a->st.snd_una, a->st.snd_nxt))
        return false;
    s = arq_out_at(a, sn);
    if (!s->live || arq_bits_has(a, &a->due, sn))
        return false;
    arq_bits_add(a, &a->due, sn);
    return true;
}

bool arq_waits(const struct arq *a)
{
    return a->due.n;
}

/* Two transmissions of a segment differ in ts, even within a millisecond. */
static void transmit(struct arq *a, uint32_t sn, uint32_t now)
{
    struct arq_out *s = arq_out_at(a, sn);

    s->ts = s->xmit++ && !serial_before(s->ts, now) ? s->ts + 1 : now;
    s->tag = a->drv.sent(a->drv.ctx, &(struct arq_sent){sn, s->ts, s->len, s->xmit}, s->tag);
    arq_bits_del(a, &a->due, sn);
    arq_bits_add(a, &a->pend, sn);
}

int arq_drive(struct arq *a, uint32_t now)
{
    int r = 0;

    while (a->due.n) {
        uint32_t sn = arq_bits_first(a, &a->due);

        ARQ_STEP();
        if (!a->drv.may_send(a->drv.ctx, arq_out_at(a, sn)->len))
            return 0;
        transmit(a, sn, now);
    }
    while (arq_has_room(a) && a->drv.may_send(a->drv.ctx, a->mss)) {
        ARQ_STEP();
        r = arq_pull_one(a, now);
        if (r)
            break;
        transmit(a, a->st.snd_nxt - 1, now);
    }
    return r == ARQ_AGAIN ? 0 : r;
}
