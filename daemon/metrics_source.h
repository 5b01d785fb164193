/* daemon/metrics_source.h - the numbers of this process, for metrics.h. */
#ifndef DAEMON_METRICS_SOURCE_H
#define DAEMON_METRICS_SOURCE_H

#include "daemon/metrics.h"
#include "daemon/roster.h"

struct metrics_source metrics_source(struct shared *sh, struct roster *r); /* both borrowed for good */

#endif
