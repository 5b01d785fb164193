/* core/deal.c - new streams keep away from bulk, and bulk from those that were there before. */
#include "core/deal.h"

#include "core/base/bytes.h"
#include "core/stats.h"

#include <stdlib.h>

enum {
    SETTLED_US = 2000 * 1000, /* a stream that lives so long is one to be kept from bulk, if it is none itself */
    WINDOW_US = 500 * 1000,
    LOUD_BYTES = 64 * 1024, /* in a window, all streams together: 1 Mbit/s. With more, losses come too close */
    LOUD_US = 10 * 1000 * 1000, /* bulk that pauses goes on: a film is fetched piece by piece */
};

enum { FITS, SETTLED, LOUD, KINDS }; /* how well a session suits a new stream */

struct deal {
    unsigned n_own, n;
    uint64_t barred_until; /* these and those below: single numbers, read and written by different threads */
    struct {
        uint64_t oldest; /* 0: no streams */
        uint64_t loud_until;
    } v[];
};

struct deal *deal_new(unsigned n_own, unsigned n_extra)
{
    unsigned n = n_own + n_extra;
    struct deal *d = calloc(1, sizeof *d + n * sizeof d->v[0]);

    if (!d)
        return NULL;
    d->n_own = n_own;
    d->n = n;
    return d;
}

struct deal *deal_free(struct deal *d)
{
    free(d);
    return NULL;
}

unsigned deal_places(const struct deal *d)
{
    return d->n;
}

/* Most turns of a session change nothing: the line stays shared. */
static void put(uint64_t *to, uint64_t v)
{
    if (stat_read(to) != v)
        stat_set(to, v);
}

void deal_tell(struct deal *d, unsigned place, struct tick oldest, struct tick loud_until)
{
    if (place >= d->n)
        return;
    put(&d->v[place].oldest, oldest.us == TICK_NEVER.us ? 0 : MAX(oldest.us, 1));
    put(&d->v[place].loud_until, loud_until.us);
}

void deal_bar(struct deal *d, struct tick until)
{
    put(&d->barred_until, until.us);
}

static unsigned kind_of(const struct deal *d, unsigned i, struct tick now)
{
    uint64_t oldest = stat_read(&d->v[i].oldest);

    if (!oldest)
        return FITS;
    if (now.us < stat_read(&d->v[i].loud_until))
        return LOUD;
    return tick_since_us(now, (struct tick){oldest}) >= SETTLED_US ? SETTLED : FITS;
}

/* The client's own come first, each in its turn; extra ones in order, so that few are in use. */
unsigned deal_choose(const struct deal *d, unsigned turn, struct tick now)
{
    bool barred = now.us < stat_read(&d->barred_until);
    unsigned best = turn % d->n_own, least = KINDS;

    for (unsigned i = 0; i < d->n && least != FITS; i++) {
        unsigned at = i < d->n_own ? (turn + i) % d->n_own : i, kind = kind_of(d, at, now);

        if (kind >= least || (at >= d->n_own && barred && !stat_read(&d->v[at].oldest)))
            continue;
        least = kind;
        best = at;
    }
    return best;
}

void deal_meter_add(struct deal_meter *m, size_t bytes, struct tick now)
{
    if (tick_since_us(now, m->since) >= WINDOW_US) {
        m->since = now;
        m->bytes = 0;
    }
    if (m->bytes <= LOUD_BYTES && m->bytes + bytes > LOUD_BYTES)
        m->loud_until = tick_add_us(now, LOUD_US);
    m->bytes += bytes;
}
