/* daemon/notify.c - datagrams to the service manager.
 * Source: sd_notify(3), sd_watchdog_enabled(3). */
#include "daemon/notify.h"

#include "core/base/bytes.h"
#include "core/base/err.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* 0, -EINVAL. */
static int parse_address(struct notify *n, const char *path)
{
    size_t len = strlen(path);

    if ((path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof n->to.sun_path)
        return -EINVAL;
    n->to = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(n->to.sun_path, path, len);
    if (path[0] == '@') /* abstract: the name has no end but its length */
        n->to.sun_path[0] = 0;
    n->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] == '/'));
    return 0;
}

/* The watchdog's time, unless it is meant for another process. */
static uint64_t watchdog_us(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    unsigned long long n;
    char *end;

    if (!us || (pid && strtoll(pid, NULL, 10) != getpid()))
        return 0;
    errno = 0;
    n = strtoull(us, &end, 10);
    return errno || *end || end == us || *us == '-' ? 0 : n;
}

int notify_open(struct notify *n)
{
    const char *path = getenv("NOTIFY_SOCKET");
    int r;

    *n = (struct notify){.fd = -1};
    if (!path || !*path)
        return 0;
    r = parse_address(n, path);
    if (r)
        return err_say(r, "NOTIFY_SOCKET = %s", path);
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (n->fd < 0)
        return err_say(-errno, "NOTIFY_SOCKET: open a socket");
    n->watchdog_us = watchdog_us();
    return 0;
}

void notify_close(struct notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}

/* What the manager does not take is lost; it will notice by itself that we are silent. */
__attribute__((format(printf, 2, 3))) static void tell(const struct notify *n, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    int len;

    if (n->fd < 0)
        return;
    va_start(ap, fmt);
    len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)!sendto(n->fd, text, MIN((size_t)len, sizeof text - 1), MSG_NOSIGNAL, (const struct sockaddr *)&n->to,
                  n->to_len);
}

void notify_ready(struct notify *n)
{
    tell(n, "READY=1");
}

void notify_reloading(struct notify *n)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    tell(n, "RELOADING=1\nMONOTONIC_USEC=%llu",
         (unsigned long long)ts.tv_sec * 1000000 + (unsigned long long)ts.tv_nsec / 1000);
}

void notify_stopping(struct notify *n)
{
    tell(n, "STOPPING=1");
}

void notify_alive(struct notify *n)
{
    tell(n, "WATCHDOG=1");
}

void notify_main_pid(struct notify *n, pid_t pid)
{
    tell(n, "MAINPID=%ld", (long)pid);
}

void notify_status(struct notify *n, const char *fmt, ...)
{
    char text[sizeof n->status];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    text[strcspn(text, "\n")] = 0; /* a line end would begin another assignment */
    if (!strcmp(text, n->status))
        return;
    memcpy(n->status, text, sizeof text);
    tell(n, "STATUS=%s", text);
}
