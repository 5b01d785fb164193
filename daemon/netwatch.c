/* daemon/netwatch.c - a netlink socket that hears of addresses, routes and links. What it hears is not read: a change may
 * take any of a dozen forms (an IPv4 route goes without a word when its link does), and whether it matters is found out
 * by asking the kernel for the way anew. */
#include "daemon/netwatch.h"

#include "core/base/err.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    REST_US = 200 * 1000, /* without a change: the kernel, or who configures it, is done */
    RESTLESS_US = 1000 * 1000, /* told after so long though it goes on */
    PAUSE_US = 2000 * 1000, /* between two times, however restless: a router's table may change all day */
    READS = 64,
};

int netwatch_open(struct netwatch *n)
{
    struct sockaddr_nl a = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
    };
    int e;

    *n = (struct netwatch){.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE)};
    if (n->fd >= 0 && bind(n->fd, (struct sockaddr *)&a, sizeof a) == 0)
        return 0;
    e = errno;
    netwatch_close(n);
    return err_say(-e, "listen to netlink");
}

void netwatch_close(struct netwatch *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}

/* True if something was there. */
static bool drain(struct netwatch *n)
{
    uint8_t some[4096];
    bool any = false;

    for (unsigned i = 0; i < READS; i++) {
        ssize_t r = recv(n->fd, some, sizeof some, MSG_DONTWAIT);

        if (r < 0 && errno != ENOBUFS && errno != EINTR) /* ENOBUFS: more changes than fit */
            break;
        any = true;
    }
    return any;
}

struct tick netwatch_deadline(const struct netwatch *n)
{
    struct tick rest = tick_min(tick_add_us(n->last, REST_US), tick_add_us(n->first, RESTLESS_US));

    if (n->fd < 0 || !n->changed)
        return TICK_NEVER;
    return n->told.us ? tick_max(rest, tick_add_us(n->told, PAUSE_US)) : rest;
}

bool netwatch_step(struct netwatch *n, struct tick now)
{
    if (n->fd < 0)
        return false;
    if (drain(n)) {
        if (!n->changed)
            n->first = now;
        n->changed = true;
        n->last = now;
    }
    if (tick_before(now, netwatch_deadline(n)))
        return false;
    n->changed = false;
    n->told = now;
    return true;
}
