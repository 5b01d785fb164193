/* daemon/resolve.c - lookups in detached threads.
 *
 * One mutex guards everything. A question is allocated when it is asked and becomes the answer, so answering never fails.
 * The threads may outlive the resolver and a client the threads' interest in it: the state is counted by its users, a
 * client by its owner and the lookups under way for it. */
#include "daemon/resolve.h"

#include "core/base/err.h"
#include "core/base/list.h"

#include <assert.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { HOST_MAX = 256 };

struct question {
    struct list node; /* in resolver.asked or resolver_client.answers */
    struct resolver_client *client;
    char host[HOST_MAX];
    uint16_t port;
    struct resolve_result result;
};

struct resolver {
    pthread_mutex_t lock;
    pthread_cond_t more;
    resolve_lookup lookup;
    struct list asked;
    unsigned refs; /* the owner, the threads, the clients */
    unsigned n_asked, n_threads, n_idle;
    bool closing;
};

struct resolver_client {
    struct resolver *r;
    struct list answers;
    int fd; /* -1: the owner has gone */
    unsigned refs; /* the owner and the lookups under way */
    unsigned pending;
};

/* Called with the lock held, which it releases: the lock may end with it. */
static void unref_unlock(struct resolver *r)
{
    bool last = --r->refs == 0;

    pthread_mutex_unlock(&r->lock);
    if (!last)
        return;
    assert(list_empty(&r->asked));
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->more);
    free(r);
}

static bool take_addrs(const struct addrinfo *ai, struct resolve_result *out)
{
    out->n = 0;
    for (; ai && out->n < RESOLVE_ADDRS; ai = ai->ai_next) {
        struct sockaddr_any *a = &out->addr[out->n];

        if ((ai->ai_family != AF_INET && ai->ai_family != AF_INET6) || ai->ai_addrlen > sizeof a->in6)
            continue;
        memset(a, 0, sizeof *a);
        memcpy(&a->sa, ai->ai_addr, ai->ai_addrlen);
        a->len = ai->ai_addrlen;
        out->n++;
    }
    return out->n > 0;
}

/* 0 or what getaddrinfo() says. */
static int lookup_with(const char *host, uint16_t port, int flags, struct resolve_result *out)
{
    /* one socket type, or every address comes several times */
    struct addrinfo hints = {.ai_flags = flags | AI_NUMERICSERV, .ai_socktype = SOCK_DGRAM}, *ai = NULL;
    char service[8];
    int e;

    snprintf(service, sizeof service, "%u", (unsigned)port);
    e = getaddrinfo(*host ? host : NULL, service, &hints, &ai);
    if (e)
        return e;
    e = take_addrs(ai, out) ? 0 : EAI_NONAME;
    freeaddrinfo(ai);
    return e;
}

static void lookup_by_libc(const char *host, uint16_t port, struct resolve_result *out)
{
    int e = lookup_with(host, port, AI_ADDRCONFIG, out), saved = errno;

    if (e)
        snprintf(out->text, sizeof out->text, "%s", e == EAI_SYSTEM ? strerror(saved) : gai_strerror(e));
}

/* The answer is the client's; lock held. The write cannot block: the counter stays far below its limit. */
static void answer(struct question *q)
{
    struct resolver_client *c = q->client;
    uint64_t one = 1;

    list_push(&c->answers, &q->node);
    (void)!write(c->fd, &one, sizeof one);
}

/* Lock held; c may be gone afterwards. */
static void client_unref(struct resolver_client *c)
{
    if (--c->refs == 0)
        free(c);
}

static void look_up(struct resolver *r, struct question *q)
{
    struct resolver_client *c = q->client;

    list_del(&q->node);
    r->n_asked--;
    c->refs++;
    pthread_mutex_unlock(&r->lock);
    r->lookup(q->host, q->port, &q->result);
    pthread_mutex_lock(&r->lock);
    if (c->fd >= 0)
        answer(q);
    else
        free(q);
    client_unref(c);
}

static void *resolver_thread(void *arg)
{
    struct resolver *r = arg;

    pthread_mutex_lock(&r->lock);
    while (!r->closing) {
        struct question *q = LIST_FIRST(&r->asked, struct question, node);

        if (q) {
            look_up(r, q);
            continue;
        }
        r->n_idle++;
        pthread_cond_wait(&r->more, &r->lock);
        r->n_idle--;
    }
    unref_unlock(r);
    return NULL;
}

/* Lock held. 0, -errno. */
static int start_thread(struct resolver *r)
{
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_t t;
    int e;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    e = pthread_create(&t, &attr, resolver_thread, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (e)
        return err_say(-e, "start a resolver thread");
    r->n_threads++;
    r->refs++;
    return 0;
}

int resolver_new(struct resolver **rp, resolve_lookup lookup)
{
    struct resolver *r = calloc(1, sizeof *r);
    int e;

    if (!r)
        return err_here(-ENOMEM);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->more, NULL);
    list_init(&r->asked);
    r->lookup = lookup ? lookup : lookup_by_libc;
    r->refs = 1;
    /* the first one now: a sandbox may forbid threads later, and a daemon without any should not start */
    pthread_mutex_lock(&r->lock);
    e = start_thread(r);
    if (e) {
        unref_unlock(r);
        return e;
    }
    pthread_mutex_unlock(&r->lock);
    *rp = r;
    return 0;
}

struct resolver *resolver_free(struct resolver *r)
{
    if (!r)
        return NULL;
    pthread_mutex_lock(&r->lock);
    r->closing = true;
    pthread_cond_broadcast(&r->more);
    unref_unlock(r);
    return NULL;
}

int resolver_client_new(struct resolver_client **cp, struct resolver *r)
{
    struct resolver_client *c = calloc(1, sizeof *c);

    if (!c)
        return err_here(-ENOMEM);
    c->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (c->fd < 0) {
        int e = errno;

        free(c);
        return err_say(-e, "eventfd");
    }
    list_init(&c->answers);
    c->r = r;
    c->refs = 1;
    pthread_mutex_lock(&r->lock);
    r->refs++;
    pthread_mutex_unlock(&r->lock);
    *cp = c;
    return 0;
}

struct resolver_client *resolver_client_free(struct resolver_client *c)
{
    struct resolver *r;

    if (!c)
        return NULL;
    r = c->r;
    pthread_mutex_lock(&r->lock);
    LIST_EACH(q, &r->asked, struct question, node) {
        if (q->client == c) {
            list_del(&q->node);
            r->n_asked--;
            free(q);
        }
    }
    LIST_EACH(q, &c->answers, struct question, node) {
        list_del(&q->node);
        free(q);
    }
    close(c->fd);
    c->fd = -1;
    client_unref(c);
    unref_unlock(r);
    return NULL;
}

int resolver_client_fd(const struct resolver_client *c)
{
    return c->fd;
}

/* Gives the question to a thread, starting one if all are at work. Lock held. 0, -errno: not taken. */
static int enqueue(struct resolver *r, struct question *q)
{
    int e;

    if (r->closing)
        return err_here(-ESHUTDOWN);
    list_push(&r->asked, &q->node);
    r->n_asked++;
    if (r->n_asked > r->n_idle && r->n_threads < RESOLVE_THREADS) {
        e = start_thread(r);
        if (e && !r->n_threads) {
            list_del(&q->node);
            r->n_asked--;
            return e;
        }
    }
    pthread_cond_signal(&r->more);
    return 0;
}

int resolver_ask(struct resolver_client *c, const char *host, uint16_t port, uint64_t token)
{
    struct resolver *r = c->r;
    struct question *q;
    bool numeric;
    int e = 0;

    if (strlen(host) >= sizeof q->host)
        return err_say(-ENAMETOOLONG, "resolve");
    q = calloc(1, sizeof *q);
    if (!q)
        return err_here(-ENOMEM);
    q->client = c;
    q->port = port;
    q->result.token = token;
    memcpy(q->host, host, strlen(host) + 1);
    numeric = lookup_with(host, port, AI_NUMERICHOST, &q->result) == 0;

    pthread_mutex_lock(&r->lock);
    if (c->pending >= RESOLVE_PENDING)
        e = RESOLVE_BUSY;
    else if (numeric)
        answer(q);
    else
        e = enqueue(r, q);
    c->pending += e == 0;
    pthread_mutex_unlock(&r->lock);
    if (e)
        free(q);
    return e;
}

bool resolver_next(struct resolver_client *c, struct resolve_result *out)
{
    struct question *q;
    uint64_t n;

    pthread_mutex_lock(&c->r->lock);
    q = LIST_FIRST(&c->answers, struct question, node);
    if (q) {
        list_del(&q->node);
        c->pending--;
    }
    if (list_empty(&c->answers))
        (void)!read(c->fd, &n, sizeof n); /* no longer readable */
    pthread_mutex_unlock(&c->r->lock);
    if (!q)
        return false;
    *out = q->result;
    free(q);
    return true;
}
