/* tools/bench_load.c - the load generator: threads beside either end, each with its streams in an epoll set.
 * It must never be what a tunnel is measured by, so nothing is copied that need not be: a flood is sendfile() from
 * memory the kernel has already, and a sink has the kernel throw the bytes away. */
#include "tools/bench_load.h"

#include "core/base/list.h"
#include "tools/bench_net.h"
#include "tools/bench_place.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS = 4, /* a side, at most; one per core it may use */
    FLOOD_BYTES = 1 << 20,
    TURN_BYTES = 1 << 19, /* for one stream before the next one's turn, so that an echo never waits long */
    ACCEPTS = 64, /* of one turn */
    EVENTS = 64,
    ECHO_BYTES = 4096,
    ROLE_HELLO = 0, /* the target does not know yet */
    ROLE_LISTEN = 1,
};

struct stream {
    struct list node; /* of pump.streams */
    struct pump *pump;
    int fd, role;
    unsigned slot, got;
    uint8_t hello[BENCH_HELLO];
};

struct pump { /* one thread */
    struct bench_load *load;
    pthread_t thread;
    pthread_mutex_t lock; /* of streams: others add */
    struct list streams;
    enum bench_end side;
    int ep, wake;
    bool runs;
};

struct bench_load {
    const struct bench *bench;
    int flood; /* memfd */
    struct sockaddr_in target;
    struct pump pumps[BENCH_ENDS][THREADS];
    unsigned n_pumps[BENCH_ENDS], next[BENCH_ENDS];
    unsigned slots;
    _Atomic uint64_t bytes[]; /* arrived, by slot */
};

/* ---- one stream's turn; false: it has ended ---- */

static bool transient(void)
{
    return errno == EAGAIN || errno == EINTR;
}

static uint32_t events_of(int role)
{
    switch (role) {
    case BENCH_FLOOD:
        return EPOLLOUT;
    case BENCH_HOLD:
        return 0; /* errors are told all the same */
    default:
        return EPOLLIN;
    }
}

static bool greet(struct stream *s)
{
    ssize_t n = recv(s->fd, s->hello + s->got, BENCH_HELLO - s->got, MSG_DONTWAIT);
    struct epoll_event ev = {.data.ptr = s};

    if (n <= 0)
        return n && transient();
    s->got += (unsigned)n;
    if (s->got < BENCH_HELLO)
        return true;
    s->slot = s->hello[4] | s->hello[5] << 8 | s->hello[6] << 16 | (unsigned)s->hello[7] << 24;
    if (memcmp(s->hello, "kb", 2) != 0 || s->slot >= s->pump->load->slots || !s->hello[2] ||
        !strchr("SFEH", s->hello[2]))
        return false;
    s->role = s->hello[2];
    ev.events = events_of(s->role);
    return send(s->fd, "+", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 && !epoll_ctl(s->pump->ep, EPOLL_CTL_MOD, s->fd, &ev);
}

static bool sink(struct stream *s)
{
    /* MSG_TRUNC: TCP counts the bytes and drops them */
    ssize_t n = recv(s->fd, NULL, TURN_BYTES, MSG_DONTWAIT | MSG_TRUNC);

    if (n <= 0)
        return n && transient();
    atomic_fetch_add_explicit(&s->pump->load->bytes[s->slot], (uint64_t)n, memory_order_relaxed);
    return true;
}

static bool flood(struct stream *s)
{
    off_t at = 0;

    return sendfile(s->fd, s->pump->load->flood, &at, TURN_BYTES) > 0 || transient();
}

static bool echo(struct stream *s)
{
    uint8_t buf[ECHO_BYTES];
    ssize_t n = recv(s->fd, buf, sizeof buf, MSG_DONTWAIT);

    if (n <= 0)
        return n && transient();
    return send(s->fd, buf, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) == n;
}

static int add(struct pump *p, int fd, int role, unsigned slot)
{
    struct stream *s = calloc(1, sizeof *s);
    struct epoll_event ev = {.events = events_of(role), .data.ptr = s};
    int r;

    if (!s) {
        close(fd);
        return -1;
    }
    *s = (struct stream){.pump = p, .fd = fd, .role = role, .slot = slot};
    bench_net_tcp(fd);
    pthread_mutex_lock(&p->lock);
    list_push(&p->streams, &s->node);
    r = epoll_ctl(p->ep, EPOLL_CTL_ADD, fd, &ev);
    if (r) {
        list_del(&s->node);
        close(fd);
        free(s);
    }
    pthread_mutex_unlock(&p->lock);
    return r;
}

static struct pump *next_pump(struct bench_load *l, enum bench_end side)
{
    return &l->pumps[side][l->next[side]++ % l->n_pumps[side]];
}

static bool listen_turn(struct stream *s)
{
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return true;
        add(next_pump(s->pump->load, BENCH_SERVER), fd, ROLE_HELLO, 0);
    }
    return true;
}

static bool turn(struct stream *s, uint32_t events)
{
    switch (s->role) {
    case ROLE_HELLO:
        return greet(s);
    case ROLE_LISTEN:
        return listen_turn(s);
    case BENCH_SINK:
        return sink(s);
    case BENCH_FLOOD:
        return !(events & (EPOLLERR | EPOLLHUP)) && flood(s);
    case BENCH_ECHO:
        return echo(s);
    default:
        return !(events & (EPOLLERR | EPOLLHUP));
    }
}

static void drop(struct stream *s)
{
    pthread_mutex_lock(&s->pump->lock);
    list_del(&s->node);
    pthread_mutex_unlock(&s->pump->lock);
    close(s->fd);
    free(s);
}

static void *pump_main(void *arg)
{
    struct pump *p = arg;
    struct epoll_event ev[EVENTS];

    bench_place_take(p->load->bench->place, p->side == BENCH_CLIENT ? SEAT_NEAR : SEAT_FAR);
    for (;;) {
        int n = epoll_wait(p->ep, ev, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            struct stream *s = ev[i].data.ptr;

            if (!s) /* the wake-up: the end */
                return NULL;
            if (!turn(s, ev[i].events))
                drop(s);
        }
    }
}

/* ---- threads ---- */

static int pump_open(struct pump *p, struct bench_load *l, enum bench_end side)
{
    struct epoll_event ev = {.events = EPOLLIN};

    *p = (struct pump){.load = l, .side = side};
    pthread_mutex_init(&p->lock, NULL);
    list_init(&p->streams);
    p->ep = epoll_create1(EPOLL_CLOEXEC);
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->ep < 0 || p->wake < 0 || epoll_ctl(p->ep, EPOLL_CTL_ADD, p->wake, &ev))
        return -1;
    errno = pthread_create(&p->thread, NULL, pump_main, p);
    p->runs = !errno;
    return p->runs ? 0 : -1;
}

static void pump_close(struct pump *p)
{
    static const uint64_t one = 1;

    if (!p->load)
        return;
    if (p->runs) {
        while (write(p->wake, &one, sizeof one) < 0 && errno == EINTR)
            ;
        pthread_join(p->thread, NULL);
    }
    while (!list_empty(&p->streams))
        drop(LIST_FIRST(&p->streams, struct stream, node));
    if (p->ep >= 0)
        close(p->ep);
    if (p->wake >= 0)
        close(p->wake);
    pthread_mutex_destroy(&p->lock);
}

/* The target listens at the server's end; the calling thread is back at the client's afterwards. */
static int listen_open(struct bench_load *l)
{
    const struct bench *b = l->bench;
    socklen_t len = sizeof l->target;
    int fd = -1;

    l->target = bench_net_at(b->net->spaces ? (struct in_addr){htonl(INADDR_ANY)} : bench_net_loopback(), 0);
    if (!bench_net_enter(b->net, BENCH_SERVER))
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bench_net_enter(b->net, BENCH_CLIENT) || bind(fd, (struct sockaddr *)&l->target, len) ||
        listen(fd, 4096) || getsockname(fd, (struct sockaddr *)&l->target, &len)) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    l->target.sin_addr = b->net->server;
    return add(&l->pumps[BENCH_SERVER][0], fd, ROLE_LISTEN, 0);
}

static int flood_open(struct bench_load *l)
{
    uint8_t *p;

    l->flood = memfd_create("kcptun-bench", MFD_CLOEXEC);
    if (l->flood < 0 || ftruncate(l->flood, FLOOD_BYTES))
        return -1;
    p = mmap(NULL, FLOOD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, l->flood, 0);
    if (p == MAP_FAILED)
        return -1;
    for (uint32_t i = 0, x = 1; i < FLOOD_BYTES; i++) { /* nothing that would compress */
        x = x * 1664525 + 1013904223;
        p[i] = (uint8_t)(x >> 24);
    }
    return munmap(p, FLOOD_BYTES);
}

int bench_load_open(struct bench_load **lp, const struct bench *b, unsigned slots)
{
    struct bench_load *l = calloc(1, sizeof *l + slots * sizeof *l->bytes);
    bool ok;

    if (!l)
        return bench_fail("out of memory");
    l->bench = b;
    l->slots = slots;
    ok = !flood_open(l);
    for (int side = 0; ok && side < BENCH_ENDS; side++) {
        unsigned cores = (unsigned)CPU_COUNT(&b->place->cores[side == BENCH_CLIENT ? SEAT_NEAR : SEAT_FAR]);

        while (ok && l->n_pumps[side] < MIN(MAX(cores, 1), (unsigned)THREADS))
            ok = !pump_open(&l->pumps[side][l->n_pumps[side]++], l, side);
    }
    ok = ok && !listen_open(l);
    if (!ok) {
        bench_fail("cannot start the load generator: %m");
        bench_load_close(l);
        return BENCH_FAILED;
    }
    *lp = l;
    return 0;
}

struct bench_load *bench_load_close(struct bench_load *l)
{
    if (!l)
        return NULL;
    for (int side = 0; side < BENCH_ENDS; side++)
        for (unsigned i = 0; i < l->n_pumps[side]; i++)
            pump_close(&l->pumps[side][i]);
    if (l->flood >= 0)
        close(l->flood);
    free(l);
    return NULL;
}

struct sockaddr_in bench_load_target(const struct bench_load *l)
{
    return l->target;
}

/* ---- streams from the client's side ---- */

int bench_load_pump(struct bench_load *l, int fd, enum bench_role near, unsigned slot)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
        close(fd);
        return bench_fail("cannot set up a stream: %m");
    }
    return add(next_pump(l, BENCH_CLIENT), fd, near, slot) ? bench_fail("cannot watch a stream: %m") : 0;
}

int bench_load_run(struct bench_load *l, const struct sockaddr_in *to, enum bench_role far, enum bench_role near,
                   unsigned first, unsigned n)
{
    int *fds = n ? calloc(n, sizeof *fds) : NULL;
    int r;

    if (!n)
        return 0;
    if (!fds)
        return bench_fail("out of memory");
    r = first + n > l->slots ? bench_fail("more streams than slots") : bench_dial(to, far, first, n, fds);
    if (!r)
        for (unsigned i = 0; i < n; i++) {
            if (!r)
                r = bench_load_pump(l, fds[i], near, first + i);
            else
                close(fds[i]);
        }
    free(fds);
    return r;
}

uint64_t bench_load_bytes(const struct bench_load *l, unsigned slot)
{
    return atomic_load_explicit(&l->bytes[slot], memory_order_relaxed);
}

uint64_t bench_load_total(const struct bench_load *l, unsigned first, unsigned n)
{
    uint64_t sum = 0;

    for (unsigned i = first; i < first + n; i++)
        sum += bench_load_bytes(l, i);
    return sum;
}

double bench_load_cpu(const struct bench_load *l)
{
    double sum = 0;

    for (int side = 0; side < BENCH_ENDS; side++)
        for (unsigned i = 0; i < l->n_pumps[side]; i++) {
            struct timespec t;
            clockid_t clock;

            if (!pthread_getcpuclockid(l->pumps[side][i].thread, &clock) && !clock_gettime(clock, &t))
                sum += (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
        }
    return sum;
}
