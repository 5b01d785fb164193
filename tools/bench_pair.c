/* tools/bench_pair.c - starts, watches and stops the two ends of a tunnel. */
#include "tools/bench_pair.h"

#include "tools/bench_net.h"
#include "tools/bench_place.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const double READY_S = 15, END_S = 3;
static const char *const roles[BENCH_ENDS] = {"client", "server"};

struct ports {
    uint16_t udp, local, target;
};

static void path_of(const struct bench *b, enum bench_end end, const char *suffix, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s.%s", b->dir, roles[end], suffix);
}

static FILE *open_conf(const struct bench *b, enum bench_end end)
{
    char path[PATH_MAX];
    int fd;

    path_of(b, end, "conf", path);
    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? NULL : fdopen(fd, "w");
}

static int close_conf(FILE *f)
{
    bool bad = ferror(f);

    if (fclose(f) || bad)
        return bench_fail("cannot write a configuration: %m");
    return 0;
}

static int write_ini(const struct bench *b, const struct bench_case *c, enum bench_end end, unsigned conn,
                     const struct ports *at)
{
    FILE *f = open_conf(b, end);
    char server[INET_ADDRSTRLEN];

    if (!f)
        return bench_fail("cannot write a configuration: %m");
    inet_ntop(AF_INET, &b->net->server, server, sizeof server);
    fprintf(f, "[global]\nworkers = %u\nio = %s\nloglevel = warning\ndraintime = 0\n", c->workers, c->io);
    fprintf(f, "[%s bench]\nkey = %s\ncrypt = %s\nmode = %s\nnocomp = true\nquiet = true\n", roles[end], b->key,
            c->crypt, b->opts.mode);
    fprintf(f, "sndwnd = %u\nrcvwnd = %u\ndatashard = %u\nparityshard = %u\nsmuxver = %u\n", b->opts.window,
            b->opts.window, c->datashard, c->parityshard, b->opts.smuxver);
    if (end == BENCH_CLIENT)
        fprintf(f, "conn = %u\nlocaladdr = 127.0.0.1:%u\nremoteaddr = %s:%u\n", conn, at->local, server, at->udp);
    else
        fprintf(f, "listen = %s:%u\ntarget = 127.0.0.1:%u\nmaxsessionspersource = 0\n", server, at->udp, at->target);
    return close_conf(f);
}

static json_t *address(const char *host, uint16_t port)
{
    return json_sprintf("%s:%u", host, port);
}

/* kcptun takes what it needs by file: on the command line others could read the key. */
static int write_json(const struct bench *b, const struct bench_case *c, enum bench_end end, unsigned conn,
                      const struct ports *at)
{
    char server[INET_ADDRSTRLEN];
    json_t *o;
    FILE *f;
    int r;

    inet_ntop(AF_INET, &b->net->server, server, sizeof server);
    o = json_pack("{ss ss ss sb sb si si si si si}", "key", b->key, "crypt", c->crypt, "mode", b->opts.mode, "nocomp",
                  1, "quiet", 1, "sndwnd", (int)b->opts.window, "rcvwnd", (int)b->opts.window, "datashard",
                  (int)c->datashard, "parityshard", (int)c->parityshard, "smuxver", (int)b->opts.smuxver);
    if (end == BENCH_CLIENT) {
        json_object_set_new(o, "localaddr", address("127.0.0.1", at->local));
        json_object_set_new(o, "remoteaddr", address(server, at->udp));
        json_object_set_new(o, "conn", json_integer(conn));
    } else {
        json_object_set_new(o, "listen", address(server, at->udp));
        json_object_set_new(o, "target", address("127.0.0.1", at->target));
    }
    f = open_conf(b, end);
    if (!f || json_dumpf(o, f, 0)) {
        r = bench_fail("cannot write a configuration: %m");
        if (f)
            fclose(f);
    } else
        r = close_conf(f);
    json_decref(o);
    return r;
}

/* In the child: sits down where it belongs and becomes the program; it dies with us whatever happens to us. */
static void become(const struct bench *b, enum bench_end end, pid_t parent, const char *log, char *const argv[])
{
    int in = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    setpgid(0, 0); /* a Ctrl-C is for us: we end the ends */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
        _exit(127);
    signal(SIGPIPE, SIG_DFL);
    bench_place_take(b->place, end == BENCH_CLIENT ? SEAT_CLIENT : SEAT_SERVER);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || bench_net_enter(b->net, end))
        _exit(127);
    execv(argv[0], argv);
    dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static int spawn(struct bench_pair *p, enum bench_end end, const char *program)
{
    const struct bench *b = p->bench;
    char conf[PATH_MAX], log[PATH_MAX];
    char *const argv[] = {(char *)program, (char *)"-c", conf, NULL};
    pid_t parent = getpid(), pid;

    path_of(b, end, "conf", conf);
    path_of(b, end, "log", log);
    pid = fork();
    if (pid < 0)
        return bench_fail("cannot start %s: %m", program);
    if (!pid)
        become(b, end, parent, log, argv);
    p->pid[end] = pid;
    return 0;
}

/* The last line that is not empty. */
static void last_line(const char *path, char out[256])
{
    FILE *f = fopen(path, "re");
    char line[256];

    snprintf(out, 256, "(it said nothing)");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (*line)
            snprintf(out, 256, "%s", line);
    }
    if (f)
        fclose(f);
}

int bench_pair_check(struct bench_pair *p)
{
    for (int end = 0; end < BENCH_ENDS; end++) {
        char log[PATH_MAX], line[256];
        int status;

        if (p->pid[end] && waitpid(p->pid[end], &status, WNOHANG) != p->pid[end])
            continue;
        p->pid[end] = 0;
        path_of(p->bench, end, "log", log);
        last_line(log, line);
        return bench_fail("%s ended: %s", p->name[end], line);
    }
    return 0;
}

/* Whether the process's end has a socket on the port: TCP in state 0A listens, UDP in 07 is bound. */
static bool listens(pid_t pid, const char *table, const char *state, uint16_t port)
{
    char path[64], line[512], want[8];
    bool found = false;
    FILE *f;

    snprintf(want, sizeof want, ":%04X", port);
    for (int six = 0; six < 2 && !found; six++) {
        snprintf(path, sizeof path, "/proc/%d/net/%s%s", (int)pid, table, six ? "6" : "");
        f = fopen(path, "re");
        while (f && !found && fgets(line, sizeof line, f)) {
            char local[64], remote[64], st[8];

            if (sscanf(line, "%*s %63s %63s %7s", local, remote, st) == 3 && !strcmp(st, state)) {
                const char *colon = strrchr(local, ':');

                found = colon && !strcmp(colon, want);
            }
        }
        if (f)
            fclose(f);
    }
    return found;
}

static int wait_ready(struct bench_pair *p, enum bench_end end, uint16_t port)
{
    double until = bench_now() + READY_S;

    while (!listens(p->pid[end], end == BENCH_CLIENT ? "tcp" : "udp", end == BENCH_CLIENT ? "0A" : "07", port)) {
        char log[PATH_MAX], line[256];
        int status, r = bench_sleep(0.01);

        if (r)
            return r;
        if (waitpid(p->pid[end], &status, WNOHANG) != p->pid[end] && bench_now() < until)
            continue;
        if (bench_now() < until)
            p->pid[end] = 0;
        path_of(p->bench, end, "log", log);
        last_line(log, line);
        return bench_fail("%s %s: %s", p->name[end], p->pid[end] ? "does not listen" : "ended at its start", line);
    }
    return 0;
}

static int start_end(struct bench_pair *p, const struct bench_case *c, const struct bench_kind *k, enum bench_end end,
                     unsigned conn, const struct ports *at)
{
    const struct bench *b = p->bench;
    int r = k->peer[end] ? write_json(b, c, end, conn, at) : write_ini(b, c, end, conn, at);

    snprintf(p->name[end], sizeof p->name[end], "%s (%s)", k->peer[end] ? "kcptun" : "kcptund", roles[end]);
    if (r)
        return r;
    r = spawn(p, end, k->peer[end] ? b->opts.peer[end] : b->opts.kcptund);
    return r ? r : wait_ready(p, end, end == BENCH_CLIENT ? at->local : at->udp);
}

int bench_pair_start(struct bench_pair *p, const struct bench *b, const struct bench_case *c,
                     const struct bench_kind *k, unsigned conn, uint16_t target_port)
{
    struct ports at = {.target = target_port};
    int r;

    *p = (struct bench_pair){.bench = b};
    if (bench_net_enter(b->net, BENCH_SERVER))
        return bench_fail("cannot enter the server's namespace: %m");
    at.udp = bench_net_port(b->net->server);
    if (bench_net_enter(b->net, BENCH_CLIENT))
        return bench_fail("cannot enter the client's namespace: %m");
    at.local = bench_net_port(bench_net_loopback());
    if (!at.udp || !at.local)
        return bench_fail("no free port was found");
    p->local = bench_net_at(bench_net_loopback(), at.local);
    r = start_end(p, c, k, BENCH_SERVER, conn, &at);
    return r ? r : start_end(p, c, k, BENCH_CLIENT, conn, &at);
}

void bench_pair_stop(struct bench_pair *p)
{
    double until = bench_now() + END_S;

    for (int end = 0; end < BENCH_ENDS; end++)
        if (p->pid[end])
            kill(p->pid[end], SIGTERM);
    for (int end = 0; end < BENCH_ENDS; end++) {
        const struct timespec step = {.tv_nsec = 5000000};

        if (!p->pid[end])
            continue;
        while (waitpid(p->pid[end], NULL, WNOHANG) != p->pid[end])
            if (bench_now() > until) {
                kill(p->pid[end], SIGKILL);
                waitpid(p->pid[end], NULL, 0);
                break;
            } else
                nanosleep(&step, NULL);
        p->pid[end] = 0;
    }
}

double bench_pair_cpu(const struct bench_pair *p, enum bench_end end)
{
    struct timespec t;
    clockid_t clock;

    /* the kernel's own sum over threads, in nanoseconds; /proc/PID/stat has ticks of 10 ms */
    if (!p->pid[end] || clock_getcpuclockid(p->pid[end], &clock) || clock_gettime(clock, &t))
        return NAN;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void read_fields(pid_t pid, const char *file, struct bench_memory *m)
{
    char path[64], line[256];
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        sscanf(line, "Rss: %lf", &m->rss);
        sscanf(line, "Pss: %lf", &m->pss);
        sscanf(line, "VmRSS: %lf", &m->rss);
        sscanf(line, "VmHWM: %lf", &m->peak);
    }
    if (f)
        fclose(f);
}

struct bench_memory bench_pair_memory(const struct bench_pair *p, enum bench_end end)
{
    struct bench_memory m = {NAN, NAN, NAN};

    if (p->pid[end]) {
        read_fields(p->pid[end], "status", &m);
        read_fields(p->pid[end], "smaps_rollup", &m); /* counts exactly, where we may read it */
    }
    return m;
}

int bench_pair_dir_open(struct bench *b)
{
    const char *tmp = getenv("TMPDIR");
    uint8_t key[16];

    if (getrandom(key, sizeof key, 0) != sizeof key)
        return bench_fail("no random bytes: %m");
    for (size_t i = 0; i < sizeof key; i++)
        snprintf(b->key + 2 * i, 3, "%02x", key[i]);
    if ((size_t)snprintf(b->dir, sizeof b->dir, "%s/kcptun-bench.XXXXXX", tmp && *tmp ? tmp : "/tmp") >= sizeof b->dir)
        return bench_fail("TMPDIR is too long");
    if (!mkdtemp(b->dir)) {
        b->dir[0] = 0;
        return bench_fail("cannot make a temporary directory: %m");
    }
    return 0;
}

void bench_pair_dir_close(struct bench *b)
{
    static const char *const suffixes[] = {"conf", "log"};
    char path[PATH_MAX];

    if (!*b->dir)
        return;
    for (int end = 0; end < BENCH_ENDS; end++)
        for (size_t i = 0; i < LEN(suffixes); i++) {
            path_of(b, end, suffixes[i], path);
            unlink(path);
        }
    rmdir(b->dir);
    b->dir[0] = 0;
}

bool bench_pair_peer_knows(const char *path, const char *crypt)
{
    char *const argv[] = {(char *)path, (char *)"-h", NULL};
    char text[16384], wanted[32], *line, *word, *rest = NULL;
    size_t len = 0;
    ssize_t n;
    int fd[2];
    pid_t pid;

    if (pipe2(fd, O_CLOEXEC))
        return false;
    pid = fork();
    if (!pid) {
        if (dup2(fd[1], 1) >= 0 && dup2(fd[1], 2) >= 0)
            execv(path, argv);
        _exit(127);
    }
    close(fd[1]);
    while (len < sizeof text - 1 && (n = read(fd[0], text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)n;
    close(fd[0]);
    if (pid > 0)
        waitpid(pid, NULL, 0);
    text[len] = 0;
    snprintf(wanted, sizeof wanted, "%s", crypt);
    line = strstr(text, "--crypt");
    if (!line)
        return false;
    line[strcspn(line, "\n")] = 0;
    for (word = strtok_r(line, " ,\t", &rest); word; word = strtok_r(NULL, " ,\t", &rest))
        if (!strcmp(word, wanted))
            return true;
    return false;
}
