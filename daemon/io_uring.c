/* daemon/io_uring.c - the I/O backend on io_uring: multishot receives into provided buffers, one kernel entry per wait().
 *
 * Every call but wait() only notes what is wanted in the source (want, stop) and puts it on the todo list; wait() turns
 * that into requests. So a full submission queue is met in one place, where completions can be taken at the same time.
 * A descriptor is closed only when no request for it is left in the kernel: before that it would not really close. */
#include "daemon/io_common.h"
#include "daemon/uring_pool.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/err.h"

enum {
    SQ_ENTRIES = 256,
    CQ_ENTRIES = 2048, /* these count against RLIMIT_MEMLOCK, all workers together; what overflows the kernel keeps */
    UDP_BUFFERS = 64, /* far fewer end a multishot receive with ENOBUFS all the time */
    STREAM_BUFFERS = 16, /* a read that finds none is repeated */
    UDP_NAME = 32, /* room for the sender's address, such that the payload is 16-aligned */
    CLOSE_MS = 1000, /* how long close() waits for the kernel to let go */
};

/* The low bits of user_data, beside the source's address. */
enum { OP_UDP, OP_ACCEPT, OP_READ, OP_WRITE, OP_WATCH, OP_CANCEL, OP_MASK = 7 };
enum { GROUP_UDP, GROUP_STREAM, GROUPS };

_Static_assert(_Alignof(struct io_src) > OP_MASK, "user_data has room for the operation");

struct io {
    struct io_uring ring;
    bool open, enabled;
    unsigned max_events;
    unsigned n_flight; /* requests in the kernel, cancellations included */
    struct uring_pool pool[GROUPS];
    struct msghdr udp_shape; /* tells multishot recvmsg the room for name and control */
    struct list todo, gone;
    struct list hungry; /* streams that found no buffer: a pool's worth of them asks again at a time */
    struct list starved; /* listeners that rest until retry_at */
    struct tick retry_at;
};

static void release(struct io *io)
{
    if (io->open)
        io_uring_queue_exit(&io->ring);
    for (unsigned i = 0; i < GROUPS; i++)
        uring_pool_fini(&io->pool[i]);
    free(io);
}

static int uring_init(struct io *io)
{
    /* The thread that enables the ring owns it: that is the one of the first wait(), not the one that opens it. */
    struct io_uring_params p = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED |
                 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
        .cq_entries = CQ_ENTRIES,
    };
    int r = io_uring_queue_init_params(SQ_ENTRIES, &io->ring, &p);

    if (r)
        return err_say(r, "set up io_uring");
    io->open = true;
    if (!(p.features & IORING_FEAT_EXT_ARG) || !(p.features & IORING_FEAT_NODROP))
        return err_say(-ENOSYS, "set up io_uring");
    r = uring_pool_init(&io->pool[GROUP_UDP], &io->ring, GROUP_UDP, UDP_BUFFERS,
                        sizeof(struct io_uring_recvmsg_out) + UDP_NAME + IO_CONTROL + IO_CHUNK);
    if (!r)
        r = uring_pool_init(&io->pool[GROUP_STREAM], &io->ring, GROUP_STREAM, STREAM_BUFFERS, IO_READ_MAX);
    return r ? err_pass(r) : 0;
}

static int uring_open(struct io **iop, const struct io_params *p)
{
    struct io *io = calloc(1, sizeof *io);
    int r;

    if (!io)
        return err_here(-ENOMEM);
    io->max_events = MAX(p->max_events, 1u);
    io->udp_shape = (struct msghdr){.msg_namelen = UDP_NAME, .msg_controllen = IO_CONTROL};
    list_init(&io->todo);
    list_init(&io->gone);
    list_init(&io->hungry);
    list_init(&io->starved);
    r = uring_init(io);
    if (r) {
        release(io);
        return err_pass(r);
    }
    *iop = io;
    return 0;
}

static bool uring_usable(void)
{
    enum { UNKNOWN, YES, NO };
    static atomic_int known;
    int k = atomic_load_explicit(&known, memory_order_relaxed);

    if (k == UNKNOWN) {
        struct io *io;

        k = uring_open(&io, &(struct io_params){.max_events = 1}) ? NO : YES;
        if (k == YES)
            release(io);
        atomic_store_explicit(&known, k, memory_order_relaxed);
    }
    return k == YES;
}

/* Requests: noted here, made by wait(). */

static void todo(struct io *io, struct io_src *s)
{
    if ((s->want || s->stop) && !list_linked(&s->link))
        list_push(&io->todo, &s->link);
}

static int want(struct io *io, struct io_src *s, unsigned op)
{
    if (s->dying)
        return -EBADF;
    s->want |= (uint8_t)(1u << op);
    todo(io, s);
    return 0;
}

static int uring_add_udp(struct io *io, struct io_src *s)
{
    io_src_init(s, IO_ROLE_UDP);
    return want(io, s, OP_UDP);
}

static int uring_add_listener(struct io *io, struct io_src *s)
{
    io_src_init(s, IO_ROLE_LISTENER);
    return want(io, s, OP_ACCEPT);
}

static int uring_add_stream(struct io *io, struct io_src *s)
{
    (void)io;
    io_src_init(s, IO_ROLE_STREAM);
    return 0;
}

static int uring_read(struct io *io, struct io_src *s)
{
    return want(io, s, OP_READ);
}

static int uring_want_write(struct io *io, struct io_src *s)
{
    return want(io, s, OP_WRITE);
}

static int uring_watch(struct io *io, struct io_src *s)
{
    io_src_init(s, IO_ROLE_WATCH);
    return want(io, s, OP_WATCH);
}

static bool in_flight(const struct io_src *s, unsigned op)
{
    return s->flight & (1u << op);
}

static void uring_pause(struct io *io, struct io_src *s, bool paused)
{
    unsigned op = s->role == IO_ROLE_UDP ? OP_UDP : OP_ACCEPT;

    if (s->paused == paused || s->dying)
        return;
    s->paused = paused;
    s->starved = false;
    s->want = s->stop = 0;
    list_del(&s->link);
    if (paused && in_flight(s, op))
        s->stop = (uint8_t)(1u << op);
    else if (!paused && !in_flight(s, op)) /* still in flight: goes on, or is asked for again when it ends */
        s->want = (uint8_t)(1u << op);
    todo(io, s);
}

/* A dying source that the kernel has let go of. */
static void bury(struct io *io, struct io_src *s)
{
    if (!s->dying || s->flight || s->n_cancels)
        return;
    list_del(&s->link);
    close(s->fd);
    s->fd = -1;
    list_push(&io->gone, &s->link);
}

static void uring_del(struct io *io, struct io_src *s)
{
    if (s->dying)
        return;
    s->dying = true;
    list_del(&s->link);
    s->want = 0;
    s->stop = s->flight;
    todo(io, s);
    bury(io, s);
}

/* A free request, or NULL: the kernel takes none just now. */
static struct io_uring_sqe *next_sqe(struct io *io)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);

    if (!sqe && io_uring_submit(&io->ring) >= 0)
        sqe = io_uring_get_sqe(&io->ring);
    return sqe;
}

static void tag(struct io *io, struct io_uring_sqe *sqe, struct io_src *s, unsigned op)
{
    io_uring_sqe_set_data64(sqe, (uintptr_t)s | op);
    io->n_flight++;
}

static bool cancel(struct io *io, struct io_src *s, unsigned op)
{
    struct io_uring_sqe *sqe = next_sqe(io);

    if (!sqe)
        return false;
    io_uring_prep_cancel64(sqe, (uintptr_t)s | op, 0);
    tag(io, sqe, s, OP_CANCEL);
    s->n_cancels++;
    return true;
}

static bool request(struct io *io, struct io_src *s, unsigned op)
{
    struct io_uring_sqe *sqe = next_sqe(io);

    if (!sqe)
        return false;
    switch (op) {
    case OP_UDP:
        io_uring_prep_recvmsg_multishot(sqe, s->fd, &io->udp_shape, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = GROUP_UDP;
        break;
    case OP_READ:
        io_uring_prep_recv(sqe, s->fd, NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = GROUP_STREAM;
        break;
    case OP_ACCEPT:
        io_uring_prep_multishot_accept(sqe, s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        break;
    case OP_WRITE:
        io_uring_prep_poll_add(sqe, s->fd, POLLOUT);
        break;
    case OP_WATCH:
        /* One shot, asked for again by every wait(): that is level-triggered, as a multishot poll is not. */
        io_uring_prep_poll_add(sqe, s->fd, POLLIN);
        break;
    }
    tag(io, sqe, s, op);
    s->flight |= (uint8_t)(1u << op);
    return true;
}

/* Turns what is noted in a source into requests. False: there was no room for all. */
static bool make_requests(struct io *io, struct io_src *s)
{
    for (unsigned op = OP_UDP; op < OP_CANCEL; op++) {
        uint8_t bit = (uint8_t)(1u << op);

        if ((s->stop & bit) && (s->flight & bit) && !cancel(io, s, op))
            return false;
        s->stop &= (uint8_t)~bit;
        if ((s->want & bit) && !(s->flight & bit) && !request(io, s, op))
            return false;
        s->want &= (uint8_t)~bit;
    }
    return true;
}

static void work_off(struct io *io)
{
    for (unsigned i = 0; i < STREAM_BUFFERS && !list_empty(&io->hungry); i++) {
        struct io_src *s = CONTAINER(io->hungry.next, struct io_src, link);

        list_del(&s->link);
        list_push(&io->todo, &s->link);
    }
    while (!list_empty(&io->todo)) {
        struct io_src *s = CONTAINER(io->todo.next, struct io_src, link);

        if (!make_requests(io, s))
            return; /* stays first; the completions about to be taken make room */
        list_del(&s->link);
    }
}

/* Completions. */

/* Books a completion. Returns the buffer it came with, lent until the next wait(), or NULL. */
static uint8_t *account(struct io *io, struct io_src *s, unsigned op, const struct io_uring_cqe *cqe)
{
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        io->n_flight--;
        if (op == OP_CANCEL)
            s->n_cancels--;
        else
            s->flight &= (uint8_t) ~(1u << op);
    }
    if (!(cqe->flags & IORING_CQE_F_BUFFER))
        return NULL;
    return uring_pool_take(&io->pool[op == OP_UDP ? GROUP_UDP : GROUP_STREAM], cqe->flags >> IORING_CQE_BUFFER_SHIFT);
}

static bool is_passing(int res)
{
    return res == -ENOBUFS || res == -EAGAIN || res == -EINTR || res == -ECANCELED;
}

/* Before Linux 6.8 one socket may take all the buffers, turn after turn: who got none asks first. */
static void ask_again(struct io *io, struct io_src *s)
{
    want(io, s, OP_UDP);
    if (!s->fed) {
        list_del(&s->link);
        list_push_front(&io->todo, &s->link);
    }
    s->fed = false;
}

/* | recvmsg_out | name | control | payload | */
static void on_udp(struct io *io, struct io_src *s, struct io_batch *b, const struct io_uring_cqe *cqe, uint8_t *buf)
{
    struct io_uring_recvmsg_out *out;
    struct msghdr h = {0};

    s->fed |= buf != NULL;
    if (!in_flight(s, OP_UDP) && !s->paused)
        ask_again(io, s);
    if (cqe->res < 0 || !buf) {
        if (!is_passing(cqe->res))
            io_batch_add(b, IO_UDP_ERROR, s, cqe->res);
        return;
    }
    out = io_uring_recvmsg_validate(buf, cqe->res, &io->udp_shape);
    if (!out)
        return; /* shorter than its own header: no kernel does that */
    h.msg_name = io_uring_recvmsg_name(out);
    h.msg_namelen = MIN(out->namelen, (uint32_t)UDP_NAME);
    h.msg_control = (uint8_t *)h.msg_name + UDP_NAME;
    h.msg_controllen = MIN(out->controllen, (uint32_t)IO_CONTROL);
    h.msg_flags = (int)out->flags;
    io_batch_run(b, s, &h, io_uring_recvmsg_payload(out, &io->udp_shape),
                 io_uring_recvmsg_payload_length(out, cqe->res, &io->udp_shape));
}

static void on_read(struct io *io, struct io_src *s, struct io_batch *b, int res, uint8_t *buf)
{
    struct io_event *ev;

    if (is_passing(res)) {
        if (res == -ENOBUFS && !list_linked(&s->link))
            list_push(&io->hungry, &s->link);
        want(io, s, OP_READ);
        return;
    }
    ev = io_batch_add(b, res < 0 ? IO_READ_ERROR : IO_READ, s, MIN(res, 0));
    ev->data = buf;
    ev->len = (uint32_t)MAX(res, 0);
}

static void starve(struct io *io, struct io_src *s, struct io_batch *b, int res)
{
    if (list_empty(&io->starved))
        io->retry_at = tick_add_ms(io_now(), IO_STARVED_MS);
    s->starved = true;
    list_push(&io->starved, &s->link);
    if (!s->told)
        io_batch_add(b, IO_ACCEPT, s, res);
    s->told = true;
}

static void end_starvation(struct io *io)
{
    if (list_empty(&io->starved) || tick_before(io_now(), io->retry_at))
        return;
    while (!list_empty(&io->starved)) {
        struct io_src *s = CONTAINER(io->starved.next, struct io_src, link);

        list_del(&s->link);
        s->starved = false;
        want(io, s, OP_ACCEPT);
    }
}

static void on_accept(struct io *io, struct io_src *s, struct io_batch *b, int res)
{
    bool ended = !in_flight(s, OP_ACCEPT) && !s->paused;

    if (res >= 0) {
        s->told = false;
        io_batch_add(b, IO_ACCEPT, s, res);
    } else if (ended && io_starving(-res)) {
        starve(io, s, b, res);
        return;
    } else if (res == -EBADF || res == -EINVAL || res == -ENOTSOCK || res == -EOPNOTSUPP) {
        io_batch_add(b, IO_ACCEPT, s, res);
        return;
    }
    if (ended)
        want(io, s, OP_ACCEPT);
}

/* For a source that is no longer of interest. */
static void discard(struct io *io, struct io_src *s, unsigned op, int res)
{
    if (op == OP_ACCEPT && res >= 0)
        close(res);
    /* The request was just then between two states, where a cancellation finds nothing: once more. */
    if (op == OP_CANCEL && (res == -ENOENT || res == -EALREADY) && s->flight && !s->n_cancels) {
        s->stop = s->flight;
        todo(io, s);
    }
    bury(io, s);
}

static void complete(struct io *io, struct io_batch *b, const struct io_uring_cqe *cqe)
{
    struct io_src *s = (struct io_src *)(uintptr_t)(cqe->user_data & ~(uint64_t)OP_MASK);
    unsigned op = cqe->user_data & OP_MASK;
    uint8_t *buf = account(io, s, op, cqe);

    if (s->dying || op == OP_CANCEL) {
        discard(io, s, op, cqe->res);
        return;
    }
    switch (op) {
    case OP_UDP:
        on_udp(io, s, b, cqe, buf);
        break;
    case OP_READ:
        on_read(io, s, b, cqe->res, buf);
        break;
    case OP_ACCEPT:
        on_accept(io, s, b, cqe->res);
        break;
    case OP_WRITE:
        io_batch_add(b, IO_WRITABLE, s, 0);
        break;
    case OP_WATCH:
        io_batch_add(b, IO_READABLE, s, 0);
        if (cqe->res >= 0)
            want(io, s, OP_WATCH);
        break;
    }
}

static void take_completions(struct io *io, struct io_batch *b)
{
    struct io_uring_cqe *cqe;
    unsigned head, n = 0;

    io_uring_for_each_cqe(&io->ring, head, cqe)
    {
        if (b->n == b->max)
            break;
        complete(io, b, cqe);
        n++;
    }
    io_uring_cq_advance(&io->ring, n);
}

/* Submits, and sleeps up to us microseconds (UINT64_MAX: for good) for a completion. 0, -errno. */
static int enter(struct io *io, uint64_t us)
{
    struct __kernel_timespec ts = {(int64_t)(us / 1000000), (long long)(us % 1000000) * 1000};
    struct io_uring_cqe *cqe;
    int r;

    if (!us)
        r = io_uring_submit_and_get_events(&io->ring);
    else
        r = io_uring_submit_and_wait_timeout(&io->ring, &cqe, 1, us == UINT64_MAX ? NULL : &ts, NULL);
    /* EBUSY, EAGAIN: the completion queue or memory is full; the completions are taken now, and then it is tried again. */
    if (r < 0 && r != -ETIME && r != -EINTR && r != -EBUSY && r != -EAGAIN)
        return err_say(r, "wait for events");
    return 0;
}

static uint64_t sleep_us(const struct io *io, struct tick until, const struct io_batch *b)
{
    if (b->n || io_uring_cq_ready(&io->ring) || !list_empty(&io->hungry))
        return 0;
    if (!list_empty(&io->starved))
        until = tick_min(until, io->retry_at);
    if (until.us == UINT64_MAX || !until.us)
        return until.us;
    return tick_since_us(until, io_now());
}

static int enable(struct io *io)
{
    /* Not by liburing: its 2.3 declares io_uring_enable_rings() but does not export it. */
    if (!io->enabled && syscall(__NR_io_uring_register, io->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0)
        return err_say(-errno, "enable io_uring");
    io->enabled = true;
    return 0;
}

static int uring_wait(struct io *io, struct tick until, struct io_event *ev, unsigned n)
{
    struct io_batch b = {.ev = ev, .max = MIN(n, io->max_events)};
    int r = enable(io);

    for (;;) {
        if (r)
            return err_pass(r);
        for (unsigned i = 0; i < GROUPS; i++)
            uring_pool_refill(&io->pool[i]);
        io_batch_gone(&b, &io->gone);
        end_starvation(io);
        work_off(io);
        r = enter(io, sleep_us(io, until, &b));
        take_completions(io, &b);
        io_batch_gone(&b, &io->gone);
        if (b.n || (!r && !tick_before(io_now(), until)))
            return (int)b.n;
    }
}

/* Cancels every request and waits until the kernel writes into our memory no more. */
static void drain(struct io *io)
{
    struct tick until = tick_add_ms(io_now(), CLOSE_MS);
    struct io_uring_sqe *sqe = next_sqe(io);

    if (!sqe)
        return;
    io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    io_uring_sqe_set_data64(sqe, 0);
    while (io->n_flight && tick_before(io_now(), until)) {
        struct io_uring_cqe *cqe;
        unsigned head, n = 0;

        if (enter(io, tick_since_us(until, io_now())))
            return; /* another thread owned the ring and has ended: the kernel has cancelled all by itself */
        io_uring_for_each_cqe(&io->ring, head, cqe)
        {
            struct io_src *s = (struct io_src *)(uintptr_t)(cqe->user_data & ~(uint64_t)OP_MASK);
            unsigned op = cqe->user_data & OP_MASK;

            n++;
            if (!s)
                continue;
            account(io, s, op, cqe);
            discard(io, s, op, cqe->res);
        }
        io_uring_cq_advance(&io->ring, n);
        for (unsigned i = 0; i < GROUPS; i++)
            uring_pool_refill(&io->pool[i]);
        work_off(io);
    }
}

static struct io *uring_close(struct io *io)
{
    if (!io)
        return NULL;
    if (io->enabled)
        drain(io);
    release(io);
    return NULL;
}

const struct io_ops io_uring_ops = {
    .name = "io_uring",
    .usable = uring_usable,
    .open = uring_open,
    .close = uring_close,
    .add_udp = uring_add_udp,
    .add_listener = uring_add_listener,
    .add_stream = uring_add_stream,
    .read = uring_read,
    .want_write = uring_want_write,
    .watch = uring_watch,
    .pause = uring_pause,
    .del = uring_del,
    .wait = uring_wait,
};
