/* daemon/reload.c - one change of the configuration after the other: what is asked for waits in a queue, what has been
 * published waits for the workers. How plans and sockets are made is edition.c. */
#include "daemon/reload.h"

#include "conf/diff.h"
#include "core/base/err.h"
#include "core/base/list.h"
#include "daemon/edition.h"
#include "daemon/edition_wait.h"
#include "daemon/limits.h"
#include "daemon/log.h"
#include "daemon/own_names.h"
#include "daemon/watch.h"
#include "daemon/worker.h"

#include <stdlib.h>
#include <string.h>

enum { QUEUE_MAX = 64, RETRY_MS = 20, NAMES_MS = 5000, LOOK_MS = 200 };

struct request {
    struct list node;
    char cause[64];
    struct reload_override *set; /* NULL: read the file */
    bool again; /* what runs, so that those that waited follow; else */
    reload_done_fn *done;
    void *ctx;
};

struct reload {
    const char *file, *program;
    reload_load_fn *load;
    void (*busy)(void *ctx);
    void *ctx;
    struct shared *sh;
    struct conf *conf; /* what runs */
    struct roster *roster;
    struct secrets *secrets;
    struct watch *watch;
    struct list queue;
    unsigned queued;
    struct conf *coming; /* its names are being asked for; NULL: none */
    struct own_names *names; /* those */
    struct tick names_until;
    struct edition_waits waits; /* profiles that could not follow yet */
    struct tick look; /* when to look whether they can */
    struct edition *edition; /* on its way; NULL: none */
    struct request *now; /* what either is for */
    bool *untold; /* workers whose letter found no room */
    unsigned to_move, failed; /* workers still to answer; tunnels that could not follow */
    unsigned editions;
    struct reload_result last, next; /* next: of what is on its way */
    struct reload_override *overrides;
    unsigned n_overrides;
    bool stopped, held;
};

/* ---- results ---- */

static void result_fini(struct reload_result *x)
{
    free(x->error);
    conf_problems_fini(&x->problems);
    for (unsigned i = 0; i < x->n_restart; i++)
        free(x->restart[i]);
    free(x->restart);
    *x = (struct reload_result){0};
}

static void result_begin(struct reload *r, const char *cause)
{
    result_fini(&r->next);
    snprintf(r->next.cause, sizeof r->next.cause, "%s", cause);
    r->next.when_s = (int64_t)(watch_clock_ns() / 1000000000);
}

static void override_fini(struct reload_override *o)
{
    free(o->profile);
    free(o->key);
    free(o->value);
    free(o->why);
}

static struct request *request_free(struct request *q)
{
    if (!q)
        return NULL;
    if (q->set)
        override_fini(q->set);
    free(q->set);
    free(q);
    return NULL;
}

/* The attempt is over: r->next is what came of it. One that did not read the file says nothing of that, unless it tells of
 * something in it that does not work. */
static void finish(struct reload *r, struct request *q)
{
    if (q->done)
        q->done(q->ctx, &r->next);
    if (q->set || (q->again && r->next.ok)) {
        result_fini(&r->next);
    } else {
        result_fini(&r->last);
        r->last = r->next;
        r->next = (struct reload_result){0};
    }
    request_free(q);
}

static void log_problems(const struct conf_problems *ps)
{
    for (unsigned i = 0; i < ps->n; i++)
        log_all(ps->v[i].warning ? LOG_AT_WARNING : LOG_AT_ERROR, "%s", ps->v[i].text);
}

/* Everything stays as it is, because of what err_text() or the problems say. */
static void refuse(struct reload *r, struct request *q, const char *why)
{
    struct reload_result *x = &r->next;

    for (unsigned i = 0; i < x->problems.n && !why; i++)
        if (!x->problems.v[i].warning)
            why = x->problems.v[i].text;
    x->ok = false;
    x->error = strdup(why ? why : err_text());
    log_problems(&x->problems);
    log_all(LOG_AT_ERROR, "%s: nothing is changed: %s", x->cause, x->error ? x->error : "out of memory");
    finish(r, q);
}

static void log_success(const struct reload_result *x)
{
    log_problems(&x->problems);
    log_all(LOG_AT_INFO, "%s: configuration in force: %u profiles added, %u changed, %u removed, %u as they were",
            x->cause, x->added, x->changed, x->removed, x->kept);
    for (unsigned i = 0; i < x->n_restart; i++)
        log_all(LOG_AT_WARNING, "%s: %s has another value now: it needs a restart", x->cause, x->restart[i]);
}

/* ---- overrides ---- */

static void forget_overrides(struct reload *r)
{
    for (unsigned i = 0; i < r->n_overrides; i++)
        override_fini(&r->overrides[i]);
    free(r->overrides);
    r->overrides = NULL;
    r->n_overrides = 0;
}

static bool same_target(const struct reload_override *a, const struct reload_override *b)
{
    return !strcmp(a->key, b->key) &&
           (a->profile && b->profile ? !strcmp(a->profile, b->profile) : a->profile == b->profile);
}

/* Takes *o. */
static void note_override(struct reload *r, struct reload_override *o)
{
    struct reload_override *v;

    for (unsigned i = 0; i < r->n_overrides; i++)
        if (same_target(&r->overrides[i], o)) {
            override_fini(&r->overrides[i]);
            r->overrides[i] = *o;
            *o = (struct reload_override){0};
            return;
        }
    v = reallocarray(r->overrides, r->n_overrides + 1, sizeof *v);
    if (!v)
        return; /* it counts, but is not listed */
    r->overrides = v;
    v[r->n_overrides++] = *o;
    *o = (struct reload_override){0};
}

/* ---- a new configuration ---- */

/* Watches what was read, or looked for. */
static void watch_again(struct reload *r, const struct conf *c, const struct conf_paths *paths, uint64_t began_ns)
{
    if (watch_paths(r->watch, c->global.watch ? paths : NULL, began_ns, io_now()))
        log_warning("changes of the configuration will not be seen: %s", err_text());
}

/* Reads the file. 0, CONF_INVALID (see r->next), -errno. */
static int load(struct reload *r, struct conf **cp)
{
    struct conf_paths paths = {0};
    uint64_t began = watch_clock_ns();
    int k = r->load(r->ctx, cp, &r->next.problems, &paths);

    watch_again(r, k ? r->conf : *cp, &paths, began);
    conf_paths_fini(&paths);
    return k;
}

static int with_override(struct reload *r, const struct reload_override *o, struct conf **cp)
{
    int k = conf_copy(cp, r->conf);

    if (k)
        return k;
    k = conf_assign(*cp, o->profile, o->key, o->value, &r->next.problems);
    if (k)
        *cp = conf_free(*cp);
    return k;
}

/* What [global] says and cannot change while running stays, and is told. 0, -ENOMEM. */
static int keep_unchangeable(struct reload *r, struct conf *c)
{
    const char *names[CONF_NAMES_MAX];
    int n = conf_keep_unchangeable(&c->global, &r->conf->global, names);

    if (n <= 0)
        return n;
    r->next.restart = calloc((size_t)n, sizeof(char *));
    if (!r->next.restart)
        return err_here(-ENOMEM);
    for (int i = 0; i < n; i++)
        if ((r->next.restart[r->next.n_restart] = strdup(names[i])))
            r->next.n_restart++;
    return 0;
}

/* Another place to log to. 0, -errno: as it was. */
static int change_log(const struct reload *r, const struct conf *c)
{
    const struct conf_global *g = &c->global, *was = &r->conf->global;
    const struct log_params p = {
        .level = (enum log_level)g->loglevel,
        .to = g->log,
        .name = r->program,
        .format = (enum log_format)g->logformat,
    };

    if (strcmp(g->log, was->log) != 0 || g->logformat != was->logformat)
        return log_init(&p);
    log_level_set(p.level);
    return 0;
}

/* ---- publishing ---- */

static void count(struct reload_result *x, const struct conf_diff *d)
{
    x->added = d->added;
    x->changed = d->changed;
    x->removed = d->removed;
    x->kept = d->kept;
}

/* Tells every worker that has not been told. */
static void tell(struct reload *r)
{
    const struct mail_edition m = {r->edition};

    for (unsigned i = 0; i < r->sh->n_workers; i++)
        if (r->untold[i])
            r->untold[i] = post_put(r->sh->post, r->sh->n_workers, i, MAIL_EDITION, bytes_of(&m, sizeof m),
                                    bytes_of(NULL, 0)) != 0;
    post_publish(r->sh->post, r->sh->n_workers);
}

/* The workers have moved on, or there was nothing for them to do. */
static void conclude(struct reload *r)
{
    struct request *q = r->now;

    r->now = NULL;
    r->edition = edition_free(r->edition);
    roster_prune(r->roster);
    secrets_sweep(r->secrets);
    r->next.ok = true;
    if (r->failed)
        log_error("%s: %u tunnels could not follow in some worker, and go on as they were", r->next.cause, r->failed);
    log_success(&r->next);
    finish(r, q);
}

/* Nothing can fail any more. Takes c and e. */
static void publish(struct reload *r, struct conf *c, struct edition *e, struct request *q)
{
    edition_commit(e, r->roster);
    limits_set_total(r->sh->limits, c->global.maxsessions);
    conf_free(r->conf);
    r->sh->conf = r->conf = c;
    if (q->set)
        note_override(r, q->set);
    else if (!q->again)
        forget_overrides(r);
    r->edition = e;
    r->now = q;
    r->failed = 0;
    r->to_move = e->n ? r->sh->n_workers : 0;
    for (unsigned i = 0; i < r->sh->n_workers; i++)
        r->untold[i] = e->n;
    if (e->n)
        tell(r);
    else
        conclude(r);
}

/* It cannot be: for k < 0 because of what err_text() says, else of the problems. Takes c. */
static void give_up(struct reload *r, struct conf *c, struct request *q, int k)
{
    char why[256] = "";

    if (k < 0)
        snprintf(why, sizeof why, "%s", err_text());
    conf_free(c);
    refuse(r, q, r->next.problems.n_errors ? NULL : why);
}

static struct edition_params params_of(struct reload *r, struct own_names *names)
{
    return (struct edition_params){
        .roster = r->roster,
        .secrets = r->secrets,
        .n_workers = r->sh->n_workers,
        .number = r->editions,
        .names = names,
        .busy = r->busy,
        .ctx = r->ctx,
    };
}

/* All names are known, or not in time. Takes c. */
static void carry_out(struct reload *r, struct conf *c, struct own_names *names, struct request *q)
{
    struct edition_params ep = params_of(r, names);
    struct edition_waits waits = {0};
    struct edition *e = NULL;
    struct conf_diff d;
    int k;

    ep.number = ++r->editions;
    ep.waits = &waits;
    k = edition_new(&e, &d, c, &ep);
    if (!k) {
        count(&r->next, &d);
        conf_diff_fini(&d);
        k = change_log(r, c);
    }
    if (!k || q->again) { /* who waited and cannot follow even now has to be looked at by somebody */
        edition_waits_fini(&r->waits);
        r->waits = k ? (struct edition_waits){0} : waits;
    }
    for (unsigned i = 0; i < r->waits.n && !k; i++)
        log_all(LOG_AT_WARNING, "%s", r->waits.v[i].text);
    if (!k) {
        publish(r, c, e, q);
        return;
    }
    edition_waits_fini(&waits);
    edition_abandon(e, r->roster);
    give_up(r, c, q, k);
}

static void attempt(struct reload *r, struct request *q)
{
    struct own_names *names = own_names_new();
    const struct edition_params ep = params_of(r, names);
    struct conf *c = NULL;
    int k = names ? 0 : err_here(-ENOMEM);

    result_begin(r, q->cause);
    roster_prune(r->roster); /* ports that were given up since may be anybody's */
    if (!k)
        k = q->set ? with_override(r, q->set, &c) : q->again ? conf_copy(&c, r->conf) : load(r, &c);
    if (!k)
        k = keep_unchangeable(r, c);
    if (!k)
        k = edition_names(c, &ep);
    if (!k && !own_names_known(names)) {
        r->coming = c;
        r->names = names;
        r->names_until = tick_add_ms(io_now(), NAMES_MS);
        r->now = q;
        return;
    }
    if (k)
        give_up(r, c, q, k);
    else
        carry_out(r, c, names, q);
    own_names_free(names);
}

static void next(struct reload *r)
{
    struct request *q;

    while (!r->edition && !r->coming && !r->held && (q = LIST_FIRST(&r->queue, struct request, node))) {
        list_del(&q->node);
        r->queued--;
        if (r->stopped) {
            result_begin(r, q->cause);
            refuse(r, q, "the daemon is ending");
        } else {
            attempt(r, q);
        }
    }
}

/* Names that were asked for have come, or nobody waits for them any longer. */
static void go_on(struct reload *r, struct tick now)
{
    struct own_names *names = r->names;
    struct request *q = r->now;
    struct conf *c = r->coming;

    if (!c || (!own_names_known(names) && tick_before(now, r->names_until) && !r->stopped))
        return;
    r->names = NULL;
    r->now = NULL;
    r->coming = NULL;
    if (r->stopped) {
        conf_free(c);
        refuse(r, q, "the daemon is ending");
    } else {
        carry_out(r, c, names, q);
    }
    own_names_free(names);
    next(r);
}

void reload_on_moved(struct reload *r, const struct mail_moved *m)
{
    if (!r->edition || m->number != r->edition->number)
        return;
    r->failed += m->failed;
    if (--r->to_move == 0) {
        conclude(r);
        next(r);
    }
}

void reload_on_gone(struct reload *r, const struct mail_gone *m)
{
    roster_ended(r->roster, m->tunnel);
}

/* ---- commands ---- */

/* Takes *set. */
static void enqueue(struct reload *r, const char *cause, struct reload_override *set, reload_done_fn *done, void *ctx)
{
    struct request *q = calloc(1, sizeof *q);

    if (!q || r->queued == QUEUE_MAX) {
        struct reload_result x = {.error = (char *)(uintptr_t) "too many changes at a time"};

        snprintf(x.cause, sizeof x.cause, "%s", cause);
        log_error("%s: %s", cause, x.error);
        if (done)
            done(ctx, &x);
        if (set)
            override_fini(set);
        free(set);
        free(q);
        return;
    }
    *q = (struct request){.set = set, .done = done, .ctx = ctx};
    snprintf(q->cause, sizeof q->cause, "%s", cause);
    list_init(&q->node);
    list_push(&r->queue, &q->node);
    r->queued++;
    next(r);
}

void reload_now(struct reload *r, const char *cause, reload_done_fn *done, void *ctx)
{
    enqueue(r, cause, NULL, done, ctx);
}

void reload_set(struct reload *r, const char *profile, const char *key, const char *value, const char *why,
                reload_done_fn *done, void *ctx)
{
    struct reload_override *o = calloc(1, sizeof *o);

    if (o) {
        o->profile = profile ? strdup(profile) : NULL;
        o->key = strdup(key);
        o->value = strdup(value);
        o->why = strdup(why);
    }
    if (!o || (profile && !o->profile) || !o->key || !o->value || !o->why) {
        struct reload_result x = {.cause = "set", .error = (char *)(uintptr_t) "out of memory"};

        if (o)
            override_fini(o);
        free(o);
        if (done)
            done(ctx, &x);
        return;
    }
    enqueue(r, "set", o, done, ctx);
}

/* ---- the loop ---- */

int reload_watch_fd(const struct reload *r)
{
    return watch_fd(r->watch);
}

void reload_on_watch(struct reload *r)
{
    watch_take(r->watch, io_now());
}

/* Ports that were waited for may be free. */
static void follow(struct reload *r, struct tick now)
{
    struct request *q;

    if (!r->waits.n || reload_busy(r) || r->held || r->stopped || tick_before(now, r->look))
        return;
    r->look = tick_add_ms(now, LOOK_MS);
    roster_prune(r->roster);
    q = edition_waits_any_over(&r->waits, r->roster) ? calloc(1, sizeof *q) : NULL;
    if (!q)
        return;
    *q = (struct request){.cause = "free port", .again = true};
    list_init(&q->node);
    attempt(r, q);
}

int reload_names_fd(const struct reload *r)
{
    return r->names ? own_names_fd(r->names) : -1;
}

int reload_step(struct reload *r)
{
    struct tick now = io_now(), due;
    bool retry = false;

    if (r->edition && r->to_move) {
        tell(r);
        for (unsigned i = 0; i < r->sh->n_workers; i++)
            retry = retry || r->untold[i];
    }
    if (!r->stopped && watch_changed(r->watch, now))
        reload_now(r, "file", NULL, NULL);
    go_on(r, now);
    follow(r, now);
    due = r->coming ? r->names_until : r->waits.n ? r->look : TICK_NEVER;
    if (!r->stopped)
        due = tick_min(due, watch_due(r->watch));
    if (retry)
        return RETRY_MS;
    if (due.us == TICK_NEVER.us)
        return -1;
    return (int)((tick_max(due, now).us - now.us + 999) / 1000);
}

void reload_hold(struct reload *r, bool on)
{
    r->held = on;
    next(r);
}

void reload_stop(struct reload *r)
{
    r->held = false;
    r->stopped = true;
    go_on(r, io_now());
    next(r);
}

/* ---- beginning and end ---- */

static int first_edition(struct reload *r)
{
    struct own_names *names = own_names_new();
    struct edition_params ep = params_of(r, names);
    struct edition_waits nobody = {0};
    struct edition *e = NULL;
    struct conf_diff d;
    int k;

    ep.elder = r->sh->elder;
    ep.waits = &nobody;
    k = names ? edition_new(&e, &d, r->conf, &ep) : err_here(-ENOMEM);
    own_names_free(names);
    if (k)
        return k;
    snprintf(r->last.cause, sizeof r->last.cause, "start");
    r->last.when_s = (int64_t)(watch_clock_ns() / 1000000000);
    count(&r->last, &d);
    conf_diff_fini(&d);
    edition_commit(e, r->roster);
    r->edition = e;
    r->sh->first = e;
    return 0;
}

int reload_new(struct reload **rp, const struct reload_params *p)
{
    struct reload *r = calloc(1, sizeof *r);
    int k;

    if (!r) {
        conf_free(p->conf);
        return err_here(-ENOMEM);
    }
    *r = (struct reload){
        .file = p->file,
        .program = p->program,
        .load = p->load,
        .busy = p->busy,
        .ctx = p->ctx,
        .sh = p->sh,
        .conf = p->conf,
    };
    list_init(&r->queue);
    r->sh->conf = r->conf;
    r->roster = roster_new(r->sh->n_workers);
    r->secrets = secrets_new();
    r->watch = watch_new();
    r->untold = calloc(r->sh->n_workers, sizeof *r->untold);
    k = r->roster && r->secrets && r->watch && r->untold ? first_edition(r) : err_here(-ENOMEM);
    if (k) {
        reload_free(r);
        return k;
    }
    watch_again(r, r->conf, p->paths, p->read_ns);
    *rp = r;
    return 0;
}

void reload_started(struct reload *r)
{
    r->edition = edition_free(r->edition);
    r->sh->first = NULL;
    r->last.ok = true;
    next(r);
}

struct reload *reload_free(struct reload *r)
{
    struct request *q;

    if (!r)
        return NULL;
    while ((q = LIST_FIRST(&r->queue, struct request, node))) {
        list_del(&q->node);
        request_free(q);
    }
    request_free(r->now);
    own_names_free(r->names);
    conf_free(r->coming);
    edition_free(r->edition);
    roster_free(r->roster);
    secrets_free(r->secrets);
    watch_free(r->watch);
    free(r->untold);
    edition_waits_fini(&r->waits);
    forget_overrides(r);
    result_fini(&r->last);
    result_fini(&r->next);
    r->sh->conf = NULL;
    conf_free(r->conf);
    free(r);
    return NULL;
}

/* ---- for status ---- */

const char *reload_file(const struct reload *r)
{
    return r->file;
}

const struct conf *reload_conf(const struct reload *r)
{
    return r->conf;
}

const struct reload_result *reload_last(const struct reload *r)
{
    return &r->last;
}

bool reload_busy(const struct reload *r)
{
    return r->edition || r->coming;
}

unsigned reload_overrides(const struct reload *r, const struct reload_override **v)
{
    *v = r->overrides;
    return r->n_overrides;
}

unsigned reload_waits(const struct reload *r, const struct edition_wait **v)
{
    *v = r->waits.v;
    return r->waits.n;
}

struct roster *reload_roster(const struct reload *r)
{
    return r->roster;
}
