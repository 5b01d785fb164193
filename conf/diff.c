/* conf/diff.c - profiles matched by what they are called, then by where they listen; sorted, so that 10,000 take no longer
 * than they must. */
#include "conf/diff.h"

#include "conf/schema.h"
#include "core/base/err.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)CONF_NAMES_MAX >= (int)CONF_KEYS_MAX, "every key may differ");

struct item { /* a profile of either side that has no partner yet */
    const struct conf_profile *p;
    unsigned index;
};

static const struct addr_text *address(const struct conf_profile *p)
{
    return p->role == CONF_SERVER ? &p->listen : &p->localaddr;
}

static int compare_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) : (a != NULL) - (b != NULL);
}

static int by_name(const void *a, const void *b)
{
    const struct conf_profile *p = ((const struct item *)a)->p, *q = ((const struct item *)b)->p;

    return p->role != q->role ? (int)p->role - (int)q->role : strcmp(p->name, q->name);
}

static int by_address(const void *a, const void *b)
{
    const struct conf_profile *p = ((const struct item *)a)->p, *q = ((const struct item *)b)->p;
    const struct addr_text *x = address(p), *y = address(q);
    int r = p->role != q->role ? (int)p->role - (int)q->role : compare_text(x->path, y->path);

    r = r ? r : compare_text(x->host, y->host);
    r = r ? r : x->port_min - y->port_min;
    return r ? r : x->port_max - y->port_max;
}

/* Compares partners key by key. */
static struct conf_change compare(const struct item *from, const struct item *to)
{
    const struct conf_profile *p = from->p, *q = to->p;
    unsigned where = p->role == CONF_SERVER ? IN_SERVER : IN_CLIENT;
    struct conf_change c = {.from = from->index, .to = to->index, .differs = strcmp(p->name, q->name) != 0};

    for (unsigned i = 0; i < conf_n_keys; i++) {
        const struct conf_key *k = &conf_keys[i];

        if (!(k->where & where) || conf_key_equal(k, p, q))
            continue;
        c.differs = true;
        c.renew = c.renew || k->when == CONF_NEW_SESSIONS;
    }
    return c;
}

static void note(struct conf_diff *d, struct conf_change c)
{
    d->v[d->n++] = c;
    if (c.from == CONF_NONE)
        d->added++;
    else if (c.to == CONF_NONE)
        d->removed++;
    else if (c.differs)
        d->changed++;
    else
        d->kept++;
}

/* Takes partners out of both lists, which keep the rest. */
static void match(struct conf_diff *d, struct item *from, unsigned *n_from, struct item *to, unsigned *n_to,
                  int (*by)(const void *, const void *))
{
    unsigned i = 0, j = 0, left_from = 0, left_to = 0;

    qsort(from, *n_from, sizeof *from, by);
    qsort(to, *n_to, sizeof *to, by);
    while (i < *n_from && j < *n_to) {
        int r = by(&from[i], &to[j]);

        if (r < 0)
            from[left_from++] = from[i++];
        else if (r > 0)
            to[left_to++] = to[j++];
        else
            note(d, compare(&from[i++], &to[j++]));
    }
    while (i < *n_from)
        from[left_from++] = from[i++];
    while (j < *n_to)
        to[left_to++] = to[j++];
    *n_from = left_from;
    *n_to = left_to;
}

static int by_target(const void *a, const void *b)
{
    unsigned x = ((const struct conf_change *)a)->to, y = ((const struct conf_change *)b)->to;

    return (x > y) - (x < y);
}

int conf_diff(struct conf_diff *d, const struct conf_profile *const running[], unsigned n_running,
              const struct conf *to)
{
    unsigned n_from = n_running, n_to = to->n_profiles;
    struct item *old = calloc((size_t)n_from + n_to + 1, sizeof *old), *new = old + n_from;

    *d = (struct conf_diff){.v = calloc((size_t)n_from + n_to + 1, sizeof *d->v)};
    if (!old || !d->v) {
        free(old);
        conf_diff_fini(d);
        return err_here(-ENOMEM);
    }
    for (unsigned i = 0; i < n_from; i++)
        old[i] = (struct item){running[i], i};
    for (unsigned i = 0; i < n_to; i++)
        new[i] = (struct item){&to->profiles[i], i};
    match(d, old, &n_from, new, &n_to, by_name);
    match(d, old, &n_from, new, &n_to, by_address);
    for (unsigned i = 0; i < n_from; i++)
        note(d, (struct conf_change){.from = old[i].index, .to = CONF_NONE, .differs = true});
    for (unsigned i = 0; i < n_to; i++)
        note(d, (struct conf_change){.from = CONF_NONE, .to = new[i].index, .differs = true});
    free(old);
    qsort(d->v, d->n, sizeof *d->v, by_target);
    return 0;
}

void conf_diff_fini(struct conf_diff *d)
{
    free(d->v);
    *d = (struct conf_diff){0};
}

int conf_keep_unchangeable(struct conf_global *to, const struct conf_global *runs, const char *names[CONF_NAMES_MAX])
{
    int n = 0;

    for (unsigned i = 0; i < conf_n_keys; i++) {
        const struct conf_key *k = &conf_keys[i];
        int r;

        if (!(k->where & IN_GLOBAL) || k->when != CONF_RESTART || conf_key_equal(k, to, runs))
            continue;
        conf_key_fini(k, to);
        memset((char *)to + k->at, 0, k->type->size);
        r = conf_key_copy(k, to, runs);
        if (r)
            return err_pass(r);
        names[n++] = k->name;
    }
    return n;
}
