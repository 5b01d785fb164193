/* daemon/notify.h - what the service manager wants to know. Speaks the protocol of sd_notify(3), one datagram of lines for
 * each call, without its library; where nobody asked, the calls do nothing. Main thread only. */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

struct notify {
    int fd;                       /* -1: nobody asked */
    struct sockaddr_un to;
    socklen_t to_len;
    uint64_t watchdog_us;         /* the service is killed unless notify_alive() comes this often; 0: it is not */
    char status[160];             /* as last told */
};

/* Looks at NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. 0; -errno: asked, but in a way that cannot be served (err_text()
 * says; *n does nothing). */
int notify_open(struct notify *n);
void notify_close(struct notify *n);

void notify_ready(struct notify *n);      /* also ends what notify_reloading() began */
void notify_reloading(struct notify *n);
void notify_stopping(struct notify *n);
void notify_alive(struct notify *n);      /* for the watchdog */
void notify_main_pid(struct notify *n, pid_t pid); /* another process is the service from now on */
/* A line for people; told only if it has changed. */
void notify_status(struct notify *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
