/* daemon/ctl.c - the control socket: one epoll set that the main loop watches as a single descriptor.
 *
 * Input is pulled: a client is read only while none of its requests waits in a buffer, it has few of them open, and it
 * takes its answers. So what it can make us hold is one line, a few requests, and the answers up to CTL_OUT_MAX. */
#include "daemon/ctl.h"

#include "core/base/err.h"
#include "daemon/ctl_socket.h"
#include "daemon/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_SIZE = 16384,
    TURN = 64, /* lines handled per ctl_step(), so that no client keeps the main loop for itself */
    OUT_ENOUGH = 256 * 1024, /* unread answers beyond which no more requests are taken */
    OUT_KEEP = 64 * 1024, /* bytes of an empty buffer worth keeping */
    RETRY_MS = 1000, /* until the next accept(2) when descriptors have run out */
};
enum { ID_LISTENER = 1, ID_AGAIN, ID_FIRST }; /* what an epoll event is about; from the last on: clients */

struct client {
    uint64_t id; /* 0: the slot is free */
    int fd;
    uint32_t events; /* asked of epoll */
    bool hung_up; /* the other end is closed: out of the epoll set, which would tell it for ever */
    bool readable; /* there may be something to read */
    bool ended; /* no more input, */
    bool spent; /* and no more requests in the buffer */
    unsigned pending;
    struct tick last; /* when a byte moved */
    struct ctl_lines in;
    char *out;
    size_t out_at, out_end, out_cap; /* out[at..end) waits */
};

struct ctl {
    struct ctl_socket listener;
    int epoll, again; /* again: an eventfd that is readable while buffered requests wait for their turn */
    bool deaf; /* descriptors ran out */
    struct tick now, listen_at;
    uint64_t last_id;
    unsigned first, budget; /* whose turn it is; lines left in this one */
    struct client clients[CTL_CLIENTS];
};

static struct client *find(struct ctl *c, uint64_t id)
{
    for (unsigned i = 0; id && i < CTL_CLIENTS; i++)
        if (c->clients[i].id == id)
            return &c->clients[i];
    return NULL;
}

static size_t unsent(const struct client *cl)
{
    return cl->out_end - cl->out_at;
}

static bool takes_requests(const struct client *cl)
{
    return cl->id && !cl->spent && cl->pending < CTL_PENDING && unsent(cl) < OUT_ENOUGH;
}

static void drop(struct client *cl)
{
    close(cl->fd); /* epoll forgets it */
    ctl_lines_fini(&cl->in);
    free(cl->out);
    *cl = (struct client){0};
}

/* Brings the epoll set up to date, and ends a client with whom all is done. */
static void settle(struct ctl *c, struct client *cl)
{
    uint32_t want = (takes_requests(cl) && !cl->ended ? (uint32_t)EPOLLIN : 0) | (unsent(cl) ? (uint32_t)EPOLLOUT : 0);
    struct epoll_event e = {.events = want, .data.u64 = cl->id};

    if (cl->spent && !cl->pending && !unsent(cl)) {
        drop(cl);
        return;
    }
    if (want == cl->events || cl->hung_up)
        return;
    cl->events = want;
    epoll_ctl(c->epoll, EPOLL_CTL_MOD, cl->fd, &e); /* of a member it cannot fail */
}

static void wake(struct ctl *c)
{
    (void)!write(c->again, &(uint64_t){1}, sizeof(uint64_t));
}

/* ---- output ---- */

/* False: the client was dropped. */
static bool flush(struct ctl *c, struct client *cl)
{
    while (unsent(cl)) {
        ssize_t n = send(cl->fd, cl->out + cl->out_at, unsent(cl), MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0) {
            drop(cl);
            return false;
        }
        cl->out_at += (size_t)n;
        cl->last = c->now;
    }
    cl->out_at = cl->out_end = 0;
    if (cl->out_cap > OUT_KEEP) {
        free(cl->out);
        cl->out = NULL;
        cl->out_cap = 0;
    }
    return true;
}

/* 0, -ENOMEM. */
static int append(struct client *cl, struct bytes b)
{
    if (cl->out_cap - cl->out_end < b.len && cl->out_at) {
        memmove(cl->out, cl->out + cl->out_at, unsent(cl));
        cl->out_end -= cl->out_at;
        cl->out_at = 0;
    }
    if (cl->out_cap - cl->out_end < b.len) {
        size_t cap = MAX(cl->out_cap * 2, cl->out_end + b.len);
        char *out = realloc(cl->out, cap);

        if (!out)
            return -ENOMEM;
        cl->out = out;
        cl->out_cap = cap;
    }
    memcpy(cl->out + cl->out_end, b.p, b.len);
    cl->out_end += b.len;
    return 0;
}

int ctl_send(void *query, struct bytes line)
{
    struct ctl_query *q = query;
    struct client *cl = find(q->ctl, q->client);
    int r = 0;

    if (!cl)
        return -EPIPE;
    if (unsent(cl) + line.len > CTL_OUT_MAX)
        r = -EPIPE;
    else
        r = append(cl, line);
    if (r) {
        drop(cl);
        return r;
    }
    if (!flush(q->ctl, cl))
        return -EPIPE;
    settle(q->ctl, cl);
    return 0;
}

/* ---- input ---- */

static void hand_out(struct ctl *c, struct client *cl, struct ctl_query *q, struct ctl_request *rq)
{
    *q = (struct ctl_query){.ctl = c, .client = cl->id, .rq = *rq};
    cl->pending++;
    settle(c, cl);
}

/* Answers what is not a request. */
static void refuse(struct ctl *c, struct client *cl, struct ctl_request *rq)
{
    struct ctl_query q = {.ctl = c, .client = cl->id};

    ctl_answer_error(rq, rq->code, rq->text, ctl_send, &q);
    ctl_request_fini(rq);
}

/* The line never ends: what follows cannot be told apart from it. */
static void cut_off(struct ctl *c, struct client *cl)
{
    struct ctl_request rq = {.code = CTL_MALFORMED, .text = "a request line has up to 65536 bytes"};

    cl->ended = cl->spent = true;
    ctl_lines_fini(&cl->in);
    refuse(c, cl, &rq);
}

/* One read(2) into the lines. False: nothing came. */
static bool read_more(struct ctl *c, struct client *cl)
{
    static uint8_t buf[READ_SIZE]; /* main thread only */
    ssize_t n;

    if (cl->ended || !cl->readable)
        return false;
    n = recv(cl->fd, buf, sizeof buf, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno == EAGAIN) {
        cl->readable = false;
        return false;
    }
    cl->last = c->now;
    if (n > 0 && !ctl_lines_put(&cl->in, bytes_of(buf, (size_t)n)))
        return true;
    cl->ended = true;
    return false;
}

/* The client's next request, or CTL_AGAIN. Uses up the budget by lines and reads, whatever they hold. */
static int client_next(struct ctl *c, struct client *cl, struct ctl_query *q)
{
    uint64_t id = cl->id;

    while (takes_requests(cl) && cl->id == id && c->budget) {
        struct ctl_request rq;
        struct bytes line;
        int r = ctl_lines_next(&cl->in, &line);

        if (r == CTL_AGAIN) {
            if (!read_more(c, cl)) {
                cl->spent = cl->ended;
                settle(c, cl);
                return CTL_AGAIN;
            }
            c->budget--;
            continue;
        }
        c->budget--;
        if (r == CTL_TOO_LONG) {
            cut_off(c, cl);
        } else if (ctl_request_parse(&rq, line)) {
            refuse(c, cl, &rq);
        } else {
            hand_out(c, cl, q, &rq);
            return 0;
        }
    }
    return CTL_AGAIN;
}

int ctl_next(struct ctl *c, struct ctl_query *q)
{
    for (unsigned i = 0; i < CTL_CLIENTS; i++) {
        unsigned who = (c->first + i) % CTL_CLIENTS;

        if (client_next(c, &c->clients[who], q) == 0) {
            c->first = (who + 1) % CTL_CLIENTS;
            return 0;
        }
    }
    if (!c->budget)
        wake(c);
    return CTL_AGAIN;
}

void ctl_done(struct ctl_query *q)
{
    struct client *cl = q->ctl ? find(q->ctl, q->client) : NULL;

    if (cl) {
        cl->pending--;
        cl->last = q->ctl->now;
        settle(q->ctl, cl);
        wake(q->ctl); /* its next requests may be in the buffer already */
    }
    ctl_request_fini(&q->rq);
    *q = (struct ctl_query){0};
}

/* ---- the socket ---- */

static int send_now(void *ctx, struct bytes line)
{
    return send(*(int *)ctx, line.p, line.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static struct client *free_slot(struct ctl *c)
{
    for (unsigned i = 0; i < CTL_CLIENTS; i++)
        if (!c->clients[i].id)
            return &c->clients[i];
    return NULL;
}

static void welcome(struct ctl *c, int fd)
{
    struct client *cl = free_slot(c);
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = c->last_id + 1};

    if (!cl || epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &e)) {
        ctl_answer_error(&(struct ctl_request){0}, CTL_BUSY, "too many clients", send_now, &fd);
        close(fd);
        return;
    }
    *cl = (struct client){.id = ++c->last_id, .fd = fd, .events = EPOLLIN, .last = c->now, .in.max = CTL_REQUEST_MAX};
}

static void listen_again(struct ctl *c, bool on)
{
    struct epoll_event e = {.events = on ? (uint32_t)EPOLLIN : 0, .data.u64 = ID_LISTENER};

    c->deaf = !on;
    c->listen_at = tick_add_ms(c->now, RETRY_MS);
    epoll_ctl(c->epoll, EPOLL_CTL_MOD, c->listener.fd, &e);
}

static void accept_some(struct ctl *c)
{
    for (unsigned i = 0; i < CTL_CLIENTS; i++) {
        int fd = accept4(c->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            welcome(c, fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno != EAGAIN) /* EMFILE and the like: epoll would tell of it again at once */
                listen_again(c, false);
            return;
        }
    }
}

static void on_event(struct ctl *c, const struct epoll_event *e)
{
    struct client *cl = find(c, e->data.u64);
    uint64_t n;

    if (e->data.u64 == ID_LISTENER)
        accept_some(c);
    else if (e->data.u64 == ID_AGAIN)
        (void)!read(c->again, &n, sizeof n);
    if (!cl)
        return;
    if (e->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        cl->readable = true;
    if (e->events & (EPOLLHUP | EPOLLERR)) {
        /* its requests still count, for `echo | nc`; nobody reads the answers */
        epoll_ctl(c->epoll, EPOLL_CTL_DEL, cl->fd, NULL);
        cl->hung_up = true;
    }
    if (flush(c, cl))
        settle(c, cl);
}

static struct tick idle_until(const struct client *cl)
{
    return cl->pending ? TICK_NEVER : tick_add_ms(cl->last, CTL_IDLE_S * 1000);
}

void ctl_step(struct ctl *c, struct tick now)
{
    struct epoll_event events[CTL_CLIENTS + 2];
    int n;

    c->now = now;
    c->budget = TURN;
    if (c->deaf && !tick_before(now, c->listen_at))
        listen_again(c, true);
    n = epoll_wait(c->epoll, events, LEN(events), 0);
    for (int i = 0; i < n; i++)
        on_event(c, &events[i]);
    for (unsigned i = 0; i < CTL_CLIENTS; i++)
        if (c->clients[i].id && !tick_before(now, idle_until(&c->clients[i])))
            drop(&c->clients[i]);
}

struct tick ctl_deadline(const struct ctl *c)
{
    struct tick at = c->deaf ? c->listen_at : TICK_NEVER;

    for (unsigned i = 0; i < CTL_CLIENTS; i++)
        if (c->clients[i].id)
            at = tick_min(at, idle_until(&c->clients[i]));
    return at;
}

int ctl_fd(const struct ctl *c)
{
    return c->epoll;
}

static int watch(struct ctl *c, int fd, uint64_t id)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = id};

    return epoll_ctl(c->epoll, EPOLL_CTL_ADD, fd, &e) ? err_say(-errno, "epoll_ctl") : 0;
}

AUTO_DEFINE(struct ctl, ctl_free);

int ctl_new(struct ctl **cp, const struct ctl_params *p)
{
    AUTO(ctl_free) struct ctl *c = calloc(1, sizeof *c);
    int r;

    if (!c)
        return err_here(-ENOMEM);
    c->listener.fd = -1;
    c->last_id = ID_FIRST;
    c->again = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (c->again < 0 || c->epoll < 0)
        return err_say(-errno, "control socket");
    r = p->fd > 0 ? ctl_socket_inherit(&c->listener, p->path, p->mode, p->group, p->fd)
                  : ctl_socket_open(&c->listener, p->path, p->mode, p->group);
    if (!r)
        r = watch(c, c->listener.fd, ID_LISTENER);
    if (!r)
        r = watch(c, c->again, ID_AGAIN);
    if (r)
        return err_pass(r);
    *cp = TAKE(c);
    return 0;
}

void ctl_renew(struct ctl *c)
{
    if (!ctl_socket_is_gone(&c->listener) || ctl_socket_renew(&c->listener))
        return;
    c->deaf = false;
    if (watch(c, c->listener.fd, ID_LISTENER))
        log_error("%s: nobody is heard at the control socket", err_text());
}

int ctl_listener(const struct ctl *c)
{
    return c->listener.fd;
}

void ctl_let_go(struct ctl *c, bool stays)
{
    epoll_ctl(c->epoll, EPOLL_CTL_DEL, c->listener.fd, NULL); /* it would outlive our descriptor */
    if (stays)
        ctl_socket_let_go(&c->listener);
    else
        ctl_socket_close(&c->listener);
    c->deaf = false;
}

struct ctl *ctl_free(struct ctl *c)
{
    if (!c)
        return NULL;
    for (unsigned i = 0; i < CTL_CLIENTS; i++) {
        assert(!c->clients[i].pending);
        if (c->clients[i].id)
            drop(&c->clients[i]);
    }
    ctl_socket_close(&c->listener);
    if (c->again >= 0)
        close(c->again);
    if (c->epoll >= 0)
        close(c->epoll);
    free(c);
    return NULL;
}
