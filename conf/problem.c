/* conf/problem.c - what is wrong with a configuration, collected for people. */
#include "conf/draft.h"

#include "core/base/utf8.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static bool grow(struct conf_problems *ps)
{
    unsigned cap = ps->cap ? ps->cap * 2 : 8;
    struct conf_problem *v;

    if (ps->n < ps->cap)
        return true;
    v = reallocarray(ps->v, cap, sizeof *v);
    if (!v)
        return false;
    ps->v = v;
    ps->cap = cap;
    return true;
}

static void store(struct conf_problems *ps, bool warning, char *text)
{
    if (text && grow(ps))
        ps->v[ps->n++] = (struct conf_problem){text, warning};
    else
        free(text);
}

void conf_problem_add(struct conf_problems *ps, bool warning, struct place at, const char *fmt, ...)
{
    char *what = NULL, *text = NULL;
    va_list ap;

    if (!warning)
        ps->n_errors++;
    if (ps->n > CONF_PROBLEMS_MAX)
        return;
    if (ps->n == CONF_PROBLEMS_MAX) {
        store(ps, warning, strdup("more problems follow; they are not listed"));
        return;
    }
    va_start(ap, fmt);
    if (vasprintf(&what, fmt, ap) < 0)
        what = NULL;
    va_end(ap);
    if (what &&
        (at.line ? asprintf(&text, "%s:%u: %s", at.file, at.line, what) : asprintf(&text, "%s: %s", at.file, what)) < 0)
        text = NULL;
    free(what);
    if (text)
        utf8_clean(text); /* of names, paths and values, whatever they are: it goes to terminals and into JSON */
    store(ps, warning, text);
}

void conf_problems_fini(struct conf_problems *ps)
{
    for (unsigned i = 0; i < ps->n; i++)
        free(ps->v[i].text);
    free(ps->v);
    *ps = (struct conf_problems){0};
}
