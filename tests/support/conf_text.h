/* tests/support/conf_text.h - loads configurations from text, and checks that what is printed loads again. */
#ifndef SUPPORT_CONF_TEXT_H
#define SUPPORT_CONF_TEXT_H

#include "conf/conf.h"

#include "tests/support/vectors.h"

#include <stdlib.h>
#include <string.h>

/* Loads a text from its own heap block of that size. */
static inline int load(struct conf **cp, const char *text, size_t len, struct conf_problems *ps)
{
    char *copy = memcpy(malloc(len + !len), text, len);
    int r;

    *cp = NULL;
    *ps = (struct conf_problems){0};
    r = conf_load_text(cp, "t.ini", bytes_of(copy, len), ps);
    free(copy);
    assert_int_equal(!r, !!*cp);
    assert_int_equal(!r, !ps->n_errors);
    return r;
}

/* The first problem that is an error, else the first. */
static inline const char *gravest(const struct conf_problems *ps)
{
    for (unsigned i = 0; i < ps->n; i++)
        if (!ps->v[i].warning)
            return ps->v[i].text;
    return ps->n ? ps->v[0].text : "no problem";
}

static inline struct conf *must_load(const char *text)
{
    struct conf_problems ps;
    struct conf *c;

    if (load(&c, text, strlen(text), &ps))
        fail_msg("%s", gravest(&ps));
    conf_problems_fini(&ps);
    return c;
}

static inline char *printed(const struct conf *c, bool show)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    assert_int_equal(conf_print(c, f, show), 0);
    fclose(f);
    return text;
}

/* What is printed loads to an equal conf, and prints the same again. */
static inline void assert_round_trip(const struct conf *c)
{
    char *text = printed(c, true), *again;
    struct conf_problems ps;
    struct conf *d;

    if (load(&d, text, strlen(text), &ps))
        fail_msg("%s in:\n%s", gravest(&ps), text);
    assert_true(conf_equal(c, d));
    again = printed(d, true);
    assert_string_equal(text, again);
    free(again);
    free(text);
    conf_problems_fini(&ps);
    conf_free(d);
}

#endif
