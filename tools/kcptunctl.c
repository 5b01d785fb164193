/* tools/kcptunctl.c - talks to a running kcptund: options, and the table of commands. */
#include "tools/ctl.h"

#include "core/base/bytes.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_SOCKET "/run/kcptun/control"

static const struct ctl_command commands[] = {
    {"stats", "[PROFILE]", "counters in total and of each profile, and the sessions", cmd_stats},
};

static const struct option long_options[] = {
    {"socket", required_argument, NULL, 's'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

static void usage(FILE *out)
{
    fputs("usage: kcptunctl [-s SOCKET] [--json] COMMAND [ARGUMENT...]\n\n", out);
    for (size_t i = 0; i < LEN(commands); i++)
        fprintf(out, "  %s %-12s %s\n", commands[i].name, commands[i].args, commands[i].help);
    fputs("\n"
          "  -s, --socket SOCKET  the daemon's control socket; default " DEFAULT_SOCKET "\n"
          "  -j, --json           print what the daemon answers as JSON\n"
          "  -h, --help           print this\n"
          "  -V, --version        print the version\n"
          "\n"
          "exit status: 0 done, 1 the daemon refused, 2 usage, 3 the daemon cannot be reached,\n"
          "             4 standard output cannot be written\n",
          out);
}

static int run(const struct ctl *c, int argc, char **argv)
{
    for (size_t i = 0; i < LEN(commands); i++) {
        int r;

        if (strcmp(argv[0], commands[i].name) != 0)
            continue;
        r = commands[i].run(c, argc, argv);
        if (r == CTL_EXIT_USAGE)
            fprintf(stderr, "usage: kcptunctl %s %s\n", commands[i].name, commands[i].args);
        return r;
    }
    fprintf(stderr, "kcptunctl: unknown command; kcptunctl --help lists them\n");
    return CTL_EXIT_USAGE;
}

/* What was printed has to have arrived: a full disk is no success. */
static int flushed(int r)
{
    if (!fflush(stdout) && !ferror(stdout))
        return r;
    fprintf(stderr, "kcptunctl: cannot write: %s\n", strerror(errno));
    return r ? r : CTL_EXIT_OUTPUT;
}

int main(int argc, char **argv)
{
    struct ctl c = {.socket = DEFAULT_SOCKET};
    int o;

    while ((o = getopt_long(argc, argv, "s:jhV", long_options, NULL)) != -1)
        switch (o) {
        case 's':
            c.socket = optarg;
            break;
        case 'j':
            c.json = true;
            break;
        case 'h':
            usage(stdout);
            return flushed(CTL_EXIT_DONE);
        case 'V':
            puts("kcptunctl " KCPTUND_VERSION);
            return flushed(CTL_EXIT_DONE);
        default:
            usage(stderr);
            return CTL_EXIT_USAGE;
        }
    if (optind == argc) {
        usage(stderr);
        return CTL_EXIT_USAGE;
    }
    return flushed(run(&c, argc - optind, argv + optind));
}
