/* daemon/answer_list.c - counters, sessions and streams as JSON. */
#include "daemon/answer_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_int_t num(uint64_t n)
{
    return (json_int_t)n;
}

static json_t *counters_json(const struct stats *s)
{
    json_t *o = json_object();

    for (size_t i = 0; i < stats_count; i++)
        json_object_set_new(o, stats_info[i].name, json_integer(num(stat_get(s, i))));
    return o;
}

static const char *name_of(const struct answers *a, int64_t tunnel)
{
    const struct conf_profile *p = answer_profile(a, tunnel);

    return p ? p->name : "";
}

/* What the sender of mode auto knows of the path. */
static void add_sender(json_t *o, const struct session_info *i)
{
    json_t *s = json_pack("{ss sI sI sI sI sI sI sI sI sI si sb sI sI}", "phase", i->phase, "rate", num(i->rate),
                          "pacing", num(i->pacing), "inflight_bytes", num(i->wire_inflight), "window_bytes",
                          num(i->window), "min_rtt_us", num(i->min_rtt_us), "srtt_us", num(i->srtt_us), "queue_us",
                          num(i->queue_us), "loss_ppm", num(i->loss_ppm), "back_loss_ppm", num(i->back_ppm), "parity",
                          (int)i->parity, "thin", i->thin, "copies", num(i->copies), "spurious", num(i->spurious));

    json_object_set_new(o, "sender", s);
}

static json_t *session_json(const struct answers *a, const struct session_row *r, unsigned worker)
{
    const struct session_info *i = &r->info;
    char id[32], conv[16];
    json_t *o;

    answer_session_text(r->id, id);
    snprintf(conv, sizeof conv, "%08x", i->conv);
    o = json_pack("{ss ss ss ss si sI ss sI sI sI sI sI sI sI sI sI sI sI sI sb sI s[ii]}", "profile",
                  name_of(a, r->tunnel), "id", id, "conv", conv, "remote", net_addr_text(&r->remote), "worker",
                  (int)worker, "age_s", num(i->age_ms / 1000), "state", r->state, "streams", num(i->streams), "srtt_ms",
                  num(i->srtt_ms), "rto_ms", num(i->rto_ms), "inflight", num(i->inflight), "cwnd", num(i->cwnd),
                  "rmt_wnd", num(i->rmt_wnd), "queued_bytes", num(i->queued), "in_bytes", num(i->in_bytes), "out_bytes",
                  num(i->out_bytes), "retrans", num(i->retrans), "heard_ms", num(i->heard_ms), "stalled_ms",
                  num(i->stalled_ms), "ours", i->peer_is_ours, "memory", num(i->memory), "peer_fec", (int)i->fec_data,
                  (int)i->fec_parity);
    if (o && i->phase)
        add_sender(o, i);
    return o;
}

static json_t *stream_json(const struct answers *a, const struct stream_row *r)
{
    char id[32];

    answer_session_text(r->session, id);
    return json_pack("{ss ss sI ss ss sI sI sI sI sI}", "profile", name_of(a, r->tunnel), "session", id, "id",
                     num(r->id), "local", r->local.len ? net_addr_text(&r->local) : "", "state", r->state, "age_s",
                     num(r->age_ms / 1000), "in_bytes", num(r->in_bytes), "out_bytes", num(r->out_bytes),
                     "readable_bytes", num(r->readable), "queued_bytes", num(r->queued));
}

/* Sessions of a tunnel, or all of them. */
static json_t *sessions_json(const struct answers *a, const struct ask *k, int64_t tunnel)
{
    json_t *v = json_array();
    const struct session_row *row;
    struct row_at at = {0};

    while ((row = answer_row(a, k, sizeof *row, &at)))
        if (tunnel == LIST_ALL || row->tunnel == tunnel)
            json_array_append_new(v, session_json(a, row, at.worker));
    return v;
}

static void answer_list(struct answers *a, struct ask *k, json_t *data, const char *name)
{
    if (data)
        answer_completeness(a, k, data);
    answer_rows(&k->q, data, name);
}

/* ---- stats ---- */

/* k NULL: without the sessions. */
static json_t *profile_json(const struct answers *a, const struct ask *k, int64_t tunnel)
{
    const struct conf_profile *p = answer_profile(a, tunnel);
    struct stats s = answer_stats(a, tunnel);
    json_t *o = json_pack("{ss ss so}", "name", p->name, "role", p->role == CONF_SERVER ? "server" : "client",
                          "counters", counters_json(&s));

    if (k)
        json_object_set_new(o, "sessions", sessions_json(a, k, tunnel));
    return o;
}

static void tell_stats(struct answers *a, struct ctl_query *q, int64_t wanted, const struct ask *k, struct tick now)
{
    struct stats total = answer_stats(a, LIST_ALL);
    json_t *profiles = json_array(), *data;
    unsigned at = 0;
    int64_t tunnel;

    while (answer_tunnels(a, &at, &tunnel))
        if (wanted == LIST_ALL || wanted == tunnel)
            json_array_append_new(profiles, profile_json(a, k, tunnel));
    data = json_pack("{so so ss sI si ss}", "profiles", profiles, "total", counters_json(&total), "version",
                     KCPTUND_VERSION, "uptime_s", num(tick_since_us(now, a->began) / 1000000), "workers",
                     (int)a->p.sh->n_workers, "io", a->p.sh->io->name);
    if (data && k)
        answer_completeness(a, k, data);
    if (!data || ctl_answer_profiles(&q->rq, data, ctl_send, q) == -ENOMEM)
        answer_error(q, CTL_FAILED, "out of memory");
}

static void finish_stats(struct answers *a, struct ask *k, struct tick now)
{
    tell_stats(a, &k->q, k->tunnel, k, now);
}

bool answer_stats_cmd(struct answers *a, struct ctl_query *q, struct tick now)
{
    struct mail_list m = {.kind = LIST_SESSIONS, .session = LIST_ALL};
    const json_t *sessions = q->rq.args ? json_object_get(q->rq.args, "sessions") : NULL;

    if (!answer_arg_tunnel(a, q, &m.tunnel))
        return true;
    if (sessions && !json_is_boolean(sessions)) {
        answer_error(q, CTL_BAD_ARGS, "sessions: accepted: true or false");
        return true;
    }
    if (!json_is_false(sessions))
        return !answer_ask(a, q, &m, finish_stats, now);
    tell_stats(a, q, m.tunnel, NULL, now);
    return true;
}

/* ---- sessions, streams ---- */

static void finish_sessions(struct answers *a, struct ask *k, struct tick now)
{
    (void)now;
    answer_list(a, k, json_pack("{so}", "sessions", sessions_json(a, k, LIST_ALL)), "sessions");
}

bool answer_sessions(struct answers *a, struct ctl_query *q, struct tick now)
{
    struct mail_list m = {.kind = LIST_SESSIONS, .session = LIST_ALL};

    return !answer_arg_tunnel(a, q, &m.tunnel) || !answer_arg_page(a, q, &m) ||
           !answer_ask(a, q, &m, finish_sessions, now);
}

static void finish_streams(struct answers *a, struct ask *k, struct tick now)
{
    json_t *v = json_array();
    const struct stream_row *row;
    struct row_at at = {0};

    (void)now;
    while ((row = answer_row(a, k, sizeof *row, &at)))
        json_array_append_new(v, stream_json(a, row));
    answer_list(a, k, json_pack("{so}", "streams", v), "streams");
}

bool answer_streams(struct answers *a, struct ctl_query *q, struct tick now)
{
    struct mail_list m = {.kind = LIST_STREAMS};

    return !answer_arg_tunnel(a, q, &m.tunnel) || !answer_arg_session(q, &m.session) || !answer_arg_page(a, q, &m) ||
           !answer_ask(a, q, &m, finish_streams, now);
}

/* ---- show ---- */

static void finish_show(struct answers *a, struct ask *k, struct tick now)
{
    const struct session_row *row;
    struct row_at at = {0};

    (void)now;
    row = answer_row(a, k, sizeof *row, &at);
    if (row)
        answer_data(&k->q, json_pack("{so}", "session", session_json(a, row, at.worker)));
    else if (k->missing)
        answer_error(&k->q, CTL_FAILED, "a worker does not answer");
    else
        answer_error(&k->q, CTL_NOT_FOUND, "no such session");
}

bool answer_show(struct answers *a, struct ctl_query *q, struct tick now)
{
    struct mail_list m = {.kind = LIST_SESSIONS, .tunnel = LIST_ALL};

    if (!answer_arg_session(q, &m.session))
        return true;
    if (m.session == LIST_ALL) {
        answer_error(q, CTL_BAD_ARGS, "session: missing");
        return true;
    }
    return !answer_ask(a, q, &m, finish_show, now);
}
