/* daemon/options.h - the command line of kcptund. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stdbool.h>

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 64, STATUS_CONFIG = 78 }; /* exit statuses, as in sysexits.h */

struct options {
    const char *file;             /* of the configuration; points into argv */
    bool test;                    /* -t: check it and say so */
    bool print;                   /* -T: print it */
    bool show_secrets;
};

enum { OPTIONS_DONE = 1 };

/* 0: *o says what to do. OPTIONS_DONE: it is done (help, version, a mistake that standard error names): exit with *status. */
int options_parse(struct options *o, int argc, char *argv[], int *status);

#endif
