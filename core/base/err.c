/* core/base/err.c - the per-thread failure trace. */
#include "core/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_MAX = 512, TRACE_MAX = 256 };

static _Thread_local char text[TEXT_MAX] = "no error";
static _Thread_local char trace[TRACE_MAX];

static void trace_add(const char *sep, const char *file, int line)
{
    size_t n = strlen(trace);

    while (!strncmp(file, "../", 3)) /* as meson names a source */
        file += 3;
    snprintf(trace + n, sizeof trace - n, "%s%s:%d", sep, file, line);
}

int err_start_(const char *file, int line, int r, const char *fmt, ...)
{
    size_t n = 0;
    va_list ap;

    if (fmt) {
        va_start(ap, fmt);
        vsnprintf(text, sizeof text - 2, fmt, ap);
        va_end(ap);
        n = strlen(text);
    }
    if (r < 0)
        snprintf(text + n, sizeof text - n, "%s%s", n ? ": " : "", strerror(-r));
    trace[0] = 0;
    trace_add("", file, line);
    return r;
}

int err_pass_(const char *file, int line, int r)
{
    trace_add(" < ", file, line);
    return r;
}

const char *err_text(void)
{
    return text;
}

const char *err_trace(void)
{
    return trace;
}
