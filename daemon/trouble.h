/* daemon/trouble.h - what went wrong with a tunnel lately, for kcptunctl doctor: one per tunnel and worker, written where
 * things fail, so it costs nothing while they do not. */
#ifndef DAEMON_TROUBLE_H
#define DAEMON_TROUBLE_H

#include "daemon/io.h"

enum { TROUBLE_STRANGERS = 4 };

struct stranger {                 /* n 0: none */
    struct sockaddr_any from;
    uint64_t n;                   /* datagrams from it that no key opened */
    struct tick at;               /* the last one */
};

struct trouble {                  /* zeroed: none */
    char dial[128];               /* why the target, or a client's server, could not be reached; "": it could */
    struct tick dialled;          /* when that was */
    int send_err;                 /* -errno of the last datagram that the kernel did not take */
    struct tick sent;
    struct stranger strangers[TROUBLE_STRANGERS];
};

void trouble_dial(struct trouble *t, const char *why, struct tick now);
void trouble_send(struct trouble *t, int err, struct tick now);
/* n datagrams from an address did not open. It takes the place of the one longest silent. Returns how many it were with
 * these, as far as known. */
uint64_t trouble_stranger(struct trouble *t, const struct sockaddr_any *from, uint64_t n, struct tick now);

#endif
