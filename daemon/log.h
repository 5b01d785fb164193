/* daemon/log.h - messages for the operator: to standard error (the journal gets priorities), syslog or a file.
 * Any thread may log; a line is one write(2). Each place in the code that logs has a token bucket of its own, so that
 * nothing a peer does floods the log; what was held back is counted and told with the next line from there.
 * Control characters in the text are escaped. Keys and payload are never given to it. */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level {                  /* in the order of enum conf_loglevel */
    LOG_AT_ERROR,                 /* something does not work */
    LOG_AT_WARNING,               /* something may not be what was meant */
    LOG_AT_INFO,                  /* what the daemon did, once per event that an operator cares about */
    LOG_AT_DEBUG,
};

struct log_params {
    enum log_level level;
    const char *to;               /* "": standard error; "syslog"; else the path of a file to append to */
    const char *name;             /* of the program; kept by the caller for good */
};

/* Before it, lines go to standard error at level info. May be called again for another place (main thread only); when it
 * fails, everything stays as it was. 0, -errno. */
int log_init(const struct log_params *p);
/* Opens the file again, after somebody has moved it away. 0, -errno: the old one stays open. */
int log_reopen(void);
void log_level_set(enum log_level level);

struct log_site {                 /* one per place that logs; zeroed */
    _Atomic uint64_t full_us;     /* when the bucket will be full again */
    _Atomic uint32_t held;        /* lines not written since the last that was */
};
enum { LOG_BURST = 20, LOG_REFILL_US = 2000000 }; /* lines in a row; microseconds until there is one more */

/* Takes a token at now_us. False: held back. True: *held lines were held back before this one. */
bool log_site_pass(struct log_site *s, uint64_t now_us, uint32_t *held);

extern _Atomic int log_level_now;
void log_line_(struct log_site *site, enum log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_to_(site, level, ...)                                                                                      \
    do {                                                                                                               \
        if ((int)(level) <= atomic_load_explicit(&log_level_now, memory_order_relaxed))                                \
            log_line_((site), (level), __VA_ARGS__);                                                                   \
    } while (0)
#define log_limited_(level, ...)                                                                                       \
    do {                                                                                                               \
        static struct log_site log_site_here_;                                                                         \
        log_to_(&log_site_here_, level, __VA_ARGS__);                                                                  \
    } while (0)

#define log_error(...) log_limited_(LOG_AT_ERROR, __VA_ARGS__)
#define log_warning(...) log_limited_(LOG_AT_WARNING, __VA_ARGS__)
#define log_info(...) log_limited_(LOG_AT_INFO, __VA_ARGS__)
#define log_debug(...) log_limited_(LOG_AT_DEBUG, __VA_ARGS__)
/* Without a bucket: for lists that the operator caused and that have an end, such as the problems of a file. */
#define log_all(level, ...) log_to_(NULL, level, __VA_ARGS__)

#endif
