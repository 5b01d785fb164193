/* daemon/log_limit.c - token buckets for each place that logs, and for each source at a place. */
#include "daemon/log_limit.h"

#include <pthread.h>
#include <stddef.h>

struct source {
    struct log_site *site; /* NULL: the slot is free */
    uint64_t source, full_us;
    uint32_t held;
};

static _Atomic(struct log_site *) sites; /* those that ever held back something */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of: */
static struct source sources[LOG_SOURCES];

/* Where the bucket will be full again once it has given a token; 0: it has none. */
static uint64_t take(uint64_t full_us, uint64_t now_us, uint64_t burst, uint64_t refill_us)
{
    uint64_t next = (full_us > now_us ? full_us : now_us) + refill_us;

    return next > now_us + burst * refill_us ? 0 : next;
}

bool log_site_pass(struct log_site *s, uint64_t now_us, uint32_t *held)
{
    uint64_t full = s->full_us, next;

    do {
        next = take(full, now_us, LOG_BURST, LOG_REFILL_US);
        if (!next) {
            s->held++;
            return false;
        }
    } while (!atomic_compare_exchange_weak(&s->full_us, &full, next));
    *held = atomic_exchange(&s->held, 0);
    return true;
}

/* The slot of a source; another one in it makes way, and its count goes to its place. */
static struct source *slot_of(struct log_site *s, uint64_t source)
{
    uint64_t x = (source ^ (uint64_t)(uintptr_t)s) * UINT64_C(0x9e3779b97f4a7c15);
    struct source *slot = &sources[(x >> 32) % LOG_SOURCES];

    if (slot->site != s || slot->source != source) {
        if (slot->held)
            slot->site->held += slot->held;
        *slot = (struct source){.site = s, .source = source};
    }
    return slot;
}

bool log_source_pass(struct log_site *s, uint64_t source, uint64_t now_us, uint32_t *held)
{
    struct source *slot;
    uint32_t before = 0;
    uint64_t next;

    pthread_mutex_lock(&lock);
    slot = slot_of(s, source);
    next = take(slot->full_us, now_us, LOG_SOURCE_BURST, LOG_SOURCE_REFILL_US);
    if (next) {
        before = slot->held;
        slot->held = 0;
        slot->full_us = next;
    } else {
        slot->held++;
    }
    pthread_mutex_unlock(&lock);
    if (!next)
        return false;
    if (!log_site_pass(s, now_us, held)) {
        s->held += before;
        return false;
    }
    *held += before;
    return true;
}

void log_site_list(struct log_site *s, int level, const char *fmt)
{
    if (atomic_exchange(&s->listed, true))
        return;
    s->fmt = fmt;
    s->level = level;
    s->next = sites;
    while (!atomic_compare_exchange_weak(&sites, &s->next, s))
        ;
}

static bool is_quiet(uint64_t full_us, uint64_t now_us, uint64_t burst, uint64_t refill_us)
{
    return full_us <= now_us + burst * refill_us / 2;
}

/* What is known of quiet sources becomes the place's. */
static void collect(uint64_t now_us)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < LOG_SOURCES; i++) {
        struct source *s = &sources[i];

        if (!s->held || !is_quiet(s->full_us, now_us, LOG_SOURCE_BURST, LOG_SOURCE_REFILL_US))
            continue;
        s->site->held += s->held;
        s->held = 0;
    }
    pthread_mutex_unlock(&lock);
}

const struct log_site *log_limit_quiet(uint64_t now_us, uint32_t *held)
{
    collect(now_us);
    for (struct log_site *s = sites; s; s = s->next) {
        if (s->held && is_quiet(s->full_us, now_us, LOG_BURST, LOG_REFILL_US)) {
            *held = atomic_exchange(&s->held, 0);
            return s;
        }
    }
    return NULL;
}
