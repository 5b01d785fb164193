/* tools/ctl_text.h - members of the daemon's answers as text for people. A member that is missing, or of another kind than
 * expected, breaks nothing. */
#ifndef TOOLS_CTL_TEXT_H
#define TOOLS_CTL_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { CTL_TEXT = 48 };           /* bytes of what follows */

const char *ctl_str(const json_t *o, const char *key);                   /* "-": none */
json_int_t ctl_num(const json_t *o, const char *key);
bool ctl_is(const json_t *o, const char *key);
/* "45s", "01:02:03", "3d 01:02:03". */
const char *ctl_duration(json_int_t s, char out[CTL_TEXT]);
/* "999", "1.5k", "12M": to read, not to reckon with. */
const char *ctl_amount(json_int_t n, char out[CTL_TEXT]);
/* Text from elsewhere to out, without control characters that would act on a terminal. */
void ctl_say(FILE *out, const char *text);

#endif
