/* tools/bench_options.c - what to run, from the command line. */
#include "tools/bench_options.h"

#include "tools/bench_work.h"

#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { USAGE = 2, VALUES = 16 };

enum {
    O_WORK = 256,
    O_RUNS,
    O_TIME,
    O_QUICK,
    O_AGAINST,
    O_PEER_CLIENT,
    O_PEER_SERVER,
    O_CRYPT,
    O_FEC,
    O_IO,
    O_WORKERS,
    O_MODE,
    O_WINDOW,
    O_SMUXVER,
    O_SESSIONS,
    O_STREAMS,
    O_CPUS,
    O_NETNS,
    O_LIMIT,
    O_KCPTUND,
    O_KCPTUN_CLIENT,
    O_KCPTUN_SERVER,
    O_JSON,
    O_FROM,
    O_MARKDOWN,
};

static const struct row { /* --help and getopt read the same table */
    const char *name, *value, *help;
    int number;
} rows[] = {
    {"work", "LIST", "what to measure, with commas between; default: all of it", O_WORK},
    {"runs", "N", "measurements of each, 1..1000; the median is shown; default 5", O_RUNS},
    {"time", "SECONDS", "of each measurement, 0.2..3600; default 5", O_TIME},
    {"quick", NULL, "a look: 1 run of 1 s, 100 idle sessions, 50 fair streams", O_QUICK},
    {"against", "kcptun", "measure kcptun beside it, in alternating runs", O_AGAINST},
    {"peer-client", "kcptun", "also: kcptun's client at our server", O_PEER_CLIENT},
    {"peer-server", "kcptun", "also: our client at kcptun's server", O_PEER_SERVER},
    {"crypt", "LIST", "ciphers; default aes", O_CRYPT},
    {"fec", "LIST", "DATA/PARITY or off; default 10/3", O_FEC},
    {"io", "LIST", "I/O backends of kcptund; default auto", O_IO},
    {"workers", "LIST", "worker threads of kcptund; default 1", O_WORKERS},
    {"mode", "WORD", "of both ends; default fast3", O_MODE},
    {"window", "N", "sndwnd and rcvwnd of both ends; default 2048", O_WINDOW},
    {"smuxver", "N", "1 or 2; default 2", O_SMUXVER},
    {"sessions", "N", "of work idle, 2..60000; default 4000", O_SESSIONS},
    {"streams", "N", "of work fairness, 1..16000; default 1000", O_STREAMS},
    {"cpus", "C:S[:L]", "cores of client, server, load generator, as 0-1:2-3:4,5; or none", O_CPUS},
    {"netns", NULL, "two network namespaces with a veth pair instead of loopback (root)", O_NETNS},
    {"loopback-limit", NULL, "also: what the machine carries without a tunnel", O_LIMIT},
    {"kcptund", "PATH", "default: beside this program, or in PATH", O_KCPTUND},
    {"kcptun-client", "PATH", "default: in PATH", O_KCPTUN_CLIENT},
    {"kcptun-server", "PATH", "default: in PATH", O_KCPTUN_SERVER},
    {"json", "FILE", "write the results to it, after every measurement", O_JSON},
    {"from", "FILE", "measure nothing: show results that --json wrote", O_FROM},
    {"markdown", NULL, "tables as Markdown", O_MARKDOWN},
    {"help", NULL, "print this", 'h'},
    {"version", NULL, "print the version", 'V'},
};

static void help(FILE *out)
{
    fputs("usage: kcptun-bench [OPTION...]\n"
          "Starts pairs of kcptund on this machine, drives them and says how they do.\n\n",
          out);
    for (size_t i = 0; i < LEN(rows); i++) {
        char left[48];

        snprintf(left, sizeof left, "%s--%s%s%s", rows[i].number < 256 ? "" : "    ", rows[i].name,
                 rows[i].value ? " " : "", rows[i].value ? rows[i].value : "");
        if (rows[i].number < 256)
            fprintf(out, "  -%c, %-22s %s\n", rows[i].number, left, rows[i].help);
        else
            fprintf(out, "  %-26s %s\n", left, rows[i].help);
    }
    fputs("\nworks:\n", out);
    for (const struct bench_work *w = bench_works; w->name; w++)
        fprintf(out, "  %-12s %s\n", w->name, w->what);
    fputs("\nexit status: 0 done, 1 something could not be measured, 2 usage, 130 stopped by a signal\n", out);
}

static int mistake(const char *option, const char *value, const char *expected)
{
    fprintf(stderr, "kcptun-bench: --%s %s: expected %s; --help tells more\n", option, value, expected);
    return BENCH_OPTIONS_DONE;
}

/* ---- values ---- */

static bool read_number(const char *s, unsigned long least, unsigned long most, unsigned *out)
{
    char *end;
    unsigned long v = strtoul(s, &end, 10);

    if (*s < '0' || *s > '9' || *end || v < least || v > most)
        return false;
    *out = (unsigned)v;
    return true;
}

static int take_number(const char *option, const char *s, unsigned least, unsigned most, unsigned *out)
{
    char expected[48];

    snprintf(expected, sizeof expected, "%u..%u", least, most);
    return read_number(s, least, most, out) ? 0 : mistake(option, s, expected);
}

/* It goes into a configuration file: nothing but a word. */
static bool is_word(const char *s, size_t room)
{
    return *s && strlen(s) < room && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(s);
}

static int take_word(const char *option, const char *s, char *out, size_t room)
{
    if (!is_word(s, room))
        return mistake(option, s, "a word");
    strcpy(out, s);
    return 0;
}

static int take_time(const char *s, double *out)
{
    char *end;
    double v = strtod(s, &end);

    if (end == s || *end || !(v >= 0.2 && v <= 3600))
        return mistake("time", s, "0.2..3600 seconds");
    *out = v;
    return 0;
}

static int take_works(struct bench_plan *p, const char *s)
{
    p->n_works = 0;
    for (;; s++) {
        size_t len = strcspn(s, ",");
        const struct bench_work *w = bench_work_find(s, len);

        if (!w || p->n_works == BENCH_WORKS_MAX)
            return mistake("work", s, "works as --help lists them, each once");
        for (unsigned i = 0; i < p->n_works; i++)
            if (p->works[i] == w)
                return mistake("work", s, "works as --help lists them, each once");
        p->works[p->n_works++] = w;
        s += len;
        if (!*s)
            return 0;
    }
}

/* ---- cases: the product of four lists ---- */

struct list {
    char value[VALUES][16];
    unsigned n;
};

struct lists {
    struct list crypt, fec, io, workers;
};

static int take_list(const char *option, const char *s, struct list *out)
{
    out->n = 0;
    for (;; s++) {
        size_t len = strcspn(s, ",");

        if (!len || len >= sizeof *out->value || out->n == VALUES)
            return mistake(option, s, "up to 16 values with commas between");
        memcpy(out->value[out->n], s, len);
        out->value[out->n++][len] = 0;
        s += len;
        if (!*s)
            return 0;
    }
}

static bool read_fec(const char *s, struct bench_case *c)
{
    char data[16];
    size_t len = strcspn(s, "/");

    if (!strcmp(s, "off") || len >= sizeof data)
        return !strcmp(s, "off");
    memcpy(data, s, len);
    data[len] = 0;
    return s[len] && read_number(data, 1, 255, &c->datashard) && read_number(s + len + 1, 1, 255, &c->parityshard);
}

static int take_case(struct bench_plan *p, const char *crypt, const char *fec, const char *io, const char *workers)
{
    struct bench_case c = {0};

    if (p->n_cases == BENCH_CASES_MAX)
        return mistake("crypt", "and the others", "no more than 64 combinations");
    if (take_word("crypt", crypt, c.crypt, sizeof c.crypt) || take_word("io", io, c.io, sizeof c.io) ||
        take_number("workers", workers, 0, 256, &c.workers))
        return BENCH_OPTIONS_DONE;
    if (!read_fec(fec, &c))
        return mistake("fec", fec, "DATA/PARITY or off");
    p->cases[p->n_cases++] = c;
    return 0;
}

static int take_cases(struct bench_plan *p, const struct lists *l)
{
    int r = 0;

    for (unsigned a = 0; a < l->crypt.n; a++)
        for (unsigned b = 0; b < l->fec.n; b++)
            for (unsigned c = 0; c < l->io.n; c++)
                for (unsigned d = 0; !r && d < l->workers.n; d++)
                    r = take_case(p, l->crypt.value[a], l->fec.value[b], l->io.value[c], l->workers.value[d]);
    return r;
}

/* ---- programs ---- */

static bool in_path(const char *name, char out[PATH_MAX])
{
    const char *s = getenv("PATH");

    for (; s; s = strchr(s, ':'), s = s ? s + 1 : NULL) {
        int len = (int)strcspn(s, ":");

        if (len && snprintf(out, PATH_MAX, "%.*s/%s", len, s, name) < PATH_MAX && !access(out, X_OK))
            return true;
    }
    return false;
}

/* Installed beside each other, installed in bin and sbin, or built. */
static bool beside(char out[PATH_MAX])
{
    static const char *const places[] = {"kcptund", "../sbin/kcptund", "../daemon/kcptund"};
    char self[PATH_MAX - 32];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    if (n <= 0)
        return false;
    self[n] = 0;
    slash = strrchr(self, '/');
    if (!slash)
        return false;
    *slash = 0;
    for (size_t i = 0; i < LEN(places); i++)
        if (snprintf(out, PATH_MAX, "%s/%s", self, places[i]) < PATH_MAX && !access(out, X_OK))
            return true;
    return false;
}

static int missing(const char *name)
{
    fprintf(stderr, "kcptun-bench: %s was not found; --%s PATH names it\n", name, name);
    return BENCH_OPTIONS_DONE;
}

static int find_programs(struct bench_plan *p)
{
    static const char *const names[BENCH_ENDS] = {"kcptun-client", "kcptun-server"};
    char *ours = p->opts.kcptund;

    if (*ours ? access(ours, X_OK) != 0 : !beside(ours) && !in_path("kcptund", ours))
        return missing("kcptund");
    for (int end = 0; end < BENCH_ENDS; end++) {
        char *theirs = p->opts.peer[end];
        bool needed = false;

        for (unsigned i = 0; i < p->n_kinds; i++)
            needed |= p->kinds[i].peer[end];
        if (needed && (*theirs ? access(theirs, X_OK) != 0 : !in_path(names[end], theirs)))
            return missing(names[end]);
    }
    return 0;
}

static int take_path(const char *option, const char *s, char out[PATH_MAX])
{
    return realpath(s, out) ? 0 : mistake(option, s, "a program");
}

/* ---- all of it ---- */

static int add_kind(struct bench_plan *p, const char *option, const char *value, struct bench_kind k)
{
    if (strcmp(value, "kcptun") != 0)
        return mistake(option, value, "kcptun");
    for (unsigned i = 0; i < p->n_kinds; i++)
        if (!strcmp(p->kinds[i].name, k.name))
            return 0;
    p->kinds[p->n_kinds++] = k;
    return 0;
}

static int take(struct bench_plan *p, struct lists *l, int o, const char *v)
{
    struct bench_opts *opts = &p->opts;

    switch (o) {
    case O_WORK:
        return take_works(p, v);
    case O_RUNS:
        return take_number("runs", v, 1, 1000, &opts->runs);
    case O_TIME:
        return take_time(v, &opts->time_s);
    case O_AGAINST:
        return add_kind(p, "against", v, (struct bench_kind){"kcptun", {true, true}});
    case O_PEER_CLIENT:
        return add_kind(p, "peer-client", v, (struct bench_kind){"kcptun to kcptund", {true, false}});
    case O_PEER_SERVER:
        return add_kind(p, "peer-server", v, (struct bench_kind){"kcptund to kcptun", {false, true}});
    case O_CRYPT:
        return take_list("crypt", v, &l->crypt);
    case O_FEC:
        return take_list("fec", v, &l->fec);
    case O_IO:
        return take_list("io", v, &l->io);
    case O_WORKERS:
        return take_list("workers", v, &l->workers);
    case O_MODE:
        return take_word("mode", v, opts->mode, sizeof opts->mode);
    case O_WINDOW:
        return take_number("window", v, 1, 32768, &opts->window);
    case O_SMUXVER:
        return take_number("smuxver", v, 1, 2, &opts->smuxver);
    case O_SESSIONS:
        return take_number("sessions", v, 2, 60000, &opts->sessions);
    case O_STREAMS:
        return take_number("streams", v, 1, 16000, &opts->streams);
    case O_KCPTUND:
        return take_path("kcptund", v, opts->kcptund);
    case O_KCPTUN_CLIENT:
        return take_path("kcptun-client", v, opts->peer[BENCH_CLIENT]);
    case O_KCPTUN_SERVER:
        return take_path("kcptun-server", v, opts->peer[BENCH_SERVER]);
    case O_CPUS:
        p->cpus = v;
        return 0;
    case O_JSON:
        p->json = v;
        return 0;
    case O_FROM:
        p->from = v;
        return 0;
    case O_NETNS:
        p->netns = true;
        return 0;
    case O_LIMIT:
        p->limit = true;
        return 0;
    case O_MARKDOWN:
        p->markdown = true;
        return 0;
    default: /* O_QUICK, which was looked at first */
        return 0;
    }
}

static void defaults(struct bench_plan *p, struct lists *l, bool quick)
{
    *p = (struct bench_plan){.opts = {.time_s = quick ? 1 : 5,
                                      .runs = quick ? 1 : 5,
                                      .sessions = quick ? 100 : 4000,
                                      .streams = quick ? 50 : 1000,
                                      .quick = quick,
                                      .smuxver = 2,
                                      .window = 2048,
                                      .mode = "fast3"}};
    p->kinds[p->n_kinds++] = (struct bench_kind){.name = "kcptund"};
    for (const struct bench_work *w = bench_works; w->name; w++)
        p->works[p->n_works++] = w;
    *l = (struct lists){{{"aes"}, 1}, {{"10/3"}, 1}, {{"auto"}, 1}, {{"1"}, 1}};
}

static void getopt_table(struct option out[LEN(rows) + 1])
{
    for (size_t i = 0; i < LEN(rows); i++)
        out[i] = (struct option){rows[i].name, rows[i].value ? required_argument : no_argument, NULL, rows[i].number};
    out[LEN(rows)] = (struct option){0};
}

static bool has_quick(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--quick"))
            return true;
    return false;
}

int bench_options_read(struct bench_plan *p, int argc, char **argv, int *status)
{
    struct option options[LEN(rows) + 1];
    struct lists l;
    int o;

    getopt_table(options);
    defaults(p, &l, has_quick(argc, argv));
    *status = USAGE;
    while ((o = getopt_long(argc, argv, "hV", options, NULL)) != -1) {
        if (o == 'h' || o == 'V') {
            *status = 0;
            if (o == 'h')
                help(stdout);
            else
                puts("kcptun-bench " KCPTUND_VERSION);
            return BENCH_OPTIONS_DONE;
        }
        if (o == '?' || take(p, &l, o, optarg))
            return BENCH_OPTIONS_DONE;
    }
    if (optind < argc) {
        fprintf(stderr, "kcptun-bench: %s: not an option; --help tells more\n", argv[optind]);
        return BENCH_OPTIONS_DONE;
    }
    if (p->from)
        return 0;
    return take_cases(p, &l) ? BENCH_OPTIONS_DONE : find_programs(p);
}
