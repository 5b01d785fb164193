/* tools/kcptunctl.c - talks to a running kcptund: options, and the table of commands. */
#include "tools/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct ctl_command ctl_commands[] = {
    {"status", "", CTL_ARG_NONE, true, 0, 0, "version, configuration, profiles and what they do", cmd_status},
    {"stats", "[PROFILE]", CTL_ARG_PROFILE, true, 0, 1, "counters in total and of each profile, and the sessions",
     cmd_stats},
    {"sessions", "[PROFILE]", CTL_ARG_PROFILE, true, 0, 1, "sessions", cmd_sessions},
    {"streams", "[PROFILE|SESSION]", CTL_ARG_SESSION, true, 0, 1, "streams", cmd_streams},
#ifdef HAVE_NCURSES
    {"top", "[PROFILE]", CTL_ARG_PROFILE, true, 0, 1, "sessions with live rates, on the whole screen", cmd_top},
#endif
    {"watch", "[PROFILE]", CTL_ARG_PROFILE, true, 0, 1, "rates, a line every second", cmd_watch},
    {"show", "SESSION", CTL_ARG_SESSION, false, 1, 1, "all about a session, and its streams", cmd_show},
    {"kick", "SESSION", CTL_ARG_SESSION, false, 1, 1, "end a session, and reset its streams", cmd_kick},
    {"drain", "[PROFILE]", CTL_ARG_PROFILE, false, 0, 1, "take no new sessions and streams, let run what runs",
     cmd_drain},
    {"undrain", "[PROFILE]", CTL_ARG_PROFILE, false, 0, 1, "take new ones again", cmd_drain},
    {"reload", "", CTL_ARG_NONE, false, 0, 0, "read the configuration again", cmd_reload},
    {"set", "[PROFILE] KEY=VALUE", CTL_ARG_SETTING, false, 1, 2, "set a live key until the next reload", cmd_set},
    {"loglevel", "[LEVEL]", CTL_ARG_LEVEL, false, 0, 1, "least grave message that is logged: print it, or set it",
     cmd_loglevel},
    {"upgrade", "", CTL_ARG_NONE, false, 0, 0, "hand over to a new process, dropping nothing", cmd_upgrade},
    {"check", "FILE", CTL_ARG_FILE, false, 1, 1, "check a configuration file; takes no daemon", cmd_check},
    {"convert", "FILE.json [--server|--client]", CTL_ARG_FILE, false, 1, 1,
     "print a JSON file of kcptun's as INI, keys in clear; takes no daemon", cmd_convert},
    {"genkey", "[FILE]", CTL_ARG_FILE, false, 0, 1,
     "a new passphrase, printed or written to a new file; takes no daemon", cmd_genkey},
    {"doctor", "", CTL_ARG_NONE, false, 0, 0, "look for what goes wrong, and say what to do", cmd_doctor},
    {0},
};

enum { OPT_COMPLETE = 256, OPT_SERVER, OPT_CLIENT, COUNT_MAX = 1000000000 };

static const struct option long_options[] = {
    {"socket", required_argument, NULL, 's'},
    {"json", no_argument, NULL, 'j'},
    {"count", required_argument, NULL, 'n'},
    {"server", no_argument, NULL, OPT_SERVER},
    {"client", no_argument, NULL, OPT_CLIENT},
    {"complete", no_argument, NULL, OPT_COMPLETE}, /* for packaging/completion */
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

static void usage(FILE *out)
{
    fputs("usage: kcptunctl [-s SOCKET] [--json] COMMAND [ARGUMENT...]\n\n", out);
    for (const struct ctl_command *c = ctl_commands; c->name; c++) {
        int n = fprintf(out, "  %s %s", c->name, c->args);

        fprintf(out, "%*s%s\n", n < 30 ? 30 - n : 1, "", c->help);
    }
    fputs("\n"
          "  -s, --socket SOCKET  the daemon's control socket; default: /run/kcptun/control, then for commands that\n"
          "                       change nothing /run/kcptun/stats\n"
          "  -j, --json           print what the daemon answers as JSON\n"
          "  -n, --count N        of watch and top: N times, then end\n"
          "      --server, --client\n"
          "                       of convert: whose file it is, where its keys do not tell\n"
          "  -h, --help           print this\n"
          "  -V, --version        print the version\n"
          "\n"
          "exit status: 0 done, 1 refused (check: the file has errors), 2 usage, 3 the daemon cannot be reached,\n"
          "             4 what was to be written cannot be, 5 doctor found something\n",
          out);
}

const struct ctl_command *ctl_command_find(const char *name)
{
    const struct ctl_command *c = ctl_commands;

    while (c->name && strcmp(c->name, name) != 0)
        c++;
    return c->name ? c : NULL;
}

static int run(struct ctl *c, int argc, char **argv)
{
    const struct ctl_command *cmd = ctl_command_find(argv[0]);
    unsigned n = (unsigned)argc - 1;
    int r = CTL_EXIT_USAGE;

    if (!cmd) {
        fprintf(stderr, "kcptunctl: unknown command; kcptunctl --help lists them\n");
        return r;
    }
    c->reads = cmd->reads;
    if (n >= cmd->min && n <= cmd->max)
        r = cmd->run(c, argc, argv);
    if (r == CTL_EXIT_USAGE)
        fprintf(stderr, "usage: kcptunctl %s%s%s\n", cmd->name, *cmd->args ? " " : "", cmd->args);
    return r;
}

/* What was printed has to have arrived: a full disk is no success. */
static int flushed(int r)
{
    if (!fflush(stdout) && !ferror(stdout))
        return r;
    fprintf(stderr, "kcptunctl: cannot write: %s\n", strerror(errno));
    return r ? r : CTL_EXIT_OUTPUT;
}

static bool wants_color(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && !(no && *no) && term && *term && strcmp(term, "dumb") != 0;
}

static bool take_count(struct ctl *c, const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    c->count = (unsigned)n;
    return *text >= '1' && *text <= '9' && !*end && n <= COUNT_MAX;
}

/* The command line after the options. */
static int act(struct ctl *c, bool complete, int argc, char **argv)
{
    if (complete)
        return ctl_complete(c, argc, argv);
    if (argc)
        return run(c, argc, argv);
    usage(stderr);
    return CTL_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct ctl c = {.color = wants_color()};
    bool complete = false;
    int o;

    while ((o = getopt_long(argc, argv, complete ? "+s:jn:hV" : "s:jn:hV", long_options, NULL)) != -1)
        switch (o) {
        case 's':
            c.socket = optarg;
            break;
        case 'j':
            c.json = true;
            break;
        case 'n':
            if (take_count(&c, optarg))
                break;
            fprintf(stderr, "kcptunctl: --count: accepted: 1..%d\n", COUNT_MAX);
            return CTL_EXIT_USAGE;
        case OPT_SERVER:
        case OPT_CLIENT:
            c.role = o == OPT_SERVER ? "server" : "client";
            break;
        case OPT_COMPLETE:
            complete = true;
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
    return flushed(act(&c, complete, argc - optind, argv + optind));
}
