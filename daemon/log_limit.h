/* daemon/log_limit.h - which lines of the log are written: token buckets for each place and for each source at a place, in
 * bounded memory, counting what they hold back. Knows no clock and writes nothing. */
#ifndef DAEMON_LOG_LIMIT_H
#define DAEMON_LOG_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct log_site {                 /* one per place that logs; zeroed */
    _Atomic uint64_t full_us;     /* when the bucket will be full again */
    _Atomic uint32_t held;        /* lines not written since the last that was */
    _Atomic bool listed;          /* has held back something, ever; from then on: */
    const char *fmt;              /* what it says */
    int level;
    struct log_site *next;
};

enum {
    LOG_BURST = 20,               /* lines of a place in a row, */
    LOG_REFILL_US = 2000000,      /* and microseconds until there is one more */
    LOG_SOURCE_BURST = 10,        /* the same for one source at a place */
    LOG_SOURCE_REFILL_US = 4000000,
    LOG_SOURCES = 512,            /* remembered; which one makes way for another is a matter of chance */
};

/* Takes a token at now_us. False: held back. True: *held lines were held back before this one. */
bool log_site_pass(struct log_site *s, uint64_t now_us, uint32_t *held);
/* The same for a source != 0: a token of its own, and one of the place's. */
bool log_source_pass(struct log_site *s, uint64_t source, uint64_t now_us, uint32_t *held);
/* After a line was held back: makes the place known to log_limit_quiet(). fmt is kept for good. */
void log_site_list(struct log_site *s, int level, const char *fmt);
/* A place that has something to tell of and has been quiet for half a bucket's time, and how many lines it held back;
 * NULL: no more. One thread at a time. */
const struct log_site *log_limit_quiet(uint64_t now_us, uint32_t *held);

#endif
