/* conf/json.c - kcptun's JSON files, by jansson. As in Go's reader, only the first value of the file counts, null leaves
 * an option alone, and of a key that is repeated the last counts. */
#include "conf/json.h"

#include "conf/load.h"
#include "core/base/err.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20, TEXT_MAX = 4096, FLAGS = JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK };

/* jansson's own words quote the text, which may be the passphrase. */
static const char *syntax_text(enum json_error_code code)
{
    switch (code) {
    case json_error_end_of_input_expected:
    case json_error_premature_end_of_input:
        return "the text ends too early";
    case json_error_invalid_utf8:
        return "not UTF-8";
    case json_error_numeric_overflow:
        return "a number is too large";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "a NUL byte";
    case json_error_stack_overflow:
        return "nested too deeply";
    default:
        return "not JSON, here or just above: a comma or a quote is missing or too many, or there is a comment";
    }
}

/* Of editors that call it UTF-8; a kcptun refuses it, too. */
static bool has_mark(struct bytes text)
{
    return text.len >= 3 && !memcmp(text.p, "\xef\xbb\xbf", 3);
}

static const char *type_text(const json_t *v)
{
    static const char *const texts[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "text", [JSON_INTEGER] = "a number",
        [JSON_REAL] = "a fraction",  [JSON_TRUE] = "true",      [JSON_FALSE] = "false", [JSON_NULL] = "null",
    };

    return texts[json_typeof(v)];
}

static const char *wanted_text(enum kopt_type t)
{
    return t == KOPT_TEXT ? "text in quotes" : t == KOPT_INT ? "a whole number, without quotes" : "true or false";
}

/* v as text that kopts_set() takes, if it is of the option's type. NULL: it is not. */
static const char *value_text(const json_t *v, enum kopt_type t, char number[24])
{
    if (t == KOPT_TEXT)
        return json_string_value(v);
    if (t == KOPT_BOOL)
        return json_is_boolean(v) ? (json_is_true(v) ? "true" : "false") : NULL;
    if (!json_is_integer(v))
        return NULL;
    snprintf(number, 24, "%" PRId64, (int64_t)json_integer_value(v));
    return number;
}

static void warn_unknown(const struct kopts *o, const char *key, struct place at, struct conf_problems *ps)
{
    const unsigned other = 1u << !o->role;
    char cut[CONF_SHOWN];
    int i = kopts_find_json(other, key);

    if (i >= 0) {
        conf_problem_add(ps, true, at, "%s: means nothing to a %s", kopts[i].json,
                         o->role == CONF_SERVER ? "server" : "client");
        return;
    }
    i = kopts_find(o->role, key, strlen(key));
    if (i >= 0 && kopts[i].json)
        conf_problem_add(ps, true, at, "%s: unknown key, ignored; in a file it is %s", key, kopts[i].json);
    else
        conf_problem_add(ps, true, at, "%s: unknown key, ignored", conf_shown(key, cut));
}

/* 0, -ENOMEM. */
static int take_pair(struct kopts *o, const char *key, const json_t *v, struct place at, struct conf_problems *ps)
{
    int i = kopts_find_json(1u << o->role, key);
    char number[24];
    const char *text;

    if (i < 0) {
        warn_unknown(o, key, at, ps);
        return 0;
    }
    if (json_is_null(v))
        return 0;
    text = value_text(v, kopts[i].type, number);
    if (!text) {
        conf_problem_add(ps, false, at, "%s: %s; accepted: %s", kopts[i].json, type_text(v),
                         wanted_text(kopts[i].type));
        return 0;
    }
    if (strlen(text) > TEXT_MAX) {
        conf_problem_add(ps, false, at, "%s: too long; accepted: up to %d bytes", kopts[i].json, TEXT_MAX);
        return 0;
    }
    return kopts_set(o, i, text, at.file);
}

static void wipe(const json_t *v)
{
    if (json_is_string(v))
        explicit_bzero((char *)(uintptr_t)json_string_value(v), json_string_length(v));
}

/* 0, -ENOMEM. */
static int take_object(struct kopts *o, json_t *root, struct place at, struct conf_problems *ps)
{
    const char *key;
    json_t *v;
    int r = 0;

    json_object_foreach(root, key, v)
    {
        if (!r)
            r = take_pair(o, key, v, at, ps);
        wipe(v);
    }
    return r;
}

int json_read_text(struct kopts *o, const char *path, struct bytes text, struct conf_problems *ps)
{
    unsigned errors = ps->n_errors;
    struct place at = {path, 0};
    json_error_t e;
    json_t *root = json_loadb((const char *)text.p, text.len, FLAGS, &e);
    int r = 0;

    if (!root) {
        at.line = e.line > 0 ? (unsigned)e.line : 0;
        if (json_error_code(&e) == json_error_out_of_memory)
            return err_here(-ENOMEM);
        conf_problem_add(ps, false, at, "%s; accepted: one JSON object",
                         has_mark(text) ? "a byte order mark (save it as UTF-8 without one)"
                                        : syntax_text(json_error_code(&e)));
        return CONF_INVALID;
    }
    if (json_is_object(root))
        r = take_object(o, root, at, ps);
    else if (!json_is_null(root)) /* as in Go, null says nothing */
        conf_problem_add(ps, false, at, "%s; accepted: one JSON object", type_text(root));
    json_decref(root);
    return r ? r : ps->n_errors > errors ? CONF_INVALID : 0;
}

int json_read_file(struct kopts *o, const char *path, struct conf_problems *ps)
{
    struct place at = {path, 0};
    char why[256] = "", *text;
    size_t len;
    bool world;
    int r = conf_slurp(path, FILE_MAX, false, &text, &len, &world, why);

    if (r == -ENOMEM && !*why)
        return r;
    if (r) {
        conf_problem_add(ps, false, at, "%s", why);
        return CONF_INVALID;
    }
    r = json_read_text(o, path, bytes_of(text, len), ps);
    if (!r && world && kopts_value(o, "key")->from == path)
        conf_problem_add(ps, true, at, "key: this file holds a key and others may read it (chmod o-r)");
    explicit_bzero(text, len);
    free(text);
    return r;
}

bool json_role(enum conf_role *role, struct bytes text)
{
    json_t *root = json_loadb((const char *)text.p, text.len, FLAGS, NULL);
    unsigned of[2] = {0};
    const char *key;
    json_t *v;

    if (!root)
        return false;
    json_object_foreach(root, key, v)
    {
        for (unsigned i = CONF_SERVER; i <= CONF_CLIENT; i++)
            of[i] += kopts_find_json(1u << i, key) >= 0 && kopts_find_json(1u << !i, key) < 0;
        wipe(v);
    }
    json_decref(root);
    *role = of[CONF_CLIENT] ? CONF_CLIENT : CONF_SERVER;
    return !of[CONF_SERVER] != !of[CONF_CLIENT];
}

int json_file_role(enum conf_role *role, const char *path)
{
    char why[256], *text;
    size_t len;
    bool world, told;

    if (conf_slurp(path, FILE_MAX, false, &text, &len, &world, why))
        return -EIO;
    told = json_role(role, bytes_of(text, len));
    explicit_bzero(text, len);
    free(text);
    return told ? 0 : CONF_INVALID;
}
