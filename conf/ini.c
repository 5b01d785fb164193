/* conf/ini.c - inih behind a reader of our own.
 *
 * inih as packaged cuts lines at 200 bytes and section names at 49, folds an indented line into the key above it, takes
 * ':' for '=', and drops sections without keys. So the reader hands it only what it cannot misread: one "key = value"
 * line at a time, never indented, without comment, within its buffer. Sections are announced here, and a value that is
 * quoted or too long for inih's buffer waits beside a stand-in. */
#include "conf/ini.h"

#include "core/base/err.h"

#include <ctype.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAND_IN "*"

enum { SECTION_MAX = 256, KEY_MAX = 32 };

struct source {
    const char *p, *end;
    unsigned line;
    const struct ini_events *ev;
    void *ctx;
    char *aside; /* the value of this line when inih only sees the stand-in; INI_LINE_MAX + 1 bytes */
    bool use_aside;
    struct ini_value value;
};

struct span {
    const char *p, *end;
};

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static struct span trim(struct span s)
{
    while (s.p < s.end && blank(*s.p))
        s.p++;
    while (s.end > s.p && blank(s.end[-1]))
        s.end--;
    return s;
}

static void refuse(struct source *s, const char *why)
{
    s->ev->refused(s->ctx, s->line, why);
}

static bool is_comment(struct span s)
{
    return s.p < s.end && (*s.p == ';' || *s.p == '#');
}

static void take_section(struct source *s, struct span l)
{
    const char *close = memchr(l.p, ']', (size_t)(l.end - l.p));
    char name[SECTION_MAX + 1];
    struct span inner, rest;

    if (!close) {
        refuse(s, "a section needs its closing ']'; accepted: [global], [defaults], [server NAME], [client NAME]");
        return;
    }
    inner = trim((struct span){l.p + 1, close});
    rest = trim((struct span){close + 1, l.end});
    if (rest.p < rest.end && !is_comment(rest)) {
        refuse(s, "text behind ']'");
        return;
    }
    snprintf(name, sizeof name, "%.*s", (int)MIN(inner.end - inner.p, SECTION_MAX), inner.p);
    s->ev->section(s->ctx, name, s->line);
}

static int hex(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *d = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

    return d ? (int)(d - digits) : -1;
}

/* One escape at p (behind the backslash). Returns the bytes it takes, 0: none we know. */
static int unescape(struct span s, char *out)
{
    if (s.p < s.end && (*s.p == '"' || *s.p == '\\')) {
        *out = *s.p;
        return 1;
    }
    if (s.end - s.p >= 3 && *s.p == 'x' && hex(s.p[1]) >= 0 && hex(s.p[2]) >= 0) {
        *out = (char)(hex(s.p[1]) << 4 | hex(s.p[2]));
        return *out ? 3 : 0;
    }
    return 0;
}

/* A quoted value into s->aside. */
static bool take_quoted(struct source *s, struct span v)
{
    char *out = s->aside;
    struct span rest;

    for (v.p++; v.p < v.end && *v.p != '"'; v.p++) {
        int n = 1;

        *out = *v.p;
        if (*v.p == '\\') {
            v.p++;
            n = unescape(v, out);
            if (!n) {
                refuse(s, "unknown escape in a quoted value; accepted: \\\" \\\\ \\x01..\\xff");
                return false;
            }
            v.p += n - 1;
        }
        out++;
    }
    if (v.p == v.end) {
        refuse(s, "a quoted value needs its closing '\"' on the same line");
        return false;
    }
    *out = 0;
    rest = trim((struct span){v.p + 1, v.end});
    if (rest.p < rest.end && !(is_comment(rest) && *rest.p == ';' && blank(v.p[1]))) {
        refuse(s, "text behind the closing '\"'; a comment begins with ' ;'");
        return false;
    }
    s->value = (struct ini_value){s->aside, true, rest.p < rest.end};
    return true;
}

/* Cuts the comment off a bare value. False: it could be meant in two ways. */
static bool bare_value(struct source *s, struct span *v)
{
    s->value = (struct ini_value){0};
    for (const char *p = v->p; p < v->end; p++) {
        bool first = p == v->p || blank(p[-1]);

        if (*p == '#' && first) {
            refuse(s, "' #' in a value: a comment begins with ' ;'; to keep the '#', quote the value");
            return false;
        }
        if (*p == ';' && first) {
            v->end = p;
            s->value.commented = true;
            break;
        }
        if (control(*p) && *p != '\t') {
            refuse(s, "control character in a value; write it as \\xNN in a quoted value");
            return false;
        }
    }
    *v = trim(*v);
    if (v->end - v->p > 1 && *v->p == '\'' && v->end[-1] == '\'') {
        refuse(s, "single quotes do not quote; use \"...\", also for a value that has them");
        return false;
    }
    return true;
}

static bool key_ok(struct span k)
{
    if (k.p == k.end || k.end - k.p > KEY_MAX)
        return false;
    for (; k.p < k.end; k.p++)
        if (!isalnum((unsigned char)*k.p) && *k.p != '_' && *k.p != '-')
            return false;
    return true;
}

/* Writes the line that inih may see into str (num bytes), or an empty one. */
static void take_pair(struct source *s, struct span l, char *str, int num)
{
    const char *eq = memchr(l.p, '=', (size_t)(l.end - l.p));
    struct span k, v;
    int n;

    if (!eq) {
        refuse(s, "not 'key = value'");
        return;
    }
    k = trim((struct span){l.p, eq});
    v = trim((struct span){eq + 1, l.end});
    if (!key_ok(k)) {
        refuse(s, "not 'key = value': a key is 1..32 letters and digits");
        return;
    }
    s->use_aside = v.p < v.end && *v.p == '"';
    if (s->use_aside ? !take_quoted(s, v) : !bare_value(s, &v))
        return;
    n = snprintf(str, (size_t)num, "%.*s = %.*s\n", (int)(k.end - k.p), k.p, (int)(v.end - v.p), v.p);
    if (s->use_aside || n >= num - 2) {
        if (!s->use_aside) {
            memcpy(s->aside, v.p, (size_t)(v.end - v.p));
            s->aside[v.end - v.p] = 0;
            s->use_aside = true;
        }
        snprintf(str, (size_t)num, "%.*s = " STAND_IN "\n", (int)(k.end - k.p), k.p);
    }
}

/* inih's reader: the next line as far as inih may see it. */
static char *next_line(char *str, int num, void *stream)
{
    struct source *s = stream;
    const char *nl;
    struct span l;
    size_t len;

    if (s->p == s->end)
        return NULL;
    nl = memchr(s->p, '\n', (size_t)(s->end - s->p));
    l = (struct span){s->p, nl ? nl : s->end};
    s->p = nl ? nl + 1 : s->end;
    s->line++;
    if (l.end > l.p && l.end[-1] == '\r')
        l.end--;
    snprintf(str, (size_t)num, "\n");
    len = (size_t)(l.end - l.p);
    if (len > INI_LINE_MAX) {
        refuse(s, "line too long; accepted: up to 65536 bytes");
        return str;
    }
    if (memchr(l.p, 0, len)) {
        refuse(s, "NUL byte: not a text file");
        return str;
    }
    l = trim(l);
    if (l.p == l.end || is_comment(l))
        return str;
    if (*l.p == '[')
        take_section(s, l);
    else
        take_pair(s, l, str, num);
    return str;
}

static int on_pair(void *user, const char *section, const char *name, const char *value)
{
    struct source *s = user;

    (void)section;
    s->value.text = s->use_aside ? s->aside : value;
    s->ev->key(s->ctx, name, &s->value, s->line);
    return 1;
}

int ini_read(struct bytes text, const struct ini_events *ev, void *ctx)
{
    static const char bom[] = "\xef\xbb\xbf";
    struct source s = {.p = (const char *)text.p, .end = (const char *)text.p + text.len, .ev = ev, .ctx = ctx};

    if (!text.len)
        return 0;
    if (text.len >= 2 && (!memcmp(s.p, "\xff\xfe", 2) || !memcmp(s.p, "\xfe\xff", 2))) {
        ev->refused(ctx, 1, "the file is UTF-16; accepted: UTF-8");
        return 0;
    }
    if (text.len >= 3 && !memcmp(s.p, bom, 3))
        s.p += 3;
    s.aside = malloc(INI_LINE_MAX + 1);
    if (!s.aside)
        return err_here(-ENOMEM);
    ini_parse_stream(next_line, &s, on_pair, &s);
    explicit_bzero(s.aside, INI_LINE_MAX + 1);
    free(s.aside);
    return 0;
}

static bool needs_quotes(const char *s)
{
    size_t n = strlen(s);

    if (!n || blank(s[0]) || blank(s[n - 1]) || s[0] == '\'')
        return true;
    for (; *s; s++)
        if (control(*s) || strchr("\";#", *s))
            return true;
    return false;
}

void ini_quote(const char *s, FILE *out)
{
    if (!needs_quotes(s)) {
        fputs(s, out);
        return;
    }
    fputc('"', out);
    for (; *s; s++)
        fprintf(out, *s == '"' || *s == '\\' ? "\\%c" : control(*s) ? "\\x%02x" : "%c", (unsigned char)*s);
    fputc('"', out);
}
