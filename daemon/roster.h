/* daemon/roster.h - main's list of tunnels: one per profile that runs, and those of removed profiles until their last
 * stream has ended. A tunnel keeps its id for life, over any number of reloads, and no id is used twice. Main thread only,
 * but for the counters, which workers write. */
#ifndef DAEMON_ROSTER_H
#define DAEMON_ROSTER_H

#include "conf/conf.h"
#include "core/stats.h"

struct findings;
struct key_uses;
struct plan;
struct roster;
struct sockets;

struct roster_entry {
    uint64_t id;                  /* slot in the low half; as in session_row.tunnel */
    const struct conf_profile *conf; /* as it runs; changes with a reload: do not keep */
    bool removed;                 /* not in the configuration any more: it drains */
    bool drained;                 /* it takes nothing new, by command */
    unsigned ended;               /* workers that have ended their part */
    struct stats **stats;         /* by worker; behind the last one, main's: of the process before an upgrade */
    struct findings **findings;   /* by worker */
    struct key_uses *uses;        /* by worker; theirs (keyring.h) */
    struct plan *plan;            /* the newest; a reference */
    struct sockets *held;         /* every set that may still be open, newest first; references */
};

/* Entries, valid until the next reload, in order of their slots: *at starts at 0. NULL: no more. */
const struct roster_entry *roster_next(const struct roster *r, unsigned *at);
const struct roster_entry *roster_by_name(const struct roster *r, const char *name); /* a removed one only if no other */
const struct roster_entry *roster_by_id(const struct roster *r, uint64_t id);        /* NULL: it is gone */
struct stats roster_stats(const struct roster *r, const struct roster_entry *e);     /* the sum over workers */
uint64_t roster_changes(const struct roster *r);      /* grows whenever an entry comes, changes or goes; never 0 */
/* Adds up all tunnels, those that are gone included: counters never go back. */
struct stats roster_total(const struct roster *r);

/* It takes nothing new, or does again; for those who ask. */
void roster_drain(struct roster *r, uint64_t id, bool on);

/* Counters of the process before an upgrade go on in ours. Of a profile, or, "", of all it ever had; as it last told. */
void roster_inherit(struct roster *r, const char *profile, const struct stats *s);
void roster_inherited(struct roster *r);              /* it is no more: what it had open is not */
bool roster_has_inherited(const struct roster *r);

/* ---- for reload.c ---- */
struct roster *roster_new(unsigned n_workers);        /* NULL: out of memory */
struct roster *roster_free(struct roster *r);
/* An entry without a plan, invisible until roster_set(). Pointers to others are void. NULL: out of memory. */
struct roster_entry *roster_reserve(struct roster *r);
void roster_drop(struct roster *r, struct roster_entry *e); /* reserved, and not wanted */
/* It runs by p from now on, removed or not before; takes a reference. */
void roster_set(struct roster *r, struct roster_entry *e, struct plan *p);
struct roster_entry *roster_entry_at(struct roster *r, unsigned slot);
unsigned roster_slots(const struct roster *r);
bool roster_holds(const struct roster *r, uint64_t id, uint32_t set); /* the tunnel may have that set open */
/* A worker has ended its part of a removed tunnel: with the last the entry goes, and its counters into the total. */
void roster_ended(struct roster *r, uint64_t id);
void roster_prune(struct roster *r);                  /* forgets sockets that nobody else uses */

#endif
