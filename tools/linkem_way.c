/* tools/linkem_way.c - packets from one TUN device through the model to the other.
 * A thread per direction, so that the two share nothing. It reads and writes until there is nothing to do and then sleeps
 * to the next arrival, to the microsecond as far as the kernel allows; what comes due together leaves together. */
#include "tools/linkem.h"

#include "core/base/err.h"

#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64 }; /* packets read before those that are due are looked after */

struct tick linkem_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (struct tick){(uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000};
}

/* True: there may be more. */
static bool pull(struct linkem_way *w)
{
    static __thread uint8_t scratch[65536];

    for (unsigned i = 0; i < BATCH; i++) {
        struct link_pkt *pkt = link_get(&w->l);
        ssize_t n = read(w->in, pkt ? pkt->p : scratch, pkt ? w->l.packet_max : sizeof scratch);

        if (n <= 0) {
            link_put(&w->l, pkt);
            return false;
        }
        if (pkt) {
            pkt->len = (uint32_t)n;
            link_take(&w->l, pkt, linkem_now());
        } else {
            link_send(&w->l, bytes_of(scratch, (size_t)n), linkem_now());
        }
    }
    return true;
}

static void deliver(struct linkem_way *w)
{
    struct link_pkt *pkt;
    struct tick now = linkem_now();

    for (; (pkt = link_recv(&w->l, now)); now = linkem_now()) {
        uint64_t late = tick_since_us(now, pkt->at);

        w->refused += write(w->out, pkt->p, pkt->len) != (ssize_t)pkt->len;
        w->late_us += late;
        w->late_max_us = MAX(w->late_max_us, late);
        link_put(&w->l, pkt);
    }
}

static void trace(struct linkem_way *w, struct tick *next)
{
    struct tick now = linkem_now();

    if (tick_before(now, *next))
        return;
    fprintf(w->trace, "%.4f %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
            (double)tick_since_us(now, w->start) / 1e6, w->way ? "b-a" : "a-b", link_queue_us(&w->l, now),
            w->l.n.in_bytes, w->l.n.out_bytes, w->l.n.dropped, w->l.n.lost);
    *next = tick_add_us(*next, w->trace_us * (tick_since_us(now, *next) / w->trace_us + 1));
}

static void *run(void *ctx)
{
    struct linkem_way *w = ctx;
    struct pollfd fds[] = {{.fd = w->in, .events = POLLIN}, {.fd = w->wake, .events = POLLIN}};
    const struct sched_param high = {.sched_priority = 1};
    struct tick trace_at = w->trace ? w->start : TICK_NEVER;

    /* Both are for punctuality beside programs that use all the CPU there is. Without the right to them it is less. */
    pthread_setschedparam(pthread_self(), SCHED_RR, &high);
    prctl(PR_SET_TIMERSLACK, 1UL);
    while (!atomic_load_explicit(w->stop, memory_order_relaxed)) {
        bool more = pull(w);
        struct tick until, now;

        deliver(w);
        if (w->trace)
            trace(w, &trace_at);
        now = linkem_now();
        until = tick_min(link_next(&w->l), trace_at);
        if (!more && tick_before(now, until)) {
            uint64_t us = MIN(tick_since_us(until, now), (uint64_t)1000000);
            const struct timespec wait = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

            ppoll(fds, LEN(fds), &wait, NULL);
        }
    }
    return NULL;
}

int linkem_way_start(struct linkem_way *w)
{
    int r = pthread_create(&w->thread, NULL, run, w);

    w->running = !r;
    return r ? err_say(-r, "start a thread") : 0;
}

void linkem_way_join(struct linkem_way *w)
{
    if (w->running)
        pthread_join(w->thread, NULL);
    w->running = false;
}
