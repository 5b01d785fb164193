/* daemon/netwatch.h - tells when the machine's addresses or routes have changed and come to rest. Main thread only; what that
 * means for a session is its worker's to find out (dial.h). */
#ifndef DAEMON_NETWATCH_H
#define DAEMON_NETWATCH_H

#include "core/base/tick.h"

struct netwatch {
    int fd;                       /* -1: closed */
    bool changed;
    struct tick first, last;      /* of the changes not yet told */
    struct tick told;
};

int netwatch_open(struct netwatch *n);              /* 0, -errno: fd is -1, and nothing will be told */
void netwatch_close(struct netwatch *n);
/* Reads what there is. True: addresses or routes have changed, and rest since a moment or have not for too long. */
bool netwatch_step(struct netwatch *n, struct tick now);
/* When the next call is due though nothing is readable; TICK_NEVER. */
struct tick netwatch_deadline(const struct netwatch *n);

#endif
