/* daemon/upgrade_offer.c - the new process: how it is started, what it is offered, and how messages get to it. */
#include "daemon/upgrade_priv.h"

#include "core/base/err.h"
#include "daemon/ctl.h"
#include "daemon/elder.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/plan.h"
#include "daemon/reload.h"
#include "daemon/roster.h"
#include "daemon/sockets.h"
#include "daemon/steer.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHILD_FD = 3, LINK_BUFFER = 4 << 20 };

/* ---- the new process ---- */

char *upgrade_program(const char *argv0)
{
    char path[4096];
    ssize_t n;

    if (argv0 && strchr(argv0, '/'))
        return strdup(argv0);
    n = readlink("/proc/self/exe", path, sizeof path - 1);
    return n > 0 ? strndup(path, (size_t)n) : NULL;
}

/* Without what is meant for this process alone. NULL: out of memory. */
static char **make_environment(char own[32])
{
    size_t n = 0, k = 0;
    char **v;

    while (environ[n])
        n++;
    v = calloc(n + 2, sizeof(char *));
    if (!v)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "WATCHDOG_PID=", 13) != 0)
            v[k++] = environ[i];
    snprintf(own, 32, ELDER_ENV "=%d", CHILD_FD);
    v[k] = own;
    return v;
}

/* 0, -errno. */
static int spawn(struct upgrade *u, int child)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    char own[32], **env = make_environment(own);
    sigset_t none;
    int r;

    if (!env)
        return err_here(-ENOMEM);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    r = posix_spawn_file_actions_adddup2(&files, child, CHILD_FD);
    if (!r)
        r = posix_spawn(&u->pid, u->p.program, &files, &attr, u->p.argv, env);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    free(env);
    return r ? err_say(-r, "start %s", u->p.program) : 0;
}

int upgrade_spawn(struct upgrade *u)
{
    int pair[2], r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return err_say(-errno, "open a socket pair");
    r = spawn(u, pair[1]);
    close(pair[1]);
    u->fd = pair[0];
    return r;
}

/* ---- messages ---- */

struct out {
    struct list node;
    size_t len;
    unsigned n_fds;
    int fds[UPGRADE_FDS_MAX];
    uint8_t data[];
};

static void out_free(struct out *o)
{
    list_del(&o->node);
    for (unsigned i = 0; i < o->n_fds; i++)
        close(o->fds[i]);
    free(o);
}

void upgrade_drop_queue(struct upgrade *u)
{
    struct out *o;

    while ((o = LIST_FIRST(&u->out, struct out, node)))
        out_free(o);
}

/* 0, -EAGAIN, other -errno. */
static int send_out(struct upgrade *u, const struct out *o)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof o->fds)] = {0};
    struct iovec iov = {(void *)(uintptr_t)o->data, o->len};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};

    if (o->n_fds) {
        struct cmsghdr *c = (void *)control;

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(o->n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), o->fds, o->n_fds * sizeof(int));
        h.msg_control = control;
        h.msg_controllen = CMSG_SPACE(o->n_fds * sizeof(int));
    }
    return sendmsg(u->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void upgrade_flush(struct upgrade *u)
{
    struct out *o;

    while ((o = LIST_FIRST(&u->out, struct out, node))) {
        int r = send_out(u, o);

        if (r == -EAGAIN || r == -EINTR)
            return;
        out_free(o); /* what cannot be sent at all will be noticed by the end of the connection */
    }
}

int upgrade_send(struct upgrade *u, const struct upgrade_msg *m, const int *fds, unsigned n_fds)
{
    size_t room = UPGRADE_TEXT_MAX + 64 + m->body.len;
    struct out *o = malloc(sizeof *o + room);

    if (!o)
        return err_here(-ENOMEM);
    list_init(&o->node);
    o->len = upgrade_msg_put(o->data, room, m);
    o->n_fds = 0;
    for (unsigned i = 0; i < n_fds && o->len; i++) {
        int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0); /* a worker may close its own meanwhile */

        if (fd < 0)
            break;
        o->fds[o->n_fds++] = fd;
    }
    if (!o->len || o->n_fds < n_fds) {
        int r = o->len ? -errno : -EMSGSIZE;

        out_free(o);
        return err_say(r, "hand over a socket");
    }
    list_push(&u->out, &o->node);
    return 0;
}

/* ---- the offer ---- */

static int offer_hello(struct upgrade *u)
{
    const struct shared *sh = u->p.sh;

    return upgrade_send(u,
                        &(struct upgrade_msg){.type = UPGRADE_HELLO,
                                              .a = UPGRADE_VERSION,
                                              .b = (uint32_t)getpid(),
                                              .c = sh->n_workers,
                                              .d = sh->hash_seed},
                        NULL, 0);
}

/* A pair of sockets for each worker. */
static int offer_links(struct upgrade *u)
{
    unsigned n = u->p.sh->n_workers;
    int r = 0;

    if (!u->links && !(u->links = malloc(n * sizeof(int))))
        return err_here(-ENOMEM);
    for (unsigned i = 0; i < n; i++)
        u->links[i] = -1;
    for (unsigned i = 0; i < n && !r; i++) {
        const struct upgrade_msg m = {.type = UPGRADE_LINKS, .b = i};
        int pair[2], size = LINK_BUFFER;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
            return err_say(-errno, "open a socket pair");
        setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size); /* as far as wmem_max goes */
        u->links[i] = pair[0];
        r = upgrade_send(u, &m, &pair[1], 1);
        close(pair[1]);
    }
    return r;
}

void upgrade_close_links(struct upgrade *u)
{
    for (unsigned i = 0; u->links && i < u->p.sh->n_workers; i++) {
        if (u->links[i] >= 0)
            close(u->links[i]);
        u->links[i] = -1;
    }
}

static int offer_sockets(struct upgrade *u, const struct roster_entry *e)
{
    const struct sockets *s = e->plan->sockets;
    unsigned n = s->n_ports * s->n_workers;
    struct upgrade_msg m = {.type = s->stream ? UPGRADE_STREAM : UPGRADE_UDP, .a = s->id, .c = n, .d = e->id};
    char text[UPGRADE_TEXT_MAX];
    int fds[STEER_FDS], r = 0;

    if (atomic_load_explicit(&s->closed, memory_order_acquire) ||
        atomic_load(&s->broken)) /* the new one opens its own */
        return 0;
    addr_text_print(&s->at, text, sizeof text);
    m.text = text;
    for (unsigned i = 0; i < n && !r; i += UPGRADE_FDS_MAX) {
        m.b = i;
        r = upgrade_send(u, &m, s->fds + i, MIN(n - i, (unsigned)UPGRADE_FDS_MAX));
    }
    if (!r && s->steer && steer_fds(s->steer, fds))
        r = upgrade_send(u, &(struct upgrade_msg){.type = UPGRADE_STEER, .a = s->id}, fds, STEER_FDS);
    return r;
}

static int offer_drained(struct upgrade *u, const struct roster_entry *e)
{
    const struct upgrade_msg m = {.type = UPGRADE_DRAINED, .text = e->conf->name};

    return e->drained ? upgrade_send(u, &m, NULL, 0) : 0;
}

static int offer_name(struct upgrade *u, enum upgrade_type type, uint32_t number, const char *text, int fd)
{
    return fd < 0 ? 0 : upgrade_send(u, &(struct upgrade_msg){.type = type, .a = number, .text = text}, &fd, 1);
}

static int offer_names(struct upgrade *u)
{
    const struct conf_global *g = &u->p.sh->conf->global;
    char text[UPGRADE_TEXT_MAX];
    int r = 0;

    if (u->p.control)
        r = offer_name(u, UPGRADE_CONTROL, UPGRADE_NO_CONTROL, g->control, ctl_listener(u->p.control));
    if (!r && u->p.stats)
        r = offer_name(u, UPGRADE_CONTROL, UPGRADE_NO_STATS, g->stats, ctl_listener(u->p.stats));
    addr_text_print(&g->metrics, text, sizeof text);
    if (!r && u->p.metrics)
        r = offer_name(u, UPGRADE_METRICS, UPGRADE_NO_METRICS, text, metrics_listener(u->p.metrics));
    return r;
}

int upgrade_offer(struct upgrade *u)
{
    const struct roster_entry *e;
    int r;

    u->took_control = u->took_stats = u->took_metrics = false;
    for (unsigned i = 0; i < u->n_told; i++)
        u->told[i] = 0;
    r = offer_hello(u);
    if (!r)
        r = offer_links(u);
    for (unsigned at = 0; !r && (e = roster_next(reload_roster(u->p.reload), &at));)
        if (!e->removed && !(r = offer_drained(u, e)))
            r = offer_sockets(u, e);
    if (!r)
        r = offer_names(u);
    if (!r)
        r = upgrade_send(u, &(struct upgrade_msg){.type = UPGRADE_OFFERED}, NULL, 0);
    upgrade_flush(u);
    return r;
}

void upgrade_note_taken(struct upgrade *u, uint32_t number)
{
    u->took_control = u->took_control || number == UPGRADE_NO_CONTROL;
    u->took_stats = u->took_stats || number == UPGRADE_NO_STATS;
    u->took_metrics = u->took_metrics || number == UPGRADE_NO_METRICS;
}

void upgrade_let_go_names(struct upgrade *u)
{
    if (u->p.control)
        ctl_let_go(u->p.control, u->took_control);
    if (u->p.stats)
        ctl_let_go(u->p.stats, u->took_stats);
    if (u->p.metrics)
        metrics_let_go(u->p.metrics, u->took_metrics);
}

/* ---- news ---- */

void upgrade_tell_sessions(struct upgrade *u, enum upgrade_type type, const struct upgrade_session *v, unsigned n)
{
    uint8_t body[UPGRADE_MSG_MAX - 64];

    while (n) {
        unsigned k = MIN(n, (unsigned)UPGRADE_SESSIONS_MAX);
        struct wr w = wr_to(body, sizeof body);

        for (unsigned i = 0; i < k; i++)
            upgrade_session_put(&w, &v[i]);
        if (upgrade_send(u, &(struct upgrade_msg){.type = type, .body = bytes_of(body, (size_t)(w.p - body))}, NULL, 0))
            log_error("the new process does not learn of all sessions: %s", err_text());
        v += k;
        n -= k;
    }
}

static void tell_counters(struct upgrade *u, const char *profile, const struct stats *s)
{
    uint8_t body[UPGRADE_MSG_MAX - UPGRADE_TEXT_MAX - 64];
    struct wr w = wr_to(body, sizeof body);

    for (size_t i = 0; i < STATS_NUMBERS; i++) {
        char name[STATS_NAME_MAX];

        stats_number_name(i, name);
        upgrade_counter_put(&w, name, stats_number(s, i));
    }
    if (!w.bad)
        upgrade_send(u,
                     &(struct upgrade_msg){
                         .type = UPGRADE_COUNTERS, .text = profile, .body = bytes_of(body, (size_t)(w.p - body))},
                     NULL, 0);
}

static void tell_work(struct upgrade *u, unsigned worker)
{
    uint8_t body[WORKER_COUNTS * (1 + STATS_NAME_MAX + sizeof(uint64_t))];
    const struct worker_stats *before = elder_work(u->p.sh->elder, worker);
    struct upgrade_msg m = {.type = UPGRADE_WORK, .b = worker};
    struct wr w = wr_to(body, sizeof body);
    struct worker_stats sum = {0};

    worker_stats_sum(&sum, worker_stats(u->p.sh->workers[worker]));
    if (before)
        worker_stats_sum(&sum, before);
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        char name[STATS_NAME_MAX];

        worker_count_name(i, name);
        upgrade_counter_put(&w, name, *worker_count_at(&sum, i));
    }
    m.body = bytes_of(body, (size_t)(w.p - body));
    upgrade_send(u, &m, NULL, 0);
}

/* FNV-1a over the numbers; never 0. */
static uint64_t digest(const struct stats *s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < stats_count; i++)
        h = (h ^ stat_get(s, i)) * UINT64_C(0x100000001b3);
    return h | 1;
}

static bool make_room(struct upgrade *u, unsigned slots)
{
    uint64_t *v;

    if (slots <= u->n_told)
        return true;
    v = reallocarray(u->told, slots, sizeof *v);
    if (!v)
        return false;
    memset(v + u->n_told, 0, (slots - u->n_told) * sizeof *v);
    u->told = v;
    u->n_told = slots;
    return true;
}

void upgrade_tell_counters(struct upgrade *u)
{
    const struct roster *r = reload_roster(u->p.reload);
    struct stats total = roster_total(r);
    const struct roster_entry *e;

    if (!make_room(u, roster_slots(r)))
        return;
    for (unsigned at = 0; (e = roster_next(r, &at));) {
        struct stats s = roster_stats(r, e);
        uint64_t d = digest(&s);

        if (e->removed || u->told[at - 1] == d)
            continue;
        u->told[at - 1] = d;
        tell_counters(u, e->conf->name, &s);
    }
    tell_counters(u, "", &total);
    for (unsigned i = 0; i < u->p.sh->n_workers; i++)
        tell_work(u, i);
}

void upgrade_tell_state(struct upgrade *u, struct tick now)
{
    const struct shared *sh = u->p.sh;
    struct upgrade_msg m = {
        .type = UPGRADE_STATE, .a = (uint32_t)getpid(), .d = tick_since_us(u->until, now) / 1000000};

    for (unsigned i = 0; i < sh->n_workers; i++) {
        const struct worker_stats *s = worker_stats(sh->workers[i]);

        m.b += (uint32_t)stat_read(&s->sessions);
        m.c += (uint32_t)stat_read(&s->connections);
    }
    upgrade_send(u, &m, NULL, 0);
}
