/* daemon/options.c - the command line of kcptund. */
#include "daemon/options.h"

#include "conf/conf.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_FILE "/etc/kcptun.ini"

enum { OPT_SECRETS = 256 };

static const char short_options[] = ":c:tThV";
static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"test", no_argument, NULL, 't'},
    {"print", no_argument, NULL, 'T'},
    {"show-secrets", no_argument, NULL, OPT_SECRETS},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static const char usage[] =
    "Usage: kcptund [-c FILE] [-t | -T [--show-secrets]]\n"
    "Carries TCP over KCP on UDP, between servers and clients of the kcptun protocol.\n"
    "\n"
    "  -c, --config FILE   read FILE instead of " DEFAULT_FILE "\n"
    "  -t, --test          check the configuration, say OK and exit\n"
    "  -T, --print         check it, print it in full and exit\n"
    "      --show-secrets  with -T: print keys, too\n"
    "  -h, --help          this text and every key of the configuration\n"
    "  -V, --version       the version\n"
    "\n"
    "Signals: TERM and INT end (what runs gets draintime; a second one ends at once), HUP opens the\n"
    "log file again and reloads the configuration, USR1 writes the counters to the log, USR2 hands\n"
    "over to a new process.\n"
    "Exit status: 0 done, 1 failed, 64 wrong usage, 78 the configuration has errors.\n"
    "\n";

static int mistake(int *status, const char *what, const char *which)
{
    fprintf(stderr, "kcptund: %s%s; --help tells more\n", what, which);
    *status = STATUS_USAGE;
    return OPTIONS_DONE;
}

/* Names the option getopt refused: a long one by its whole word, a short one by its letter. */
static int refused(int *status, int c, char *argv[])
{
    const char *word = argv[optind - 1];
    char letter[] = {'-', (char)optopt, 0};
    bool is_long = !strncmp(word, "--", 2);

    if (c == ':')
        return mistake(status, "a value is missing behind ", is_long ? word : letter);
    if (is_long && optopt)
        return mistake(status, "no value belongs to ", word);
    return mistake(status, "unknown option ", is_long ? word : letter);
}

int options_parse(struct options *o, int argc, char *argv[], int *status)
{
    struct options parsed = {.file = DEFAULT_FILE};
    int c;

    *status = STATUS_OK;
    opterr = 0;
    optind = 0; /* glibc: begin anew */
    while ((c = getopt_long(argc, argv, short_options, long_options, NULL)) >= 0) {
        switch (c) {
        case 'c':
            parsed.file = optarg;
            break;
        case 't':
            parsed.test = true;
            break;
        case 'T':
            parsed.print = true;
            break;
        case OPT_SECRETS:
            parsed.show_secrets = true;
            break;
        case 'h':
            fputs(usage, stdout);
            conf_help(stdout);
            return OPTIONS_DONE;
        case 'V':
            puts("kcptund " KCPTUND_VERSION);
            return OPTIONS_DONE;
        default:
            return refused(status, c, argv);
        }
    }
    if (optind < argc)
        return mistake(status, "unexpected argument ", argv[optind]);
    if (parsed.test && parsed.print)
        return mistake(status, "-t and -T exclude each other", "");
    if (parsed.show_secrets && !parsed.print)
        return mistake(status, "--show-secrets belongs to -T", "");
    *o = parsed;
    return 0;
}
