/* conf/ini.h - INI text to sections and (key, value) pairs, with the line each stands on.
 *
 * Lines end in LF or CRLF; a UTF-8 BOM is skipped. Comments: lines that begin with ; or #, and " ;" behind a value.
 * "[section]", "key = value"; a value may be quoted: "..." with \" \\ and \xNN. Blanks in front of a line mean nothing.
 * What could be read in two ways is refused. Knows no key: that is conf/schema.c. */
#ifndef CONF_INI_H
#define CONF_INI_H

#include "core/base/bytes.h"

#include <stdbool.h>
#include <stdio.h>

enum { INI_LINE_MAX = 65536 };    /* bytes of one line */

struct ini_value {
    const char *text;             /* quotes, escapes and comment removed; valid during the call */
    bool quoted;
    bool commented;               /* a comment was cut off */
};

struct ini_events {               /* called in the order of the lines */
    void (*section)(void *ctx, const char *name, unsigned line);
    void (*key)(void *ctx, const char *key, const struct ini_value *v, unsigned line);
    void (*refused)(void *ctx, unsigned line, const char *why); /* the line is skipped */
};

/* Reads the whole text. 0, -ENOMEM. Wipes what it copied from the text. */
int ini_read(struct bytes text, const struct ini_events *ev, void *ctx);

/* Writes s as a value that reads back to s: bare where it can be, else quoted. */
void ini_quote(const char *s, FILE *out);

#endif
