/* daemon/answer_act.c - commands that do something to sessions and tunnels. */
#include "daemon/answer_priv.h"

#include "daemon/log.h"
#include "daemon/reload.h"
#include "daemon/roster.h"
#include "daemon/upgrade.h"

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

/* For status, for reloads and for the process behind us. */
static void note_drain(const struct answers *a, int64_t wanted, bool on)
{
    int64_t tunnel;
    unsigned at = 0;

    while (answer_tunnels(a, &at, &tunnel))
        if (wanted == LIST_ALL || tunnel == wanted)
            roster_drain(reload_roster(a->p.reload), (uint64_t)tunnel, on);
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

    if (upgrade_is_under_way(a->p.upgrade)) { /* the new process has been told what is drained */
        answer_error(q, CTL_BUSY, "an upgrade is under way");
        return true;
    }
    if (!answer_arg_tunnel(a, q, &m.tunnel) || !answer_ask(a, q, &m, finish_drain, now))
        return true;
    log_info("%s: told to %s", m.tunnel == LIST_ALL ? "all profiles" : answer_profile(a, m.tunnel)->name,
             on ? "take nothing new" : "take new sessions and streams again");
    note_drain(a, m.tunnel, on);
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
