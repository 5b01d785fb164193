/* tools/bench_wait.c - time, the signal that ends a run, progress on standard error, and why something failed. */
#include "tools/bench.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double SLICE_S = 0.1; /* longest time until a signal is noticed and the line rewritten */

static volatile sig_atomic_t stopped;
static char why[512];
static struct {
    unsigned n, done;
    double start_s;
    bool terminal;
    char step[160], note[80];
} progress;

double bench_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

void bench_catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction a = {.sa_handler = on_signal}; /* no SA_RESTART: a wait in the kernel ends, too */

    for (size_t i = 0; i < LEN(numbers); i++)
        sigaction(numbers[i], &a, NULL);
    a.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &a, NULL);
}

bool bench_stopped(void)
{
    return stopped;
}

int bench_fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return BENCH_FAILED;
}

const char *bench_why(void)
{
    return why;
}

/* The steps differ in length, but every work comes several times: the estimate settles soon. */
static void show(void)
{
    char left[48] = "";

    if (!progress.terminal || !progress.n)
        return;
    if (progress.done > 1) {
        double s = (bench_now() - progress.start_s) / (progress.done - 1) * (progress.n - progress.done + 1);

        snprintf(left, sizeof left, s < 90 ? "; about %.0f s left" : "; about %.0f min left", s < 90 ? s : s / 60);
    }
    fprintf(stderr, "\r\033[K[%u/%u] %s%s%s%s", progress.done, progress.n, progress.step, *progress.note ? ": " : "",
            progress.note, left);
    fflush(stderr);
}

void bench_progress_start(unsigned n_steps)
{
    progress.n = n_steps;
    progress.start_s = bench_now();
    progress.terminal = isatty(STDERR_FILENO);
}

void bench_progress_step(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(progress.step, sizeof progress.step, fmt, ap);
    va_end(ap);
    progress.note[0] = 0;
    progress.done++;
    if (!progress.terminal)
        fprintf(stderr, "[%u/%u] %s\n", progress.done, progress.n, progress.step);
    show();
}

void bench_progress_note(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(progress.note, sizeof progress.note, fmt, ap);
    va_end(ap);
    show();
}

void bench_progress_clear(void)
{
    if (progress.terminal && progress.n)
        fputs("\r\033[K", stderr);
}

void bench_progress_end(void)
{
    bench_progress_clear();
    progress.n = 0;
}

int bench_sleep(double seconds)
{
    double end = bench_now() + seconds, shown = bench_now();

    for (;;) {
        double left = end - bench_now();
        double slice = fmin(left, SLICE_S);
        struct timespec t = {.tv_nsec = (long)(1e9 * slice)};

        if (stopped)
            return BENCH_STOPPED;
        if (left <= 0)
            return 0;
        nanosleep(&t, NULL);
        if (bench_now() - shown > 1) {
            shown = bench_now();
            show();
        }
    }
}
