/* daemon/trouble.c - what went wrong lately. */
#include "daemon/trouble.h"

#include "daemon/net.h"

#include <stdio.h>

void trouble_dial(struct trouble *t, const char *why, struct tick now)
{
    snprintf(t->dial, sizeof t->dial, "%s", why);
    t->dialled = now;
}

void trouble_send(struct trouble *t, int err, struct tick now)
{
    t->send_err = err;
    t->sent = now;
}

uint64_t trouble_stranger(struct trouble *t, const struct sockaddr_any *from, uint64_t n, struct tick now)
{
    struct stranger *s = t->strangers;

    for (struct stranger *i = s; i < t->strangers + TROUBLE_STRANGERS; i++) {
        if (i->n && net_addr_equal(&i->from, from)) {
            i->n += n;
            i->at = now;
            return i->n;
        }
        if (!i->n || (s->n && tick_before(i->at, s->at)))
            s = i;
    }
    *s = (struct stranger){*from, n, now};
    return n;
}
