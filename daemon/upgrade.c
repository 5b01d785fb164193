/* daemon/upgrade.c - an attempt step by step: the new process starts and gets an offer; once everything else is ready there,
 * the workers freeze and tell their sessions; once its workers run, the service is its. What is offered, and how messages
 * get there, is upgrade_offer.c. */
#include "daemon/upgrade_priv.h"

#include "core/base/err.h"
#include "daemon/claims.h"
#include "daemon/ctl.h"
#include "daemon/edition_wait.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/notify.h"
#include "daemon/plan.h"
#include "daemon/reload.h"
#include "daemon/roster.h"
#include "daemon/sockets.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    BOOT_MS = 12000, /* for reading the configuration and opening what is new */
    FREEZE_MS = 2000, /* for our workers */
    START_MS = 5000, /* for theirs; until then nobody reads */
    NEWS_MS = 1000, /* between words about how we are doing */
    MSGS_A_TURN = 64,
};

int upgrade_new(struct upgrade **up, const struct upgrade_params *p)
{
    struct upgrade *u = calloc(1, sizeof *u);

    if (!u)
        return err_here(-ENOMEM);
    u->p = *p;
    u->fd = -1;
    u->deadline = u->news = TICK_NEVER;
    list_init(&u->out);
    *up = u;
    return 0;
}

static void tell_workers(struct upgrade *u, enum mail_type type, struct bytes head)
{
    struct shared *sh = u->p.sh;

    for (unsigned i = 0; i < sh->n_workers; i++)
        post_put(sh->post, sh->n_workers, i, type, head, bytes_of(NULL, 0));
    post_publish(sh->post, sh->n_workers);
}

static void close_all(struct upgrade *u)
{
    upgrade_drop_queue(u);
    if (u->fd >= 0)
        close(u->fd);
    u->fd = -1;
    upgrade_close_links(u);
}

/* ---- results ---- */

static void conclude(struct upgrade *u)
{
    upgrade_done_fn *done = u->done;

    u->result.when_s = (int64_t)time(NULL);
    u->done = NULL;
    if (done)
        done(u->ctx, &u->result);
}

__attribute__((format(printf, 2, 3))) static void refuse(struct upgrade *u, const char *fmt, ...)
{
    va_list ap;

    u->result = (struct upgrade_result){0};
    va_start(ap, fmt);
    vsnprintf(u->result.error, sizeof u->result.error, fmt, ap);
    va_end(ap);
    log_error("%s: no upgrade: %s", u->cause, u->result.error);
    conclude(u);
}

static void set_handed(struct upgrade *u, uint32_t number, bool on)
{
    const struct roster_entry *e;

    for (unsigned at = 0; (e = roster_next(reload_roster(u->p.reload), &at));)
        if (!number || e->plan->sockets->id == number)
            atomic_store(&e->plan->sockets->handed, on);
}

/* How the new process has ended, as far as that can be told. */
static void reap(struct upgrade *u, char *text, size_t room)
{
    int status = 0;

    *text = 0;
    kill(u->pid, SIGKILL); /* it has no names in the file system to tidy up that are not ours */
    if (waitpid(u->pid, &status, 0) != u->pid)
        return;
    if (WIFEXITED(status))
        snprintf(text, room, "the new process ended with status %d", WEXITSTATUS(status));
    else if (WTERMSIG(status) != SIGKILL)
        snprintf(text, room, "the new process was ended by signal %d", WTERMSIG(status));
}

/* why NULL: the new process has ended by itself, or said it before. */
static void fail(struct upgrade *u, const char *why)
{
    enum upgrade_step was = u->step;
    char text[128];

    u->step = UPGRADE_IDLE;
    u->deadline = TICK_NEVER;
    reap(u, text, sizeof text);
    close_all(u);
    if (was >= UPGRADE_FREEZING)
        tell_workers(u, MAIL_THAW, bytes_of(NULL, 0));
    set_handed(u, 0, false);
    refuse(u, "%s", why ? why : *u->why ? u->why : *text ? text : "the new process was killed");
    reload_hold(u->p.reload, false);
}

void upgrade_stop(struct upgrade *u)
{
    if (!u)
        return;
    u->stopped = true;
    if (upgrade_is_under_way(u))
        fail(u, "the daemon was told to end");
}

/* ---- steps ---- */

static bool may_begin(struct upgrade *u)
{
    const struct edition_wait *w;
    const struct elder_state *v;

    if (u->step != UPGRADE_IDLE)
        refuse(u, "%s", u->step == UPGRADE_OVER ? "another process has the service" : "one is under way");
    else if (u->stopped)
        refuse(u, "the daemon is ending");
    else if (getpid() == 1)
        refuse(u, "as process 1 this one cannot end before the new one");
    else if (reload_busy(u->p.reload))
        refuse(u, "a change of the configuration is under way");
    else if (reload_waits(u->p.reload, &w)) /* the new process could not open it */
        refuse(u, "%s", w->text);
    else if (elder_list(u->p.sh->elder, &v) >= ELDERS_MAX - 1)
        refuse(u,
               "%d processes finish their sessions already: wait for the first to end (kcptunctl status tells how long "
               "at most)",
               ELDERS_MAX - 1);
    else
        return true;
    return false;
}

void upgrade_begin(struct upgrade *u, const char *cause, upgrade_done_fn *done, void *ctx)
{
    int r;

    if (u->step != UPGRADE_IDLE && u->step != UPGRADE_OVER) { /* that one's result is still to come */
        struct upgrade_result x = {.error = "an upgrade is under way"};

        log_error("%s: %s", cause, x.error);
        if (done)
            done(ctx, &x);
        return;
    }
    u->cause = cause;
    u->done = done;
    u->ctx = ctx;
    *u->why = 0;
    if (!may_begin(u))
        return;
    log_info("%s: upgrade: starting %s", cause, u->p.program);
    r = upgrade_spawn(u);
    if (r) {
        close_all(u);
        refuse(u, "%s", err_text());
        return;
    }
    reload_hold(u->p.reload, true);
    u->step = UPGRADE_BOOTING;
    u->deadline = tick_add_ms(io_now(), BOOT_MS);
    if (upgrade_offer(u))
        fail(u, err_text());
}

static void freeze(struct upgrade *u)
{
    struct shared *sh = u->p.sh;

    u->step = UPGRADE_FREEZING;
    u->deadline = tick_add_ms(io_now(), FREEZE_MS);
    u->to_freeze = sh->n_workers;
    u->attempt++;
    for (unsigned i = 0; i < sh->n_workers; i++) {
        const struct mail_freeze m = {u->links[i], u->attempt};

        if (!post_put(sh->post, sh->n_workers, i, MAIL_FREEZE, bytes_of(&m, sizeof m), bytes_of(NULL, 0)))
            u->links[i] = -1; /* the worker's */
    }
    post_publish(sh->post, sh->n_workers);
}

static void add_claim(void *ctx, const struct upgrade_session *s)
{
    upgrade_session_changed(ctx, s, false);
}

/* All our sessions are told: those of processes before us are ours to pass on, too. */
static void let_go(struct upgrade *u)
{
    const struct elder_state *v;
    unsigned n = elder_list(u->p.sh->elder, &v);

    if (elder_is_there(u->p.sh->elder))
        claims_each(elder_claims(u->p.sh->elder), add_claim, u);
    for (unsigned i = 0; i < n; i++)
        upgrade_state_changed(u, &v[i]);
    upgrade_tell_counters(u);
    upgrade_send(u, &(struct upgrade_msg){.type = UPGRADE_GO}, NULL, 0);
    u->step = UPGRADE_STARTING;
    u->deadline = tick_add_ms(io_now(), START_MS);
}

void upgrade_on_frozen(struct upgrade *u, const struct mail_frozen *m)
{
    bool ours = u->step == UPGRADE_FREEZING && m->attempt == u->attempt;

    if (ours && m->failed)
        fail(u, "a worker cannot stop reading; try again");
    else if (ours) {
        upgrade_tell_sessions(u, UPGRADE_SESSIONS, m->sessions, m->n);
        if (--u->to_freeze == 0)
            let_go(u);
    }
    free(m->sessions);
}

static void hand_over(struct upgrade *u)
{
    uint32_t seconds = u->p.sh->conf->global.upgradetime;
    struct mail_drain m = {tick_add_ms(io_now(), seconds * UINT64_C(1000))};

    u->step = UPGRADE_OVER;
    u->deadline = TICK_NEVER;
    u->news = io_now();
    u->until = m.until;
    tell_workers(u, MAIL_FINISH, bytes_of(&m, sizeof m));
    notify_main_pid(u->p.notify, u->pid);
    notify_close(u->p.notify);
    upgrade_send(u, &(struct upgrade_msg){.type = UPGRADE_YOURS}, NULL, 0);
    reload_stop(u->p.reload);
    upgrade_let_go_names(u);
    log_info("%s: process %d has the service; sessions here have %u s", u->cause, (int)u->pid, seconds);
    u->result = (struct upgrade_result){.ok = true, .pid = (uint32_t)u->pid};
    conclude(u);
}

/* ---- messages ---- */

static void on_message(struct upgrade *u, const struct upgrade_msg *m)
{
    if (m->type == UPGRADE_FAILED) {
        snprintf(u->why, sizeof u->why, "%s", m->text);
    } else if (m->type == UPGRADE_TAKEN && u->step == UPGRADE_BOOTING) {
        upgrade_note_taken(u, m->a);
        if (m->a < UPGRADE_NUMBERS)
            set_handed(u, m->a, true);
    } else if (m->type == UPGRADE_PREPARED && u->step == UPGRADE_BOOTING) {
        freeze(u);
    } else if (m->type == UPGRADE_STARTED && u->step == UPGRADE_STARTING) {
        hand_over(u);
    } else if (m->type == UPGRADE_END && u->step == UPGRADE_OVER) {
        u->end = true;
        u->end_s = m->a;
    } else if (m->type == UPGRADE_REOPEN && u->step == UPGRADE_OVER) {
        elder_reopen_logs(u->p.sh->elder);
    }
}

/* 0; -EAGAIN: no more; else it has ended, or makes no sense. */
static int read_one(struct upgrade *u)
{
    uint8_t buf[UPGRADE_TEXT_MAX + 256];
    char text[UPGRADE_TEXT_MAX + 1];
    struct upgrade_msg m;
    ssize_t n = recv(u->fd, buf, sizeof buf, MSG_DONTWAIT);

    if (n < 0 && errno == ECONNRESET) /* it ended with offers unread; what it said before comes behind that error */
        n = recv(u->fd, buf, sizeof buf, MSG_DONTWAIT);
    if (n <= 0)
        return n && (errno == EAGAIN || errno == EINTR) ? -EAGAIN : -EPIPE;
    if (upgrade_msg_parse(&m, text, bytes_of(buf, (size_t)n)))
        return -EPROTO;
    on_message(u, &m);
    return 0;
}

static void on_gone(struct upgrade *u)
{
    if (u->step != UPGRADE_OVER) {
        fail(u, NULL);
        return;
    }
    close_all(u);
    waitpid(u->pid, NULL, WNOHANG);
    u->orphaned = true;
}

static void on_time(struct upgrade *u)
{
    static const char *const late[] = {
        [UPGRADE_BOOTING] = "the new process is not ready in time",
        [UPGRADE_FREEZING] = "a worker does not answer",
        [UPGRADE_STARTING] = "the new process's workers do not start in time",
    };

    fail(u, late[u->step]);
}

int upgrade_step(struct upgrade *u, struct tick now)
{
    int r = 0;

    for (unsigned i = 0; i < MSGS_A_TURN && u->fd >= 0 && !r; i++)
        r = read_one(u);
    if (r && r != -EAGAIN)
        on_gone(u);
    if (u->fd >= 0 && u->step != UPGRADE_IDLE && !tick_before(now, u->deadline))
        on_time(u);
    if (u->fd >= 0 && !tick_before(now, u->news)) {
        if (list_empty(&u->out)) { /* else it does not keep up: later, all at once */
            upgrade_tell_state(u, now);
            upgrade_tell_counters(u);
        }
        u->news = tick_add_ms(now, NEWS_MS);
    }
    if (u->fd >= 0)
        upgrade_flush(u);
    if (u->fd < 0)
        return -1;
    return (int)MIN((tick_since_us(tick_min(u->deadline, u->news), now) + 999) / 1000, (uint64_t)INT32_MAX);
}

int upgrade_fd(const struct upgrade *u)
{
    return u ? u->fd : -1;
}

short upgrade_events(const struct upgrade *u)
{
    return u && !list_empty(&u->out) ? POLLIN | POLLOUT : POLLIN;
}

bool upgrade_told_to_end(struct upgrade *u, uint32_t *seconds)
{
    bool end = u->end;

    *seconds = u->end_s;
    u->end = false;
    return end;
}

bool upgrade_is_under_way(const struct upgrade *u)
{
    return u && u->step != UPGRADE_IDLE && u->step != UPGRADE_OVER;
}

bool upgrade_is_over(const struct upgrade *u)
{
    return u && u->step == UPGRADE_OVER;
}

bool upgrade_is_orphaned(const struct upgrade *u)
{
    return u->orphaned;
}

const struct upgrade_result *upgrade_last(const struct upgrade *u)
{
    return &u->result;
}

/* ---- news ---- */

void upgrade_session_changed(struct upgrade *u, const struct upgrade_session *s, bool ended)
{
    if (u->fd >= 0 && u->step >= UPGRADE_FREEZING)
        upgrade_tell_sessions(u, ended ? UPGRADE_ENDED : UPGRADE_SESSIONS, s, 1);
}

void upgrade_on_news(struct upgrade *u, const struct mail_news *m)
{
    upgrade_session_changed(u, &m->session, m->ended);
}

void upgrade_state_changed(struct upgrade *u, const struct elder_state *s)
{
    if (u->fd >= 0 && u->step >= UPGRADE_FREEZING)
        upgrade_send(u, &(struct upgrade_msg){UPGRADE_STATE, s->pid, s->sessions, s->streams, s->left_s, NULL, {0}},
                     NULL, 0);
}

struct upgrade *upgrade_free(struct upgrade *u)
{
    if (!u)
        return NULL;
    upgrade_stop(u);
    if (u->fd >= 0) { /* the last word */
        upgrade_flush(u);
        upgrade_tell_counters(u);
        upgrade_flush(u);
    }
    close_all(u);
    free(u->told);
    free(u->links);
    free(u);
    return NULL;
}
