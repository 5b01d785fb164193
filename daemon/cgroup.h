/* daemon/cgroup.h - what the control group that a process is in leaves it of the machine. */
#ifndef DAEMON_CGROUP_H
#define DAEMON_CGROUP_H

#include <stdint.h>

/* The lowest memory.max, in bytes, of a process's group and those above it (cgroup v2). members: its /proc/PID/cgroup; root:
 * where the hierarchy is mounted. UINT64_MAX: none is set, or none is found. */
uint64_t cgroup_memory_max(const char *members, const char *root);

#endif
