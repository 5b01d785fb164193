/* conf/ctl_proto.c - the control protocol's lines: what both sides share, and the server's side.
 * The client's side is conf/ctl_client.c. */
#include "conf/ctl_proto.h"

#include "core/base/err.h"
#include "core/base/utf8.h"

#include <stdlib.h>
#include <string.h>

enum {
    DUMP = JSON_COMPACT,
    FRAME = 256, /* room for what surrounds data in an answer */
    PART_MAX = CTL_ANSWER_MAX / 2, /* bytes of profiles in one line of several */
};

const char *ctl_code_name(enum ctl_code c)
{
    static const char *const names[] = {
        [CTL_MALFORMED] = "malformed", [CTL_BAD_VERSION] = "version", [CTL_UNKNOWN_COMMAND] = "unknown-command",
        [CTL_BAD_ARGS] = "bad-args",   [CTL_NOT_FOUND] = "not-found", [CTL_DENIED] = "denied",
        [CTL_BUSY] = "busy",           [CTL_FAILED] = "failed",
    };

    return names[c];
}

/* ---- lines ---- */

int ctl_lines_put(struct ctl_lines *l, struct bytes b)
{
    if (l->at) {
        memmove(l->buf, l->buf + l->at, l->len - l->at);
        l->len -= l->at;
        l->at = 0;
    }
    if (l->cap - l->len < b.len) {
        size_t cap = MAX(l->cap * 2, l->len + b.len);
        char *buf = realloc(l->buf, cap);

        if (!buf)
            return err_here(-ENOMEM);
        l->buf = buf;
        l->cap = cap;
    }
    if (b.len)
        memcpy(l->buf + l->len, b.p, b.len);
    l->len += b.len;
    return 0;
}

int ctl_lines_next(struct ctl_lines *l, struct bytes *line)
{
    size_t left = l->len - l->at, n;
    const char *p = l->buf + l->at, *lf = left ? memchr(p, '\n', left) : NULL;

    if (!lf)
        return left > l->max ? CTL_TOO_LONG : CTL_AGAIN;
    n = (size_t)(lf - p);
    if (n > l->max)
        return CTL_TOO_LONG;
    l->at += n + 1;
    if (n && p[n - 1] == '\r')
        n--;
    *line = bytes_of(p, n);
    return 0;
}

void ctl_lines_fini(struct ctl_lines *l)
{
    free(l->buf);
    *l = (struct ctl_lines){.max = l->max};
}

/* ---- requests ---- */

static int refuse(struct ctl_request *rq, enum ctl_code code, const char *text)
{
    rq->code = code;
    snprintf(rq->text, sizeof rq->text, "%s", text);
    return CTL_REFUSED;
}

static bool id_ok(const json_t *id)
{
    return json_is_integer(id) || (json_is_string(id) && json_string_length(id) <= CTL_ID_MAX);
}

static bool cmd_ok(const json_t *cmd)
{
    const char *s = json_string_value(cmd);
    size_t n = json_string_length(cmd);

    return s && n && n <= CTL_CMD_MAX && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static int take_request(struct ctl_request *rq, json_t *o)
{
    json_t *id = json_object_get(o, "id"), *v = json_object_get(o, "v"), *cmd = json_object_get(o, "cmd");
    json_t *args = json_object_get(o, "args");

    if (!json_is_object(o))
        return refuse(rq, CTL_MALFORMED, "a request is a JSON object");
    if (id && !json_is_null(id)) {
        if (!id_ok(id))
            return refuse(rq, CTL_MALFORMED, "id: accepted: an integer, or a string of up to 64 bytes");
        rq->id = json_incref(id);
    }
    if (!json_is_integer(v))
        return refuse(rq, CTL_MALFORMED, "v: accepted: the protocol's version, 1");
    if (json_integer_value(v) != CTL_VERSION)
        return refuse(rq, CTL_BAD_VERSION, "v: accepted: 1");
    if (!cmd_ok(cmd))
        return refuse(rq, CTL_MALFORMED, "cmd: accepted: 1..32 of a-z 0-9 -");
    if (args && !json_is_null(args) && !json_is_object(args))
        return refuse(rq, CTL_MALFORMED, "args: accepted: an object");
    snprintf(rq->cmd, sizeof rq->cmd, "%s", json_string_value(cmd));
    rq->args = json_is_object(args) ? json_incref(args) : NULL;
    return 0;
}

int ctl_request_parse(struct ctl_request *rq, struct bytes line)
{
    json_error_t e;
    json_t *o;
    int r;

    *rq = (struct ctl_request){0};
    if (line.len > CTL_REQUEST_MAX)
        return refuse(rq, CTL_MALFORMED, "a request line has up to 65536 bytes");
    o = line.len ? json_loadb((const char *)line.p, line.len, JSON_REJECT_DUPLICATES, &e) : NULL;
    if (!o)
        return refuse(rq, CTL_MALFORMED, "not JSON, or a member stands twice, or a number is beyond 64 bits");
    r = take_request(rq, o);
    json_decref(o);
    return r;
}

void ctl_request_fini(struct ctl_request *rq)
{
    json_decref(rq->id);
    json_decref(rq->args);
    *rq = (struct ctl_request){0};
}

/* ---- answers ---- */

json_t *ctl_text(const char *text)
{
    char *clean = text ? strdup(text) : NULL;
    json_t *o;

    if (clean)
        utf8_clean(clean);
    o = clean ? json_string(clean) : NULL;
    free(clean);
    return o;
}

/* Takes o. */
static int emit_line(json_t *o, ctl_emit_fn *emit, void *ctx)
{
    char *text = o ? json_dumps(o, DUMP) : NULL;
    size_t n = text ? strlen(text) : 0;
    int r;

    json_decref(o);
    if (!text)
        return err_here(-ENOMEM);
    if (n > CTL_ANSWER_MAX) {
        free(text);
        return CTL_TOO_LONG;
    }
    text[n] = '\n'; /* in the place of the NUL: what emit gets is bytes */
    r = emit(ctx, bytes_of(text, n + 1));
    free(text);
    return r;
}

static json_t *id_of(const struct ctl_request *rq)
{
    return rq->id ? json_incref(rq->id) : json_null();
}

int ctl_answer(const struct ctl_request *rq, json_t *data, bool more, ctl_emit_fn *emit, void *ctx)
{
    return emit_line(
        json_pack("{si so sb so sb}", "v", CTL_VERSION, "id", id_of(rq), "ok", 1, "data", data, "more", more), emit,
        ctx);
}

int ctl_answer_error(const struct ctl_request *rq, enum ctl_code code, const char *text, ctl_emit_fn *emit, void *ctx)
{
    return emit_line(json_pack("{si so sb s{ss so}}", "v", CTL_VERSION, "id", id_of(rq), "ok", 0, "error", "code",
                               ctl_code_name(code), "text", ctl_text(text)),
                     emit, ctx);
}

/* An answer in parts: the profiles gathered for the next line. */
struct parts {
    const struct ctl_request *rq;
    ctl_emit_fn *emit;
    void *ctx;
    json_t *profiles; /* of the next line */
    size_t bytes;
};

static size_t dumped_size(const json_t *v)
{
    return json_dumpb(v, NULL, 0, DUMP) + 1;
}

static int parts_flush(struct parts *ps)
{
    json_t *profiles = ps->profiles;

    ps->profiles = json_array();
    ps->bytes = 0;
    if (!ps->profiles) {
        json_decref(profiles);
        return err_here(-ENOMEM);
    }
    return ctl_answer(ps->rq, json_pack("{so}", "profiles", profiles), true, ps->emit, ps->ctx);
}

/* Makes room for n more bytes in the line: flushes what would grow too long. */
static int parts_room(struct parts *ps, size_t n)
{
    int r = ps->bytes && ps->bytes + n > PART_MAX ? parts_flush(ps) : 0;

    ps->bytes += n;
    return r;
}

/* Appends a profile (takes it) with an empty list of sessions. The list, borrowed, or NULL with *r set. */
static json_t *parts_open(struct parts *ps, json_t *profile, int *r)
{
    json_t *list = json_array();

    if (!profile || !list || json_object_set(profile, "sessions", list)) {
        json_decref(profile);
        json_decref(list);
        *r = err_here(-ENOMEM);
        return NULL;
    }
    json_decref(list); /* the profile holds it */
    *r = parts_room(ps, dumped_size(profile) + FRAME);
    if (*r || json_array_append_new(ps->profiles, profile)) {
        if (*r)
            json_decref(profile);
        else
            *r = err_here(-ENOMEM);
        return NULL;
    }
    return list;
}

static int parts_profile(struct parts *ps, json_t *profile)
{
    json_t *sessions = json_incref(json_object_get(profile, "sessions")), *list, *one;
    json_t *name = json_object_get(profile, "name");
    size_t i;
    int r = 0;

    list = parts_open(ps, json_copy(profile), &r);
    json_array_foreach(sessions, i, one)
    {
        size_t n = dumped_size(one);

        if (list && ps->bytes + n > PART_MAX) {
            r = parts_flush(ps);
            list = r ? NULL : parts_open(ps, json_pack("{sO}", "name", name), &r);
        }
        if (!list)
            break;
        ps->bytes += n;
        if (json_array_append(list, one)) {
            r = err_here(-ENOMEM);
            break;
        }
    }
    json_decref(sessions);
    return r;
}

int ctl_answer_profiles(const struct ctl_request *rq, json_t *data, ctl_emit_fn *emit, void *ctx)
{
    struct parts ps = {.rq = rq, .emit = emit, .ctx = ctx, .profiles = json_array()};
    json_t *rest = json_copy(data), *profile;
    size_t i;
    int r = rest && ps.profiles ? 0 : err_here(-ENOMEM);

    json_array_foreach(json_object_get(data, "profiles"), i, profile) if (!r) r = parts_profile(&ps, profile);
    if (!r && rest)
        r = parts_room(&ps, json_object_del(rest, "profiles") ? 0 : dumped_size(rest));
    if (!r && json_object_set(rest, "profiles", ps.profiles))
        r = err_here(-ENOMEM);
    if (!r)
        r = ctl_answer(rq, json_incref(rest), false, emit, ctx);
    json_decref(rest);
    json_decref(ps.profiles);
    json_decref(data);
    return r;
}

int ctl_answer_rows(const struct ctl_request *rq, json_t *data, const char *name, ctl_emit_fn *emit, void *ctx)
{
    json_t *all = json_incref(json_object_get(data, name)), *part = json_array(), *row;
    size_t i, bytes = 0;
    int r = data && part && !json_object_set(data, name, part) ? 0 : err_here(-ENOMEM);

    json_array_foreach(all, i, row)
    {
        size_t n = dumped_size(row);

        if (!r && bytes && bytes + n > PART_MAX) {
            r = ctl_answer(rq, json_pack("{sO}", name, part), true, emit, ctx);
            json_array_clear(part);
            bytes = 0;
        }
        bytes += n;
        if (!r && json_array_append(part, row))
            r = err_here(-ENOMEM);
    }
    if (!r)
        r = ctl_answer(rq, json_incref(data), false, emit, ctx);
    json_decref(part);
    json_decref(all);
    json_decref(data);
    return r;
}
