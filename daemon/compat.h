/* daemon/compat.h - kcptund under the names kcptun-client and kcptun-server: kcptun's command line, environment and JSON
 * file lead to one profile, and the log speaks kcptun's words. docs/kcptun-compat.md lists what differs. */
#ifndef DAEMON_COMPAT_H
#define DAEMON_COMPAT_H

#include "conf/conf.h"

enum { COMPAT_FAILED = 255 };     /* exit status where kcptund has others than 0 and STATUS_USAGE */

struct compat {                   /* zeroed: started under a name of its own */
    const char *name;             /* "kcptun-client" */
    enum conf_role role;
    int argc;
    char **argv;                  /* borrowed */
};

/* True if the program was started under one of kcptun's names; *c is filled in. */
bool compat_is(struct compat *c, int argc, char **argv);
/* True if that was all: help, version, a mistake, all on standard output as with kcptun. Exit with *status. */
bool compat_is_done(const struct compat *c, int *status);
/* What the command line, the environment and the file say now; as conf_load(). */
int compat_load(const struct compat *c, struct conf **cp, struct conf_problems *ps);
/* Logs the settings, a line each, as kcptun does when it starts. */
void compat_tell(const struct conf *c);
/* Every address is bound; tcp: for fake TCP, too. */
void compat_tell_ready(const struct conf *c, bool tcp);

#endif
