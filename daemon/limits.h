/* daemon/limits.h - how many sessions there may be: in all, per profile, per source of a profile. One for the process;
 * threads meet here only when a session begins or ends. A source is an IPv4 address or an IPv6 /64, because a host
 * chooses the rest of its address as it likes. */
#ifndef DAEMON_LIMITS_H
#define DAEMON_LIMITS_H

#include <stdint.h>

struct limits;

enum { LIMIT_TOTAL = 1, LIMIT_PROFILE, LIMIT_SOURCE }; /* which one was reached */

/* max_total: most sessions of the process, 0 = no limit. NULL: out of memory. */
struct limits *limits_new(uint32_t max_total);
struct limits *limits_free(struct limits *l);
void limits_set_total(struct limits *l, uint32_t max_total); /* what is there stays */
/* Counts one more session of profile `key` (a number that outlives a reload) from ip (IPv4 as v4-mapped). The maxima are
 * as of now, 0 = no limit. 0, LIMIT_*, -ENOMEM: not counted. */
int limits_take(struct limits *l, uint64_t key, uint32_t profile_max, const uint8_t ip[16], uint32_t per_source_max);
/* The same for one that is there already, whatever the maxima: of the process before an upgrade. 0, -ENOMEM. */
int limits_count(struct limits *l, uint64_t key, const uint8_t ip[16]);
/* Ends what one limits_take() or limits_count() with the same key and ip began. */
void limits_give(struct limits *l, uint64_t key, const uint8_t ip[16]);
uint32_t limits_total(struct limits *l); /* sessions counted */

/* Every session of the process, those of clients too: counted beside the limits, without a lock. */
void limits_opened(struct limits *l);
void limits_ended(struct limits *l);
uint32_t limits_most(const struct limits *l); /* most of them at one time, ever */

#endif
