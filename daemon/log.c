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

enum { TEXT_MAX = 4000, LINE_MAX_ = 5 * TEXT_MAX + 256 }; /* every byte of a text may become \\x1b, in JSON \\\\x1b */

_Static_assert((int)LOG_AT_ERROR == (int)CONF_LOG_ERROR && (int)LOG_AT_WARNING == (int)CONF_LOG_WARNING &&
                   (int)LOG_AT_INFO == (int)CONF_LOG_INFO && (int)LOG_AT_DEBUG == (int)CONF_LOG_DEBUG,
               "the levels of the configuration are ours");
_Static_assert((int)LOG_AS_TEXT == (int)CONF_LOG_TEXT && (int)LOG_AS_JSON == (int)CONF_LOG_JSON &&
                   (int)LOG_AS_KCPTUN == (int)CONF_LOG_KCPTUN,
               "and so are the formats");

enum sink { SINK_PLAIN, SINK_JOURNAL, SINK_SYSLOG };

_Atomic int log_level_now = LOG_AT_INFO;
static _Atomic int sink = SINK_PLAIN, out_fd = STDERR_FILENO;
static _Atomic int format = LOG_AS_TEXT;
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
    format = (int)p->format;
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

bool log_is_kcptun(void)
{
    return format == LOG_AS_KCPTUN;
}

static uint64_t clock_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* "2026-11-22 05:03:42.123" in local time, "2026-11-22T05:03:42.123Z", or "2026/11/22 05:03:42" in local time. */
static size_t put_time(char *out, size_t size, enum log_format f)
{
    static const char *const forms[] = {[LOG_AS_TEXT] = "%Y-%m-%d %H:%M:%S",
                                        [LOG_AS_JSON] = "%Y-%m-%dT%H:%M:%S",
                                        [LOG_AS_KCPTUN] = "%Y/%m/%d %H:%M:%S"};
    struct timespec ts;
    struct tm tm;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &ts);
    if (f == LOG_AS_JSON)
        gmtime_r(&ts.tv_sec, &tm);
    else
        localtime_r(&ts.tv_sec, &tm);
    n = strftime(out, size, forms[f], &tm);
    if (f == LOG_AS_KCPTUN)
        return n;
    return n + (size_t)snprintf(out + n, size - n, ".%03ld%s", ts.tv_nsec / 1000000, f == LOG_AS_JSON ? "Z" : "");
}

/* A peer, a resolver or a file must not be able to end a line, nor to speak to the operator's terminal. */
static size_t put_escaped(char *out, const char *text, bool in_json)
{
    static const char hex[] = "0123456789abcdef";
    char *start = out;

    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = c >= ' ' && c <= '~';

        if (in_json && (!plain || c == '"' || c == '\\'))
            *out++ = '\\';
        if (plain) {
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

static size_t put_text_line(char *line, enum log_level level, int to, enum log_format f, const char *text,
                            uint32_t held)
{
    size_t n = 0;

    if (f == LOG_AS_KCPTUN) {
        n = put_time(line, 64, f);
        line[n++] = ' ';
    } else if (to == SINK_PLAIN) {
        n = put_time(line, 64, f);
        n += (size_t)snprintf(line + n, 64, " %s: ", levels[level].name);
    }
    n += put_escaped(line + n, text, false);
    if (held)
        n += (size_t)snprintf(line + n, 64, " (%u more like this were held back)", held);
    return n;
}

static size_t put_json_line(char *line, enum log_level level, const char *text, uint32_t held)
{
    size_t n = (size_t)sprintf(line, "{\"time\":\"");

    n += put_time(line + n, 64, LOG_AS_JSON);
    n += (size_t)snprintf(line + n, 64, "\",\"level\":\"%s\",\"message\":\"", levels[level].name);
    n += put_escaped(line + n, text, true);
    n += (size_t)snprintf(line + n, 64, held ? "\",\"held_back\":%u}" : "\"}", held);
    return n;
}

static void write_line(enum log_level level, const char *text, uint32_t held)
{
    enum log_format f = (enum log_format)format;
    int to = sink;
    char line[LINE_MAX_];
    size_t n = to == SINK_JOURNAL ? (size_t)snprintf(line, 8, "<%d>", levels[level].priority) : 0;

    n += f == LOG_AS_JSON ? put_json_line(line + n, level, text, held)
                          : put_text_line(line + n, level, to, f, text, held);
    if (to == SINK_SYSLOG) {
        syslog(levels[level].priority, "%.*s", (int)n, line);
        return;
    }
    line[n++] = '\n';
    /* where it fails (disk full, reader gone) there is nobody left to tell */
    (void)!write(out_fd, line, n);
}

void log_line_(struct log_site *site, uint64_t source, enum log_level level, const char *fmt, ...)
{
    int saved = errno;
    char text[TEXT_MAX];
    uint32_t held = 0;
    bool pass = true;
    va_list ap;

    if (site)
        pass = source ? log_source_pass(site, source, clock_us(), &held) : log_site_pass(site, clock_us(), &held);
    if (pass) {
        va_start(ap, fmt);
        if (vsnprintf(text, sizeof text, fmt, ap) >= (int)sizeof text)
            memcpy(text + sizeof text - 4, "...", 4);
        va_end(ap);
        write_line(level, text, held);
    } else {
        log_site_list(site, (int)level, fmt);
    }
    errno = saved;
}

void log_tell_held(void)
{
    const struct log_site *s;
    char text[TEXT_MAX];
    uint32_t held;

    while ((s = log_limit_quiet(clock_us(), &held))) {
        snprintf(text, sizeof text, "%u more messages were held back: \"%s\"", held, s->fmt);
        write_line((enum log_level)s->level, text, 0);
    }
}
