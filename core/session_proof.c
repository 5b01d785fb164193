/* core/session_proof.c - whether the peer reads our frames, found out before a stream is entrusted to it. One that cannot drops
 * the session with the first of them, and has acknowledged it all the same; when the next one comes it begins a session anew,
 * which knows nothing of the first. One that can, a kcptun at least, has nothing to say to either. */
#include "core/session_priv.h"

enum { REST_US = 250 * 1000 /* from its acknowledgement of the first, for it to drop the session */ };

void session_prove(struct session *s)
{
    s->proof = (struct proof){.step = PROOF_ASKED, .sn = arq_state(s->arq)->snd_nxt};
    session_greet(s);
}

bool session_is_proven(const struct session *s)
{
    return !s->proof.step || smux_frames_in(s->smux);
}

void session_proof_tend(struct session *s, struct tick now)
{
    const struct arq_state *a = arq_state(s->arq);
    struct proof *p = &s->proof;

    if (p->step && smux_frames_in(s->smux)) {
        p->step = PROOF_NONE;
    } else if (p->step == PROOF_ASKED && serial_before(p->sn, a->snd_una)) {
        *p = (struct proof){.step = PROOF_RESTS, .again = tick_add_us(now, REST_US)};
    } else if (p->step == PROOF_RESTS && !tick_before(now, p->again)) {
        *p = (struct proof){.step = PROOF_ASKED_AGAIN, .sn = a->snd_nxt};
        session_greet(s);
    }
}

bool session_proof_heard(struct session *s)
{
    const struct arq_state *a = arq_state(s->arq);

    if (session_is_proven(s) || s->proof.step != PROOF_ASKED_AGAIN || !serial_before(s->proof.sn, a->snd_una))
        return true;
    if (a->behind)
        return session_fail(s, SESSION_UNREAD);
    s->proof.step = PROOF_NONE;
    return true;
}
