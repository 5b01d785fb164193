/* daemon/edition_wait.c - who waits for whom. */
#include "daemon/edition_wait.h"

#include "core/base/err.h"
#include "daemon/plan.h"

#include <stdio.h>
#include <stdlib.h>

bool edition_has_sockets(const struct roster_entry *e, const struct conf_profile *c)
{
    return e && e->plan && !e->removed && sockets_fit(e->plan->sockets, c);
}

/* ---- who leaves ---- */

static const struct sockets *held_by(const struct conf_change *ch, struct roster_entry *const running[])
{
    return ch->from == CONF_NONE ? NULL : running[ch->from]->held;
}

int leavers_init(struct leavers *l, const struct conf_diff *d, struct roster_entry *const running[],
                 const struct conf *c)
{
    unsigned n = 0;

    for (unsigned i = 0; i < d->n; i++)
        for (const struct sockets *s = held_by(&d->v[i], running); s; s = s->next)
            n++;
    *l = (struct leavers){.v = calloc(n + 1u, sizeof *l->v)};
    if (!l->v)
        return err_here(-ENOMEM);
    for (unsigned i = 0; i < d->n; i++) {
        const struct conf_profile *to = d->v[i].to == CONF_NONE ? NULL : &c->profiles[d->v[i].to];

        for (const struct sockets *s = held_by(&d->v[i], running); s; s = s->next) {
            const struct roster_entry *e = running[d->v[i].from];

            if (!to || s != e->plan->sockets || !edition_has_sockets(e, to))
                l->v[l->n++] = (struct leaver){e, s};
        }
    }
    return 0;
}

void leavers_fini(struct leavers *l)
{
    free(l->v);
    *l = (struct leavers){0};
}

const struct leaver *leavers_find(const struct leavers *l, const struct roster_entry *e, const struct conf_profile *c)
{
    for (unsigned i = 0; i < l->n; i++)
        if (l->v[i].e != e && sockets_in_way(l->v[i].s, c))
            return &l->v[i];
    return NULL;
}

/* ---- who waits ---- */

void edition_waits_fini(struct edition_waits *w)
{
    for (unsigned i = 0; i < w->n; i++)
        free(w->v[i].text);
    free(w->v);
    *w = (struct edition_waits){0};
}

int edition_waits_add(struct edition_waits *w, const struct roster_entry *e, const struct leaver *x,
                      const struct conf_profile *c)
{
    struct edition_wait *v = reallocarray(w->v, w->n + 1, sizeof *v);
    char at[256], *text;

    if (!v)
        return err_here(-ENOMEM);
    w->v = v;
    addr_text_print(&x->s->at, at, sizeof at);
    if (asprintf(&text, "%s: it waits: on %s there are sessions of %s, after whose end it listens there", c->name, at,
                 x->e->conf->name) < 0)
        return err_here(-ENOMEM);
    v[w->n++] = (struct edition_wait){
        .who = e ? e->id : EDITION_WAIT_NEW,
        .holder = x->e->id,
        .set = x->s->id,
        .moves = !x->e->removed && x->s == x->e->plan->sockets,
        .text = text,
    };
    return 0;
}

/* What has to happen before tunnel `who` lets go of what it has. NULL: nothing. */
static const struct edition_wait *wait_of(const struct edition_waits *w, uint64_t who)
{
    for (unsigned i = 0; i < w->n; i++)
        if (w->v[i].who == who)
            return w->v[i].moves ? &w->v[i] : NULL;
    return NULL;
}

int edition_waits_check(const struct edition_waits *w, const struct roster *r)
{
    for (unsigned i = 0; i < w->n; i++) {
        const struct edition_wait *x = w->v[i].moves ? &w->v[i] : NULL;

        for (unsigned k = 0; x && x->holder != w->v[i].who && k < w->n; k++)
            x = wait_of(w, x->holder);
        if (x && x->holder == w->v[i].who) {
            err_say(0, "%s and %s want what the other listens on: move one of them elsewhere first",
                    roster_by_id(r, x->holder)->conf->name, roster_by_id(r, w->v[i].holder)->conf->name);
            return -EADDRINUSE;
        }
    }
    return 0;
}

bool edition_waits_any_over(const struct edition_waits *w, const struct roster *r)
{
    for (unsigned i = 0; i < w->n; i++)
        if (!roster_holds(r, w->v[i].holder, w->v[i].set))
            return true;
    return false;
}
