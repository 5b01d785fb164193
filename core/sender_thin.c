/* core/sender_thin.c - flows that leave the path idle: a small message is sent again some milliseconds later, before anybody
 * can know whether it was lost, as often as the loss asks for and the budget allows. Everything behind a lost message waits
 * for it, so what matters is that all its copies are hardly ever lost. */
#include "core/sender_priv.h"

#include <math.h>

enum {
    FIRST_US = 4000, /* from a message to its first copy */
    NEXT_US = 20000, /* from one copy to the next, ... */
    JOIN_US = 3000, /* ... which joins a datagram that leaves sooner anyway, if the one before is so old */
    OVERDUE_US = 60000, /* of silence: where something is heard, it tells sooner what is missing; */
    OVERDUE_FIRST_US = 30000, /* before the loss is known */
    REPAIR_COPIES = 3,
    FATES_MIN = 100, /* before these we know nothing */
    FATES = 256, /* memory of the loss estimate, halved when full */
    FATE_SLACK_US = 40 * 1000, /* acknowledgements of copies are in no hurry */
    QUEUE_MAX_US = 40000, /* the path is congested rather than lossy */
    FLOOR = 2000, /* bytes of copies a second that anything may take */
    EARN_US = 1000 * 1000,
    TOKENS_MAX = 16 * 1024,
    RESERVE = 1024, /* which each further copy of a message leaves for the first ones of others */
};

static const double residue = 0.0003, least_loss = 0.002, most_excess = 0.10,
                    bare_repairs = 1.15; /* what repairs would cost without copies, as a multiple of the loss */

bool sender_is_thin(const struct sender *s)
{
    return s->sent[0] + s->sent[1] <= SENDER_THIN_BYTES && s->limited_until && !s->wnd_limited;
}

bool sender_is_copying(const struct sender *s)
{
    return s->acks_all && s->thin.n && sender_is_thin(s);
}

/* Acknowledgements of a transmission's own that never came tell the loss of both ways together. Both are taken to be alike:
 * what is measured of the way back is too rough to be taken out, and a copy too many costs little. A kcptun leaves most
 * acknowledgements out: there only what had to be sent again tells. */
static double loss_from(const struct sender *s, double both)
{
    if (!s->acks_all)
        return both;
    return 1 - sqrt(1 - both);
}

/* While little is known, a little is assumed. */
double sender_thin_loss(const struct sender *s)
{
    return loss_from(s, (s->thin.missing + 0.5) / (s->thin.fates + 10));
}

bool sender_knows_loss(const struct sender *s)
{
    return s->thin.fates >= FATES_MIN || (s->loss.known && !sender_is_thin(s));
}

double sender_loss(const struct sender *s)
{
    if (s->loss.known && !sender_is_thin(s))
        return s->loss.p;
    return s->thin.fates >= FATES_MIN ? loss_from(s, (double)s->thin.missing / s->thin.fates) : 0;
}

/* Looks at what was sent long enough ago for its own acknowledgement to be here. */
static void learn(struct sender *s)
{
    uint64_t wait = s->srtt + MAX(4 * s->var, (uint64_t)FATE_SLACK_US);
    struct thin *t = &s->thin;

    if (t->looked - s->first >= s->next - s->first)
        t->looked = t->looked == s->next ? s->next : s->first;
    for (; t->looked != s->next && sender_rec_at(s, t->looked)->t_sent + wait <= s->now; t->looked++) {
        const struct sender_rec *r = sender_rec_at(s, t->looked);

        if (!(r->flags & REC_LIMITED) || r->older) /* of what comes again, not all is acknowledged */
            continue;
        t->missing += s->acks_all ? !(r->flags & REC_OWN_ACK) : r->state == REC_LOST;
        if (++t->fates >= FATES) {
            t->fates /= 2;
            t->missing /= 2;
        }
    }
}

static unsigned copies_wanted(const struct sender *s)
{
    double least = s->acks_all ? least_loss : 2 * least_loss; /* what FATES tells from none */
    double p = sender_thin_loss(s), n;

    if (MAX(p, s->back_loss) < least || s->excess > most_excess || s->srtt > s->min_rtt + QUEUE_MAX_US)
        return 0;
    p += sqrt(p / (s->thin.fates + 10)); /* one copy too few costs more than one too many */
    n = ceil(log(residue) / log(p)) - 1;
    /* those that join what leaves cost less: one more may be paid for */
    return (unsigned)MIN(MAX(n, 1), s->p.redundancy + 1);
}

/* When a message that nothing was heard of is worth a new start, whatever became of its copies. */
static uint64_t overdue(const struct sender *s)
{
    return s->now + s->srtt + MAX(4 * s->var, sender_knows_loss(s) ? (uint64_t)OVERDUE_US : OVERDUE_FIRST_US);
}

static void begin(const struct sender *s, struct thin_copy *c, unsigned left)
{
    c->left = left;
    c->nth = 0;
    c->overdue = s->now + ((overdue(s) - s->now) << MIN(c->rounds, 5u));
    c->due = left ? s->now + FIRST_US : c->overdue;
    c->from = left ? s->now + JOIN_US : c->overdue;
}

/* Copies of what leaves now. Where holes hold up the peer's window, what was lost more than once gets some, too; toward a
 * kcptun always, for its window is but a few round trips wide: a hole that is lost time and again closes it. */
static unsigned copies_of(const struct sender *s, unsigned lost)
{
    lost += sender_is_short_of_window(s);
    if (lost > 1 && (!s->acks_all || sender_is_cramped(s) || sender_is_short_of_window(s)))
        return MIN(lost - 1, REPAIR_COPIES);
    return s->p.redundancy > 1 && sender_is_thin(s) ? copies_wanted(s) : 0;
}

void sender_thin_sent(struct sender *s, uint32_t sn, uint32_t bytes, unsigned lost)
{
    struct thin *t = &s->thin;
    unsigned n = t->n < LEN(t->v) ? copies_of(s, lost) : 0;

    if (!n)
        return;
    t->v[t->n] = (struct thin_copy){.sn = sn, .bytes = bytes, .repair = lost > 0, .born = s->now};
    begin(s, &t->v[t->n++], n);
}

/* True if one more copy leaves now; it joins what leaves anyway if there is such. False: it is acknowledged, or there is
 * nothing left for it. */
static bool copy(struct sender *s, struct thin_copy *c, bool company)
{
    uint32_t cost = c->bytes - (company ? s->p.overhead : 0);
    struct thin *t = &s->thin;

    /* what is overdue matters most */
    if (!c->repair && c->left && t->tokens < (int64_t)cost + (int64_t)RESERVE * c->nth++)
        return false;
    if (!arq_again(s->p.arq, c->sn))
        return false;
    t->tokens = MAX(t->tokens - (c->repair ? 0 : (int64_t)cost), -(int64_t)TOKENS_MAX);
    t->spent += c->repair ? 0 : cost;
    s->urgent++;
    s->n.copies++;
    return true;
}

/* Its time has come. True if it is to be looked at again. */
static bool look(struct sender *s, struct thin_copy *c, bool company)
{
    bool late = !c->left, sent = copy(s, c, company);

    if (late ? !sent : c->repair && (!sent || c->left == 1))
        return false;
    if (late) {
        c->rounds++;
        begin(s, c, c->rounds > 2 ? 0 : MIN(copies_wanted(s), 1u));
        return true;
    }
    c->left = sent ? c->left - 1 : 0;
    c->due = c->left ? s->now + NEXT_US : c->overdue;
    c->from = c->left ? s->now + JOIN_US : c->overdue;
    return true;
}

/* What is due, or in company: what may join. True: something leaves. */
static bool look_at_all(struct sender *s, bool company)
{
    struct thin *t = &s->thin;
    uint64_t before = s->n.copies;
    unsigned keep = 0;

    for (unsigned i = 0; i < t->n; i++) {
        struct thin_copy c = t->v[i];

        if ((company ? c.from : c.due) > s->now || look(s, &c, company || s->n.copies != before))
            t->v[keep++] = c;
    }
    t->n = keep;
    return s->n.copies != before;
}

void sender_thin_flush(struct sender *s, bool company)
{
    learn(s);
    if (company || look_at_all(s, false))
        look_at_all(s, true);
}

static struct thin_copy *copy_of(struct sender *s, uint32_t sn)
{
    for (unsigned i = 0; i < s->thin.n; i++)
        if (s->thin.v[i].sn == sn && !s->thin.v[i].repair)
            return &s->thin.v[i];
    return NULL;
}

/* Whatever the peer sends says which segment it waits for: of that one, all that left a round trip ago is lost. What may still
 * come is made up to as many as a new message gets copies, for by now others wait behind it. */
void sender_thin_heard(struct sender *s)
{
    uint64_t wait = s->srtt + sender_reo(s);
    uint32_t sn = arq_state(s->p.arq)->snd_una;
    struct thin_copy *c = sender_knows_loss(s) && sender_is_thin(s) ? copy_of(s, sn) : NULL;

    if (!c || s->now - c->born < wait || sender_rec_under_way(s, sn, s->now - wait) + c->left >= copies_wanted(s))
        return;
    c->left++;
    c->nth = 0;
    c->due = c->from = s->now;
    c->overdue = overdue(s);
}

void sender_thin_earn(struct sender *s, size_t bytes)
{
    struct thin *t = &s->thin;
    double factor = s->p.redundancy * (1 + bare_repairs * sender_thin_loss(s)) - 1;

    if (s->p.redundancy <= 1)
        return;
    t->tokens += (int64_t)((double)bytes * MAX(factor, 0));
    t->tokens += (int64_t)(MIN(s->now - t->earned, (uint64_t)EARN_US) * FLOOR / 1000000);
    t->earned = s->now;
    t->tokens = MIN(t->tokens, (int64_t)TOKENS_MAX);
}

uint64_t sender_thin_due(const struct sender *s)
{
    uint64_t t = UINT64_MAX;

    for (unsigned i = 0; i < s->thin.n; i++)
        t = MIN(t, s->thin.v[i].due);
    return t;
}
