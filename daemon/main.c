/* daemon/main.c - start-up order, signals, and the config thread's loop. */
#include "conf/conf.h"
#include "core/base/err.h"
#include "crypto/kdf.h"
#include "daemon/answer.h"
#include "daemon/compat.h"
#include "daemon/ctl.h"
#include "daemon/elder.h"
#include "daemon/log.h"
#include "daemon/metrics_source.h"
#include "daemon/netwatch.h"
#include "daemon/options.h"
#include "daemon/plan.h"
#include "daemon/reload.h"
#include "daemon/roster.h"
#include "daemon/snmplog.h"
#include "daemon/sockets.h"
#include "daemon/upgrade.h"
#include "daemon/watch.h"
#include "daemon/watchdog.h"
#include "daemon/worker.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { TIDY_US = 5000000, FREED_MIN = 16 << 10 };

struct daemon {
    struct shared sh;
    struct compat compat; /* started under a name of kcptun's */
    const char *file; /* of the configuration */
    struct conf *conf; /* until reload has it */
    struct conf_paths paths; /* what it was read from, and when */
    uint64_t read_ns;
    struct reload *reload;
    struct ctl *ctl, *stats; /* control sockets: for everything, for reading only */
    struct answers *answers;
    struct metrics *metrics; /* NULL: none */
    struct netwatch netwatch;
    struct notify notify;
    struct watchdog watchdog;
    struct upgrade *upgrade;
    char **argv;
    char *program; /* what an upgrade runs */
    int signals;
    unsigned running; /* workers whose thread goes on */
    bool draining;
    unsigned told; /* to end, by signals */
    int result;
    struct snmplog snmplog;
    struct tick tidied; /* when the heap was last looked at */
    size_t used; /* most of the heap since its holes were given back */
};

/* ---- configuration ---- */

static void report(const struct conf_problems *ps)
{
    for (unsigned i = 0; i < ps->n; i++)
        log_all(ps->v[i].warning ? LOG_AT_WARNING : LOG_AT_ERROR, "%s", ps->v[i].text);
}

static int read_conf(void *ctx, struct conf **cp, struct conf_problems *ps, struct conf_paths *paths)
{
    const struct daemon *d = ctx;

    return d->compat.name ? compat_load(&d->compat, cp, ps) : conf_load_noting(cp, d->file, ps, paths);
}

static const char *first_error(const struct conf_problems *ps)
{
    for (unsigned i = 0; i < ps->n; i++)
        if (!ps->v[i].warning)
            return ps->v[i].text;
    return "the configuration cannot be read";
}

/* 0 or the exit status. */
static int load(struct daemon *d)
{
    struct conf_problems ps = {0};
    int r;

    d->read_ns = watch_clock_ns();
    r = read_conf(d, &d->conf, &ps, &d->paths);

    report(&ps);
    if (r && d->sh.elder)
        elder_fail(d->sh.elder, first_error(&ps));
    conf_problems_fini(&ps);
    return r ? STATUS_CONFIG : 0;
}

static int check_only(const struct conf *c, const struct options *o)
{
    if (o->print)
        return conf_print(c, stdout, o->show_secrets) ? STATUS_FAILED : 0;
    printf("%s: OK, %u tunnel%s\n", o->file, c->n_profiles, c->n_profiles == 1 ? "" : "s");
    return 0;
}

/* ---- tunnels and workers ---- */

/* Of reload.h: who opens thousands of sockets lives. */
static void while_busy(void *ctx)
{
    struct daemon *d = ctx;

    watchdog_step(&d->watchdog, io_now());
    post_publish(d->sh.post, d->sh.n_workers);
}

/* Before the workers, and while the privileges last that low ports and programs for the kernel take. */
static int open_tunnels(struct daemon *d)
{
    const struct reload_params p = {
        .file = d->file,
        .load = read_conf,
        .busy = while_busy,
        .ctx = d,
        .conf = TAKE(d->conf),
        .paths = &d->paths,
        .read_ns = d->read_ns,
        .program = "kcptund",
        .sh = &d->sh,
    };
    int r = reload_new(&d->reload, &p);

    conf_paths_fini(&d->paths);
    return r;
}

static int prepare(struct daemon *d)
{
    int r;

    mallopt(M_MMAP_THRESHOLD, 128 * 1024); /* fixed: freed slabs go back to the system */
    mallopt(M_MXFAST, 0); /* what is free merges at once: malloc_trim() leaves out what it merges itself */
    r = crypto_init();
    if (!r)
        r = shared_init(&d->sh, d->conf);
    return r ? err_pass(r) : open_tunnels(d);
}

static int start_workers(struct daemon *d)
{
    int r = 0;

    for (unsigned i = 0; i < d->sh.n_workers && !r; i++) {
        r = worker_start(&d->sh.workers[i], &d->sh, i);
        d->running += d->sh.workers[i] != NULL;
    }
    return r;
}

/* ---- the loop ---- */

static void tell_all(struct daemon *d, enum mail_type type, struct bytes head)
{
    if (!d->running)
        return;
    for (unsigned i = 0; i < d->sh.n_workers; i++)
        if (d->sh.workers[i])
            post_put(d->sh.post, d->sh.n_workers, i, type, head, bytes_of(NULL, 0));
    post_publish(d->sh.post, d->sh.n_workers);
}

static void drain(struct daemon *d, uint32_t seconds)
{
    struct mail_drain m = {tick_add_ms(io_now(), seconds * UINT64_C(1000))};

    upgrade_stop(d->upgrade);
    elder_end(d->sh.elder, seconds);
    switch (d->told++) {
    case 0:
        break;
    case 1:
        log_info("told again to end: ending at once");
        tell_all(d, MAIL_STOP, bytes_of(NULL, 0));
        return;
    default: /* a worker must hang */
        _exit(STATUS_FAILED);
    }
    d->draining = true;
    reload_stop(d->reload);
    notify_stopping(&d->notify);
    notify_status(&d->notify, "ending: what runs has %u s", seconds);
    log_info("ending: nothing new is taken, what runs has %u s", seconds);
    tell_all(d, MAIL_DRAIN, bytes_of(&m, sizeof m));
}

static void on_reloaded(void *ctx, const struct reload_result *r)
{
    struct daemon *d = ctx;

    (void)r;
    if (!d->draining)
        notify_ready(&d->notify);
}

static void on_signal(struct daemon *d)
{
    struct signalfd_siginfo si;

    while (read(d->signals, &si, sizeof si) == sizeof si) {
        switch (si.ssi_signo) {
        case SIGTERM:
        case SIGINT:
            drain(d, d->sh.conf->global.draintime);
            break;
        case SIGHUP:
            notify_reloading(&d->notify);
            elder_reopen_logs(d->sh.elder);
            reload_now(d->reload, "SIGHUP", on_reloaded, d);
            break;
        case SIGUSR1:
            answers_log_counters(d->answers);
            break;
        case SIGUSR2:
            upgrade_begin(d->upgrade, "SIGUSR2", NULL, NULL);
            break;
        }
    }
}

static void on_ended(struct daemon *d, const struct mail_ended *m)
{
    d->running--;
    if (!m->result || d->draining)
        return;
    d->result = STATUS_FAILED;
    d->draining = true;
    tell_all(d, MAIL_STOP, bytes_of(NULL, 0));
}

static void on_letter(struct daemon *d, enum mail_type type, struct bytes rec)
{
    if (type == MAIL_LISTED)
        answers_listed(d->answers, (const void *)rec.p);
    else if (type == MAIL_MOVED)
        reload_on_moved(d->reload, (const void *)rec.p);
    else if (type == MAIL_GONE)
        reload_on_gone(d->reload, (const void *)rec.p);
    else if (type == MAIL_FROZEN)
        upgrade_on_frozen(d->upgrade, (const void *)rec.p);
    else if (type == MAIL_NEWS)
        upgrade_on_news(d->upgrade, (const void *)rec.p);
    else if (type == MAIL_ENDED)
        on_ended(d, (const void *)rec.p);
}

static void on_letters(struct daemon *d)
{
    enum mail_type type;
    struct bytes rec;
    uint64_t n;

    (void)!read(post_fd(d->sh.post, d->sh.n_workers), &n, sizeof n);
    while (post_get(d->sh.post, d->sh.n_workers, &type, &rec) == 0) {
        on_letter(d, type, rec);
        post_done(d->sh.post, d->sh.n_workers);
    }
}

static void tell_status(struct daemon *d)
{
    uint64_t sessions = 0;

    for (unsigned i = 0; i < d->sh.n_workers; i++) {
        const struct worker_stats *s = worker_stats(d->sh.workers[i]);

        sessions += s ? stat_read(&s->sessions) : 0;
    }
    if (!d->draining)
        notify_status(&d->notify, "%u tunnels, %llu sessions", d->sh.conf->n_profiles, (unsigned long long)sessions);
}

/* After many sessions have ended the heap is full of holes; their pages go back to the system. How much is free says little of
 * that, for what was given back still counts: what counts is that something was freed since the last time. */
static void give_back(struct daemon *d)
{
    size_t used = mallinfo2().uordblks;

    if (used + FREED_MIN <= d->used) {
        malloc_trim(0);
        d->used = used;
    }
    d->used = MAX(d->used, used);
}

/* Whose files somebody has removed. Not what a new process has just been given, too. */
static void renew_sockets(struct daemon *d)
{
    if (upgrade_is_under_way(d->upgrade))
        return;
    if (d->ctl)
        ctl_renew(d->ctl);
    if (d->stats)
        ctl_renew(d->stats);
    if (d->metrics)
        metrics_renew(d->metrics);
}

/* What is done every few seconds. */
static void tidy(struct daemon *d, struct tick now)
{
    if (tick_since_us(now, d->tidied) < TIDY_US)
        return;
    d->tidied = now;
    give_back(d);
    renew_sockets(d);
    log_tell_held();
    tell_status(d);
}

/* A row of counters, if it is time for one. */
static void log_snmp(struct daemon *d, struct tick now)
{
    const struct conf_global *g = &d->sh.conf->global;
    struct stats s;

    if (upgrade_is_over(d->upgrade) || tick_before(now, snmplog_deadline(&d->snmplog, g, now)))
        return;
    s = answers_total(d->answers);
    snmplog_write(&d->snmplog, g, &s, now);
}

/* Milliseconds until something is due. */
static int next_ms(const struct daemon *d)
{
    struct tick now = io_now(), at = tick_min(tick_add_ms(now, 1000), d->watchdog.next);

    if (d->ctl)
        at = tick_min(at, ctl_deadline(d->ctl));
    if (d->stats)
        at = tick_min(at, ctl_deadline(d->stats));
    if (d->metrics)
        at = tick_min(at, metrics_deadline(d->metrics, now));
    at = tick_min(at, netwatch_deadline(&d->netwatch));
    return (int)((tick_since_us(at, now) + 999) / 1000);
}

/* The processes before and behind us. Milliseconds until something is due there, or -1. */
static int step_upgrades(struct daemon *d)
{
    uint32_t seconds;
    int due;

    bool was = elder_is_there(d->sh.elder);

    if (d->sh.elder && elder_step(d->sh.elder, io_now())) {
        log_info("the service is ours");
        notify_ready(&d->notify);
    }
    if (was && !elder_is_there(d->sh.elder)) /* tunnels may have waited for it */
        tell_all(d, MAIL_PING, bytes_of(NULL, 0));
    if (!d->upgrade)
        return -1;
    due = upgrade_step(d->upgrade, io_now());
    if (upgrade_told_to_end(d->upgrade, &seconds))
        drain(d, seconds);
    if (upgrade_is_orphaned(d->upgrade) && !d->draining) {
        log_warning("the process that took over has ended: so does this one");
        d->draining = true;
        tell_all(d, MAIL_STOP, bytes_of(NULL, 0));
    }
    return due;
}

static int sooner(int a, int b)
{
    return a < 0 ? b : b < 0 ? a : MIN(a, b);
}

static void loop(struct daemon *d)
{
    struct pollfd fds[] = {
        {.fd = d->signals, .events = POLLIN},
        {.fd = d->running ? post_fd(d->sh.post, d->sh.n_workers) : -1, .events = POLLIN},
        {.fd = d->ctl ? ctl_fd(d->ctl) : -1, .events = POLLIN},
        {.fd = d->stats ? ctl_fd(d->stats) : -1, .events = POLLIN},
        {.fd = d->netwatch.fd, .events = POLLIN},
        {.fd = -1, .events = POLLIN},
        {.fd = -1, .events = POLLIN},
        {.fd = -1, .events = POLLIN},
        {.fd = -1, .events = POLLIN},
        {.fd = -1},
    };
    struct pollfd *watch = &fds[LEN(fds) - 5], *names = watch + 1, *metrics = watch + 2, *elder = watch + 3;
    struct pollfd *heir = watch + 4;
    int due = -1;

    while (d->running) {
        bool idle = post_may_sleep(d->sh.post, d->sh.n_workers);

        metrics->fd = d->metrics ? metrics_fd(d->metrics) : -1;
        elder->fd = elder_fd(d->sh.elder);
        heir->fd = upgrade_fd(d->upgrade);
        heir->events = upgrade_events(d->upgrade);
        watch->fd = d->reload ? reload_watch_fd(d->reload) : -1;
        names->fd = d->reload ? reload_names_fd(d->reload) : -1;
        poll(fds, LEN(fds), !idle ? 0 : due >= 0 ? MIN(due, next_ms(d)) : next_ms(d));
        post_awake(d->sh.post, d->sh.n_workers);
        if (fds[0].revents)
            on_signal(d);
        on_letters(d);
        if (watch->revents)
            reload_on_watch(d->reload);
        due = sooner(reload_step(d->reload), step_upgrades(d));
        answers_serve(d->answers, io_now());
        if (d->metrics)
            metrics_step(d->metrics, io_now());
        if (netwatch_step(&d->netwatch, io_now()))
            tell_all(d, MAIL_NETWORK, bytes_of(NULL, 0));
        watchdog_step(&d->watchdog, io_now());
        log_snmp(d, io_now());
        tidy(d, io_now());
        post_publish(d->sh.post, d->sh.n_workers);
    }
}

/* ---- beginning and end ---- */

static int block_signals(struct daemon *d)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    d->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return d->signals < 0 ? err_say(-errno, "signalfd") : 0;
}

static int open_ctl(struct daemon *d, struct ctl **cp, struct ctl_params *p)
{
    int fd = elder_take(d->sh.elder, UPGRADE_CONTROL, p->path);

    p->fd = MAX(fd, 0);
    return ctl_new(cp, p);
}

static int open_metrics(struct daemon *d)
{
    const struct addr_text *at = &d->sh.conf->global.metrics;
    const struct metrics_source numbers = metrics_source(&d->sh, reload_roster(d->reload));
    char text[UPGRADE_TEXT_MAX];

    if (addr_text_none(at))
        return 0;
    addr_text_print(at, text, sizeof text);
    return metrics_new(&d->metrics, at, elder_take(d->sh.elder, UPGRADE_METRICS, text), &numbers);
}

static int open_upgrade(struct daemon *d)
{
    const struct upgrade_params p = {
        .sh = &d->sh,
        .reload = d->reload,
        .control = d->ctl,
        .stats = d->stats,
        .metrics = d->metrics,
        .notify = &d->notify,
        .argv = d->argv,
        .program = d->program = upgrade_program(d->argv[0]),
    };
    int r = p.program ? upgrade_new(&d->upgrade, &p) : err_here(-ENOMEM);

    if (!r && d->sh.elder)
        elder_tell(d->sh.elder, reload_roster(d->reload), d->upgrade);
    return r;
}

static int open_control(struct daemon *d)
{
    const struct conf_global *g = &d->sh.conf->global;
    struct answers_params ap = {.sh = &d->sh, .reload = d->reload};
    int r = 0;

    if (*g->control)
        r = open_ctl(d, &d->ctl, &(struct ctl_params){.path = g->control, .mode = 0660, .group = "kcptun"});
    if (!r && *g->stats)
        r = open_ctl(d, &d->stats, &(struct ctl_params){.path = g->stats, .mode = 0666});
    if (!r)
        r = open_metrics(d);
    if (!r)
        r = open_upgrade(d);
    if (r)
        return err_pass(r);
    ap.upgrade = d->upgrade;
    ap.control = d->ctl;
    ap.stats = d->stats;
    return answers_new(&d->answers, &ap);
}

static bool serves_tcp(const struct daemon *d)
{
    const struct roster_entry *e = roster_next(reload_roster(d->reload), &(unsigned){0});

    return e && sockets_serve_tcp(e->plan->sockets);
}

/* Of what err_text() says. The workers that run already are told to end. */
static void give_up(struct daemon *d)
{
    log_error("%s", err_text());
    log_debug("trace:%s", err_trace());
    if (d->sh.elder) /* nothing here may be taken apart: it is still the other's */
        elder_fail(d->sh.elder, err_text());
    d->result = STATUS_FAILED;
    d->draining = true;
    tell_all(d, MAIL_STOP, bytes_of(NULL, 0));
}

static void started(struct daemon *d)
{
    unsigned n = d->sh.conf->n_profiles;

    reload_started(d->reload);
    log_info("kcptund %s is ready: %u tunnel%s, %u worker%s, %s", KCPTUND_VERSION, n, n == 1 ? "" : "s",
             d->sh.n_workers, d->sh.n_workers == 1 ? "" : "s", d->sh.io->name);
    if (d->compat.name)
        compat_tell_ready(d->sh.conf, serves_tcp(d));
    tell_status(d);
    if (d->sh.elder)
        elder_started(d->sh.elder);
    else
        notify_ready(&d->notify);
}

static int run(struct daemon *d)
{
    int r = block_signals(d);

    if (!r)
        r = notify_open(&d->notify);
    if (!r)
        r = prepare(d);
    if (!r)
        r = open_control(d);
    if (!r && netwatch_open(&d->netwatch))
        log_info("%s: changes of addresses and routes will not be noticed", err_text());
    if (!r && d->sh.elder)
        r = elder_prepared(d->sh.elder);
    if (!r)
        r = start_workers(d);
    if (!r)
        r = watchdog_init(&d->watchdog, &d->sh, &d->notify, io_now());
    if (r)
        give_up(d);
    else
        started(d);
    loop(d);
    if (!r)
        log_info("ended");
    return d->result;
}

static void clean(struct daemon *d)
{
    metrics_free(d->metrics);
    upgrade_free(d->upgrade); /* its last word tells of the workers */
    for (unsigned i = 0; d->sh.workers && i < d->sh.n_workers; i++)
        worker_free(d->sh.workers[i]);
    free(d->program);
    elder_free(d->sh.elder);
    reload_free(d->reload);
    answers_free(d->answers);
    ctl_free(d->ctl);
    ctl_free(d->stats);
    watchdog_fini(&d->watchdog);
    notify_close(&d->notify);
    shared_fini(&d->sh);
    conf_free(d->conf);
    netwatch_close(&d->netwatch);
    if (d->signals >= 0)
        close(d->signals);
}

static int start_log(const struct daemon *d)
{
    const struct conf_global *g = &d->conf->global;
    const struct log_params lp = {
        .level = (enum log_level)g->loglevel, .to = g->log, .name = "kcptund", .format = (enum log_format)g->logformat};

    if (!log_init(&lp))
        return 0;
    log_error("%s", err_text());
    if (d->sh.elder)
        elder_fail(d->sh.elder, err_text());
    return STATUS_FAILED;
}

/* Whether we were started to take over. 0 or the exit status. */
static int look_back(struct daemon *d)
{
    if (!elder_open(&d->sh.elder))
        return 0;
    log_error("%s", err_text());
    return STATUS_FAILED;
}

/* From a configuration to the end. The exit status. */
static int serve(struct daemon *d)
{
    int r = start_log(d);

    if (!r && d->compat.name)
        compat_tell(d->conf);
    if (!r)
        r = run(d);
    clean(d);
    return r;
}

static int run_as_kcptun(struct daemon *d)
{
    int status;

    if (compat_is_done(&d->compat, &status))
        return status;
    log_init(&(struct log_params){LOG_AT_INFO, "", "kcptund", LOG_AS_KCPTUN});
    d->file = d->compat.name;
    return look_back(d) || load(d) || serve(d) ? COMPAT_FAILED : STATUS_OK;
}

/* Whoever starts us may have closed these: what is opened next would take their numbers, and the log be written into it. */
static void fill_standard(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    struct daemon d = {.signals = -1, .netwatch.fd = -1, .notify.fd = -1, .watchdog.next = TICK_NEVER};
    struct options o;
    int status, r;

    d.argv = argv;
    fill_standard();
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more is no reason to end */
    if (compat_is(&d.compat, argc, argv))
        return run_as_kcptun(&d);
    if (options_parse(&o, argc, argv, &status))
        return status;
    /* for what is wrong with the file; the journal sorts that, too */
    log_init(&(struct log_params){LOG_AT_INFO, "", "kcptund", LOG_AS_TEXT});
    d.file = o.file;
    r = o.test || o.print ? 0 : look_back(&d);
    if (r)
        return r;
    r = load(&d);
    if (r || o.test || o.print) {
        r = r ? r : check_only(d.conf, &o);
        conf_free(d.conf);
        conf_paths_fini(&d.paths);
        return r;
    }
    return serve(&d);
}
