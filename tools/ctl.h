/* tools/ctl.h - kcptunctl's commands, and what they share: one request to the daemon, one merged answer. */
#ifndef TOOLS_CTL_H
#define TOOLS_CTL_H

#include <jansson.h>
#include <stdbool.h>

enum {                            /* exit status; kcptunctl(1) names them */
    CTL_EXIT_DONE,
    CTL_EXIT_REFUSED,             /* by the daemon */
    CTL_EXIT_USAGE,
    CTL_EXIT_UNREACHED,           /* no daemon there, or none that speaks the protocol */
    CTL_EXIT_OUTPUT,              /* standard output could not be written */
};

struct ctl {
    const char *socket;           /* path */
    bool json;                    /* print data as it came */
};

/* Asks the daemon and waits for the whole answer. Takes args (NULL: none). CTL_EXIT_DONE: *data is the caller's; else what
 * went wrong has been said on standard error. */
int ctl_call(const struct ctl *c, const char *cmd, json_t *args, json_t **data);
/* Prints data as JSON. */
void ctl_print_json(const json_t *data);

struct ctl_command {
    const char *name, *args, *help;
    /* argv[0] is the command's name; options were taken. An exit status; CTL_EXIT_USAGE prints how it is called. */
    int (*run)(const struct ctl *c, int argc, char **argv);
};

int cmd_stats(const struct ctl *c, int argc, char **argv);

#endif
