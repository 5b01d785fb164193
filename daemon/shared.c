/* daemon/shared.c - what the threads share, as the configuration wants it and as far as the system gives it. */
#include "daemon/shared.h"

#include "core/base/err.h"
#include "daemon/cgroup.h"
#include "daemon/elder.h"
#include "daemon/limits.h"
#include "daemon/log.h"
#include "daemon/mail.h"
#include "daemon/resolve.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

enum { FILES_WANTED = 1 << 20, POOL_MIN = 8 << 20 };

/* As many open files as the system lets us have. */
static void raise_files(void)
{
    struct rlimit most = {FILES_WANTED, FILES_WANTED}, had;

    if (getrlimit(RLIMIT_NOFILE, &had))
        return;
    if (had.rlim_max < FILES_WANTED && !setrlimit(RLIMIT_NOFILE, &most))
        return;
    most = (struct rlimit){had.rlim_max, had.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &most))
        log_warning("cannot raise the limit of open files above %llu", (unsigned long long)had.rlim_cur);
}

static unsigned count_cpus(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

static size_t memory_for_buffers(const struct conf_global *g)
{
    uint64_t least;
    struct sysinfo si;

    if (g->memory)
        return g->memory;
    least = cgroup_memory_max("/proc/self/cgroup", "/sys/fs/cgroup");
    if (!sysinfo(&si))
        least = MIN(least, (uint64_t)si.totalram * si.mem_unit);
    return least == UINT64_MAX ? 256u << 20 : least / 4;
}

static const struct io_ops *choose_io(enum conf_io want)
{
    static const char *const names[] = {
        [CONF_IO_AUTO] = "auto", [CONF_IO_URING] = "io_uring", [CONF_IO_EPOLL] = "epoll"};

    return io_choose(names[want]);
}

/* How many, and which sessions are whose: as in the process before an upgrade, whose sockets are made for so many. */
static int choose_workers(struct shared *sh, const struct conf_global *g)
{
    unsigned n = g->workers ? g->workers : count_cpus();
    int r;

    if (!sh->elder) {
        sh->n_workers = n;
        return getrandom(&sh->hash_seed, sizeof sh->hash_seed, 0) == sizeof sh->hash_seed
                   ? 0
                   : err_say(-errno, "getrandom");
    }
    r = elder_meet(sh->elder, sh->limits);
    if (r)
        return err_pass(r);
    sh->n_workers = elder_workers(sh->elder);
    sh->hash_seed = elder_seed(sh->elder);
    if (sh->n_workers != n)
        log_warning("there are %u workers, as before the upgrade: %u take a restart", sh->n_workers, n);
    return 0;
}

int shared_init(struct shared *sh, const struct conf *c)
{
    const struct conf_global *g = &c->global;
    int r;

    raise_files();
    sh->conf = c;
    sh->limits = limits_new(g->maxsessions);
    r = sh->limits ? choose_workers(sh, g) : err_here(-ENOMEM);
    if (r)
        return err_pass(r);
    sh->spin_us = sh->n_workers <= count_cpus() ? g->spin : 0;
    if (sh->spin_us < g->spin)
        log_warning("spin = %u is not used: there are more workers than cores", g->spin);
    sh->memory = MAX(memory_for_buffers(g) / sh->n_workers, (size_t)POOL_MIN);
    sh->cpus = g->cpus;
    sh->n_cpus = g->n_cpus;
    sh->io = choose_io(g->io);
    if (!sh->io)
        return err_say(-ENOSYS, "io = io_uring is not usable here (Linux 6.1 or later, and permission, are needed)");
    sh->post = post_new(sh->n_workers + 1);
    sh->workers = calloc(sh->n_workers, sizeof *sh->workers);
    if (!sh->post || !sh->workers)
        return err_here(-ENOMEM);
    r = resolver_new(&sh->resolver, NULL);
    return r ? err_pass(r) : 0;
}

void shared_fini(struct shared *sh)
{
    free(sh->workers);
    resolver_free(sh->resolver);
    limits_free(sh->limits);
    post_free(sh->post);
}
