/* daemon/watch.h - whether files have changed. Their directories are watched (editors replace files by renaming), and when
 * those have rested for a second, what the files are is compared with what they were: name, inode, size, times. Contents
 * are not looked at. Main thread only. */
#ifndef DAEMON_WATCH_H
#define DAEMON_WATCH_H

#include "conf/conf.h"
#include "core/base/tick.h"

struct watch;

struct watch *watch_new(void);                /* NULL: out of memory */
struct watch *watch_free(struct watch *w);
/* From now on these; what has changed since `since_ns` (CLOCK_REALTIME, taken before they were read) counts as a change.
 * NULL: none. 0, -errno: changes will not be seen. */
int watch_paths(struct watch *w, const struct conf_paths *paths, uint64_t since_ns, struct tick now);
uint64_t watch_clock_ns(void);
int watch_fd(const struct watch *w);          /* readable: call watch_take(). -1: nothing is watched */
void watch_take(struct watch *w, struct tick now);
struct tick watch_due(const struct watch *w); /* when to ask; TICK_NEVER */
bool watch_changed(struct watch *w, struct tick now); /* due, and something is not as it was */

#endif
