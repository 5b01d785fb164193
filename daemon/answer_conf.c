/* daemon/answer_conf.c - reload, set, loglevel, and what status says of the configuration. A change is answered when it is in
 * force in every worker, or when it was refused. */
#include "conf/schema.h"
#include "daemon/answer_priv.h"
#include "daemon/edition_wait.h"
#include "daemon/reload.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct change *free_change(struct answers *a)
{
    for (unsigned i = 0; i < ANSWER_CHANGES; i++)
        if (!a->changes[i].used)
            return &a->changes[i];
    return NULL;
}

struct change *answer_change(struct answers *a, struct ctl_query *q)
{
    struct change *c = free_change(a);

    if (c)
        *c = (struct change){true, *q, a};
    else
        answer_error(q, CTL_BUSY, "too many changes at a time");
    return c;
}

void answer_changes_end(struct answers *a)
{
    for (unsigned i = 0; i < ANSWER_CHANGES; i++)
        if (a->changes[i].used)
            ctl_done(&a->changes[i].q);
}

static json_t *warnings_json(const struct answers *a, const struct conf_problems *ps)
{
    const struct edition_wait *w;
    unsigned n = reload_waits(a->p.reload, &w);
    json_t *v = json_array();

    for (unsigned i = 0; i < ps->n; i++)
        if (ps->v[i].warning)
            json_array_append_new(v, ctl_text(ps->v[i].text));
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(v, ctl_text(w[i].text));
    return v;
}

static json_t *restart_json(const struct reload_result *r)
{
    json_t *v = json_array();

    for (unsigned i = 0; i < r->n_restart; i++)
        json_array_append_new(v, json_string(r->restart[i]));
    return v;
}

/* A reload_done_fn. */
static void on_changed(void *ctx, const struct reload_result *r)
{
    struct change *c = ctx;

    if (r->ok)
        answer_data(&c->q, json_pack("{si si si si so so}", "added", (int)r->added, "changed", (int)r->changed,
                                     "removed", (int)r->removed, "kept", (int)r->kept, "restart", restart_json(r),
                                     "warnings", warnings_json(c->a, &r->problems)));
    else
        answer_error(&c->q, CTL_FAILED, "%s", r->error ? r->error : "not taken over");
    ctl_done(&c->q);
    c->used = false;
}

bool answer_reload(struct answers *a, struct ctl_query *q, struct tick now)
{
    struct change *c = answer_change(a, q);

    (void)now;
    if (c)
        reload_now(a->p.reload, "command", on_changed, c);
    return !c;
}

bool answer_set(struct answers *a, struct ctl_query *q, struct tick now)
{
    const char *profile, *key, *value;
    struct change *c;

    (void)now;
    if (!answer_arg(q, "profile", &profile) || !answer_arg(q, "key", &key) || !answer_arg(q, "value", &value))
        return true;
    if (!key || !value) {
        answer_error(q, CTL_BAD_ARGS, "key, value: missing");
        return true;
    }
    c = answer_change(a, q);
    if (c)
        reload_set(a->p.reload, profile, key, value, "kcptunctl set", on_changed, c);
    return !c;
}

static const char *level_text(const struct answers *a)
{
    return conf_key_find("loglevel", IN_GLOBAL)->words[reload_conf(a->p.reload)->global.loglevel];
}

bool answer_loglevel(struct answers *a, struct ctl_query *q, struct tick now)
{
    const char *level;
    struct change *c;

    (void)now;
    if (!answer_arg(q, "level", &level))
        return true;
    if (!level) {
        answer_data(q, json_pack("{ss}", "loglevel", level_text(a)));
        return true;
    }
    c = answer_change(a, q);
    if (c)
        reload_set(a->p.reload, NULL, "loglevel", level, "kcptunctl loglevel", on_changed, c);
    return !c;
}

/* ---- for status ---- */

json_t *answer_conf_json(const struct answers *a)
{
    const struct reload_result *r = reload_last(a->p.reload);
    int64_t age = (int64_t)time(NULL) - r->when_s;
    json_t *o = json_pack("{so sb ss sI so so}", "file", ctl_text(reload_file(a->p.reload)), "ok", r->ok, "cause",
                          r->cause, "age_s", (json_int_t)MAX(age, 0), "restart", restart_json(r), "warnings",
                          warnings_json(a, &r->problems));

    if (r->error)
        json_object_set_new(o, "error", ctl_text(r->error));
    return o;
}

json_t *answer_overrides_json(const struct answers *a)
{
    const struct reload_override *v;
    unsigned n = reload_overrides(a->p.reload, &v);
    json_t *list = json_array();

    for (unsigned i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{ss? ss ss so?}", "profile", v[i].profile, "key", v[i].key, "value",
                                              v[i].value, "why", ctl_text(v[i].why)));
    return list;
}
