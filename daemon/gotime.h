/* daemon/gotime.h - a date by example, in Go's notation: "snmp-20060102.csv" becomes "snmp-20260307.csv". The example is
 * Monday, 2 January 2006, 15:04:05, zone MST, -0700. */
#ifndef DAEMON_GOTIME_H
#define DAEMON_GOTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/* Writes layout with every token replaced, cut to n bytes with the NUL. Returns the whole length, as snprintf does. */
size_t gotime_format(char *out, size_t n, const char *layout, const struct tm *tm, long ns);

#endif
