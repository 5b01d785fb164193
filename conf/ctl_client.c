/* conf/ctl_client.c - the client's side of the control protocol: requests out, answers in. */
#include "conf/ctl_proto.h"

#include "core/base/err.h"

#include <stdlib.h>
#include <string.h>

char *ctl_request_print(uint64_t id, const char *cmd, json_t *args)
{
    json_t *o = args ? json_pack("{si sI ss so}", "v", CTL_VERSION, "id", (json_int_t)id, "cmd", cmd, "args", args)
                     : json_pack("{si sI ss}", "v", CTL_VERSION, "id", (json_int_t)id, "cmd", cmd);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL, *line = NULL;

    if (text && strlen(text) <= CTL_REQUEST_MAX && asprintf(&line, "%s\n", text) < 0)
        line = NULL;
    free(text);
    json_decref(o);
    return line;
}

static bool take_error(struct ctl_reply *re, const json_t *e)
{
    const char *code = json_string_value(json_object_get(e, "code"));
    const char *text = json_string_value(json_object_get(e, "text"));

    if (!code)
        return false;
    re->code = strdup(code);
    re->text = strdup(text ? text : "");
    return re->code && re->text;
}

static bool take_reply(struct ctl_reply *re, const json_t *o)
{
    const json_t *v = json_object_get(o, "v"), *ok = json_object_get(o, "ok"), *more = json_object_get(o, "more");
    json_t *id = json_object_get(o, "id"), *data = json_object_get(o, "data");

    if (!json_is_integer(v) || json_integer_value(v) != CTL_VERSION || !json_is_boolean(ok))
        return false;
    if (json_is_integer(id) || json_is_string(id))
        re->id = json_incref(id);
    re->ok = json_is_true(ok);
    re->more = re->ok && json_is_true(more);
    if (!re->ok)
        return take_error(re, json_object_get(o, "error"));
    re->data = json_incref(data);
    return data;
}

int ctl_reply_parse(struct ctl_reply *re, struct bytes line)
{
    json_error_t e;
    json_t *o = line.len && line.len <= CTL_ANSWER_MAX ? json_loadb((const char *)line.p, line.len, 0, &e) : NULL;
    bool good;

    *re = (struct ctl_reply){0};
    good = json_is_object(o) && take_reply(re, o);
    json_decref(o);
    if (!good)
        ctl_reply_fini(re);
    return good ? 0 : CTL_REFUSED;
}

void ctl_reply_fini(struct ctl_reply *re)
{
    json_decref(re->id);
    json_decref(re->data);
    free(re->code);
    free(re->text);
    *re = (struct ctl_reply){0};
}

static int merge_array(json_t *into, const json_t *part)
{
    json_t *one;
    size_t i;

    json_array_foreach(part, i, one)
    {
        json_t *last = json_array_get(into, json_array_size(into) - 1);
        const json_t *name = json_object_get(one, "name");
        bool same = json_is_string(name) && json_equal(name, json_object_get(last, "name"));
        int r = same ? ctl_merge(last, one) : json_array_append_new(into, json_deep_copy(one)) ? -ENOMEM : 0;

        if (r)
            return err_here(r);
    }
    return 0;
}

int ctl_merge(json_t *into, const json_t *part)
{
    const char *key;
    json_t *v;

    if (json_is_array(into) && json_is_array(part))
        return merge_array(into, part);
    json_object_foreach((json_t *)part, key, v)
    {
        json_t *was = json_object_get(into, key);
        bool deep = was && json_typeof(was) == json_typeof(v) && (json_is_object(v) || json_is_array(v));
        int r = deep ? ctl_merge(was, v) : json_object_set_new(into, key, json_deep_copy(v)) ? -ENOMEM : 0;

        if (r)
            return r;
    }
    return 0;
}
