/* daemon/sockets.c - binding and listening, on behalf of workers. */
#include "daemon/sockets.h"

#include "core/base/err.h"
#include "daemon/elder.h"
#include "daemon/event.h"
#include "daemon/faketcp_sock.h"
#include "daemon/log.h"
#include "daemon/net.h"
#include "daemon/own_names.h"
#include "daemon/steer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic uint32_t next_id = 1;

static const struct addr_text *address(const struct conf_profile *c)
{
    return c->role == CONF_SERVER ? &c->listen : &c->localaddr;
}

/* 0, -errno. */
static int resolve_own(struct sockaddr_any *a, const struct sockets_params *p, uint16_t port)
{
    const char *host = address(p->conf)->host, *why;
    int r = own_names_find(p->names, host, port, a, &why);

    if (r != OWN_NAMES_NONE)
        return r ? err_pass(r) : 0;
    err_say(0, "%s: not an address, nor a name of one: %s", host, why); /* which says more than an errno */
    return -EINVAL;
}

/* ---- server ---- */

/* SO_REUSEPORT would let another process of the same user share the port unnoticed: so it is bound for ourselves alone
 * first. 0, -errno. */
static int claim(const struct net_udp_params *p)
{
    struct net_udp_params alone = *p;
    unsigned tries = 0;
    int fd;

    alone.reuseport = false;
    do
        fd = net_udp_open(&alone);
    while (net_bind_again(fd, &tries));
    if (fd < 0)
        return err_pass(fd);
    close(fd);
    return 0;
}

static bool is_held(const struct sockets *held, uint16_t port)
{
    for (; held; held = held->next)
        if (port >= held->at.port_min && port <= held->at.port_max)
            return true;
    return false;
}

static int open_port(struct sockets *s, const struct sockets_params *sp, unsigned nth)
{
    const struct conf_profile *c = sp->conf;
    uint16_t port = (uint16_t)(s->at.port_min + nth);
    struct net_udp_params p = {.reuseport = true, .pktinfo = true, .sockbuf = c->sockbuf, .dscp = (uint8_t)c->dscp};
    int r;

    r = resolve_own(&p.bind, sp, port);
    if (r)
        return err_pass(r);
    p.family = p.bind.sa.sa_family;
    r = is_held(sp->held, port) ? 0 : claim(&p);
    if (r)
        return err_pass(r);
    for (unsigned w = 0; w < s->n_workers; w++) {
        int fd = net_udp_open(&p);

        if (fd < 0)
            return err_pass(fd);
        s->fds[nth * s->n_workers + w] = fd;
        if (s->steer)
            steer_join(s->steer, nth, w, fd);
    }
    if (!nth)
        event_sockbuf(c, s->fds[0]);
    return 0;
}

static void log_steering(const struct sockets *s, const char *name)
{
    int r = s->steer ? steer_refusal(s->steer) : 0;

    if (r)
        log_info("%s: sessions reach their worker by hand-over and up to %u connected sockets a port (eBPF: %s)", name,
                 STEER_FLOWS_MAX, strerror(-r));
    else if (s->steer)
        log_info("%s: sessions reach their worker by eBPF", name);
}

/* ---- server: fake TCP ---- */

static int *raw_at(struct sockets *s, unsigned family, unsigned worker)
{
    return &s->fds[s->n_ports * s->n_workers + family * s->n_workers + worker];
}

static int *tcp_at(struct sockets *s, unsigned port)
{
    return &s->fds[(s->n_ports + SOCKETS_RAWS) * s->n_workers + port];
}

static unsigned count_fds(unsigned ports, unsigned workers, bool tcp)
{
    return ports * workers + (tcp ? SOCKETS_RAWS * workers + ports : 0);
}

/* Raw sockets of one family for all workers, if there is anything of that family in `bind`. */
static int open_raws(struct sockets *s, const struct conf_profile *c, unsigned family, const struct sockaddr_any *bind)
{
    bool all = (bind->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&bind->in6.sin6_addr));
    struct faketcp_raw_params p = {
        .family = family ? AF_INET6 : AF_INET,
        .sockbuf = c->sockbuf,
        .dscp = (uint8_t)c->dscp,
    };

    if (!all && bind->sa.sa_family != p.family)
        return 0;
    if (!all)
        p.bind = *bind;
    for (unsigned w = 0; w < s->n_workers; w++) {
        int fd;

        p.port_min = w == s->home ? s->at.port_min : 0;
        p.port_max = w == s->home ? s->at.port_max : 0;
        fd = faketcp_raw_open(&p);
        if (fd == -EAFNOSUPPORT && all && family) /* no IPv6 here */
            return 0;
        if (fd < 0)
            return err_pass(fd);
        *raw_at(s, family, w) = fd;
    }
    return 0;
}

static int open_listeners(struct sockets *s, const struct sockaddr_any *bind)
{
    for (unsigned i = 0; i < s->n_ports; i++) {
        struct sockaddr_any at = *bind;
        in_port_t port = htons((uint16_t)(s->at.port_min + i));
        unsigned tries = 0;
        int fd;

        if (at.sa.sa_family == AF_INET6)
            at.in6.sin6_port = port;
        else
            at.in.sin_port = port;
        do
            fd = faketcp_listen(&at);
        while (net_bind_again(fd, &tries));
        if (fd < 0)
            return err_pass(fd);
        *tcp_at(s, i) = fd;
    }
    return 0;
}

/* All or nothing, but UDP is served in any case. */
static void open_fake_tcp(struct sockets *s, const struct sockets_params *p)
{
    const struct conf_profile *c = p->conf;
    struct sockaddr_any bind;
    int r = resolve_own(&bind, p, 0);

    for (unsigned family = 0; family < SOCKETS_RAWS && !r; family++)
        r = open_raws(s, c, family, &bind);
    if (!r)
        r = open_listeners(s, &bind);
    if (!r)
        return;
    log_error("%s: %s: only UDP is served", c->name, err_text());
    for (unsigned i = s->n_ports * s->n_workers; i < count_fds(s->n_ports, s->n_workers, true); i++) {
        if (s->fds[i] >= 0)
            close(s->fds[i]);
        s->fds[i] = -1;
    }
}

static int open_server(struct sockets *s, const struct sockets_params *p)
{
    int r = 0;

    if (s->n_workers > 1 && !(s->steer = steer_new(s->at.port_min, s->n_ports, s->n_workers)))
        return err_here(-ENOMEM);
    for (unsigned i = 0; i < s->n_ports && !r; i++)
        r = open_port(s, p, i);
    if (!r && s->tcp)
        open_fake_tcp(s, p);
    if (!r)
        log_steering(s, p->conf->name);
    return r;
}

/* ---- client ---- */

static int listen_client(struct sockets *s)
{
    int fd = net_listen(s->at.path ? NULL : &s->own, s->at.path);

    s->fds[0] = fd;
    return fd < 0 ? err_pass(fd) : 0;
}

static int find_client(struct sockets *s, const struct sockets_params *p)
{
    return s->at.path ? 0 : resolve_own(&s->own, p, s->at.port_min);
}

static int open_client(struct sockets *s, const struct sockets_params *p)
{
    unsigned tries = 0;
    int r = find_client(s, p);

    if (r)
        return err_pass(r);
    do
        r = listen_client(s);
    while (net_bind_again(r, &tries));
    return r;
}

/* Like one whose worker has closed it. */
static int leave_closed(struct sockets *s, const struct sockets_params *p)
{
    s->adopted[0] = true;
    atomic_init(&s->closed, true);
    return find_client(s, p);
}

/* ---- both ---- */

static int copy_address(struct addr_text *to, const struct addr_text *from)
{
    *to = (struct addr_text){.port_min = from->port_min, .port_max = from->port_max};
    to->host = from->host ? strdup(from->host) : NULL;
    to->path = from->path ? strdup(from->path) : NULL;
    return (from->host && !to->host) || (from->path && !to->path) ? err_here(-ENOMEM) : 0;
}

/* Sockets that were somebody else's, as if they had been opened for this configuration. */
static void take_over(struct sockets *s, const struct conf_profile *c)
{
    for (unsigned i = 0; !s->stream && i < s->n_ports * s->n_workers; i++)
        net_udp_tune(s->fds[i], c->sockbuf, (uint8_t)c->dscp);
    s->own.len = sizeof s->own.in6;
    if (s->stream && !s->at.path && getsockname(s->fds[0], &s->own.sa, &s->own.len))
        s->own.len = 0;
}

/* The old process's, or new ones. 0, -errno. */
static int take_or_open(struct sockets *s, const struct sockets_params *p)
{
    int r = elder_take_sockets(p->elder, s, p->tunnel);

    if (r == ELDER_HAS_NONE)
        return s->stream ? open_client(s, p) : open_server(s, p);
    if (r)
        return err_pass(r);
    take_over(s, p->conf);
    if (s->tcp)
        open_fake_tcp(s, p); /* not the old process's: it needs its own for its sessions */
    return 0;
}

/* Adds whose they were to be. The value is r. */
static int say_whose(const struct conf_profile *c, int r)
{
    char why[256];

    snprintf(why, sizeof why, "%s", err_text());
    err_say(0, "%s: %s: %s", c->name, c->role == CONF_SERVER ? "listen" : "localaddr", why);
    return r;
}

int sockets_open(struct sockets **sp, const struct sockets_params *p)
{
    const struct addr_text *a = address(p->conf);
    bool server = p->conf->role == CONF_SERVER;
    unsigned ports = server ? (unsigned)a->port_max - a->port_min + 1 : 1, workers = server ? p->n_workers : 1;
    unsigned n = count_fds(ports, workers, server && p->conf->tcp);
    struct sockets *s = calloc(1, sizeof *s + n * (sizeof s->fds[0] + sizeof s->adopted[0]));
    int r;

    if (!s)
        return err_here(-ENOMEM);
    atomic_init(&s->refs, 1);
    s->id = atomic_fetch_add(&next_id, 1);
    s->n_ports = ports;
    s->n_workers = workers;
    s->stream = !server;
    s->tcp = server && p->conf->tcp;
    s->home = p->home;
    s->adopted = (bool *)(s->fds + n);
    for (unsigned i = 0; i < n; i++)
        s->fds[i] = -1;
    r = copy_address(&s->at, a);
    if (!r)
        r = s->stream && p->closed ? leave_closed(s, p) : take_or_open(s, p);
    if (r) {
        sockets_put(s);
        return say_whose(p->conf, r);
    }
    *sp = s;
    return 0;
}

struct sockets *sockets_ref(struct sockets *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

struct sockets *sockets_put(struct sockets *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return NULL;
    for (unsigned i = 0; i < count_fds(s->n_ports, s->n_workers, s->tcp); i++)
        if (s->fds[i] >= 0 && !s->adopted[i])
            close(s->fds[i]);
    steer_free(s->steer);
    addr_text_fini(&s->at);
    free(s);
    return NULL;
}

bool sockets_fit(const struct sockets *s, const struct conf_profile *p)
{
    return !atomic_load(&s->broken) && addr_text_equal(&s->at, address(p)) &&
           s->tcp == (p->role == CONF_SERVER && p->tcp);
}

static bool is_every_address(const char *host)
{
    return !*host || !strcmp(host, "::") || !strcmp(host, "0.0.0.0");
}

static bool overlap(const struct addr_text *a, const struct addr_text *b)
{
    if (a->path || b->path)
        return a->path && b->path && !strcmp(a->path, b->path);
    return a->port_min <= b->port_max && b->port_min <= a->port_max &&
           (is_every_address(a->host) || is_every_address(b->host) || !strcmp(a->host, b->host));
}

bool sockets_in_way(const struct sockets *s, const struct conf_profile *p)
{
    bool server = p->role == CONF_SERVER;
    bool udp = server && !s->stream, tcp = (!server || p->tcp) && (s->stream || s->tcp);

    return (udp || tcp) && overlap(&s->at, address(p));
}

bool sockets_same_host(const struct sockets *a, const struct sockets *b)
{
    return a->at.host && b->at.host && !strcmp(a->at.host, b->at.host);
}

bool sockets_serve_tcp(const struct sockets *s)
{
    return s->tcp && s->fds[count_fds(s->n_ports, s->n_workers, true) - 1] >= 0; /* the last to be opened */
}

int sockets_adopt(struct sockets *s, unsigned port, unsigned worker)
{
    unsigned i = s->stream ? 0 : port * s->n_workers + worker;

    if ((s->stream && worker != s->home) || s->adopted[i])
        return -1;
    s->adopted[i] = true;
    return s->fds[i];
}

static int adopt(struct sockets *s, const int *fd)
{
    s->adopted[fd - s->fds] = true;
    return *fd;
}

int sockets_adopt_raw(struct sockets *s, unsigned family, unsigned worker)
{
    return s->tcp ? adopt(s, raw_at(s, family, worker)) : -1;
}

int sockets_adopt_tcp(struct sockets *s, unsigned port, unsigned worker)
{
    return s->tcp && worker == s->home ? adopt(s, tcp_at(s, port)) : -1;
}

int sockets_reopen(struct sockets *s, unsigned worker)
{
    int r;

    if (!s->stream || worker != s->home || !s->adopted[0])
        return 0;
    r = listen_client(s);
    if (r)
        return err_pass(r);
    s->adopted[0] = false;
    atomic_store(&s->broken, false);
    atomic_store_explicit(&s->closed, false, memory_order_release);
    return 0;
}
