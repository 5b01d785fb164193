/* tools/table.c - text in columns. */
#include "tools/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 2 };

void table_add(struct table *t, const char *fmt, ...)
{
    char *cell = NULL;
    va_list ap;

    if (t->n == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        char **more = reallocarray(t->cells, cap, sizeof *more);

        if (!more)
            return;
        t->cells = more;
        t->cap = cap;
    }
    va_start(ap, fmt);
    if (vasprintf(&cell, fmt, ap) < 0)
        cell = NULL;
    va_end(ap);
    for (char *p = cell; p && *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    t->cells[t->n++] = cell;
}

void table_head(struct table *t, const char *const *names)
{
    for (; *names; names++)
        table_add(t, "%s", *names);
}

static const char *text_of(const struct table *t, size_t i)
{
    return t->cells[i] ? t->cells[i] : "?";
}

void table_print(const struct table *t, FILE *out)
{
    int width[TABLE_COLUMNS] = {0};

    for (size_t i = 0; i < t->n; i++) {
        int n = (int)strlen(text_of(t, i));

        if (n > width[i % t->columns])
            width[i % t->columns] = n;
    }
    for (size_t i = 0; i < t->n; i++) {
        unsigned column = (unsigned)(i % t->columns);
        int pad = width[column] - (int)strlen(text_of(t, i));
        bool last = column + 1 == t->columns;

        if (t->bold && !i)
            fputs("\033[1m", out);
        if (!(t->left & 1u << column))
            fprintf(out, "%*s", pad, "");
        fputs(text_of(t, i), out);
        if (t->bold && i + 1 == t->columns)
            fputs("\033[0m", out);
        if (!last)
            fprintf(out, "%*s", GAP + (t->left & 1u << column ? pad : 0), "");
        else
            fputc('\n', out);
    }
}

void table_fini(struct table *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->cells[i]);
    free(t->cells);
    t->cells = NULL;
    t->n = t->cap = 0;
}
