/* daemon/answer.c - the table of commands, and the requests that wait for workers. */
#include "daemon/answer_priv.h"

#include "core/base/err.h"
#include "daemon/log.h"
#include "daemon/snmplog.h"
#include "daemon/reload.h"
#include "daemon/roster.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WAIT_US = 2000000, SERVE_MS = 50 };

static const struct command {
    const char *name;
    bool reads; /* changes nothing, and may be asked by everybody */
    answer_fn *run;
} commands[] = {
    {"status", true, answer_status},      {"stats", true, answer_stats_cmd}, {"sessions", true, answer_sessions},
    {"streams", true, answer_streams},    {"show", false, answer_show},      {"doctor", false, answer_doctor},
    {"kick", false, answer_kick},         {"drain", false, answer_drain},    {"undrain", false, answer_undrain},
    {"upgrade", false, answer_upgrade},   {"reload", false, answer_reload},  {"set", false, answer_set},
    {"loglevel", false, answer_loglevel},
};

int answers_new(struct answers **ap, const struct answers_params *p)
{
    struct answers *a = calloc(1, sizeof *a);

    if (!a)
        return err_here(-ENOMEM);
    a->p = *p;
    a->began = io_now();
    a->began_s = time(NULL);
    a->next = 1;
    *ap = a;
    return 0;
}

static void ask_end(struct answers *a, struct ask *k)
{
    for (unsigned i = 0; i < a->p.sh->n_workers; i++)
        free(k->lists[i].rows);
    free(k->lists);
    free(k->answered);
    ctl_done(&k->q);
    *k = (struct ask){0};
}

struct answers *answers_free(struct answers *a)
{
    if (!a)
        return NULL;
    for (unsigned i = 0; i < ANSWER_ASKS; i++)
        if (a->asks[i].used)
            ask_end(a, &a->asks[i]);
    answer_changes_end(a);
    free(a);
    return NULL;
}

/* ---- answering ---- */

void answer_data(struct ctl_query *q, json_t *data)
{
    if (!data)
        answer_error(q, CTL_FAILED, "out of memory");
    else if (ctl_answer(&q->rq, data, false, ctl_send, q) == CTL_TOO_LONG)
        answer_error(q, CTL_FAILED, "the answer would be too long");
}

void answer_rows(struct ctl_query *q, json_t *data, const char *name)
{
    if (ctl_answer_rows(&q->rq, data, name, ctl_send, q) == -ENOMEM)
        answer_error(q, CTL_FAILED, "out of memory");
}

void answer_error(struct ctl_query *q, enum ctl_code code, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ctl_answer_error(&q->rq, code, text, ctl_send, q);
}

bool answer_arg(struct ctl_query *q, const char *name, const char **s)
{
    const json_t *v = q->rq.args ? json_object_get(q->rq.args, name) : NULL;

    *s = json_string_value(v);
    if (!v || *s)
        return true;
    answer_error(q, CTL_BAD_ARGS, "%s: accepted: a string", name);
    return false;
}

bool answer_arg_tunnel(struct answers *a, struct ctl_query *q, int64_t *tunnel)
{
    const struct roster_entry *e;
    const char *name;

    *tunnel = LIST_ALL;
    if (!answer_arg(q, "profile", &name))
        return false;
    if (!name)
        return true;
    e = roster_by_name(reload_roster(a->p.reload), name);
    if (e)
        *tunnel = (int64_t)e->id;
    else
        answer_error(q, CTL_NOT_FOUND, "no profile of that name");
    return e;
}

/* "worker.number": 16 bits, 48 bits. */
enum { NUMBER_BITS = 48 };

bool answer_arg_session(struct ctl_query *q, int64_t *session)
{
    unsigned long long number;
    unsigned worker;
    const char *text;
    int end = 0;

    *session = LIST_ALL;
    if (!answer_arg(q, "session", &text))
        return false;
    if (!text)
        return true;
    if (sscanf(text, "%5u.%15llu%n", &worker, &number, &end) != 2 || text[end] || worker > INT16_MAX ||
        number >> NUMBER_BITS) {
        answer_error(q, CTL_BAD_ARGS, "session: accepted: an id as `sessions` lists it, such as 0.17");
        return false;
    }
    *session = (int64_t)worker << NUMBER_BITS | (int64_t)number;
    return true;
}

void answer_session_text(uint64_t id, char out[32])
{
    snprintf(out, 32, "%u.%llu", (unsigned)(id >> NUMBER_BITS),
             (unsigned long long)(id & ((UINT64_C(1) << NUMBER_BITS) - 1)));
}

/* ---- what waits for workers ---- */

/* Whoever asks on the socket for everybody leaves some to the operator. */
static struct ask *free_ask(struct answers *a, const struct ctl_query *q)
{
    for (unsigned i = q->ctl == a->p.control ? 0 : ANSWER_ASKS / 2; i < ANSWER_ASKS; i++)
        if (!a->asks[i].used)
            return &a->asks[i];
    return NULL;
}

bool answer_ask(struct answers *a, struct ctl_query *q, const struct mail_list *m, answer_finish_fn *finish,
                struct tick now)
{
    struct shared *sh = a->p.sh;
    struct ask *k = free_ask(a, q);
    struct mail_list letter = *m;

    if (k) {
        k->lists = calloc(sh->n_workers, sizeof *k->lists);
        k->answered = calloc(sh->n_workers, sizeof *k->answered);
    }
    if (!k || !k->lists || !k->answered) {
        if (k) {
            free(k->lists);
            free(k->answered);
            *k = (struct ask){0};
        }
        answer_error(q, CTL_BUSY, "too many requests at a time");
        return false;
    }
    k->used = true;
    k->number = letter.ask = a->next++;
    k->q = *q;
    k->kind = m->kind;
    k->paged = m->max;
    k->tunnel = m->tunnel;
    k->session = m->session;
    k->finish = finish;
    k->until = tick_add_us(now, WAIT_US);
    letter.max = MAX((m->max ? m->max : ANSWER_ROWS) / sh->n_workers, 1u);
    for (unsigned i = 0; i < sh->n_workers; i++) {
        if (m->later && !answer_page_after(q, i, &letter.after)) /* all of its rows were on pages before */
            continue;
        k->missing++; /* a letter that finds no room is one that is not answered */
        post_put(sh->post, sh->n_workers, i, MAIL_LIST, bytes_of(&letter, sizeof letter), bytes_of(NULL, 0));
    }
    return true;
}

void answer_completeness(const struct answers *a, const struct ask *k, json_t *data)
{
    json_t *next = k->paged ? answer_page_next(a, k) : NULL;
    bool more = false;

    for (unsigned i = 0; i < a->p.sh->n_workers; i++)
        more |= k->lists[i].more;
    json_object_set_new(data, "complete", json_boolean(!k->missing));
    json_object_set_new(data, "truncated", json_boolean(more));
    if (next)
        json_object_set_new(data, "next", next);
}

const void *answer_row(const struct answers *a, const struct ask *k, size_t size, struct row_at *at)
{
    while (at->worker < a->p.sh->n_workers && at->i >= k->lists[at->worker].n)
        *at = (struct row_at){at->worker + 1, 0};
    return at->worker < a->p.sh->n_workers ? (const char *)k->lists[at->worker].rows + at->i++ * size : NULL;
}

void answers_listed(struct answers *a, const struct mail_listed *m)
{
    for (unsigned i = 0; i < ANSWER_ASKS; i++) {
        struct ask *k = &a->asks[i];

        if (k->used && k->number == m->ask && !k->answered[m->worker]) {
            k->lists[m->worker] = *m;
            k->answered[m->worker] = true;
            k->missing--;
            return;
        }
    }
    free(m->rows); /* asked too long ago */
}

/* ---- serving ---- */

/* Runs a command. True: the query is done. */
static bool run(struct answers *a, struct ctl_query *q, struct tick now)
{
    for (const struct command *c = commands; c < commands + LEN(commands); c++) {
        if (strcmp(q->rq.cmd, c->name) != 0)
            continue;
        if (c->reads || q->ctl == a->p.control)
            return c->run(a, q, now);
        answer_error(q, CTL_DENIED, "this socket is for reading; %s takes the control socket", c->name);
        return true;
    }
    answer_error(q, CTL_UNKNOWN_COMMAND, "no such command");
    return true;
}

static void serve(struct answers *a, struct ctl *ctl, struct tick now)
{
    struct tick enough = tick_add_ms(io_now(), SERVE_MS); /* however many profiles each answer walks */
    struct ctl_query q;

    if (!ctl)
        return;
    ctl_step(ctl, now);
    while (tick_before(io_now(), enough) && ctl_next(ctl, &q) == 0)
        if (run(a, &q, now))
            ctl_done(&q);
}

void answers_serve(struct answers *a, struct tick now)
{
    answer_look_at_clocks(a, now);
    serve(a, a->p.control, now);
    serve(a, a->p.stats, now);
    for (unsigned i = 0; i < ANSWER_ASKS; i++) {
        struct ask *k = &a->asks[i];

        if (!k->used || (k->missing && tick_before(now, k->until)))
            continue;
        k->finish(a, k, now);
        ask_end(a, k);
    }
}

void answers_log_counters(struct answers *a)
{
    char line[4096];
    struct stats total = answer_stats(a, LIST_ALL);
    size_t n = 0;

    if (log_is_kcptun()) {
        snmp_dump(line, a->p.sh->conf->global.snmpcolumns, &total);
        log_info("%s", line);
        return;
    }
    for (size_t i = 0; i < stats_count && n < sizeof line; i++)
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%s:%llu", i ? " " : "", stats_info[i].name,
                              (unsigned long long)stat_get(&total, i));
    log_info("counters: %s", line);
}

/* ---- tunnels ---- */

const struct conf_profile *answer_profile(const struct answers *a, int64_t tunnel)
{
    const struct roster_entry *e = roster_by_id(reload_roster(a->p.reload), (uint64_t)tunnel);

    return e ? e->conf : NULL;
}

bool answer_tunnels(const struct answers *a, unsigned *at, int64_t *tunnel)
{
    const struct roster_entry *e = roster_next(reload_roster(a->p.reload), at);

    *tunnel = e ? (int64_t)e->id : LIST_ALL;
    return e;
}

struct stats answers_total(const struct answers *a)
{
    struct stats s = roster_total(reload_roster(a->p.reload));

    s.max_conn = limits_most(a->p.sh->limits);
    return s;
}

struct stats answer_stats(const struct answers *a, int64_t tunnel)
{
    const struct roster *r = reload_roster(a->p.reload);
    const struct roster_entry *e = tunnel == LIST_ALL ? NULL : roster_by_id(r, (uint64_t)tunnel);

    if (tunnel == LIST_ALL)
        return answers_total(a);
    return e ? roster_stats(r, e) : (struct stats){0};
}

bool answer_drains(const struct answers *a, int64_t tunnel)
{
    const struct roster_entry *e = roster_by_id(reload_roster(a->p.reload), (uint64_t)tunnel);

    return e && (e->removed || e->drained);
}
