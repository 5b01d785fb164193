/* daemon/log.c - lines to standard error, syslog or a file.
 *
 * There is one descriptor for all threads and for good: another place to log to is moved onto it by dup3(2), which is
 * atomic, so that writers need no lock and never meet a closed descriptor. */
#include "daemon/log.h"

#include "conf/conf.h"
#include "core/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_MAX = 1000, LINE_MAX_ = 4 * TEXT_MAX + 128 }; /* every byte of a text may become four */

_Static_assert((int)LOG_AT_ERROR == (int)CONF_LOG_ERROR && (int)LOG_AT_WARNING == (int)CONF_LOG_WARNING &&
                   (int)LOG_AT_INFO == (int)CONF_LOG_INFO && (int)LOG_AT_DEBUG == (int)CONF_LOG_DEBUG,
               "the levels of the configuration are ours");

enum sink { SINK_PLAIN, SINK_JOURNAL, SINK_SYSLOG };

_Atomic int log_level_now = LOG_AT_INFO;
static _Atomic int sink = SINK_PLAIN, out_fd = STDERR_FILENO;
static char *file; /* main thread's; NULL: not a file */

static const struct {
    const char *name;
    int priority;
} levels[] = {
    [LOG_AT_ERROR] = {"error", LOG_ERR},
    [LOG_AT_WARNING] = {"warning", LOG_WARNING},
    [LOG_AT_INFO] = {"info", LOG_INFO},
    [LOG_AT_DEBUG] = {"debug", LOG_DEBUG},
};

/* The service manager names the device and inode of the journal's socket; standard error may have been redirected since. */
static bool stderr_is_journal(void)
{
    const char *e = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;

    return e && sscanf(e, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st) && st.st_dev == dev &&
           st.st_ino == ino;
}

/* Makes out_fd mean what fd means; closes fd unless it is standard error. 0, -errno. */
static int move_to(int fd)
{
    int now = out_fd, r = 0;

    if (now == STDERR_FILENO) { /* the first time: get a descriptor of our own */
        int own = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

        if (own < 0)
            r = -errno;
        else
            out_fd = own;
    } else if (dup3(fd, now, O_CLOEXEC) < 0) {
        r = -errno;
    }
    if (fd != STDERR_FILENO)
        close(fd);
    return r;
}

static int open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);

    return fd < 0 ? err_say(-errno, "open log file %s", path) : fd;
}

int log_init(const struct log_params *p)
{
    bool to_syslog = !strcmp(p->to, "syslog"), to_file = *p->to && !to_syslog;
    char *path = NULL;
    int fd = STDERR_FILENO, r;

    tzset();
    if (to_file) {
        path = strdup(p->to);
        if (!path)
            return err_here(-ENOMEM);
        fd = open_file(path);
        if (fd < 0) {
            free(path);
            return fd;
        }
    }
    r = move_to(fd);
    if (r) {
        free(path);
        return err_say(r, "log to %s", *p->to ? p->to : "standard error");
    }
    if (to_syslog)
        openlog(p->name, LOG_PID | LOG_NDELAY, LOG_DAEMON);
    sink = to_syslog ? SINK_SYSLOG : !to_file && stderr_is_journal() ? SINK_JOURNAL : SINK_PLAIN;
    free(file);
    file = path;
    log_level_set(p->level);
    return 0;
}

int log_reopen(void)
{
    int fd, r;

    if (!file)
        return 0;
    fd = open_file(file);
    if (fd < 0)
        return fd;
    r = move_to(fd);
    return r ? err_say(r, "reopen log file %s", file) : 0;
}

void log_level_set(enum log_level level)
{
    log_level_now = (int)level;
}

bool log_site_pass(struct log_site *s, uint64_t now_us, uint32_t *held)
{
    const uint64_t depth_us = (uint64_t)LOG_BURST * LOG_REFILL_US;
    uint64_t full = s->full_us, next;

    do {
        next = (full > now_us ? full : now_us) + LOG_REFILL_US;
        if (next > now_us + depth_us) {
            s->held++;
            return false;
        }
    } while (!atomic_compare_exchange_weak(&s->full_us, &full, next));
    *held = atomic_exchange(&s->held, 0);
    return true;
}

static uint64_t clock_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static size_t put_prefix(char *out, size_t size, enum log_level level, int to)
{
    struct timespec ts;
    struct tm tm;
    size_t n;

    if (to == SINK_SYSLOG)
        return 0;
    if (to == SINK_JOURNAL)
        return (size_t)snprintf(out, size, "<%d>", levels[level].priority);
    clock_gettime(CLOCK_REALTIME, &ts);
    localtime_r(&ts.tv_sec, &tm);
    n = strftime(out, size, "%Y-%m-%d %H:%M:%S", &tm);
    return n + (size_t)snprintf(out + n, size - n, ".%03ld %s: ", ts.tv_nsec / 1000000, levels[level].name);
}

/* A peer, a resolver or a file must not be able to end a line, nor to speak to the operator's terminal. */
static size_t put_escaped(char *out, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    char *start = out;

    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;

        if (c >= ' ' && c <= '~') {
            *out++ = *p;
            continue;
        }
        *out++ = '\\';
        *out++ = 'x';
        *out++ = hex[c >> 4];
        *out++ = hex[c & 15];
    }
    return (size_t)(out - start);
}

void log_line_(struct log_site *site, enum log_level level, const char *fmt, ...)
{
    int saved = errno, to = sink;
    char text[TEXT_MAX], line[LINE_MAX_];
    uint32_t held = 0;
    va_list ap;
    size_t n;

    if (site && !log_site_pass(site, clock_us(), &held))
        return;
    va_start(ap, fmt);
    if (vsnprintf(text, sizeof text, fmt, ap) >= (int)sizeof text)
        memcpy(text + sizeof text - 4, "...", 4);
    va_end(ap);
    n = put_prefix(line, 64, level, to);
    n += put_escaped(line + n, text);
    if (held)
        n += (size_t)snprintf(line + n, sizeof line - n, " (%u more like this were held back)", held);
    if (to == SINK_SYSLOG) {
        syslog(levels[level].priority, "%.*s", (int)n, line);
    } else {
        line[n++] = '\n';
        /* where it fails (disk full, reader gone) there is nobody left to tell */
        (void)!write(out_fd, line, n);
    }
    errno = saved;
}
