/* daemon/elder.c - the offer, taken piece by piece; then the elder's news. */
#include "daemon/elder.h"

#include "core/base/err.h"
#include "daemon/claims.h"
#include "daemon/log.h"
#include "daemon/roster.h"
#include "daemon/sockets.h"
#include "daemon/steer.h"
#include "daemon/upgrade.h"
#include "daemon/worker_stats.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_MS = 20000, NEWS_A_TURN = 256, ITEMS_MAX = 1 << 20, WORKERS_MAX = 1024 };

struct item { /* something offered */
    enum upgrade_type type;
    uint32_t number, n, got; /* descriptors in all, and here */
    uint64_t tunnel;
    char *text;
    bool taken, steered;
    int steer[STEER_FDS];
    uint32_t ours; /* number of our set, once taken; ... */
    uint64_t our_tunnel; /* ... and whose that is */
    int *fds; /* -1: taken, or not there */
};

struct elder {
    int fd;
    struct limits *limits;
    uint32_t pid, n_workers;
    uint64_t seed;
    struct item *items;
    unsigned n_items;
    char **drained; /* names of profiles; NULL: taken */
    unsigned n_drained;
    int *links; /* of each of its workers */
    struct claims *claims;
    atomic_bool there;
    bool offered, go, yours;
    struct elder_state states[ELDERS_MAX];
    unsigned n_states;
    struct worker_stats *work; /* of each worker, what counts up */
    struct roster *roster;
    struct upgrade *upgrade;
    struct tick swept;
    int fds[UPGRADE_FDS_MAX]; /* of the message in hand, till somebody has taken them */
    unsigned n_fds;
    uint8_t buf[UPGRADE_MSG_MAX];
    char text[UPGRADE_TEXT_MAX + 1];
};

/* ---- messages ---- */

static void send_msg(struct elder *e, const struct upgrade_msg *m)
{
    uint8_t out[UPGRADE_TEXT_MAX + 64];
    size_t n = upgrade_msg_put(out, sizeof out, m);

    if (e->fd >= 0 && send(e->fd, out, n, MSG_NOSIGNAL) < 0)
        log_warning("the process before us does not hear: %s", strerror(errno));
}

static void drop_fds(struct elder *e)
{
    for (unsigned i = 0; i < e->n_fds; i++)
        if (e->fds[i] >= 0)
            close(e->fds[i]);
    e->n_fds = 0;
}

static void keep_fds(struct elder *e, struct msghdr *h)
{
    e->n_fds = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        e->n_fds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(e->fds, CMSG_DATA(c), e->n_fds * sizeof(int));
    }
}

/* The next message. 0, -EAGAIN, -EPIPE: it has ended; other -errno. */
static int receive(struct elder *e, struct upgrade_msg *m)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof e->fds)];
    struct iovec iov = {e->buf, sizeof e->buf};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(e->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0 && errno == ECONNRESET) /* it ended with messages of ours unread; its last ones come behind that error */
        n = recvmsg(e->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return n ? -errno : -EPIPE;
    keep_fds(e, &h);
    if ((h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || upgrade_msg_parse(m, e->text, bytes_of(e->buf, (size_t)n)))
        return -EPROTO;
    return 0;
}

/* ---- what is offered ---- */

static struct item *find_item(const struct elder *e, uint32_t number)
{
    for (unsigned i = e->n_items; i-- > 0;) /* the newest is asked for most */
        if (e->items[i].number == number)
            return &e->items[i];
    return NULL;
}

static struct item *add_item(struct elder *e, const struct upgrade_msg *m)
{
    bool listeners = m->type == UPGRADE_UDP || m->type == UPGRADE_STREAM;
    uint32_t n = listeners ? m->c : 1;
    struct item *v, *x;

    if (!n || n > (1u << 20) || e->n_items == ITEMS_MAX)
        return NULL;
    v = reallocarray(e->items, e->n_items + 1, sizeof *v);
    if (!v)
        return NULL;
    e->items = v;
    x = &v[e->n_items];
    *x = (struct item){.type = m->type, .number = m->a, .n = n, .tunnel = m->d, .text = strdup(m->text)};
    x->fds = malloc(n * sizeof(int));
    if (!x->text || !x->fds) {
        free(x->text);
        free(x->fds);
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++)
        x->fds[i] = -1;
    e->n_items++;
    return x;
}

/* 0, -EPROTO. */
static int on_sockets(struct elder *e, const struct upgrade_msg *m)
{
    struct item *x = e->offered ? NULL : m->b ? find_item(e, m->a) : add_item(e, m);

    if (!x || m->b != x->got || e->n_fds > x->n - x->got)
        return -EPROTO;
    memcpy(x->fds + x->got, e->fds, e->n_fds * sizeof(int));
    x->got += e->n_fds;
    e->n_fds = 0;
    return 0;
}

static int on_steer(struct elder *e, const struct upgrade_msg *m)
{
    struct item *x = find_item(e, m->a);

    if (!x || x->steered || e->n_fds != STEER_FDS)
        return -EPROTO;
    memcpy(x->steer, e->fds, sizeof x->steer);
    x->steered = true;
    e->n_fds = 0;
    return 0;
}

static int on_drained(struct elder *e, const struct upgrade_msg *m)
{
    char **v;

    if (e->offered || e->n_drained == ITEMS_MAX)
        return -EPROTO;
    v = reallocarray(e->drained, e->n_drained + 1, sizeof *v);
    if (!v)
        return -ENOMEM;
    e->drained = v;
    v[e->n_drained] = strdup(m->text);
    return v[e->n_drained++] ? 0 : -ENOMEM;
}

static int on_links(struct elder *e, const struct upgrade_msg *m)
{
    if (!e->links || m->b > e->n_workers || e->n_fds > e->n_workers - m->b)
        return -EPROTO;
    for (unsigned i = 0; i < e->n_fds; i++)
        if (e->links[m->b + i] >= 0)
            return -EPROTO;
    memcpy(e->links + m->b, e->fds, e->n_fds * sizeof(int));
    e->n_fds = 0;
    return 0;
}

static int on_hello(struct elder *e, const struct upgrade_msg *m)
{
    if (m->a != UPGRADE_VERSION)
        return err_say(-EPROTO, "the running daemon speaks version %u of the hand-over, this one %d", m->a,
                       UPGRADE_VERSION);
    if (e->links || !m->c || m->c > WORKERS_MAX)
        return -EPROTO;
    e->pid = m->b;
    e->n_workers = m->c;
    e->seed = m->d;
    e->claims = claims_new(e->seed, e->limits);
    e->links = malloc(e->n_workers * sizeof(int));
    e->work = calloc(e->n_workers, sizeof *e->work);
    if (!e->claims || !e->links || !e->work)
        return err_here(-ENOMEM);
    for (unsigned i = 0; i < e->n_workers; i++)
        e->links[i] = -1;
    return 0;
}

/* ---- its sessions ---- */

/* In our numbers; the offer that its set was. NULL: we have not taken that. */
static const struct item *translate(const struct elder *e, struct upgrade_session *s)
{
    const struct item *x = find_item(e, s->set);

    if (!x || !x->taken)
        return NULL;
    s->set = x->ours;
    return x;
}

static int on_sessions(struct elder *e, const struct upgrade_msg *m, struct tick now)
{
    struct rd r = rd_from(m->body.p, m->body.len);
    bool ended = m->type == UPGRADE_ENDED;
    struct upgrade_session s;

    while (upgrade_session_next(&r, &s)) {
        const struct item *x = translate(e, &s);

        if (!x)
            continue;
        if (ended)
            claims_end(e->claims, &s, now);
        else if (claims_put(e->claims, &s, x->our_tunnel))
            return err_here(-ENOMEM);
        if (e->upgrade)
            upgrade_session_changed(e->upgrade, &s, ended);
    }
    return r.bad ? -EPROTO : 0;
}

/* ---- how it is doing ---- */

static void set_state(struct elder *e, const struct elder_state *s)
{
    unsigned i = 0;

    while (i < e->n_states && e->states[i].pid != s->pid)
        i++;
    if (s->left_s == UPGRADE_STATE_OVER) {
        if (i < e->n_states)
            e->states[i] = e->states[--e->n_states];
    } else if (i < ELDERS_MAX) {
        e->n_states = MAX(e->n_states, i + 1);
        e->states[i] = *s;
    }
    if (e->upgrade)
        upgrade_state_changed(e->upgrade, s);
}

static int on_counters(struct elder *e, const struct upgrade_msg *m)
{
    struct rd r = rd_from(m->body.p, m->body.len);
    char name[UPGRADE_NAME_MAX + 1];
    struct stats s = {0};
    uint64_t value;
    size_t i;

    while (upgrade_counter_next(&r, name, &value))
        if (stats_number_find(name, &i))
            stats_number_put(&s, i, value);
    if (!r.bad && e->roster)
        roster_inherit(e->roster, m->text, &s);
    return r.bad ? -EPROTO : 0;
}

static int on_work(struct elder *e, const struct upgrade_msg *m)
{
    struct rd r = rd_from(m->body.p, m->body.len);
    char name[UPGRADE_NAME_MAX + 1];
    struct worker_stats s = {0};
    uint64_t value;
    size_t i;

    while (upgrade_counter_next(&r, name, &value))
        if (worker_count_find(name, &i))
            *worker_count_at(&s, i) = value;
    if (r.bad || !e->work || m->b >= e->n_workers)
        return -EPROTO;
    e->work[m->b] = s;
    return 0;
}

/* 0, -errno. */
static int on_message(struct elder *e, const struct upgrade_msg *m, struct tick now)
{
    switch (m->type) {
    case UPGRADE_HELLO:
        return on_hello(e, m);
    case UPGRADE_UDP:
    case UPGRADE_STREAM:
    case UPGRADE_CONTROL:
    case UPGRADE_METRICS:
        return on_sockets(e, m);
    case UPGRADE_STEER:
        return on_steer(e, m);
    case UPGRADE_LINKS:
        return on_links(e, m);
    case UPGRADE_DRAINED:
        return on_drained(e, m);
    case UPGRADE_OFFERED:
        e->offered = true;
        return e->links ? 0 : -EPROTO;
    case UPGRADE_SESSIONS:
    case UPGRADE_ENDED:
        return on_sessions(e, m, now);
    case UPGRADE_GO:
        e->go = true;
        return 0;
    case UPGRADE_YOURS:
        e->yours = true;
        return 0;
    case UPGRADE_COUNTERS:
        return on_counters(e, m);
    case UPGRADE_WORK:
        return on_work(e, m);
    case UPGRADE_STATE:
        set_state(e, &(struct elder_state){m->a, m->b, m->c, m->d});
        return 0;
    default:
        return 0; /* of a later version, perhaps */
    }
}

/* Waits for one more message and takes it. 0, -errno. */
static int take_one(struct elder *e, struct tick until)
{
    struct pollfd p = {.fd = e->fd, .events = POLLIN};
    struct tick now = io_now();
    struct upgrade_msg m;
    int r;

    if (!tick_before(now, until))
        return err_say(-ETIMEDOUT, "wait for the running daemon");
    poll(&p, 1, (int)((tick_since_us(until, now) + 999) / 1000));
    r = receive(e, &m);
    if (r == -EAGAIN || r == -EINTR)
        return 0;
    if (!r)
        r = on_message(e, &m, io_now());
    drop_fds(e);
    return r ? err_say(r, "hear the running daemon") : 0;
}

static int take_until(struct elder *e, const bool *done)
{
    struct tick until = tick_add_ms(io_now(), ANSWER_MS);
    int r = 0;

    while (!r && !*done)
        r = take_one(e, until);
    return r;
}

/* ---- beginning and end ---- */

int elder_open(struct elder **ep)
{
    const char *text = secure_getenv(ELDER_ENV);
    int type = 0;
    socklen_t len = sizeof type;
    struct elder *e;
    char *end;
    long fd;

    *ep = NULL;
    if (!text)
        return 0;
    fd = strtol(text, &end, 10);
    if (end == text || *end || fd < 0 || fd > INT16_MAX || getsockopt((int)fd, SOL_SOCKET, SO_TYPE, &type, &len) ||
        type != SOCK_SEQPACKET)
        return err_say(-EINVAL, ELDER_ENV " = %s", text);
    unsetenv(ELDER_ENV);
    e = calloc(1, sizeof *e);
    if (!e)
        return err_here(-ENOMEM);
    e->fd = fcntl((int)fd, F_DUPFD_CLOEXEC, 3);
    close((int)fd);
    if (e->fd < 0) {
        free(e);
        return err_say(-errno, "the running daemon");
    }
    atomic_init(&e->there, true);
    *ep = e;
    return 0;
}

int elder_meet(struct elder *e, struct limits *limits)
{
    e->limits = limits;
    return take_until(e, &e->offered);
}

static void item_fini(struct item *x)
{
    for (uint32_t i = 0; i < x->n; i++)
        if (x->fds[i] >= 0)
            close(x->fds[i]);
    for (unsigned i = 0; x->steered && i < STEER_FDS; i++)
        close(x->steer[i]);
    x->steered = false;
    x->n = 0;
}

static void forget_drained(struct elder *e)
{
    for (unsigned i = 0; i < e->n_drained; i++)
        free(e->drained[i]);
    free(e->drained);
    e->drained = NULL;
    e->n_drained = 0;
}

struct elder *elder_free(struct elder *e)
{
    if (!e)
        return NULL;
    drop_fds(e);
    forget_drained(e);
    for (unsigned i = 0; i < e->n_items; i++) {
        item_fini(&e->items[i]);
        free(e->items[i].text);
        free(e->items[i].fds);
    }
    for (unsigned i = 0; e->links && i < e->n_workers; i++)
        if (e->links[i] >= 0)
            close(e->links[i]);
    free(e->items);
    free(e->links);
    free(e->work);
    claims_free(e->claims);
    if (e->fd >= 0)
        close(e->fd);
    free(e);
    return NULL;
}

unsigned elder_workers(const struct elder *e)
{
    return e->n_workers;
}

uint64_t elder_seed(const struct elder *e)
{
    return e->seed;
}

static struct item *find_offer(const struct elder *e, enum upgrade_type type, const char *text)
{
    for (unsigned i = 0; i < e->n_items; i++) {
        struct item *x = &e->items[i];

        if (x->type == type && !x->taken && x->got == x->n && !strcmp(x->text, text))
            return x;
    }
    return NULL;
}

int elder_take(struct elder *e, enum upgrade_type type, const char *text)
{
    struct item *x = e ? find_offer(e, type, text) : NULL;
    int fd = x ? x->fds[0] : -1;

    if (x) {
        x->taken = true;
        x->fds[0] = -1;
    }
    return fd;
}

bool elder_take_drained(struct elder *e, const char *name)
{
    for (unsigned i = 0; e && i < e->n_drained; i++) {
        if (!e->drained[i] || strcmp(e->drained[i], name) != 0)
            continue;
        free(e->drained[i]);
        e->drained[i] = NULL;
        return true;
    }
    return false;
}

int elder_take_sockets(struct elder *e, struct sockets *s, uint64_t tunnel)
{
    unsigned n = s->n_ports * s->n_workers;
    char text[UPGRADE_TEXT_MAX];
    struct item *x;

    addr_text_print(&s->at, text, sizeof text);
    x = e ? find_offer(e, s->stream ? UPGRADE_STREAM : UPGRADE_UDP, text) : NULL;
    if (!x || x->n != n)
        return ELDER_HAS_NONE;
    if (!s->stream && s->n_workers > 1) {
        s->steer = steer_inherit(s->at.port_min, s->n_ports, s->n_workers, x->steered ? x->steer : NULL);
        if (!s->steer)
            return err_here(-ENOMEM);
        x->steered = false;
    }
    memcpy(s->fds, x->fds, n * sizeof(int));
    for (unsigned i = 0; i < n; i++)
        x->fds[i] = -1;
    x->taken = true;
    x->ours = s->id;
    x->our_tunnel = tunnel;
    s->origin_set = x->number;
    s->origin_tunnel = x->tunnel;
    return 0;
}

int elder_prepared(struct elder *e)
{
    forget_drained(e); /* profiles that are no more */
    for (unsigned i = 0; i < e->n_items; i++) {
        if (e->items[i].taken)
            send_msg(e, &(struct upgrade_msg){.type = UPGRADE_TAKEN, .a = e->items[i].number});
        item_fini(&e->items[i]); /* what is left of it */
    }
    send_msg(e, &(struct upgrade_msg){.type = UPGRADE_PREPARED});
    return take_until(e, &e->go);
}

void elder_started(struct elder *e)
{
    send_msg(e, &(struct upgrade_msg){.type = UPGRADE_STARTED});
}

void elder_fail(struct elder *e, const char *why)
{
    char text[UPGRADE_TEXT_MAX + 1];

    snprintf(text, sizeof text, "%s", why);
    send_msg(e, &(struct upgrade_msg){.type = UPGRADE_FAILED, .text = text});
    _exit(1);
}

/* ---- while it finishes ---- */

void elder_tell(struct elder *e, struct roster *r, struct upgrade *u)
{
    e->roster = r;
    e->upgrade = u;
}

int elder_fd(const struct elder *e)
{
    return e ? e->fd : -1;
}

static void on_over(struct elder *e, int why)
{
    if (why != -EPIPE && why != -ECONNRESET)
        log_error("process %u, which finishes its sessions, says what makes no sense: %s", e->pid, strerror(-why));
    else
        log_info("process %u has finished", e->pid);
    close(e->fd);
    e->fd = -1;
    atomic_store(&e->there, false);
    claims_clear(e->claims);
    while (e->n_states)
        set_state(e, &(struct elder_state){.pid = e->states[0].pid, .left_s = UPGRADE_STATE_OVER});
    if (e->roster)
        roster_inherited(e->roster);
    e->yours = true; /* it cannot say so any more */
}

bool elder_step(struct elder *e, struct tick now)
{
    bool had = e->yours;
    struct upgrade_msg m;
    int r = 0;

    for (unsigned i = 0; i < NEWS_A_TURN && e->fd >= 0 && !r; i++) {
        r = receive(e, &m);
        if (!r)
            r = on_message(e, &m, now);
        drop_fds(e);
    }
    if (r && r != -EAGAIN && r != -EINTR)
        on_over(e, r);
    if (tick_since_us(now, e->swept) >= 1000000) {
        e->swept = now;
        claims_sweep(e->claims, now);
    }
    return e->yours && !had;
}

void elder_end(struct elder *e, uint32_t seconds)
{
    if (e)
        send_msg(e, &(struct upgrade_msg){.type = UPGRADE_END, .a = seconds});
}

void elder_reopen_logs(struct elder *e)
{
    if (log_reopen())
        log_error("%s", err_text());
    if (e)
        send_msg(e, &(struct upgrade_msg){.type = UPGRADE_REOPEN});
}

unsigned elder_list(const struct elder *e, const struct elder_state **v)
{
    *v = e ? e->states : NULL;
    return e ? e->n_states : 0;
}

struct claims *elder_claims(const struct elder *e)
{
    return e ? e->claims : NULL;
}

const struct worker_stats *elder_work(const struct elder *e, unsigned worker)
{
    return e && e->work ? &e->work[worker] : NULL;
}

bool elder_is_there(const struct elder *e)
{
    return e && atomic_load_explicit(&e->there, memory_order_relaxed);
}

bool elder_claims_any(const struct elder *e)
{
    return e && claims_any(e->claims);
}

int elder_link(const struct elder *e, unsigned worker)
{
    return e->links[worker % e->n_workers];
}
