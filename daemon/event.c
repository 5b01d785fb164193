/* daemon/event.c - sessions and streams in the log. */
#include "daemon/event.h"

#include "daemon/log.h"
#include "daemon/tunnel.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static bool is_server(const struct peer *p)
{
    return p->tunnel->conf->role == CONF_SERVER;
}

/* Our address in the session, as far as it is known yet. */
static const char *local_text(const struct peer *p)
{
    struct sockaddr_any a = p->local;

    if (a.len)
        return net_addr_text(&a);
    a.len = sizeof a.in6;
    return p->sock && !getsockname(p->sock->fd, &a.sa, &a.len) ? net_addr_text(&a) : "?";
}

static void session_as_kcptun(const struct peer *p, uint64_t source)
{
    const uint8_t ver = smux_version(session_smux(p->session));
    char version[12] = "auto";

    if (ver)
        snprintf(version, sizeof version, "%u", ver);
    if (is_server(p))
        log_info_of(source, "remote address: %s", net_addr_text(&p->remote));
    log_info_of(source, "smux version: %s on connection: %s -> %s", version, local_text(p), net_addr_text(&p->remote));
}

void event_session(const struct peer *p, const char *what)
{
    uint64_t source = net_addr_source(&p->remote);

    if (log_is_kcptun())
        session_as_kcptun(p, source);
    else
        log_info_of(source, "%s: session %s", peer_text(p), what);
}

/* Its scavenger is told of every session that expires some time. */
static bool end_as_kcptun(const struct peer *p, uint64_t source)
{
    bool ttl = !tick_before(p->tunnel->w->now, p->dies);

    if (is_server(p) || !p->tunnel->conf->autoexpire)
        return false;
    log_info_of(source, "scavenger: session %s: %s", ttl ? "closed due to ttl" : "normally closed", local_text(p));
    return true;
}

void event_session_end(const struct peer *p, const char *why, bool grave)
{
    uint64_t source = net_addr_source(&p->remote);

    if (log_is_kcptun() && end_as_kcptun(p, source))
        return;
    if (grave)
        log_warning_of(source, "%s: session ended: %s", peer_text(p), why);
    else
        log_info_of(source, "%s: session ended: %s", peer_text(p), why);
}

void event_dial_failed(const struct tunnel *t, const char *where, const char *why, unsigned n, const char *next)
{
    if (log_is_kcptun())
        log_warning("re-connecting: %s: %s", where, why);
    else
        log_warning("%s: %s: %s (attempt %u); next %s", t->conf->name, where, why, n, next);
}

void event_sockbuf(const struct conf_profile *c, int fd)
{
    uint32_t got = net_udp_sockbuf(fd);

    if (got < c->sockbuf)
        log_warning("%s: the kernel gives %u of %u bytes of socket buffer (sockbuf): raise net.core.rmem_max and "
                    "net.core.wmem_max",
                    c->name, got, c->sockbuf);
}

/* Whom the local connection is with. */
static const char *far_end(const struct peer *p, int fd, char target[320])
{
    struct sockaddr_any a = {.len = sizeof a.in6};

    if (fd >= 0 && !getpeername(fd, &a.sa, &a.len) && a.sa.sa_family != AF_UNIX)
        return net_addr_text(&a);
    if (!is_server(p))
        return "local";
    addr_text_print(&p->tunnel->conf->target, target, 320);
    return target;
}

static void stream_as_kcptun(const struct peer *p, uint64_t source, uint32_t id, int fd, const char *what)
{
    char target[320];
    const char *far = far_end(p, fd, target);

    if (is_server(p))
        log_info_of(source, "stream %s in: %s(%u) out: %s", what, net_addr_text(&p->remote), id, far);
    else
        log_info_of(source, "stream %s in: %s out: %s(%u)", what, far, net_addr_text(&p->remote), id);
}

void event_stream(const struct peer *p, uint32_t id, int fd, const char *what)
{
    uint64_t source = net_addr_source(&p->remote);

    if (p->tunnel->conf->quiet)
        return;
    if (log_is_kcptun())
        stream_as_kcptun(p, source, id, fd, strcmp(what, "opened") ? "closed" : what);
    else
        log_info_of(source, "%s stream %u: %s", peer_text(p), id, what);
}
