/* daemon/own_names.h - addresses of the names in `listen` and `localaddr`, as in localhost:12948: this machine's own, and few.
 * At the start whoever looks for one waits for it. Later the thread that asks serves everybody else, too: all names that a
 * change needs are asked for in threads first, and looked for when they are known, or have taken too long. */
#ifndef DAEMON_OWN_NAMES_H
#define DAEMON_OWN_NAMES_H

#include "daemon/io.h"

struct own_names;

struct own_names *own_names_new(void);                /* NULL: out of memory */
struct own_names *own_names_free(struct own_names *n); /* waits for nobody */
/* Asks for host, unless it is an address. 0, -errno. */
int own_names_ask(struct own_names *n, const char *host);
int own_names_fd(const struct own_names *n);          /* readable: an answer came; -1: nothing was asked for */
bool own_names_known(struct own_names *n);            /* takes answers: all are here */
enum { OWN_NAMES_NONE = 1 };
/* The address that host is or has, IPv4 if there is a choice, as with kcptun. Where nothing was asked for it is waited for.
 * 0; OWN_NAMES_NONE: *why says what is wrong, as long as n lives; -ENOMEM. */
int own_names_find(struct own_names *n, const char *host, uint16_t port, struct sockaddr_any *a, const char **why);

#endif
