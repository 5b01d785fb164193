/* daemon/edition.c - plans for what differs. */
#include "daemon/edition.h"

#include "core/base/err.h"
#include "daemon/edition_wait.h"
#include "daemon/elder.h"
#include "daemon/own_names.h"

#include <stdlib.h>

/* The sockets of a profile: those its tunnel has, if they fit, else new ones. NULL: err_text() says why. */
static struct sockets *get_sockets(const struct roster_entry *e, const struct conf_profile *c, bool drained,
                                   const struct edition_params *p)
{
    const struct sockets_params sp = {
        .conf = c,
        .tunnel = e->id,
        .n_workers = p->n_workers,
        .home = (uint32_t)e->id % p->n_workers,
        .closed = drained,
        .held = e->held,
        .elder = p->elder,
        .names = p->names,
    };
    struct sockets *s = NULL;

    if (edition_has_sockets(e, c))
        return sockets_ref(e->plan->sockets);
    return sockets_open(&s, &sp) ? NULL : s;
}

static int add_plan(struct edition *ed, const struct roster_entry *e, const struct conf_profile *c, bool renew,
                    const struct edition_params *p)
{
    bool drained = !e->plan && elder_take_drained(p->elder, c->name);
    struct sockets *s = get_sockets(e, c, drained, p);
    struct plan *plan;

    if (!s)
        return err_pass(-EADDRINUSE);
    plan = plan_new(e->id, c, p->secrets, s);
    if (!plan)
        return err_here(-ENOMEM);
    plan->stats = e->stats;
    plan->findings = e->findings;
    plan->uses = e->uses;
    plan->renew = renew;
    plan->drained = drained;
    ed->v[ed->n++].plan = plan;
    return 0;
}

/* What the workers have to do for one change. 0, -errno. */
static int add_change(struct edition *ed, const struct conf_change *ch, struct roster_entry *e, const struct conf *c,
                      const struct edition_params *p)
{
    int r;

    if (ch->to == CONF_NONE) {
        if (e->removed)
            return 0;
        ed->v[ed->n].remove = true;
        ed->v[ed->n++].plan = plan_ref(e->plan);
        return 0;
    }
    if (e && !ch->differs && !e->removed && !atomic_load(&e->plan->sockets->broken))
        return 0;
    if (!e && !(e = roster_reserve(p->roster)))
        return err_here(-ENOMEM);
    r = add_plan(ed, e, &c->profiles[ch->to], ch->renew, p);
    if (r && ch->from == CONF_NONE)
        roster_drop(p->roster, e);
    return r;
}

/* Entries that run or drain, and their profiles. Count. */
static unsigned list_running(struct roster *r, struct roster_entry **entries, const struct conf_profile **profiles)
{
    unsigned n = 0;

    for (unsigned i = 0; i < roster_slots(r); i++) {
        struct roster_entry *e = roster_entry_at(r, i);

        if (!e)
            continue;
        entries[n] = e;
        profiles[n++] = e->conf;
    }
    return n;
}

/* All changes but those that have to wait, which are no more in d. 0, -errno. */
static int add_changes(struct edition *ed, struct conf_diff *d, struct roster_entry *const running[],
                       const struct conf *c, const struct edition_params *p)
{
    struct leavers l;
    int r = leavers_init(&l, d, running, c);

    for (unsigned i = 0; i < d->n && !r; i++) {
        struct conf_change *ch = &d->v[i];
        struct roster_entry *e = ch->from == CONF_NONE ? NULL : running[ch->from];
        const struct conf_profile *to = ch->to == CONF_NONE ? NULL : &c->profiles[ch->to];
        const struct leaver *x = to && !edition_has_sockets(e, to) ? leavers_find(&l, e, to) : NULL;

        if (p->busy)
            p->busy(p->ctx);
        if (!x) {
            r = add_change(ed, ch, e, c, p);
            continue;
        }
        r = edition_waits_add(p->waits, e, x, to);
        if (ch->from == CONF_NONE)
            d->added--;
        else if (ch->differs)
            d->changed--;
        else
            d->kept--;
        *ch = (struct conf_change){.from = CONF_NONE, .to = CONF_NONE};
    }
    if (!r)
        r = edition_waits_check(p->waits, p->roster);
    leavers_fini(&l);
    return r;
}

/* A tunnel that drains was counted when its profile was removed: without a partner it is no news, with one it is added. */
static void recount(struct conf_diff *d, struct roster_entry *const running[])
{
    for (unsigned i = 0; i < d->n; i++) {
        const struct conf_change *ch = &d->v[i];

        if (ch->from == CONF_NONE || !running[ch->from]->removed)
            continue;
        if (ch->to == CONF_NONE) {
            d->removed--;
            continue;
        }
        d->added++;
        if (ch->differs)
            d->changed--;
        else
            d->kept--;
    }
}

/* What runs, by index as in conf_change.from, and how c differs from that. 0, -errno: nothing is the caller's. */
static int compare(struct roster_entry ***running, struct conf_diff *d, const struct conf *c, struct roster *roster)
{
    unsigned slots = roster_slots(roster);
    struct roster_entry **v = calloc(slots + 1u, sizeof(struct roster_entry *));
    const struct conf_profile **profiles = calloc(slots + 1u, sizeof(struct conf_profile *));
    int r = v && profiles ? conf_diff(d, profiles, list_running(roster, v, profiles), c) : err_here(-ENOMEM);

    free(profiles);
    if (r)
        free(v);
    else
        *running = v;
    return r;
}

int edition_names(const struct conf *c, const struct edition_params *p)
{
    struct roster_entry **running;
    struct conf_diff d;
    int r = compare(&running, &d, c, p->roster);

    if (r)
        return err_pass(r);
    for (unsigned i = 0; i < d.n && !r; i++) {
        const struct conf_profile *to = d.v[i].to == CONF_NONE ? NULL : &c->profiles[d.v[i].to];
        const char *host = !to ? NULL : to->role == CONF_SERVER ? to->listen.host : to->localaddr.host;

        if (host && !edition_has_sockets(d.v[i].from == CONF_NONE ? NULL : running[d.v[i].from], to))
            r = own_names_ask(p->names, host);
    }
    conf_diff_fini(&d);
    free(running);
    return r ? err_pass(r) : 0;
}

int edition_new(struct edition **ep, struct conf_diff *d, const struct conf *c, const struct edition_params *p)
{
    struct roster_entry **running;
    struct edition *ed;
    int r = compare(&running, d, c, p->roster);

    if (r)
        return err_pass(r);
    ed = calloc(1, sizeof *ed + d->n * sizeof ed->v[0]);
    if (ed)
        ed->number = p->number;
    else
        r = err_here(-ENOMEM);
    if (!r)
        r = add_changes(ed, d, running, c, p);
    if (!r)
        recount(d, running);
    free(running);
    if (r) {
        conf_diff_fini(d);
        edition_abandon(ed, p->roster);
        return err_pass(r);
    }
    *ep = ed;
    return 0;
}

void edition_abandon(struct edition *e, struct roster *r)
{
    for (unsigned i = 0; e && i < e->n; i++) {
        struct roster_entry *x = roster_entry_at(r, (uint32_t)e->v[i].plan->id);

        if (!x->plan)
            roster_drop(r, x);
    }
    edition_free(e);
}

void edition_commit(struct edition *e, struct roster *r)
{
    for (unsigned i = 0; i < e->n; i++) {
        struct roster_entry *x = roster_entry_at(r, (uint32_t)e->v[i].plan->id);

        if (e->v[i].remove)
            x->removed = true;
        else
            roster_set(r, x, e->v[i].plan);
    }
}
