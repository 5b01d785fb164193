/* conf/conf.c - loading as a whole: files to a draft (conf/load.c), defaults filled in, checked (conf/check.c). */
#include "conf/load.h"

#include "core/base/err.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* kcptun's presets; `manual` keeps what the four keys say. */
static const struct {
    uint32_t nodelay, interval, resend, nc;
} presets[] = {
    [CONF_NORMAL] = {0, 40, 2, 1}, [CONF_FAST] = {0, 30, 2, 1}, [CONF_FAST2] = {1, 20, 2, 1},
    [CONF_FAST3] = {1, 10, 2, 1},  [CONF_AUTO] = {0, 0, 0, 0}, /* has no use for them */
};

static unsigned role_where(enum conf_role role)
{
    return role == CONF_SERVER ? IN_SERVER : IN_CLIENT;
}

void conf_profile_fini(struct conf_profile *p)
{
    for (unsigned i = 0; i < conf_n_keys; i++)
        if (conf_keys[i].where & IN_BOTH)
            conf_key_fini(&conf_keys[i], p);
    free(p->name);
    free(p->file);
    *p = (struct conf_profile){0};
}

void conf_paths_fini(struct conf_paths *p)
{
    for (unsigned i = 0; i < p->n; i++)
        free(p->v[i]);
    free(p->v);
    *p = (struct conf_paths){0};
}

static void global_fini(struct conf_global *g)
{
    for (unsigned i = 0; i < conf_n_keys; i++)
        if (conf_keys[i].where & IN_GLOBAL)
            conf_key_fini(&conf_keys[i], g);
}

struct conf *conf_free(struct conf *c)
{
    if (!c)
        return NULL;
    for (unsigned i = 0; i < c->n_profiles; i++)
        conf_profile_fini(&c->profiles[i]);
    global_fini(&c->global);
    free(c->profiles);
    free(c);
    return NULL;
}

/* Marks the keys of `where` that d gives, by themselves or because the row below, the keyfile, has the same field. */
static void mark_given(const struct draft *d, unsigned where, bool given[CONF_KEYS_MAX])
{
    for (unsigned i = 0; i < conf_n_keys; i++)
        given[i] = (conf_keys[i].where & where) && d->at[i].file;
    for (unsigned i = 0; i + 1 < conf_n_keys; i++)
        if (conf_keys[i + 1].type == &conf_keyfile)
            given[i] = given[i] || given[i + 1];
}

/* Sets the keys of `where` that are not given to the table's defaults. 0, -ENOMEM. */
static int fill_builtin(void *base, const struct draft *d, unsigned where, enum conf_role role)
{
    bool given[CONF_KEYS_MAX];
    char why[CONF_WHY_MAX];

    mark_given(d, where, given);
    for (unsigned i = 0; i < conf_n_keys; i++) {
        const struct conf_key *k = &conf_keys[i];
        int r;

        if (!(k->where & where) || !k->def[role] || given[i])
            continue;
        r = k->type->parse(k, base, k->def[role], why);
        assert(r <= 0);
        if (r)
            return err_pass(r);
    }
    return 0;
}

/* Copies the keys of `where` that are given (or, for `unless`, those that are not). 0, -ENOMEM. */
static int fill_from(struct conf_profile *to, const struct conf_profile *from, const struct draft *d, unsigned where,
                     bool unless)
{
    bool given[CONF_KEYS_MAX];

    mark_given(d, where, given);
    for (unsigned i = 0; i < conf_n_keys; i++) {
        int r;

        if (!(conf_keys[i].where & where) || given[i] == unless)
            continue;
        r = conf_key_copy(&conf_keys[i], to, from);
        if (r)
            return err_pass(r);
    }
    return 0;
}

void conf_apply_mode(struct conf_profile *p)
{
    if (p->mode == CONF_MANUAL)
        return;
    p->nodelay = presets[p->mode].nodelay;
    p->interval = presets[p->mode].interval;
    p->resend = presets[p->mode].resend;
    p->nc = presets[p->mode].nc;
}

/* Notes which windows and buffers the profile or [defaults] gives. */
static void note_ceilings(const struct loader *l, unsigned i)
{
    for (unsigned n = 0; n < conf_n_ceilings; n++) {
        const char *name = conf_ceilings[n].name;

        if (conf_draft_has(&l->drafts[i], name, IN_BOTH) || conf_draft_has(&l->defaults, name, IN_BOTH))
            l->c->profiles[i].given |= 1u << n;
    }
}

int conf_apply_ceilings(struct conf_profile *p)
{
    char why[CONF_WHY_MAX];

    for (unsigned n = 0; n < conf_n_ceilings; n++) {
        const struct conf_ceiling *c = &conf_ceilings[n];
        const struct conf_key *k = conf_key_find(c->name, IN_BOTH);
        int r;

        if (p->given & 1u << n)
            continue;
        r = k->type->parse(k, p, p->mode == CONF_AUTO ? c->text : k->def[p->role], why);
        assert(r <= 0);
        if (r)
            return err_pass(r);
        if (p->mode == CONF_AUTO && !strcmp(c->name, "streambuf"))
            p->streambuf = MIN(p->streambuf, p->smuxbuf);
    }
    return 0;
}

/* Gives every profile of one role what it did not say: from [defaults], else from the table. 0, -ENOMEM. */
static int fill_role(struct loader *l, enum conf_role role)
{
    struct conf_profile values = {.role = role};
    unsigned where = role_where(role);
    int r;

    r = fill_from(&values, &l->base, &l->defaults, where, false);
    if (!r)
        r = fill_builtin(&values, &l->defaults, where, role);
    for (unsigned i = 0; !r && i < l->c->n_profiles; i++)
        if (l->c->profiles[i].role == role) {
            r = fill_from(&l->c->profiles[i], &values, &l->drafts[i], where, true);
            conf_apply_mode(&l->c->profiles[i]);
            note_ceilings(l, i);
            if (!r)
                r = conf_apply_ceilings(&l->c->profiles[i]);
        }
    conf_profile_fini(&values);
    return r ? err_pass(r) : 0;
}

/* The four keys of mode manual in [defaults], where no profile is of that mode. */
static void check_defaults(struct loader *l)
{
    for (unsigned i = 0; i < l->c->n_profiles; i++)
        if (l->c->profiles[i].mode == CONF_MANUAL)
            return;
    conf_check_manual(&l->defaults, "no profile is of mode manual", l->ps);
}

/* Fills in and checks what was read. 0, -ENOMEM. */
static int finish(struct loader *l)
{
    struct conf *c = l->c;
    int r = fill_builtin(&c->global, &l->global, IN_GLOBAL, 0);

    if (!r)
        r = fill_role(l, CONF_SERVER);
    if (!r)
        r = fill_role(l, CONF_CLIENT);
    if (r)
        return err_pass(r);
    if (!l->global.bad)
        conf_check_global(&c->global, &l->global, l->ps);
    if (l->defaults.bad)
        return 0; /* nothing that follows from values can be said */
    for (unsigned i = 0; i < c->n_profiles; i++)
        if (!l->drafts[i].bad)
            conf_check_profile(&c->profiles[i], &l->drafts[i], l->ps);
    check_defaults(l);
    return conf_check_addrs(c, l->drafts, &l->global, l->ps);
}

/* Takes l->c: gives it to *cp or frees it. */
static int settle(struct loader *l, int r, const char *path, struct conf **cp)
{
    struct place file = {path, 0};

    if (!r && !l->r) {
        r = finish(l);
        if (!r && !l->c->n_profiles && !l->ps->n_errors)
            conf_problem_add(l->ps, true, file, "no [server NAME] and no [client NAME]: nothing to do");
    }
    if (l->r)
        r = l->r;
    if (!r && l->ps->n_errors)
        r = CONF_INVALID;
    if (r < 0 && !l->ps->n_errors)
        conf_problem_add(l->ps, false, file, "%s", strerror(-r));
    conf_profile_fini(&l->base);
    conf_loader_fini(l);
    if (r)
        l->c = conf_free(l->c);
    else
        *cp = l->c;
    return r;
}

static int start(struct loader *l, struct conf_problems *ps)
{
    *l = (struct loader){.ps = ps, .c = calloc(1, sizeof *l->c)};
    return l->c ? 0 : err_here(-ENOMEM);
}

int conf_load(struct conf **cp, const char *path, struct conf_problems *ps)
{
    return conf_load_noting(cp, path, ps, NULL);
}

int conf_load_noting(struct conf **cp, const char *path, struct conf_problems *ps, struct conf_paths *paths)
{
    struct loader l;
    int r = start(&l, ps);

    if (r)
        return r;
    l.paths = paths;
    r = conf_read_file(&l, path, (struct place){0});
    return settle(&l, r, path, cp);
}

int conf_load_text(struct conf **cp, const char *name, struct bytes text, struct conf_problems *ps)
{
    struct loader l;
    int r = start(&l, ps);

    if (r)
        return r;
    conf_read_text(&l, name, text);
    return settle(&l, 0, name, cp);
}

int conf_load_settings(struct conf **cp, enum conf_role role, const char *name, const struct conf_setting *v,
                       unsigned n, struct conf_problems *ps)
{
    struct loader l;
    int r = start(&l, ps);

    if (r)
        return r;
    conf_read_settings(&l, role, name, v, n);
    return settle(&l, 0, name, cp);
}

static bool same(const void *a, const void *b, unsigned where)
{
    for (unsigned i = 0; i < conf_n_keys; i++)
        if ((conf_keys[i].where & where) && !conf_key_equal(&conf_keys[i], a, b))
            return false;
    return true;
}

bool conf_equal(const struct conf *a, const struct conf *b)
{
    if (a->n_profiles != b->n_profiles || !same(&a->global, &b->global, IN_GLOBAL))
        return false;
    for (unsigned i = 0; i < a->n_profiles; i++) {
        const struct conf_profile *p = &a->profiles[i], *q = &b->profiles[i];

        if (p->role != q->role || strcmp(p->name, q->name) || !same(p, q, role_where(p->role)))
            return false;
    }
    return true;
}
