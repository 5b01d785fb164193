/* daemon/name.c - configured names and their addresses. */
#include "daemon/name.h"

#include "daemon/net.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { NAME_FAILED_US = 1000000 };

int name_get(struct name *nm, struct worker *w, const struct addr_text *a, uint64_t token)
{
    if (nm->asking)
        return NAME_WAIT;
    if (tick_before(w->now, nm->until))
        return nm->failed ? NAME_FAILED : 0;
    /* no host at all is this one, as for kcptun */
    if (net_bytes_in_name(*a->host ? a->host : "127.0.0.1", a->port_min, &nm->addrs[0]) == 0) {
        nm->n = 1;
        nm->failed = false;
        nm->until = TICK_NEVER;
        return 0;
    }
    if (resolver_ask(w->resolver, a->host, a->port_min, token)) {
        nm->failed = true;
        snprintf(nm->why, sizeof nm->why, "cannot ask for its address now");
        nm->until = tick_add_us(w->now, NAME_FAILED_US);
        return NAME_FAILED;
    }
    nm->asking = true;
    return NAME_WAIT;
}

void name_change(struct name *nm)
{
    nm->stale = nm->asking;
    nm->until = (struct tick){0};
}

void name_answer(struct name *nm, const struct resolve_result *res, struct tick now)
{
    nm->asking = false;
    if (nm->stale) {
        nm->stale = false;
        return;
    }
    nm->failed = res->n == 0;
    nm->n = res->n;
    memcpy(nm->addrs, res->addr, nm->n * sizeof nm->addrs[0]);
    snprintf(nm->why, sizeof nm->why, "%s", res->text);
    nm->until = tick_add_us(now, nm->failed ? NAME_FAILED_US : NAME_KEEP_US);
}

uint16_t name_port(const struct addr_text *a, struct nonce_gen *g)
{
    uint32_t ports = (uint32_t)a->port_max - a->port_min + 1;

    return (uint16_t)(a->port_min + (ports > 1 ? nonce_u32(g) % ports : 0));
}

struct sockaddr_any name_pick(const struct name *nm, unsigned i, const struct addr_text *a, struct nonce_gen *g)
{
    struct sockaddr_any addr = nm->addrs[i % nm->n];
    uint16_t port = htons(name_port(a, g));

    if (addr.sa.sa_family == AF_INET)
        addr.in.sin_port = port;
    else
        addr.in6.sin6_port = port;
    return addr;
}
