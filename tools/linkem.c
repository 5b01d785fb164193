/* tools/linkem.c - kcptun-linkem: start, run, clean up, report. */
#include "tools/linkem.h"

#include "core/base/err.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { MEMORY = 512 << 20 }; /* of a direction: 1 Gbit/s for 3 s in full packets */

static atomic_bool stop;

static int fail(void)
{
    fprintf(stderr, "kcptun-linkem: %s\n", err_text());
    return LINKEM_FAILED;
}

static void way_init(struct linkem_way *w, const struct linkem *e, const struct linkem_space *s, unsigned way)
{
    const struct link_setup setup = {.seed = e->seed * 2 + way, .packet_max = e->mtu, .memory = MEMORY};

    link_init(&w->l, &setup);
    w->in = s->tun[way] - 1;
    w->out = s->tun[!way] - 1;
    w->way = way;
    w->stop = &stop;
    w->trace_us = e->trace_us;
}

/* Both directions begin their plan at the same moment. */
static int ways_start(struct linkem_way w[LINKEM_ENDS], const struct linkem *e, int wake, FILE *trace)
{
    struct tick now = linkem_now();
    int r = 0;

    for (unsigned i = 0; !r && i < LINKEM_ENDS; i++) {
        w[i].wake = wake;
        w[i].trace = trace;
        w[i].start = now;
        link_schedule(&w[i].l, e->plan.v, e->plan.n, i, now);
        r = linkem_way_start(&w[i]);
    }
    return r;
}

static void ways_stop(struct linkem_way w[LINKEM_ENDS], int wake)
{
    atomic_store(&stop, true);
    if (eventfd_write(wake, 1))
        err_here(-errno); /* cannot be: the counter is at 0 */
    for (int i = 0; i < LINKEM_ENDS; i++)
        linkem_way_join(&w[i]);
}

static void greet(const struct linkem *e)
{
    for (int end = 0; end < LINKEM_ENDS; end++) {
        if (e->name)
            fprintf(stderr, "%c: %s; ip netns exec %s-%c COMMAND\n", "AB"[end], linkem_address(end), e -> name,
                    "ab"[end]);
        else if (e->netns[end])
            fprintf(stderr, "%c: %s; in %s\n", "AB"[end], linkem_address(end), e -> netns[end]);
    }
}

/* With the threads running: commands, and the wait for their end. */
static int run(const struct linkem *e, const struct linkem_space *s)
{
    pid_t pids[LINKEM_ENDS] = {0};
    int status;

    if (!e->quiet)
        greet(e);
    if (!linkem_start(e, s, pids))
        return linkem_wait(e, pids);
    status = fail();
    kill(getpid(), SIGTERM); /* what has been started ends as at a signal */
    linkem_wait(e, pids);
    return status;
}

static int report(const struct linkem *e, const struct linkem_space *s, const struct linkem_way w[LINKEM_ENDS])
{
    const uint64_t dropped[] = {linkem_space_dropped(s, LINKEM_A), linkem_space_dropped(s, LINKEM_B)};
    double seconds = (double)tick_since_us(linkem_now(), w[0].start) / 1e6;

    if (!e->quiet)
        linkem_table(w, dropped, stderr);
    return e->json ? linkem_json(e, w, dropped, seconds) : 0;
}

static int with_space(const struct linkem *e, const struct linkem_space *s)
{
    static struct linkem_way w[LINKEM_ENDS];
    FILE *trace = e->trace ? fopen(e->trace, "we") : NULL;
    int wake = eventfd(0, EFD_CLOEXEC), status;

    if (wake < 0 || (e->trace && !trace)) {
        err_say(-errno, "open %s", wake < 0 ? "an eventfd" : e->trace);
        return fail();
    }
    if (trace)
        setvbuf(trace, NULL, _IOLBF, 0); /* to be read while it grows */
    for (unsigned i = 0; i < LINKEM_ENDS; i++)
        way_init(&w[i], e, s, i);
    status = ways_start(w, e, wake, trace) ? fail() : run(e, s);
    ways_stop(w, wake);
    if (report(e, s, w))
        status = fail();
    if (trace && fclose(trace)) {
        err_say(-errno, "write %s", e->trace);
        status = fail();
    }
    for (int i = 0; i < LINKEM_ENDS; i++)
        link_fini(&w[i].l);
    close(wake);
    return status;
}

int main(int argc, char **argv)
{
    struct linkem_space s = {0};
    struct linkem *e = malloc(sizeof *e);
    int status;

    if (!e)
        return LINKEM_FAILED;
    if (linkem_options(e, argc, argv, &status)) {
        free(e);
        return status;
    }
    signal(SIGPIPE, SIG_IGN);
    linkem_block_signals();
    status = linkem_space_open(&s, e) ? fail() : with_space(e, &s);
    linkem_space_close(&s);
    free(e);
    return status;
}
