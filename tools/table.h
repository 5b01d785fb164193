/* tools/table.h - text in columns that are as wide as what they hold. */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { TABLE_COLUMNS = 16 };

struct table {                    /* zeroed, with columns set: empty */
    unsigned columns;             /* 1..TABLE_COLUMNS */
    unsigned left;                /* bit i: column i is aligned to the left */
    bool bold;                    /* the first row: it is for a terminal */
    char **cells;                 /* row by row; NULL: memory ran out */
    size_t n, cap;
};

/* Appends a cell. Control characters are shown as '?'. */
void table_add(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends cells from a list that ends in NULL. */
void table_head(struct table *t, const char *const *names);
void table_print(const struct table *t, FILE *out);
void table_fini(struct table *t);

#endif
