/* daemon/log.h - messages for the operator: to standard error (the journal gets priorities), syslog or a file.
 * Any thread may log; a line is one write(2). Each place in the code that logs has a token bucket of its own, and each
 * source of trouble (a peer's address) a smaller one at each place, so that nothing a peer does floods the log or drowns
 * what is said of others; what was held back is counted, and told with the next line from there or once it is quiet.
 * Control characters in the text are escaped. Keys and payload are never given to it. */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include "daemon/log_limit.h"

enum log_level {                  /* in the order of enum conf_loglevel */
    LOG_AT_ERROR,                 /* something does not work */
    LOG_AT_WARNING,               /* something may not be what was meant */
    LOG_AT_INFO,                  /* what the daemon did, once per event that an operator cares about */
    LOG_AT_DEBUG,
};

enum log_format {                 /* in the order of enum conf_logformat */
    LOG_AS_TEXT,
    LOG_AS_JSON,                  /* a line is {"time", "level", "message"} and perhaps "held_back" */
    LOG_AS_KCPTUN,                /* time and message, and some messages in kcptun's words */
};

struct log_params {
    enum log_level level;
    const char *to;               /* "": standard error; "syslog"; else the path of a file to append to */
    const char *name;             /* of the program; kept by the caller for good */
    enum log_format format;
};

/* Before it, lines go to standard error at level info. May be called again for another place (main thread only); when it
 * fails, everything stays as it was. 0, -errno. */
int log_init(const struct log_params *p);
/* Opens the file again, after somebody has moved it away. 0, -errno: the old one stays open. */
int log_reopen(void);
void log_level_set(enum log_level level);
bool log_is_kcptun(void);
/* Tells what was held back at places that have been quiet since. Called every few seconds, by one thread. */
void log_tell_held(void);

extern _Atomic int log_level_now;
void log_line_(struct log_site *site, uint64_t source, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#define log_to_(site, source, level, ...)                                                                              \
    do {                                                                                                               \
        if ((int)(level) <= atomic_load_explicit(&log_level_now, memory_order_relaxed))                                \
            log_line_((site), (source), (level), __VA_ARGS__);                                                         \
    } while (0)
#define log_limited_(source, level, ...)                                                                               \
    do {                                                                                                               \
        static struct log_site log_site_here_;                                                                         \
        log_to_(&log_site_here_, source, level, __VA_ARGS__);                                                          \
    } while (0)

#define log_error(...) log_limited_(0, LOG_AT_ERROR, __VA_ARGS__)
#define log_warning(...) log_limited_(0, LOG_AT_WARNING, __VA_ARGS__)
#define log_info(...) log_limited_(0, LOG_AT_INFO, __VA_ARGS__)
#define log_debug(...) log_limited_(0, LOG_AT_DEBUG, __VA_ARGS__)
/* About somebody: source is a number for who it is, such as net_addr_source(). */
#define log_warning_of(source, ...) log_limited_(source, LOG_AT_WARNING, __VA_ARGS__)
#define log_info_of(source, ...) log_limited_(source, LOG_AT_INFO, __VA_ARGS__)
#define log_debug_of(source, ...) log_limited_(source, LOG_AT_DEBUG, __VA_ARGS__)
/* Without a bucket: for lists that the operator caused and that have an end, such as the problems of a file. */
#define log_all(level, ...) log_to_(NULL, 0, level, __VA_ARGS__)

#endif
