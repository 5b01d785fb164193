/* tools/linkem_command.c - the commands at both ends: started, waited for, and nothing of them left behind. */
#include "tools/linkem.h"

#include "core/base/err.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { END_MS = 2000, STEP_MS = 20 }; /* how long commands may take to end when told to */

static sigset_t waited_for(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGCHLD);
    return set;
}

void linkem_block_signals(void)
{
    sigset_t set = waited_for();

    sigprocmask(SIG_BLOCK, &set, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1UL); /* what a command leaves behind becomes ours */
}

static _Noreturn void become(char **argv, const struct linkem_space *s, int end)
{
    sigset_t set = waited_for();

    prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL);
    if (linkem_space_enter(s, end)) {
        fprintf(stderr, "kcptun-linkem: %s\n", err_text());
        _exit(LINKEM_FAILED);
    }
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    execvp(argv[0], argv);
    fprintf(stderr, "kcptun-linkem: %s: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126); /* as a shell says it */
}

/* The one that counts comes last, so that what it is to talk to has a start. */
int linkem_start(const struct linkem *e, const struct linkem_space *s, pid_t pids[LINKEM_ENDS])
{
    for (int i = 0; i < LINKEM_ENDS; i++) {
        int end = e->first ^ !i;

        if (!e->command[end])
            continue;
        pids[end] = fork();
        if (pids[end] < 0)
            return err_say(-errno, "start %s", e->command[end][0]);
        if (!pids[end])
            become(e->command[end], s, end);
    }
    return 0;
}

static int status_of(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* Sends a signal to every child, those inherited from commands too. False: there is none. */
static bool signal_children(int number)
{
    FILE *f = fopen("/proc/thread-self/children", "re");
    bool any = false;
    long pid;

    for (; f && fscanf(f, "%ld", &pid) == 1; any = true)
        kill((pid_t)pid, number);
    if (f)
        fclose(f);
    return any;
}

static void end_children(void)
{
    const struct timespec step = {0, STEP_MS * 1000000L};

    for (unsigned ms = 0;; ms += STEP_MS) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        /* Each time anew: a shell that ends leaves its children to us. */
        if (!signal_children(ms < END_MS ? SIGTERM : SIGKILL) && waitpid(-1, NULL, WNOHANG) < 0)
            return;
        nanosleep(&step, NULL);
    }
}

/* True if the first command has ended, with *status. */
static bool reap(const struct linkem *e, const pid_t pids[LINKEM_ENDS], int *status)
{
    bool ended = false;
    int wait_status;

    for (pid_t pid; (pid = waitpid(-1, &wait_status, WNOHANG)) > 0;) {
        int end = pid == pids[LINKEM_B];

        if (pid != pids[LINKEM_A] && pid != pids[LINKEM_B])
            continue;
        if (end == e->first) {
            *status = status_of(wait_status);
            ended = true;
        } else if (status_of(wait_status)) {
            fprintf(stderr, "kcptun-linkem: %s ended with status %d\n", e->command[end][0], status_of(wait_status));
        }
    }
    return ended;
}

int linkem_wait(const struct linkem *e, const pid_t pids[LINKEM_ENDS])
{
    struct tick until = e->time_us ? tick_add_us(linkem_now(), e->time_us) : TICK_NEVER;
    sigset_t set = waited_for();
    int status = 0, number;

    do {
        uint64_t us = MIN(tick_since_us(until, linkem_now()), (uint64_t)3600000000);
        const struct timespec wait = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};

        number = sigtimedwait(&set, NULL, &wait);
        if (number == SIGCHLD && reap(e, pids, &status))
            break;
    } while ((number < 0 || number == SIGCHLD) && tick_before(linkem_now(), until));
    end_children();
    return status;
}
