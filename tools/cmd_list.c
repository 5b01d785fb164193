/* tools/cmd_list.c - kcptunctl sessions, streams, show. */
#include "tools/ctl_list.h"
#include "tools/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Session ids begin with the number of a worker and a dot; no profile that is meant can be mistaken for one, since it could
 * be given its own letters. */
static bool is_session(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits && text[digits] == '.' && strspn(text + digits + 1, "0123456789") == strlen(text + digits + 1);
}

static int list(const struct ctl *c, const char *cmd, json_t *args, const struct ctl_column *cols, const char *none)
{
    json_t *data;
    int r = ctl_call_all(c, cmd, args, &data);

    if (r)
        return r;
    if (c->json) {
        ctl_print_json(data);
    } else {
        ctl_list_print(c, cols, json_object_get(data, cmd), none);
        ctl_list_note(data);
    }
    json_decref(data);
    return r;
}

int cmd_sessions(const struct ctl *c, int argc, char **argv)
{
    json_t *args = NULL;

    (void)argc;
    if (!ctl_args(&args, "profile", argv[1]))
        return CTL_EXIT_USAGE;
    return list(c, "sessions", args, ctl_session_columns, "no sessions");
}

int cmd_streams(const struct ctl *c, int argc, char **argv)
{
    json_t *args = NULL;

    if (!ctl_args(&args, argc > 1 && is_session(argv[1]) ? "session" : "profile", argv[1]))
        return CTL_EXIT_USAGE;
    return list(c, "streams", args, ctl_stream_columns, "no streams");
}

/* ---- show ---- */

/* Each member of the session on a line of its own. */
static void print_members(const struct ctl *c, const json_t *session)
{
    struct table t = {.columns = 2, .left = 3, .bold = c->color};
    const char *key;
    json_t *v;

    table_head(&t, (const char *const[]){"SESSION", ctl_str(session, "id"), NULL});
    json_object_foreach((json_t *)session, key, v)
    {
        char *text = json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);

        if (strcmp(key, "id") != 0) {
            table_add(&t, "%s", key);
            table_add(&t, "%s", json_is_string(v) ? json_string_value(v) : text ? text : "?");
        }
        free(text);
    }
    table_print(&t, stdout);
    table_fini(&t);
}

int cmd_show(const struct ctl *c, int argc, char **argv)
{
    json_t *one = NULL, *two = NULL, *data = NULL, *streams = NULL;
    int r;

    (void)argc;
    if (!ctl_args(&one, "session", argv[1]) || !ctl_args(&two, "session", argv[1])) {
        json_decref(one);
        return CTL_EXIT_USAGE;
    }
    r = ctl_call(c, "show", one, &data);
    if (r)
        json_decref(two);
    else
        r = ctl_call_all(c, "streams", two, &streams);
    if (!r && c->json) {
        json_object_set(data, "streams", json_object_get(streams, "streams"));
        ctl_print_json(data);
    } else if (!r) {
        print_members(c, json_object_get(data, "session"));
        putchar('\n');
        ctl_list_print(c, ctl_stream_columns, json_object_get(streams, "streams"), "no streams");
        ctl_list_note(streams);
    }
    json_decref(data);
    json_decref(streams);
    return r;
}
