/* conf/copy.c - copies of a configuration, and one with another value in it. */
#include "conf/draft.h"

#include "core/base/err.h"

#include <stdlib.h>
#include <string.h>

static unsigned where_of(const struct conf_profile *p)
{
    return p->role == CONF_SERVER ? IN_SERVER : IN_CLIENT;
}

/* Copies the fields of all keys of `where`. 0, -ENOMEM. */
static int copy_keys(void *dst, const void *src, unsigned where)
{
    int r = 0;

    for (unsigned i = 0; i < conf_n_keys && !r; i++)
        if ((conf_keys[i].where & where) && conf_keys[i].type != &conf_keyfile) /* its field is the row's above */
            r = conf_key_copy(&conf_keys[i], dst, src);
    return r ? err_pass(r) : 0;
}

int conf_profile_copy(struct conf_profile *dst, const struct conf_profile *src)
{
    int r;

    *dst = (struct conf_profile){.role = src->role, .line = src->line, .given = src->given, .name = strdup(src->name)};
    dst->file = strdup(src->file);
    r = dst->name && dst->file ? copy_keys(dst, src, where_of(src)) : err_here(-ENOMEM);
    if (r)
        conf_profile_fini(dst);
    return r;
}

int conf_copy(struct conf **cp, const struct conf *from)
{
    struct conf *c = calloc(1, sizeof *c);
    int r = c ? copy_keys(&c->global, &from->global, IN_GLOBAL) : err_here(-ENOMEM);

    if (!r && !(c->profiles = calloc((size_t)from->n_profiles + 1, sizeof *c->profiles)))
        r = err_here(-ENOMEM);
    for (; !r && c->n_profiles < from->n_profiles; c->n_profiles += !r)
        r = conf_profile_copy(&c->profiles[c->n_profiles], &from->profiles[c->n_profiles]);
    if (r)
        conf_free(c);
    else
        *cp = c;
    return r;
}

static const struct place here = {"set", 0};

/* Gives the field of k in base the value that text says. */
static int assign(const struct conf_key *k, void *base, const char *text, struct conf_problems *ps)
{
    char why[CONF_WHY_MAX] = "", *range;
    int r;

    conf_key_fini(k, base);
    memset((char *)base + k->at, 0, k->type->size);
    r = k->type->parse(k, base, text, why);
    if (r != CONF_INVALID)
        return r;
    range = conf_key_range(k);
    conf_problem_add(ps, false, here, "%s: %s; accepted: %s", k->name, why, range ? range : "?");
    free(range);
    return r;
}

static int assign_profile(struct conf_profile *p, const struct conf_key *k, const char *text, struct conf_problems *ps)
{
    struct draft d = {.head = here};
    unsigned before = ps->n_errors;
    int r;

    d.at[k - conf_keys] = here;
    for (unsigned n = 0; n < conf_n_ceilings; n++)
        if (!strcmp(conf_ceilings[n].name, k->name))
            p->given |= 1u << n;
    r = assign(k, p, text, ps);
    if (r)
        return r;
    conf_apply_mode(p);
    r = conf_apply_ceilings(p);
    if (r)
        return err_pass(r);
    conf_check_profile(p, &d, ps);
    return ps->n_errors > before ? CONF_INVALID : 0;
}

static const struct conf_profile *find_profile(const struct conf *c, const char *name)
{
    for (unsigned i = 0; i < c->n_profiles; i++)
        if (!strcmp(c->profiles[i].name, name))
            return &c->profiles[i];
    return NULL;
}

/* The row of key that is meant; NULL, and told: there is none, or a new value needs more than `set`. */
static const struct conf_key *find_key(const struct conf *c, const char *profile, const char *name,
                                       struct conf_problems *ps)
{
    const struct conf_profile *p = profile ? find_profile(c, profile) : NULL;
    const struct conf_key *k = p ? conf_key_find(name, where_of(p)) : NULL;

    if (profile && !p) {
        conf_problem_add(ps, false, here, "%s: no profile of that name", profile);
        return NULL;
    }
    if (!profile) {
        k = conf_key_find(name, IN_GLOBAL);
        k = k ? k : conf_key_find(name, IN_BOTH);
    }
    if (!k)
        conf_problem_add(ps, false, here, "%s: no such key; accepted: keys whose change counts live", name);
    else if (conf_key_may_be_set(k))
        return k;
    else if (k->when == CONF_LIVE)
        conf_problem_add(ps, false, here, "%s: cannot be set while running: it belongs in the file", name);
    else
        conf_problem_add(ps, false, here, "%s: cannot be set while running (a change counts: %s)", name,
                         conf_when_text(k->when));
    return NULL;
}

int conf_assign(struct conf *c, const char *profile, const char *key, const char *text, struct conf_problems *ps)
{
    const struct conf_key *k = find_key(c, profile, key, ps);
    int r = 0;

    if (!k)
        return CONF_INVALID;
    if (k->where == IN_GLOBAL) {
        r = assign(k, &c->global, text, ps);
        return r;
    }
    for (unsigned i = 0; i < c->n_profiles && !r; i++) {
        struct conf_profile *p = &c->profiles[i];

        if ((k->where & where_of(p)) && (!profile || !strcmp(p->name, profile)))
            r = assign_profile(p, k, text, ps);
    }
    return r;
}
