/* daemon/watchdog.h - tells the service manager that the daemon lives, as long as it does: main asks every worker for a
 * turn of its loop, and only if all took one is the manager told. Main thread only. */
#ifndef DAEMON_WATCHDOG_H
#define DAEMON_WATCHDOG_H

#include "daemon/notify.h"
#include "daemon/worker.h"

struct watchdog {
    struct shared *sh;
    struct notify *notify;
    uint64_t *turns;              /* of each worker when it was last asked */
    struct tick next;             /* when to look; TICK_NEVER: nobody wants it */
};

/* After the workers have started. 0, -ENOMEM. */
int watchdog_init(struct watchdog *d, struct shared *sh, struct notify *n, struct tick now);
void watchdog_fini(struct watchdog *d);
void watchdog_step(struct watchdog *d, struct tick now); /* at d->next at the latest; post_publish() must follow */

#endif
