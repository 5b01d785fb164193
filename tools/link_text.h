/* tools/link_text.h - links and their changes over time, as people write them:
 *     rate 100mbit queue 50ms delay 50ms loss 5% burst 4; at 10s rate 20mbit; at 20s a-b loss 100% */
#ifndef TOOLS_LINK_TEXT_H
#define TOOLS_LINK_TEXT_H

#include "tools/link_model.h"

enum { LINK_A_B = 1, LINK_B_A = 2, LINK_BOTH = 3 }; /* ways: bits of link_change.ways */
enum { LINK_PLAN_MAX = 512, LINK_TEXT_BAD = 1 };

struct link_plan {                /* zeroed: nothing ever changes */
    struct link_change v[LINK_PLAN_MAX]; /* in order of time; those of one time in order of the text */
    size_t n;
};

/* Adds what `text` says; settings without `at` hold from the start. 0, LINK_TEXT_BAD (err_text(): what is wrong with which
 * word; *p is as it was). */
int link_plan_add(struct link_plan *p, const char *text);
/* Adds one setting for `ways` from the start. The same results. */
int link_plan_set(struct link_plan *p, const char *key, const char *value, unsigned ways);
/* The i-th key's name, the form of its values and what it means, for help and tests; false: no more. */
struct link_key_help {
    const char *key, *form, *help;
};
bool link_key(unsigned i, struct link_key_help *out);

#endif
