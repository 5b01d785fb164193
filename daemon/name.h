/* daemon/name.h - the addresses behind a configured name: resolved off the loop, kept for a while, asked for again on the
 * next need. Numeric addresses are ready at once. */
#ifndef DAEMON_NAME_H
#define DAEMON_NAME_H

#include "daemon/worker.h"

enum { NAME_KEEP_US = 10 * 1000000 };
enum { NAME_WAIT = 1, NAME_FAILED };

struct name {                     /* zeroed: nothing known */
    struct sockaddr_any addrs[RESOLVE_ADDRS];
    unsigned n;
    struct tick until;            /* what is known counts until then */
    bool asking, failed;
    bool stale;                   /* what is being asked for is not wanted any more */
    char why[128];                 /* why it failed */
};

/* 0: addrs[0..n) are usable now; NAME_WAIT: an answer with `token` will come; NAME_FAILED: recently failed, see why. */
int name_get(struct name *nm, struct worker *w, const struct addr_text *a, uint64_t token);
/* Another name counts from now on. */
void name_change(struct name *nm);
/* The answer came. */
void name_answer(struct name *nm, const struct resolve_result *res, struct tick now);
/* A port of the range; of several one at random. */
uint16_t name_port(const struct addr_text *a, struct nonce_gen *g);
/* addrs[i] with a port of the range; several are drawn from at random. */
struct sockaddr_any name_pick(const struct name *nm, unsigned i, const struct addr_text *a, struct nonce_gen *g);

#endif
