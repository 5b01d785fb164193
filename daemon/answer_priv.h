/* daemon/answer_priv.h - what the files of the answers share: answer.c (the table, and what waits for workers),
 * answer_list.c (counters, sessions, streams), answer_act.c (what is done to them), answer_conf.c (the configuration),
 * answer_state.c (status, facts). */
#ifndef DAEMON_ANSWER_PRIV_H
#define DAEMON_ANSWER_PRIV_H

#include "conf/conf.h"
#include "daemon/answer.h"
#include "daemon/clock_watch.h"
#include "daemon/report.h"

enum {
    ANSWER_ASKS = 16,             /* that wait for workers, of all clients; half of them are the control socket's alone */
    ANSWER_CHANGES = 16,          /* of the configuration, that wait for their result */
    ANSWER_ROWS = 4096,           /* sessions or streams in one answer */
};

struct ask;
typedef void answer_finish_fn(struct answers *a, struct ask *k, struct tick now);

struct ask {                      /* a request that waits for the workers */
    bool used;
    uint64_t number;
    struct ctl_query q;
    int64_t tunnel, session;      /* as in mail_list */
    enum list_kind kind;
    bool paged;                   /* it may be asked for more */
    answer_finish_fn *finish;     /* answers q */
    unsigned missing;             /* workers that have not answered */
    struct tick until;
    struct mail_listed *lists;    /* one per worker; `answered` of those that did */
    bool *answered;
};

struct change {                   /* a request that waits until a new configuration, or process, is in force */
    bool used;
    struct ctl_query q;
    struct answers *a;
};

struct answers {
    struct answers_params p;
    struct tick began;
    int64_t began_s;              /* Unix time */
    uint64_t next;
    struct ask asks[ANSWER_ASKS];
    struct change changes[ANSWER_CHANGES];
    struct clock_watch clock;
};

/* ---- answering ---- */
/* Answers data (taken; NULL: out of memory). */
void answer_data(struct ctl_query *q, json_t *data);
/* The same for data with one long array in it. */
void answer_rows(struct ctl_query *q, json_t *data, const char *name);
void answer_error(struct ctl_query *q, enum ctl_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A string among the arguments. False: it is there and no string (answered). *s NULL: not there. */
bool answer_arg(struct ctl_query *q, const char *name, const char **s);
/* The same for the name of a profile and its tunnel; LIST_ALL: not there. False: answered. */
bool answer_arg_tunnel(struct answers *a, struct ctl_query *q, int64_t *tunnel);
/* The same for the id of a session, as "worker.number". */
bool answer_arg_session(struct ctl_query *q, int64_t *session);
void answer_session_text(uint64_t id, char out[32]);

/* The arguments of a page, `limit` and `after`, into m. False: they are wrong (answered). */
bool answer_arg_page(const struct answers *a, struct ctl_query *q, struct mail_list *m);

/* Where the worker goes on. False: it has said all. */
bool answer_page_after(const struct ctl_query *q, unsigned worker, struct list_place *p);
/* Where the next page begins; NULL: there is none. */
json_t *answer_page_next(const struct answers *a, const struct ask *k);

/* Asks the workers, and has `finish` answer when they all have, or the wait is over. False: answered (busy); q is still the
 * caller's. */
bool answer_ask(struct answers *a, struct ctl_query *q, const struct mail_list *m, answer_finish_fn *finish,
                struct tick now);
/* Whether all workers answered, and everything was listed, into data; of a page also where the next begins. */
void answer_completeness(const struct answers *a, const struct ask *k, json_t *data);
/* The next row of the answers; NULL: no more. Zeroed *at starts; at->worker is its worker. */
struct row_at {
    unsigned worker, i;
};
const void *answer_row(const struct answers *a, const struct ask *k, size_t size, struct row_at *at);

/* A place for a request that waits for something else than workers; takes q. NULL: answered (busy); q is still the caller's. */
struct change *answer_change(struct answers *a, struct ctl_query *q);

/* ---- tunnels ---- */
const struct conf_profile *answer_profile(const struct answers *a, int64_t tunnel); /* NULL: it is gone */
/* The tunnels in order: *at starts at 0. False: no more. */
bool answer_tunnels(const struct answers *a, unsigned *at, int64_t *tunnel);
struct stats answer_stats(const struct answers *a, int64_t tunnel);
/* What findings.h knows of it, as an array. */
json_t *answer_findings(const struct answers *a, int64_t tunnel, struct tick now);
bool answer_drains(const struct answers *a, int64_t tunnel);

/* ---- commands: true: the query is done (answered); false: it was taken ---- */
typedef bool answer_fn(struct answers *a, struct ctl_query *q, struct tick now);
answer_fn answer_stats_cmd, answer_sessions, answer_streams, answer_show;   /* answer_list.c */
answer_fn answer_kick, answer_drain, answer_undrain;                        /* answer_act.c */
answer_fn answer_reload, answer_set, answer_loglevel;                       /* answer_conf.c */
answer_fn answer_upgrade;                                                   /* answer_upgrade.c */
answer_fn answer_status, answer_doctor;                                     /* answer_state.c */

void answer_look_at_clocks(struct answers *a, struct tick now);             /* each turn */

/* ---- the configuration ---- */
json_t *answer_conf_json(const struct answers *a);      /* what became of the last attempt to read it */
json_t *answer_overrides_json(const struct answers *a); /* what was set since */
void answer_changes_end(struct answers *a);             /* before the sockets go */
json_t *answer_finishing_json(const struct answers *a);                     /* processes before this one */
json_t *answer_upgrade_json(const struct answers *a);                       /* the last attempt, if it failed */

#endif
