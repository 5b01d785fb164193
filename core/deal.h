/* core/deal.h - which of a client's sessions a new stream is dealt to. A stream stays where it was opened, so this is told from
 * what the streams of each session do: bulk in either direction makes everything else in its session wait for every loss, and
 * nobody knows yet what a new stream will be. So it keeps away from bulk, and from streams that have lived for a while without
 * being such. Beyond the client's own sessions there may be extra ones for that.
 *
 * The table is shared: each session's worker tells of it, the one that deals reads. What it reads may be a moment old. */
#ifndef CORE_DEAL_H
#define CORE_DEAL_H

#include "core/base/tick.h"

#include <stddef.h>

enum { DEAL_EXTRA = 3 };          /* with one of its own: bulk, what lives long, and what is new; once more either of these */

struct deal;

/* Nobody has told anything yet: all sessions are alike. n_own >= 1. NULL: out of memory. */
struct deal *deal_new(unsigned n_own, unsigned n_extra);
struct deal *deal_free(struct deal *d);
unsigned deal_places(const struct deal *d); /* n_own + n_extra */

/* Of the session in a place: when the oldest of its streams was opened (TICK_NEVER: it has none), and until when it counts as
 * carrying bulk. */
void deal_tell(struct deal *d, unsigned place, struct tick oldest, struct tick loud_until);
/* An extra session could not be had: no other is begun until then. */
void deal_bar(struct deal *d, struct tick until);
/* The place of the next stream, the turn-th of all; extra ones come behind the client's own. */
unsigned deal_choose(const struct deal *d, unsigned turn, struct tick now);

struct deal_meter {               /* of a session; zeroed: silent so far */
    struct tick since;            /* of the window being counted */
    uint64_t bytes;               /* in it */
    struct tick loud_until;
};
/* Its streams carried so many bytes, there or here. */
void deal_meter_add(struct deal_meter *m, size_t bytes, struct tick now);

#endif
