/* tools/ctl_rates.h - counters by name asked for again and again, and what they grew by a second. */
#ifndef TOOLS_CTL_RATES_H
#define TOOLS_CTL_RATES_H

#include "tools/ctl.h"

#include <jansson.h>

/* Counters of the profile, or of all (NULL), of an answer to `stats`. Borrowed; NULL: not there. */
const json_t *ctl_counters(const json_t *data, const char *profile);
/* Growth of a counter per second; a daemon that was restarted in between counts from zero. */
double ctl_rate(const json_t *was, const json_t *is, const char *key, double seconds);
double ctl_clock(void);           /* seconds, monotonic */
/* Sleeps until `*next` on that clock, then moves it on by a second; after a pause it begins anew. */
void ctl_wait(double *next);
/* args for `stats` without sessions; profile may be NULL. False: not UTF-8 (said). */
bool ctl_stats_args(json_t **args, const char *profile);

#endif
