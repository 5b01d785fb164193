/* tools/ctl_list.c - arrays of objects as tables. */
#include "tools/ctl_list.h"

#include "tools/table.h"

#include <stdio.h>

const struct ctl_column ctl_session_columns[] = {
    {"PROFILE", "profile", CTL_WORD},       {"ID", "id", CTL_WORD},
    {"REMOTE", "remote", CTL_WORD},         {"STATE", "state", CTL_WORD},
    {"WORKER", "worker", CTL_NUMBER},       {"AGE", "age_s", CTL_SECONDS},
    {"STREAMS", "streams", CTL_NUMBER},     {"SRTT", "srtt_ms", CTL_NUMBER},
    {"RTO", "rto_ms", CTL_NUMBER},          {"FLIGHT", "inflight", CTL_NUMBER},
    {"QUEUED", "queued_bytes", CTL_AMOUNT}, {"IN", "in_bytes", CTL_AMOUNT},
    {"OUT", "out_bytes", CTL_AMOUNT},       {NULL, NULL, 0},
};

const struct ctl_column ctl_stream_columns[] = {
    {"PROFILE", "profile", CTL_WORD},
    {"SESSION", "session", CTL_WORD},
    {"STREAM", "id", CTL_NUMBER},
    {"WITH", "local", CTL_WORD},
    {"STATE", "state", CTL_WORD},
    {"AGE", "age_s", CTL_SECONDS},
    {"UNREAD", "readable_bytes", CTL_AMOUNT},
    {"QUEUED", "queued_bytes", CTL_AMOUNT},
    {"IN", "in_bytes", CTL_AMOUNT},
    {"OUT", "out_bytes", CTL_AMOUNT},
    {NULL, NULL, 0},
};

const struct ctl_column ctl_profile_columns[] = {
    {"PROFILE", "name", CTL_WORD},
    {"ROLE", "role", CTL_WORD},
    {"FROM", "from", CTL_WORD},
    {"TO", "to", CTL_WORD},
    {"CRYPT", "crypt", CTL_WORD},
    {"SESSIONS", "sessions", CTL_NUMBER},
    {"STREAMS", "streams", CTL_NUMBER},
    {"DRAINS", "draining", CTL_YES},
    {NULL, NULL, 0},
};

/* The column's text of one object. Words are the object's own, else in out. */
static const char *cell(const struct ctl_column *col, const json_t *row, char out[CTL_TEXT])
{
    switch (col->kind) {
    case CTL_WORD:
        return *ctl_str(row, col->key) ? ctl_str(row, col->key) : "-";
    case CTL_NUMBER:
        snprintf(out, CTL_TEXT, "%lld", (long long)ctl_num(row, col->key));
        return out;
    case CTL_AMOUNT:
        return ctl_amount(ctl_num(row, col->key), out);
    case CTL_SECONDS:
        return ctl_duration(ctl_num(row, col->key), out);
    case CTL_YES:
        return ctl_is(row, col->key) ? "yes" : "-";
    }
    return "";
}

void ctl_list_print(const struct ctl *c, const struct ctl_column *cols, const json_t *rows, const char *none)
{
    struct table t = {.bold = c->color};
    const json_t *row;
    char buf[CTL_TEXT];
    size_t i;

    if (!json_array_size(rows)) {
        puts(none);
        return;
    }
    for (; cols[t.columns].head; t.columns++) {
        if (cols[t.columns].kind == CTL_WORD || cols[t.columns].kind == CTL_YES)
            t.left |= 1u << t.columns;
        table_add(&t, "%s", cols[t.columns].head);
    }
    json_array_foreach(rows, i, row)
    {
        for (unsigned k = 0; k < t.columns; k++)
            table_add(&t, "%s", cell(&cols[k], row, buf));
    }
    table_print(&t, stdout);
    table_fini(&t);
}

void ctl_list_note(const json_t *data)
{
    if (json_is_false(json_object_get(data, "complete")))
        puts("(a worker did not answer in time: some are missing)");
    if (ctl_is(data, "truncated"))
        puts("(there are more than an answer holds: name a profile, or a session)");
}
