/* tools/linkem_options.c - the command line: options, each key of a link as one of them, and commands behind "--". */
#include "tools/linkem.h"

#include "core/base/err.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { O_PLAN = 256, O_NAME, O_NETNS, O_SEED, O_MTU, O_TIME, O_JSON, O_TRACE, O_TRACE_EVERY, O_LINK };
enum { ROWS_MAX = 32, MTU_MIN = 576, MTU_MAX = 9000 };

static const struct row { /* --help and getopt read the same table */
    const char *name, *value, *help;
    int number;
} rows[] = {
    {"plan", "TEXT", "settings per direction and over time: see below; may be repeated", O_PLAN},
    {"name", "NAME", "of the namespaces: NAME-a, NAME-b; default without a command: linkem", O_NAME},
    {"netns", "A,B", "use these namespaces, names or paths, instead of making some", O_NETNS},
    {"seed", "N", "of all that is random; default 1", O_SEED},
    {"mtu", "BYTES", "of both devices; default 1500", O_MTU},
    {"time", "SECONDS", "end after so long", O_TIME},
    {"json", "FILE", "write the counters to it; - is standard output", O_JSON},
    {"trace", "FILE", "write queue and counters to it as time goes by", O_TRACE},
    {"trace-every", "MS", "between two lines of it; default 100", O_TRACE_EVERY},
    {"quiet", NULL, "no table at the end, nothing at the start", 'q'},
    {"help", NULL, "print this", 'h'},
    {"version", NULL, "print the version", 'V'},
};

static void help_row(FILE *out, const char *name, const char *value, const char *text, int number)
{
    char left[48];

    snprintf(left, sizeof left, "--%s%s%s", name, value ? " " : "", value ? value : "");
    if (number < 256)
        fprintf(out, "  -%c, %-19s %s\n", number, left, text);
    else
        fprintf(out, "  %-23s %s\n", left, text);
}

static void help(FILE *out)
{
    struct link_key_help k;

    fputs("usage: kcptun-linkem [OPTION...] [-- A: COMMAND [ARGUMENT...] [B: COMMAND [ARGUMENT...]]]\n"
          "Joins two network namespaces by a link with limits and losses, and runs commands at its ends.\n"
          "Without a command it names the namespaces for `ip netns exec` and waits for a signal.\n"
          "\nthe link, both directions:\n",
          out);
    for (unsigned i = 0; link_key(i, &k); i++)
        help_row(out, k.key, k.form, k.help, O_LINK);
    fputs("\nothers:\n", out);
    for (size_t i = 0; i < LEN(rows); i++)
        help_row(out, rows[i].name, rows[i].value, rows[i].help, rows[i].number);
    fprintf(out,
            "\nA plan: 'rate 100mbit delay 20ms; b-a rate 10mbit; at 10s loss 5%% burst 4; at 20s a-b loss 0'\n"
            "A is %s, B is %s. The first command named decides: its end ends the rest, its status is ours.\n"
            "\nexit status: that of the first command; else 0 done, 1 it cannot be, 2 usage\n",
            linkem_address(LINKEM_A), linkem_address(LINKEM_B));
}

static int mistake(const char *option, const char *value, const char *expected)
{
    fprintf(stderr, "kcptun-linkem: --%s %s: expected %s; --help tells more\n", option, value, expected);
    return LINKEM_USAGE;
}

/* Of a text that link_text.c did not understand. */
static int not_understood(const char *option)
{
    fprintf(stderr, "kcptun-linkem: --%s: %s; --help tells more\n", option, err_text());
    return LINKEM_USAGE;
}

static bool read_number(const char *s, uint64_t least, uint64_t most, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(s, &end, 10);
    return *s >= '0' && *s <= '9' && !*end && !errno && *out >= least && *out <= most;
}

static bool is_name(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

    return n && n <= 32 && !s[n] && *s != '-';
}

static int take_netns(struct linkem *e, char *value)
{
    char *comma = strchr(value, ',');

    if (!comma || comma == value || !comma[1] || strchr(comma + 1, ','))
        return mistake("netns", value, "two namespaces with a comma between");
    *comma = 0;
    e->netns[LINKEM_A] = value;
    e->netns[LINKEM_B] = comma + 1;
    return 0;
}

static int take(struct linkem *e, int number, const char *option, char *value)
{
    uint64_t v;

    switch (number) {
    case O_PLAN:
        return link_plan_add(&e->plan, value) ? not_understood(option) : 0;
    case O_LINK:
        return link_plan_set(&e->plan, option, value, LINK_BOTH) ? not_understood(option) : 0;
    case O_NAME:
        e->name = value;
        return is_name(value) ? 0 : mistake(option, value, "1..32 letters, digits, - and _");
    case O_NETNS:
        return take_netns(e, value);
    case O_SEED:
        return read_number(value, 0, INT64_MAX, &e->seed) ? 0 : mistake(option, value, "a number");
    case O_MTU:
        if (!read_number(value, MTU_MIN, MTU_MAX, &v))
            return mistake(option, value, "576..9000");
        e->mtu = (unsigned)v;
        return 0;
    case O_TIME:
        e->time_us = (uint64_t)(strtod(value, NULL) * 1e6);
        return strspn(value, "0123456789.") == strlen(value) && e->time_us && strlen(value) < 10
                   ? 0
                   : mistake(option, value, "seconds");
    case O_JSON:
        e->json = value;
        return 0;
    case O_TRACE:
        e->trace = value;
        return 0;
    case O_TRACE_EVERY:
        if (!read_number(value, 1, 3600000, &v))
            return mistake(option, value, "1..3600000");
        e->trace_us = v * 1000;
        return 0;
    default:
        e->quiet = true;
        return 0;
    }
}

static int add_option(struct option *o, const char *name, bool has_value, int number)
{
    *o = (struct option){name, has_value ? required_argument : no_argument, NULL, number};
    return 1;
}

static void long_options(struct option o[ROWS_MAX])
{
    struct link_key_help k, last = {0};
    int n = 0;

    for (unsigned i = 0; link_key(i, &k); last = k, i++)
        if (!last.key || strcmp(last.key, k.key) != 0)
            n += add_option(&o[n], k.key, true, O_LINK);
    for (size_t i = 0; i < LEN(rows); i++)
        n += add_option(&o[n], rows[i].name, rows[i].value, rows[i].number);
    o[n] = (struct option){0};
}

static int end_of(const char *word)
{
    return !strcmp(word, "A:") ? LINKEM_A : !strcmp(word, "B:") ? LINKEM_B : LINKEM_ENDS;
}

/* Cuts "A: x y B: z" in place. */
static int take_commands(struct linkem *e, char **argv)
{
    int end = LINKEM_ENDS;

    e->first = *argv ? end_of(*argv) : LINKEM_A;
    if (*argv && e->first == LINKEM_ENDS) {
        fprintf(stderr, "kcptun-linkem: %s: a command begins with A: or B:, the end it runs at\n", *argv);
        return LINKEM_USAGE;
    }
    for (; *argv; argv++) {
        int next = end_of(*argv);

        if (next == LINKEM_ENDS)
            continue;
        if (!argv[1] || end_of(argv[1]) != LINKEM_ENDS || e->command[next]) {
            fprintf(stderr, "kcptun-linkem: %s: one command for each end, behind its letter\n", *argv);
            return LINKEM_USAGE;
        }
        *argv = NULL;
        end = next;
        e->command[end] = argv + 1;
        argv++;
    }
    return 0;
}

int linkem_options(struct linkem *e, int argc, char **argv, int *status)
{
    struct option o[ROWS_MAX];
    int number, index = 0;

    *e = (struct linkem){.seed = 1, .mtu = 1500, .trace_us = 100000};
    *status = 0;
    long_options(o);
    while ((number = getopt_long(argc, argv, "+qhV", o, &index)) != -1) {
        if (number == 'h') {
            help(stdout);
            return -1;
        }
        if (number == 'V') {
            puts("kcptun-linkem " KCPTUND_VERSION);
            return -1;
        }
        *status = number == '?' ? LINKEM_USAGE : take(e, number, o[index].name, optarg);
        if (*status)
            return -1;
    }
    *status = take_commands(e, argv + optind);
    if (!*status && e->name && e->netns[LINKEM_A])
        *status = mistake("name", e->name, "either --name or --netns");
    if (!e->name && !e->netns[LINKEM_A] && !e->command[LINKEM_A] && !e->command[LINKEM_B])
        e->name = "linkem";
    return *status ? -1 : 0;
}
