/* daemon/answer_upgrade.c - the command `upgrade`, and what status says of upgrades. */
#include "daemon/answer_priv.h"

#include "daemon/upgrade.h"

static void on_done(void *ctx, const struct upgrade_result *r)
{
    struct change *c = ctx;

    if (r->ok)
        answer_data(&c->q, json_pack("{sI}", "pid", (json_int_t)r->pid));
    else
        answer_error(&c->q, CTL_FAILED, "%s", r->error);
    ctl_done(&c->q);
    c->used = false;
}

bool answer_upgrade(struct answers *a, struct ctl_query *q, struct tick now)
{
    struct change *c = answer_change(a, q);

    (void)now;
    if (c)
        upgrade_begin(a->p.upgrade, "command", on_done, c);
    return !c;
}

/* ---- for status ---- */

json_t *answer_finishing_json(const struct answers *a)
{
    const struct elder_state *v;
    unsigned n = elder_list(a->p.sh->elder, &v);
    json_t *list = json_array();

    for (unsigned i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{sI sI sI sI}", "pid", (json_int_t)v[i].pid, "sessions",
                                              (json_int_t)v[i].sessions, "streams", (json_int_t)v[i].streams, "left_s",
                                              (json_int_t)v[i].left_s));
    return list;
}

json_t *answer_upgrade_json(const struct answers *a)
{
    const struct upgrade_result *r = upgrade_last(a->p.upgrade);

    if (!r->when_s || r->ok)
        return json_null();
    return json_pack("{sI so}", "when", (json_int_t)r->when_s, "error", ctl_text(r->error));
}
