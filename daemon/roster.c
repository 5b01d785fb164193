/* daemon/roster.c - the table of tunnels by slot. */
#include "daemon/roster.h"

#include "core/base/bytes.h"
#include "daemon/findings.h"
#include "daemon/keyring.h"

#include <stdlib.h>
#include <string.h>

struct slot {
    struct roster_entry *e; /* NULL: free */
    uint32_t uses; /* tunnels it has had */
};

struct roster {
    unsigned n_workers;
    uint64_t changes;
    struct slot *slots;
    unsigned n, cap;
    unsigned free_from; /* no free slot before it */
    struct stats gone; /* of tunnels that are no more: counters only */
    struct stats earlier; /* of the process before an upgrade, in total */
    bool inherited;
};

struct roster *roster_new(unsigned n_workers)
{
    struct roster *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->n_workers = n_workers;
    r->changes = 1;
    return r;
}

static struct roster_entry *entry_free(const struct roster *r, struct roster_entry *e)
{
    if (!e)
        return NULL;
    while (e->held) {
        struct sockets *s = e->held;

        e->held = s->next;
        sockets_put(s);
    }
    plan_put(e->plan);
    for (unsigned i = 0; e->stats && i <= r->n_workers; i++)
        free(e->stats[i]);
    for (unsigned i = 0; e->findings && i < r->n_workers; i++)
        findings_free(e->findings[i]);
    free(e->stats);
    free(e->findings);
    free(e->uses);
    free(e);
    return NULL;
}

struct roster *roster_free(struct roster *r)
{
    for (unsigned i = 0; r && i < r->n; i++)
        entry_free(r, r->slots[i].e);
    if (r)
        free(r->slots);
    free(r);
    return NULL;
}

static bool grow(struct roster *r)
{
    unsigned cap = r->cap ? r->cap * 2 : 16;
    struct slot *v;

    if (r->n < r->cap)
        return true;
    v = reallocarray(r->slots, cap, sizeof *v);
    if (!v)
        return false;
    r->slots = v;
    r->cap = cap;
    return true;
}

static struct stats *stats_new(void)
{
    const size_t size = (sizeof(struct stats) + 63) / 64 * 64; /* written by threads of their own */
    struct stats *s = aligned_alloc(64, size);

    return s ? memset(s, 0, size) : NULL;
}

static struct roster_entry *entry_new(const struct roster *r)
{
    struct roster_entry *e = calloc(1, sizeof *e);

    if (!e || !(e->stats = calloc(r->n_workers + 1u, sizeof(struct stats *))) ||
        !(e->findings = calloc(r->n_workers, sizeof(struct findings *))) ||
        !(e->uses = calloc(r->n_workers, sizeof *e->uses)))
        return entry_free(r, e);
    for (unsigned i = 0; i < r->n_workers; i++) {
        e->stats[i] = stats_new();
        e->findings[i] = findings_new();
        if (!e->stats[i] || !e->findings[i])
            return entry_free(r, e);
    }
    e->stats[r->n_workers] = stats_new();
    return e->stats[r->n_workers] ? e : entry_free(r, e);
}

struct roster_entry *roster_reserve(struct roster *r)
{
    struct roster_entry *e = entry_new(r);
    unsigned slot = r->free_from;

    while (slot < r->n && r->slots[slot].e)
        slot++;
    if (!e || (slot == r->n && !grow(r)))
        return entry_free(r, e);
    if (slot == r->n)
        r->slots[r->n++] = (struct slot){.uses = 0};
    r->slots[slot].e = e;
    r->free_from = slot + 1;
    e->id = (uint64_t)r->slots[slot].uses++ << 32 | slot;
    return e;
}

void roster_drop(struct roster *r, struct roster_entry *e)
{
    unsigned slot = (uint32_t)e->id;

    entry_free(r, e);
    r->changes++;
    r->slots[slot].e = NULL;
    r->free_from = MIN(r->free_from, slot);
}

void roster_set(struct roster *r, struct roster_entry *e, struct plan *p)
{
    r->changes++;
    e->drained = e->plan ? e->drained && !e->removed : p->drained;
    plan_put(e->plan);
    e->plan = plan_ref(p);
    e->conf = &p->conf;
    e->removed = false;
    e->ended = 0;
    if (e->held == p->sockets)
        return;
    p->sockets->next = e->held;
    e->held = sockets_ref(p->sockets);
}

struct roster_entry *roster_entry_at(struct roster *r, unsigned slot)
{
    return slot < r->n ? r->slots[slot].e : NULL;
}

unsigned roster_slots(const struct roster *r)
{
    return r->n;
}

void roster_prune(struct roster *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        struct roster_entry *e = r->slots[i].e;

        for (struct sockets **at = e ? &e->held : NULL, *s; at && (s = *at);) {
            if (atomic_load_explicit(&s->refs, memory_order_acquire) > 1) {
                at = &s->next;
                continue;
            }
            *at = s->next;
            sockets_put(s);
        }
    }
}

bool roster_holds(const struct roster *r, uint64_t id, uint32_t set)
{
    const struct roster_entry *e = roster_by_id(r, id);
    const struct sockets *s = e ? e->held : NULL;

    while (s && s->id != set)
        s = s->next;
    return s;
}

void roster_ended(struct roster *r, uint64_t id)
{
    struct roster_entry *e = roster_entry_at(r, (uint32_t)id);

    if (!e || e->id != id || !e->removed || ++e->ended < r->n_workers)
        return;
    for (unsigned w = 0; w < r->n_workers; w++)
        for (size_t i = 0; i < stats_count; i++)
            if (stats_info[i].kind == 'C')
                stat_add((uint64_t *)(void *)((char *)&r->gone + stats_info[i].offset), stat_get(e->stats[w], i));
    roster_drop(r, e);
}

void roster_drain(struct roster *r, uint64_t id, bool on)
{
    struct roster_entry *e = roster_entry_at(r, (uint32_t)id);

    if (e && e->id == id)
        e->drained = on;
}

/* ---- readers ---- */

const struct roster_entry *roster_next(const struct roster *r, unsigned *at)
{
    while (*at < r->n) {
        const struct roster_entry *e = r->slots[(*at)++].e;

        if (e && e->plan)
            return e;
    }
    return NULL;
}

const struct roster_entry *roster_by_name(const struct roster *r, const char *name)
{
    const struct roster_entry *e, *found = NULL;

    for (unsigned at = 0; (e = roster_next(r, &at));)
        if (!strcmp(e->conf->name, name) && (!found || found->removed))
            found = e;
    return found;
}

const struct roster_entry *roster_by_id(const struct roster *r, uint64_t id)
{
    uint32_t slot = (uint32_t)id;
    const struct roster_entry *e = slot < r->n ? r->slots[slot].e : NULL;

    return e && e->id == id && e->plan ? e : NULL;
}

struct stats roster_stats(const struct roster *r, const struct roster_entry *e)
{
    struct stats sum = {0};

    for (unsigned i = 0; i <= r->n_workers; i++)
        stats_sum(&sum, e->stats[i]);
    return sum;
}

uint64_t roster_changes(const struct roster *r)
{
    return r->changes;
}

struct stats roster_total(const struct roster *r)
{
    struct stats sum = r->gone;
    const struct roster_entry *e;

    stats_sum(&sum, &r->earlier);
    for (unsigned at = 0; (e = roster_next(r, &at));)
        for (unsigned i = 0; i < r->n_workers; i++)
            stats_sum(&sum, e->stats[i]);
    return sum;
}

/* ---- the process before an upgrade ---- */

void roster_inherit(struct roster *r, const char *profile, const struct stats *s)
{
    const struct roster_entry *e = *profile ? roster_by_name(r, profile) : NULL;
    struct stats *to = *profile ? e ? e->stats[r->n_workers] : NULL : &r->earlier;

    r->inherited = true;
    for (size_t i = 0; to && i < STATS_NUMBERS; i++)
        stats_number_put(to, i, stats_number(s, i));
}

static void clear_gauges(struct stats *s)
{
    for (size_t i = 0; i < stats_count; i++)
        if (stats_info[i].kind != 'C')
            stats_put(s, i, 0);
}

void roster_inherited(struct roster *r)
{
    clear_gauges(&r->earlier);
    for (unsigned i = 0; i < r->n; i++)
        if (r->slots[i].e)
            clear_gauges(r->slots[i].e->stats[r->n_workers]);
}

bool roster_has_inherited(const struct roster *r)
{
    return r->inherited;
}
