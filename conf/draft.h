/* conf/draft.h - a configuration while it is being read: what was set where. Internal to conf/. */
#ifndef CONF_DRAFT_H
#define CONF_DRAFT_H

#include "conf/schema.h"

struct place {
    const char *file;             /* NULL: not set */
    unsigned line;
};

struct draft {                    /* of one section */
    struct place at[CONF_KEYS_MAX]; /* where each key was given */
    struct place head;            /* the section line */
    bool bad;                     /* a value was refused: what follows from values is not checked */
};

enum { CONF_PROFILES_MAX = 65536, CONF_PROBLEMS_MAX = 1000 };

/* Adds "FILE:LINE: ..." (line 0: "FILE: ..."). Counts an error even where it cannot be stored. */
void conf_problem_add(struct conf_problems *ps, bool warning, struct place at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Where the row of `name` was set in d, else its section line. */
struct place conf_draft_place(const struct draft *d, const char *name, unsigned where);
bool conf_draft_has(const struct draft *d, const char *name, unsigned where);

/* Sets the four keys of `mode manual` to what another mode says. */
void conf_apply_mode(struct conf_profile *p);

/* Sets windows and buffers that nobody gave to what the mode wants of them. 0, -ENOMEM. */
int conf_apply_ceilings(struct conf_profile *p);

/* The rules between keys of one profile. */
void conf_check_profile(const struct conf_profile *p, const struct draft *d, struct conf_problems *ps);
void conf_check_global(const struct conf_global *g, const struct draft *d, struct conf_problems *ps);
/* Warns of the keys of mode manual that d gives; why says why they do nothing. */
void conf_check_manual(const struct draft *d, const char *why, struct conf_problems *ps);
/* The rules between profiles: no address twice. drafts[i] belongs to profiles[i]. 0, -ENOMEM. */
int conf_check_addrs(const struct conf *c, const struct draft *drafts, const struct draft *global,
                     struct conf_problems *ps);

#endif
