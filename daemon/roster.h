/* daemon/roster.h - main's list of tunnels: one per profile that runs, and those of removed profiles until their last
 * stream has ended. A tunnel keeps its id for life, over any number of reloads, and no id is used twice. Main thread only,
 * but for the counters, which workers write. */
#ifndef DAEMON_ROSTER_H
#define DAEMON_ROSTER_H

#include "conf/conf.h"
#include "core/stats.h"

struct roster;

struct roster_entry {
    uint64_t id;                  /* slot in the low half; as in session_row.tunnel */
    const struct conf_profile *conf; /* as it runs, without secrets; changes with a reload: do not keep */
    bool removed;                 /* not in the configuration any more: it drains */
    unsigned missing;             /* workers that have ended their part */
    struct stats **stats;         /* by worker */
};

/* Entries in order of their slots: *at starts at 0. NULL: no more. */
const struct roster_entry *roster_next(const struct roster *r, unsigned *at);
const struct roster_entry *roster_by_name(const struct roster *r, const char *name); /* a removed one only if no other */
const struct roster_entry *roster_by_id(const struct roster *r, uint64_t id);        /* NULL: it is gone */
struct stats roster_stats(const struct roster *r, const struct roster_entry *e);     /* the sum over workers */
/* Adds up all tunnels, those that are gone included: counters never go back. */
struct stats roster_total(const struct roster *r);

#endif
