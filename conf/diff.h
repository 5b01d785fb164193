/* conf/diff.h - what differs between the profiles that run and those of a new configuration, and what it takes to go from
 * one to the other. A profile is known by role and name, or, where that is new, by the address it listens on: then it was
 * renamed. */
#ifndef CONF_DIFF_H
#define CONF_DIFF_H

#include "conf/conf.h"

struct conf_change {
    unsigned from, to;            /* indices; CONF_NONE: added, removed */
    bool differs;                 /* any key, or the name */
    bool renew;                   /* a key that counts for new sessions */
};
enum { CONF_NONE = 0xffffffff };

struct conf_diff {                /* zeroed: none */
    struct conf_change *v;        /* every profile of either side once, unchanged ones too; in the order of the new
                                   * configuration, removed ones behind */
    unsigned n, added, changed, removed, kept;
};
/* running[0..n_running): no two with the same role and name. 0, -ENOMEM. */
int conf_diff(struct conf_diff *d, const struct conf_profile *const running[], unsigned n_running, const struct conf *to);
void conf_diff_fini(struct conf_diff *d);

/* Where a key of [global] that needs a restart differs, gives `to` the value of `runs`, and its name to names[]
 * (CONF_NAMES_MAX of room): what is compared next time is what runs. Count of names, -ENOMEM. */
enum { CONF_NAMES_MAX = 96 };
int conf_keep_unchangeable(struct conf_global *to, const struct conf_global *runs, const char *names[CONF_NAMES_MAX]);

#endif
