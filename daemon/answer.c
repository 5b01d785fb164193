/* daemon/answer.c - answers to the control socket. Counters are read where the workers keep them; sessions are asked for
 * by letter, and an answer is complete when every worker has listed its own, or when the wait is over. */
#include "daemon/answer.h"

#include "core/base/err.h"
#include "daemon/log.h"
#include "daemon/tunnel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASKS = 16, WAIT_US = 2000000 };

struct ask { /* a query that waits for the workers */
    bool used;
    uint64_t number;
    struct ctl_query q;
    const char *profile; /* only this one; NULL: all. Inside q */
    unsigned missing; /* workers that have not answered */
    struct tick until;
    struct mail_listed *lists; /* one per worker; rows NULL until it answers */
};

struct answers {
    struct shared *sh;
    struct ctl *ctl;
    struct tick began;
    uint64_t next;
    struct ask asks[ASKS];
};

int answers_new(struct answers **ap, struct shared *sh, struct ctl *ctl)
{
    struct answers *a = calloc(1, sizeof *a);

    if (!a)
        return err_here(-ENOMEM);
    a->sh = sh;
    a->ctl = ctl;
    a->began = io_now();
    a->next = 1;
    *ap = a;
    return 0;
}

static void ask_end(struct answers *a, struct ask *k)
{
    for (unsigned i = 0; i < a->sh->n_workers; i++)
        free(k->lists[i].rows);
    free(k->lists);
    ctl_done(&k->q);
    *k = (struct ask){0};
}

struct answers *answers_free(struct answers *a)
{
    if (!a)
        return NULL;
    for (unsigned i = 0; i < ASKS; i++)
        if (a->asks[i].used)
            ask_end(a, &a->asks[i]);
    free(a);
    return NULL;
}

/* ---- what is answered ---- */

static struct stats profile_stats(const struct answers *a, unsigned profile)
{
    struct stats sum = {0};

    for (unsigned i = 0; i < a->sh->n_workers; i++)
        stats_sum(&sum, a->sh->workers[i]->tunnels[profile]->stats);
    return sum;
}

static json_t *counters_json(const struct stats *s)
{
    json_t *o = json_object();

    for (size_t i = 0; i < stats_count; i++)
        json_object_set_new(o, stats_info[i].name, json_integer((json_int_t)stat_get(s, i)));
    return o;
}

static json_t *row_json(const struct session_row *r, unsigned worker)
{
    const struct session_info *i = &r->info;
    char id[32], conv[16];

    snprintf(id, sizeof id, "%u.%llu", worker, (unsigned long long)(r->id & UINT64_C(0xffffffffffff)));
    snprintf(conv, sizeof conv, "%08x", i->conv);
    return json_pack("{ss ss ss si si ss si si si si si sI sI sI sI sI sI sb sI s[ii]}", "id", id, "conv", conv,
                     "remote", net_addr_text(&r->remote), "worker", (int)worker, "age_s", (int)(i->age_ms / 1000),
                     "state", r->state, "streams", (int)i->streams, "srtt_ms", (int)i->srtt_ms, "rto_ms",
                     (int)i->rto_ms, "inflight", (int)i->inflight, "cwnd", (int)i->cwnd, "rmt_wnd",
                     (json_int_t)i->rmt_wnd, "queued_bytes", (json_int_t)i->queued, "in_bytes", (json_int_t)i->in_bytes,
                     "out_bytes", (json_int_t)i->out_bytes, "retrans", (json_int_t)i->retrans, "heard_ms",
                     (json_int_t)i->heard_ms, "ours", i->peer_is_ours, "memory", (json_int_t)i->memory, "peer_fec",
                     (int)i->fec_data, (int)i->fec_parity);
}

static json_t *sessions_json(const struct answers *a, const struct ask *k, unsigned profile)
{
    json_t *v = json_array();

    for (unsigned w = 0; w < a->sh->n_workers; w++)
        for (unsigned i = 0; k->lists[w].rows && i < k->lists[w].n; i++)
            if (k->lists[w].rows[i].tunnel == profile)
                json_array_append_new(v, row_json(&k->lists[w].rows[i], w));
    return v;
}

static json_t *stats_json(const struct answers *a, const struct ask *k, struct tick now)
{
    const struct conf *c = a->sh->conf;
    json_t *profiles = json_array();
    struct stats total = {0};

    for (unsigned i = 0; i < c->n_profiles; i++) {
        struct stats s = profile_stats(a, i);

        stats_sum(&total, &s);
        if (k->profile && strcmp(k->profile, c->profiles[i].name) != 0)
            continue;
        json_array_append_new(profiles, json_pack("{ss ss so so}", "name", c->profiles[i].name, "role",
                                                  c->profiles[i].role == CONF_SERVER ? "server" : "client", "counters",
                                                  counters_json(&s), "sessions", sessions_json(a, k, i)));
    }
    return json_pack("{so so ss sI si ss sb}", "profiles", profiles, "total", counters_json(&total), "version",
                     KCPTUND_VERSION, "uptime_s", (json_int_t)(tick_since_us(now, a->began) / 1000000), "workers",
                     (int)a->sh->n_workers, "io", a->sh->io->name, "complete", k->missing == 0);
}

static void finish(struct answers *a, struct ask *k, struct tick now)
{
    json_t *data = stats_json(a, k, now);

    if (data)
        ctl_answer_profiles(&k->q.rq, data, ctl_send, &k->q);
    else
        ctl_answer_error(&k->q.rq, CTL_FAILED, "out of memory", ctl_send, &k->q);
    ask_end(a, k);
}

/* ---- asking ---- */

static bool has_profile(const struct answers *a, const char *name)
{
    const struct conf *c = a->sh->conf;

    for (unsigned i = 0; i < c->n_profiles; i++)
        if (!strcmp(c->profiles[i].name, name))
            return true;
    return false;
}

/* False: answered already (with an error); q is still the caller's. */
static bool begin_stats(struct answers *a, struct ctl_query *q, struct tick now)
{
    json_t *profile = q->rq.args ? json_object_get(q->rq.args, "profile") : NULL;
    struct mail_list m = {.ask = a->next};
    struct ask *k = a->asks;

    if (profile && (!json_is_string(profile) || !has_profile(a, json_string_value(profile)))) {
        ctl_answer_error(&q->rq, CTL_NOT_FOUND, "no profile of that name", ctl_send, q);
        return false;
    }
    while (k < a->asks + ASKS && k->used)
        k++;
    if (k == a->asks + ASKS || !(k->lists = calloc(a->sh->n_workers, sizeof *k->lists))) {
        ctl_answer_error(&q->rq, CTL_BUSY, "too many requests at a time", ctl_send, q);
        return false;
    }
    k->used = true;
    k->number = a->next++;
    k->q = *q;
    k->profile = profile ? json_string_value(profile) : NULL;
    k->until = tick_add_us(now, WAIT_US);
    for (unsigned i = 0; i < a->sh->n_workers; i++)
        k->missing +=
            post_put(a->sh->post, a->sh->n_workers, i, MAIL_LIST, bytes_of(&m, sizeof m), bytes_of(NULL, 0)) == 0;
    return true;
}

void answers_serve(struct answers *a, struct tick now)
{
    struct ctl_query q;

    while (ctl_next(a->ctl, &q) == 0) {
        if (strcmp(q.rq.cmd, "stats") != 0)
            ctl_answer_error(&q.rq, CTL_UNKNOWN_COMMAND, "this daemon knows: stats", ctl_send, &q);
        else if (begin_stats(a, &q, now))
            continue;
        ctl_done(&q);
    }
    for (unsigned i = 0; i < ASKS; i++)
        if (a->asks[i].used && (!a->asks[i].missing || !tick_before(now, a->asks[i].until)))
            finish(a, &a->asks[i], now);
}

void answers_listed(struct answers *a, const struct mail_listed *m)
{
    for (unsigned i = 0; i < ASKS; i++) {
        struct ask *k = &a->asks[i];

        if (k->used && k->number == m->ask && !k->lists[m->worker].rows) {
            k->lists[m->worker] = *m;
            k->missing--;
            return;
        }
    }
    free(m->rows); /* asked too long ago */
}

void answers_log_counters(struct answers *a)
{
    char line[4096];
    struct stats total = {0};
    size_t n = 0;

    for (unsigned i = 0; i < a->sh->conf->n_profiles; i++) {
        struct stats s = profile_stats(a, i);

        stats_sum(&total, &s);
    }
    for (size_t i = 0; i < stats_count && n < sizeof line; i++)
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%s:%llu", i ? " " : "", stats_info[i].name,
                              (unsigned long long)stat_get(&total, i));
    log_info("counters: %s", line);
}
