/* daemon/io_epoll.c - the I/O backend on epoll and recvmmsg().
 *
 * Sockets are registered once, edge-triggered; what is ready stands in a queue, and each wait() serves it in turns until
 * the batch, the receive memory or the queue is used up. So no source starves and reading costs no epoll_ctl().
 * Only watched descriptors are level-triggered, because their owner does the reading. */
#include "daemon/io_common.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/err.h"

enum {
    POLLED_MAX = 256,
    ARENA_CHUNKS = 64, /* chunks a wait() can lend; untouched pages cost nothing */
    ARENA_BUDGET = 512 * 1024, /* bytes received after which a wait() ends, so that they are still in the cache */
    UDP_TURN = 4, /* datagrams or runs of a socket per turn */
    ACCEPT_TURN = 8, /* connections of a listener per turn */
    PACK_ALIGN = 64,
};

struct io {
    int ep;
    unsigned max_events;
    bool coarse; /* the kernel has no epoll_pwait2(): milliseconds only */
    struct list ready; /* sources whose turn comes, longest waiting first */
    struct list gone;
    struct list starved; /* listeners that rest until retry_at */
    struct tick retry_at;
    uint8_t *arena;
    size_t used; /* bytes of it lent since this wait() began, gaps included */
    size_t received;
    struct epoll_event polled[POLLED_MAX];
    struct mmsghdr msgs[UDP_TURN];
    struct iovec iov[UDP_TURN];
    struct sockaddr_any from[UDP_TURN];
    _Alignas(struct cmsghdr) uint8_t control[UDP_TURN][IO_CONTROL];
};

static bool epoll_usable(void)
{
    return true;
}

static struct io *epoll_close(struct io *io)
{
    if (!io)
        return NULL;
    if (io->arena)
        munmap(io->arena, (size_t)ARENA_CHUNKS * IO_CHUNK);
    if (io->ep >= 0)
        close(io->ep);
    free(io);
    return NULL;
}

static void io_close(struct io *io)
{
    epoll_close(io);
}
AUTO_DEFINE(struct io, io_close);

static int epoll_open(struct io **iop, const struct io_params *p)
{
    AUTO(io_close) struct io *io = calloc(1, sizeof *io);
    void *m;

    if (!io)
        return err_here(-ENOMEM);
    list_init(&io->ready);
    list_init(&io->gone);
    list_init(&io->starved);
    io->max_events = MAX(p->max_events, 1u);
    io->ep = epoll_create1(EPOLL_CLOEXEC);
    if (io->ep < 0)
        return err_say(-errno, "open an epoll instance");
    m = mmap(NULL, (size_t)ARENA_CHUNKS * IO_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED)
        return err_say(-errno, "receive buffers");
    io->arena = m;
    *iop = TAKE(io);
    return 0;
}

static int control(struct io *io, int op, struct io_src *s, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};

    return epoll_ctl(io->ep, op, s->fd, &e) ? err_say(-errno, "watch a descriptor") : 0;
}

static uint32_t interest(const struct io_src *s)
{
    switch (s->role) {
    case IO_ROLE_STREAM:
        return EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET | (s->writing ? EPOLLOUT : 0u);
    case IO_ROLE_WATCH:
        return EPOLLIN;
    default:
        return s->paused ? EPOLLET : EPOLLIN | EPOLLET;
    }
}

static int add(struct io *io, struct io_src *s, uint8_t role)
{
    io_src_init(s, role);
    return control(io, EPOLL_CTL_ADD, s, interest(s));
}

/* Makes epoll look at the source afresh: what is ready now is told by the next wait, though no edge comes. */
static int look_again(struct io *io, struct io_src *s)
{
    return control(io, EPOLL_CTL_MOD, s, interest(s));
}

static int epoll_add_udp(struct io *io, struct io_src *s)
{
    return add(io, s, IO_ROLE_UDP);
}

static int epoll_add_listener(struct io *io, struct io_src *s)
{
    return add(io, s, IO_ROLE_LISTENER);
}

static int epoll_add_stream(struct io *io, struct io_src *s)
{
    int domain = 0, r = add(io, s, IO_ROLE_STREAM);
    socklen_t len = sizeof domain;

    /* A unix socket may give less than it holds (a descriptor was passed): a short read proves nothing. */
    if (!r && (getsockopt(s->fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) || domain == AF_UNIX))
        s->sticky = true;
    return r;
}

static int epoll_watch(struct io *io, struct io_src *s)
{
    return add(io, s, IO_ROLE_WATCH);
}

static bool is_runnable(const struct io_src *s)
{
    if (s->role == IO_ROLE_STREAM)
        return (s->reading && s->ready_in) || (s->writing && s->ready_out);
    return s->ready_in && !s->paused && !s->starved;
}

static void queue(struct io *io, struct io_src *s)
{
    if (is_runnable(s) && !list_linked(&s->link))
        list_push(&io->ready, &s->link);
}

static int epoll_read(struct io *io, struct io_src *s)
{
    if (s->dying)
        return -EBADF;
    s->reading = true;
    queue(io, s);
    return 0;
}

static int epoll_want_write(struct io *io, struct io_src *s)
{
    if (s->dying)
        return -EBADF;
    s->writing = true;
    s->ready_out = false;
    return look_again(io, s);
}

static void epoll_pause(struct io *io, struct io_src *s, bool paused)
{
    if (s->paused == paused || s->dying)
        return;
    s->paused = paused;
    s->ready_in = s->starved = false;
    list_del(&s->link);
    look_again(io, s);
}

static void epoll_del(struct io *io, struct io_src *s)
{
    if (s->dying)
        return;
    s->dying = true;
    list_del(&s->link);
    epoll_ctl(io->ep, EPOLL_CTL_DEL, s->fd, NULL);
    close(s->fd);
    s->fd = -1;
    list_push(&io->gone, &s->link);
}

/* The arena from here on, at least one chunk; 0 chunks: this wait() has received enough. */
static unsigned arena_room(const struct io *io)
{
    if (io->received >= ARENA_BUDGET)
        return 0;
    return (unsigned)(((size_t)ARENA_CHUNKS * IO_CHUNK - io->used) / IO_CHUNK);
}

/* Keeps len bytes of the chunk that begins `at` bytes behind what is in use. */
static void arena_keep(struct io *io, size_t at, size_t len)
{
    io->used += at + ((len + PACK_ALIGN - 1) & ~(size_t)(PACK_ALIGN - 1));
    io->received += len;
}

static void udp_failed(struct io *io, struct io_src *s, struct io_batch *b, int err)
{
    if (err == EINTR)
        return;
    s->ready_in = s->sticky = false;
    if (err == EAGAIN || err == EWOULDBLOCK)
        return;
    io_batch_add(b, IO_UDP_ERROR, s, -err);
    look_again(io, s); /* there may be datagrams behind the error */
}

static void turn_udp(struct io *io, struct io_src *s, struct io_batch *b)
{
    unsigned want = MIN(MIN((unsigned)UDP_TURN, arena_room(io)), b->max - b->n);
    uint8_t *base = io->arena + io->used;
    size_t sum = 0;
    int got;

    for (unsigned i = 0; i < want; i++) {
        io->iov[i] = (struct iovec){base + (size_t)i * IO_CHUNK, IO_CHUNK};
        io->msgs[i].msg_hdr = (struct msghdr){
            .msg_name = &io->from[i].in6,
            .msg_namelen = sizeof io->from[i].in6,
            .msg_iov = &io->iov[i],
            .msg_iovlen = 1,
            .msg_control = io->control[i],
            .msg_controllen = IO_CONTROL,
        };
    }
    got = recvmmsg(s->fd, io->msgs, want, MSG_DONTWAIT, NULL);
    if (got < 0) {
        udp_failed(io, s, b, errno);
        return;
    }
    for (int i = 0; i < got; i++) {
        io_batch_run(b, s, &io->msgs[i].msg_hdr, io->iov[i].iov_base, io->msgs[i].msg_len);
        sum += io->msgs[i].msg_len;
    }
    arena_keep(io, (size_t)(got - 1) * IO_CHUNK, io->msgs[got - 1].msg_len);
    io->received += sum - io->msgs[got - 1].msg_len;
    if ((unsigned)got < want && !s->sticky)
        s->ready_in = false; /* drained; what comes now is a new edge */
}

static void turn_read(struct io *io, struct io_src *s, struct io_batch *b)
{
    uint8_t *p = io->arena + io->used;
    size_t max = MIN((size_t)IO_READ_MAX, (size_t)arena_room(io) * IO_CHUNK);
    ssize_t n = recv(s->fd, p, max, MSG_DONTWAIT);
    struct io_event *ev;

    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        s->ready_in = errno == EINTR;
        return;
    }
    s->reading = false;
    if (n < 0) {
        io_batch_add(b, IO_READ_ERROR, s, -errno);
        return;
    }
    ev = io_batch_add(b, IO_READ, s, 0);
    ev->data = p;
    ev->len = (uint32_t)n;
    arena_keep(io, 0, (size_t)n);
    if (n > 0 && (size_t)n < max && !s->sticky)
        s->ready_in = false; /* saves the read that would say EAGAIN */
}

static void turn_stream(struct io *io, struct io_src *s, struct io_batch *b)
{
    if (s->writing && s->ready_out) {
        s->writing = s->ready_out = false;
        io_batch_add(b, IO_WRITABLE, s, 0);
    }
    if (s->reading && s->ready_in && b->n < b->max && arena_room(io))
        turn_read(io, s, b);
}

static void starve(struct io *io, struct io_src *s, struct io_batch *b, int err)
{
    if (list_empty(&io->starved))
        io->retry_at = tick_add_ms(io_now(), IO_STARVED_MS);
    s->starved = true;
    list_push(&io->starved, &s->link);
    if (!s->told)
        io_batch_add(b, IO_ACCEPT, s, -err);
    s->told = true;
}

static void turn_listener(struct io *io, struct io_src *s, struct io_batch *b)
{
    for (unsigned i = 0; i < ACCEPT_TURN && b->n < b->max; i++) {
        struct sockaddr_any from = {.len = sizeof from.in6};
        int fd = accept4(s->fd, &from.sa, &from.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            s->told = false;
            io_batch_add(b, IO_ACCEPT, s, fd)->from = from;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            s->ready_in = false;
            return;
        } else if (io_starving(errno)) {
            starve(io, s, b, errno);
            return;
        } else if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK || errno == EOPNOTSUPP) {
            s->ready_in = false;
            io_batch_add(b, IO_ACCEPT, s, -errno);
            return;
        } /* else: the connection broke before it was ours, and the next may be well */
    }
}

static void turn(struct io *io, struct io_src *s, struct io_batch *b)
{
    switch (s->role) {
    case IO_ROLE_UDP:
        turn_udp(io, s, b);
        break;
    case IO_ROLE_LISTENER:
        turn_listener(io, s, b);
        break;
    case IO_ROLE_STREAM:
        turn_stream(io, s, b);
        break;
    }
}

static void serve(struct io *io, struct io_batch *b)
{
    while (b->n < b->max && arena_room(io) && !list_empty(&io->ready)) {
        struct io_src *s = CONTAINER(io->ready.next, struct io_src, link);

        list_del(&s->link);
        turn(io, s, b);
        queue(io, s);
    }
}

/* Notes what epoll says of one source. Watched descriptors are level-triggered: what finds no room comes again. */
static void note(struct io *io, struct io_src *s, uint32_t events, struct io_batch *b, unsigned watch_max)
{
    if (s->role == IO_ROLE_WATCH) {
        if (b->n < watch_max)
            io_batch_add(b, IO_READABLE, s, 0);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
        s->ready_in = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
        s->sticky = true; /* something stands behind the bytes, and has had its edge */
    if (s->writing && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
        s->ready_out = true;
    queue(io, s);
}

static void end_starvation(struct io *io)
{
    if (list_empty(&io->starved) || tick_before(io_now(), io->retry_at))
        return;
    while (!list_empty(&io->starved)) {
        struct io_src *s = CONTAINER(io->starved.next, struct io_src, link);

        list_del(&s->link);
        s->starved = false;
        queue(io, s);
    }
}

static int poll_for(struct io *io, uint64_t us)
{
    struct timespec ts = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    int n;

    if (!io->coarse) {
        n = epoll_pwait2(io->ep, io->polled, POLLED_MAX, us == UINT64_MAX ? NULL : &ts, NULL);
        /* ENOSYS: before Linux 5.11. EPERM: what some container filters say to calls they do not know. */
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n;
        io->coarse = true;
    }
    return epoll_wait(io->ep, io->polled, POLLED_MAX,
                      us == UINT64_MAX ? -1 : (int)MIN((us + 999) / 1000, (uint64_t)INT32_MAX));
}

/* How long to sleep, 0 if there is something to deliver or to do. */
static uint64_t sleep_us(const struct io *io, struct tick until, const struct io_batch *b)
{
    if (b->n || !list_empty(&io->ready))
        return 0;
    if (!list_empty(&io->starved))
        until = tick_min(until, io->retry_at);
    if (until.us == UINT64_MAX || !until.us)
        return until.us;
    return tick_since_us(until, io_now());
}

static int epoll_io_wait(struct io *io, struct tick until, struct io_event *ev, unsigned n)
{
    struct io_batch b = {.ev = ev, .max = MIN(n, io->max_events)};

    io->used = io->received = 0;
    for (;;) {
        unsigned watch_max;
        int got;

        io_batch_gone(&b, &io->gone);
        end_starvation(io);
        watch_max = b.n + (b.max - b.n + 1) / 2;
        got = poll_for(io, sleep_us(io, until, &b));
        if (got < 0 && errno != EINTR)
            return err_say(-errno, "wait for events");
        for (int i = 0; i < got; i++)
            note(io, io->polled[i].data.ptr, io->polled[i].events, &b, watch_max);
        serve(io, &b);
        if (b.n || until.us == 0 || (got <= 0 && !tick_before(io_now(), until)))
            return (int)b.n;
    }
}

const struct io_ops io_epoll_ops = {
    .name = "epoll",
    .usable = epoll_usable,
    .open = epoll_open,
    .close = epoll_close,
    .add_udp = epoll_add_udp,
    .add_listener = epoll_add_listener,
    .add_stream = epoll_add_stream,
    .read = epoll_read,
    .want_write = epoll_want_write,
    .watch = epoll_watch,
    .pause = epoll_pause,
    .del = epoll_del,
    .wait = epoll_io_wait,
};
