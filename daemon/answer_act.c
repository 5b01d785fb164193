/* daemon/answer_act.c - commands that do something to sessions and tunnels. */
#include "daemon/answer_priv.h"

#include "daemon/log.h"

#include <stdlib.h>
#include <string.h>

/* ---- kick ---- */

static void finish_kick(struct answers *a, struct ask *k, struct tick now)
{
    const struct session_row *row;
    struct row_at at = {0};
    unsigned n = 0;

    (void)now;
    while ((row = answer_row(a, k, sizeof *row, &at)))
        n++;
    if (n)
        answer_data(&k->q, json_pack("{si}", "kicked", (int)n));
    else if (k->missing)
        answer_error(&k->q, CTL_FAILED, "a worker does not answer");
    else
        answer_error(&k->q, CTL_NOT_FOUND, "no such session");
}

bool answer_kick(struct answers *a, struct ctl_query *q, struct tick now)
{
    struct mail_list m = {.kind = LIST_KICK, .tunnel = LIST_ALL};

    if (!answer_arg_session(q, &m.session))
        return true;
    if (m.session == LIST_ALL) {
        answer_error(q, CTL_BAD_ARGS, "session: missing");
        return true;
    }
    return !answer_ask(a, q, &m, finish_kick, now);
}

/* ---- drain ---- */

static void undrain(struct answers *a, int64_t tunnel)
{
    for (unsigned i = 0; i < a->n_drained; i++)
        if (tunnel == LIST_ALL || a->drained[i] == tunnel)
            a->drained[i--] = a->drained[--a->n_drained];
}

/* Puts the tunnels into the list. False: out of memory. */
static bool drain(struct answers *a, int64_t wanted)
{
    int64_t tunnel;
    unsigned at = 0;

    while (answer_tunnels(a, &at, &tunnel)) {
        int64_t *v;

        if ((wanted != LIST_ALL && tunnel != wanted) || answer_drains(a, tunnel))
            continue;
        v = reallocarray(a->drained, a->n_drained + 1, sizeof *v);
        if (!v)
            return false;
        a->drained = v;
        v[a->n_drained++] = tunnel;
    }
    return true;
}

static json_t *drained_json(const struct answers *a)
{
    json_t *v = json_array();
    unsigned at = 0;
    int64_t tunnel;

    while (answer_tunnels(a, &at, &tunnel))
        if (answer_drains(a, tunnel))
            json_array_append_new(v, json_string(answer_profile(a, tunnel)->name));
    return v;
}

static void finish_drain(struct answers *a, struct ask *k, struct tick now)
{
    (void)now;
    if (k->missing)
        answer_error(&k->q, CTL_FAILED, "a worker does not answer; try again");
    else
        answer_data(&k->q, json_pack("{so}", "draining", drained_json(a)));
}

static bool set_drain(struct answers *a, struct ctl_query *q, struct tick now, bool on)
{
    struct mail_list m = {.kind = on ? LIST_DRAIN : LIST_UNDRAIN, .session = LIST_ALL};

    if (!answer_arg_tunnel(a, q, &m.tunnel) || !answer_ask(a, q, &m, finish_drain, now))
        return true;
    log_info("%s: told to %s", m.tunnel == LIST_ALL ? "all profiles" : answer_profile(a, m.tunnel)->name,
             on ? "take nothing new" : "take new sessions and streams again");
    if (!on)
        undrain(a, m.tunnel);
    else if (!drain(a, m.tunnel))
        log_error("out of memory: status will not tell which profiles drain");
    return false;
}

bool answer_drain(struct answers *a, struct ctl_query *q, struct tick now)
{
    return set_drain(a, q, now, true);
}

bool answer_undrain(struct answers *a, struct ctl_query *q, struct tick now)
{
    return set_drain(a, q, now, false);
}
