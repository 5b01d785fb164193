/* tools/ctl.h - kcptunctl's commands, and what they share: one request to the daemon, one merged answer. */
#ifndef TOOLS_CTL_H
#define TOOLS_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum {                            /* exit status; kcptunctl(1) names them */
    CTL_EXIT_DONE,
    CTL_EXIT_REFUSED,             /* by the daemon; check: the file has errors */
    CTL_EXIT_USAGE,
    CTL_EXIT_UNREACHED,           /* no daemon there, or none that speaks the protocol */
    CTL_EXIT_OUTPUT,              /* standard output could not be written */
    CTL_EXIT_FOUND,               /* doctor found something */
};

struct ctl {
    const char *socket;           /* path; NULL: the packaged ones, one after the other */
    bool reads;                   /* the command changes nothing: the socket for reading will do */
    bool json;                    /* print data as it came */
    bool color;
    const char *role;             /* of convert: "server", "client"; NULL: the file tells */
    unsigned count;               /* of watch and top: rounds; 0: for ever */
};

/* Asks the daemon and waits for the whole answer. Takes args (NULL: none). CTL_EXIT_DONE: *data is the caller's; else what
 * went wrong has been said on standard error. */
int ctl_call(const struct ctl *c, const char *cmd, json_t *args, json_t **data);
/* The same for a list, page by page, as one. */
int ctl_call_all(const struct ctl *c, const char *cmd, json_t *args, json_t **data);
/* Prints data as JSON. */
void ctl_print_json(const json_t *data);
/* One string argument as args for ctl_call(): value NULL: none. False: not UTF-8 (said). */
bool ctl_args(json_t **args, const char *name, const char *value);

/* ---- the commands ---- */

enum ctl_arg {                    /* what an argument is, for completion */
    CTL_ARG_NONE, CTL_ARG_PROFILE, CTL_ARG_SESSION, CTL_ARG_FILE, CTL_ARG_SETTING, CTL_ARG_LEVEL,
};

struct ctl_command {
    const char *name, *args;
    enum ctl_arg arg;
    bool reads;                   /* as in struct ctl */
    unsigned min, max;            /* arguments */
    const char *help;
    /* argv[0] is the command's name; options were taken. An exit status; CTL_EXIT_USAGE prints how it is called. */
    int (*run)(const struct ctl *c, int argc, char **argv);
};
extern const struct ctl_command ctl_commands[]; /* name NULL ends it */
const struct ctl_command *ctl_command_find(const char *name); /* NULL: none */

typedef int ctl_run_fn(const struct ctl *c, int argc, char **argv);
ctl_run_fn cmd_status, cmd_stats;                                        /* cmd_stats.c */
ctl_run_fn cmd_sessions, cmd_streams, cmd_show;                          /* cmd_list.c */
ctl_run_fn cmd_kick, cmd_drain, cmd_reload, cmd_set, cmd_loglevel, cmd_upgrade; /* cmd_act.c; cmd_drain: undrain, too */
ctl_run_fn cmd_check, cmd_genkey;                                        /* cmd_local.c */
ctl_run_fn cmd_convert;                                                  /* cmd_convert.c */
ctl_run_fn cmd_doctor;                                                   /* cmd_doctor.c */
ctl_run_fn cmd_watch;                                                    /* cmd_watch.c */
ctl_run_fn cmd_top;                                                      /* cmd_top.c */

/* Prints what may stand in the place of the last of the words after "kcptunctl", a line each: "text" or "text\thelp". */
int ctl_complete(const struct ctl *c, int argc, char **argv);

#endif
