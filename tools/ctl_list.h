/* tools/ctl_list.h - arrays of objects as tables: one row for each column, in place of code for each list. */
#ifndef TOOLS_CTL_LIST_H
#define TOOLS_CTL_LIST_H

#include "tools/ctl.h"
#include "tools/ctl_text.h"

enum ctl_kind { CTL_WORD, CTL_NUMBER, CTL_AMOUNT, CTL_SECONDS, CTL_YES };

struct ctl_column {
    const char *head, *key;       /* head NULL ends a list */
    enum ctl_kind kind;
};

extern const struct ctl_column ctl_session_columns[], ctl_stream_columns[], ctl_profile_columns[];

/* Prints a table, or `none` if the array is empty. */
void ctl_list_print(const struct ctl *c, const struct ctl_column *cols, const json_t *rows, const char *none);
/* Says what the answer leaves out. */
void ctl_list_note(const json_t *data);

#endif
