/* daemon/server.c - listeners; from datagram to session; who may open one. */
#include "daemon/server.h"

#include "core/arq.h"
#include "core/arq_seg.h"
#include "core/base/err.h"
#include "daemon/diagnose.h"
#include "daemon/flow.h"
#include "daemon/log.h"
#include "daemon/steer.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- listeners ---- */

static struct sockaddr_any any_address(uint16_t port, bool v6)
{
    struct sockaddr_any a = {.len = 0};

    if (v6) {
        a.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        a.len = sizeof a.in6;
    } else {
        a.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        a.len = sizeof a.in;
    }
    return a;
}

/* SO_REUSEPORT would let another process of the same user share the port unnoticed: the first worker looks whether it is
 * free by binding it for itself alone. 0, -errno. */
static int claim(const struct tunnel *t, const struct net_udp_params *p)
{
    struct net_udp_params alone = *p;
    unsigned tries = 0;
    uint32_t got;
    int fd;

    if (t->w->id)
        return 0;
    alone.reuseport = false;
    do
        fd = net_udp_open(&alone, &got);
    while (net_bind_again(fd, &tries));
    if (fd < 0)
        return err_pass(fd);
    close(fd);
    return 0;
}

static int open_socket(struct tunnel *t, uint16_t port)
{
    const struct conf_profile *c = t->conf;
    bool wildcard = !*c->listen.host;
    struct net_udp_params p = {.reuseport = true, .pktinfo = true, .sockbuf = c->sockbuf, .dscp = (uint8_t)c->dscp};
    uint32_t got = 0;
    int fd;

    p.bind = any_address(port, true);
    if (!wildcard && net_bytes_in_name(c->listen.host, port, &p.bind))
        return err_say(-EINVAL, "%s:%u: listen = %s: not an address", c->file, c->line, c->listen.host);
    p.family = p.bind.sa.sa_family;
    fd = claim(t, &p);
    if (fd < 0 && fd != -EAFNOSUPPORT)
        return fd;
    fd = net_udp_open(&p, &got);
    if (fd == -EAFNOSUPPORT && wildcard) { /* no IPv6 here */
        p.bind = any_address(port, false);
        p.family = AF_INET;
        fd = net_udp_open(&p, &got);
    }
    if (fd >= 0 && got < c->sockbuf && t->w->id == 0 && port == c->listen.port_min)
        log_warning("%s: the kernel gives %u of %u bytes of socket buffer: raise net.core.rmem_max and wmem_max",
                    c->name, got, c->sockbuf);
    return fd;
}

int server_open(struct tunnel *t)
{
    const struct addr_text *a = &t->conf->listen;
    unsigned n = (unsigned)a->port_max - a->port_min + 1;

    t->listeners = calloc(n, sizeof *t->listeners);
    if (!t->listeners)
        return err_here(-ENOMEM);
    for (unsigned i = 0; i < n; i++) {
        struct listener *l = &t->listeners[i];
        int fd = open_socket(t, (uint16_t)(a->port_min + i)), r;

        if (fd < 0)
            return err_pass(fd);
        l->tunnel = t;
        l->index = i;
        r = worker_add(t->w, &l->src, SRC_LISTENER, fd, t->w->ops->add_udp);
        if (r) {
            close(fd);
            return err_pass(r);
        }
        t->n_listeners++;
        if (t->steer)
            steer_join(t->steer, i, t->w->id, fd);
    }
    return 0;
}

void server_close(struct tunnel *t)
{
    for (unsigned i = 0; i < t->n_listeners; i++)
        t->w->ops->del(t->w->io, &t->listeners[i].src);
    t->n_listeners = 0;
}

bool server_allows(const struct tunnel *t, const struct sockaddr_any *from)
{
    const struct conf_profile *c = t->conf;
    uint8_t ip[16];

    if (!c->n_allow && !c->n_deny)
        return true;
    net_addr_ip(from, ip);
    for (unsigned i = 0; i < c->n_deny; i++)
        if (addr_block_has(&c->deny[i], ip))
            return false;
    for (unsigned i = 0; i < c->n_allow; i++)
        if (addr_block_has(&c->allow[i], ip))
            return true;
    return !c->n_allow;
}

/* ---- from datagram to session ---- */

struct arrival { /* an opened datagram on the worker that owns its conversation */
    struct io_src *sock;
    const struct sockaddr_any *from, *to;
    unsigned key;
    uint32_t conv;
    const struct packet_info *info;
    struct bytes payload;
};

enum {
    DISOWN_US = 1000, /* between answers to strangers, ... */
    DISOWN_BURST = 100, /* ... of which so many may go at once */
    FAR_BEHIND = 1 << 30,
};

/* Tells who speaks in a conversation that we know nothing of just that: by a WINS whose una lies before everything that can
 * ever have been acknowledged. Our own client understands (SESSION_LOST_STATE); another ignores it. It is smaller than what
 * it answers, and their number is bounded. */
static void disown(struct tunnel *t, const struct arrival *a)
{
    struct worker *w = t->w;
    struct cipher *c = t->ciphers[a->key];
    uint8_t mem[ARQ_HEADER + 64];
    struct packet_batch one = {.mem = mem};
    struct wr out = wr_to(mem + cipher_head(c), ARQ_HEADER);
    const struct arq_seg s = {
        .conv = a->conv,
        .cmd = ARQ_SEG_WINS,
        .wnd = (uint16_t)MIN(t->conf->rcvwnd, (uint32_t)UINT16_MAX),
        .ts = tick_ms(w->now),
        .una = a->info->opens ? a->info->sn - FAR_BEHIND : 0,
    };
    struct net_gso gso = {0};
    int err;

    if (tick_since_us(t->disowned, w->now) >= DISOWN_US * DISOWN_BURST)
        return;
    t->disowned = tick_add_us(tick_max(t->disowned, w->now), DISOWN_US);
    arq_seg_put(&out, &s);
    packet_batch_add(&one, (size_t)cipher_head(c) + ARQ_HEADER + cipher_tail(c), NULL);
    packet_batch_seal(&one, c, &w->nonce);
    if (net_udp_send(a->sock->fd, a->from, a->to, mem, one.used, one.used, &gso, &err))
        stat_add(&t->stats->disowned, 1);
}

/* A session may begin with a PUSH whose sn a fresh receiver would take: a real client's first datagrams always are such;
 * what a former conversation still retransmits usually is not. */
static struct peer *begin(struct tunnel *t, const struct arrival *a)
{
    struct worker *w = t->w;
    struct peer *p;
    uint8_t ip[16];

    if (!a->info->has_conv || !a->info->opens || a->info->sn >= t->conf->rcvwnd || t->draining ||
        graves_has(&t->peers, a->conv, a->from, w->now)) {
        stat_add(&t->stats->refused_convs, 1);
        if (a->info->has_conv && !t->draining)
            disown(t, a);
        return NULL;
    }
    net_addr_ip(a->from, ip);
    if (worker_is_tight(w) ||
        limits_take(w->sh->limits, t->index, t->conf->maxsessions, ip, t->conf->maxsessionspersource)) {
        stat_add(&t->stats->refused_limit, 1);
        log_warning_of(net_addr_source(a->from),
                       "%s: a session from %s is refused: too many sessions or too little memory", t->conf->name,
                       net_addr_text(a->from));
        return NULL;
    }
    p = peer_new(t, a->conv, false);
    if (!p) {
        limits_give(w->sh->limits, t->index, ip);
        stat_add(&t->stats->memory_drops, 1);
        return NULL;
    }
    p->limited = true;
    memcpy(p->ip, ip, sizeof p->ip);
    p->sock = a->sock;
    p->remote = *a->from;
    p->key = a->key;
    log_info_of(net_addr_source(&p->remote), "%s: session opened", peer_text(p));
    return p;
}

/* The conversation is known from another address: its peer has moved there (NAT) if the datagram is authentic, which a
 * cipher without a checksum cannot tell, and brings something new, which an echo of an old one cannot. */
static struct peer *follow(struct tunnel *t, const struct arrival *a)
{
    struct peer *p = a->info->has_conv ? peers_find_conv(&t->peers, a->conv) : NULL;

    if (!p || cipher_family(t->ciphers[0]) == CIPHER_NULL || !session_is_news(p->session, a->info->segs))
        return NULL;
    log_info_of(net_addr_source(a->from), "%s: moved to %s", peer_text(p), net_addr_text(a->from));
    stat_add(&t->stats->rebindings, 1);
    if (p->route) {
        p->route->peer = NULL;
        p->route = NULL;
    }
    flow_end(p);
    p->remote = *a->from;
    session_moved(p->session, t->w->now);
    return p;
}

static void arrive(struct tunnel *t, const struct arrival *a, struct route *rt)
{
    struct peer *p = rt && rt->conv == a->conv ? rt->peer : NULL;

    if (!p) {
        p = peers_find(&t->peers, a->conv, a->from);
        if (!p)
            p = follow(t, a);
        if (!p)
            p = begin(t, a);
        if (!p)
            return;
        if (rt && rt->conv == a->conv && !p->route) {
            rt->peer = p;
            p->route = rt;
        }
    }
    p->heard = true;
    p->key = a->key;
    p->sock = a->sock;
    p->local = *a->to;
    session_input(p->session, a->payload, t->w->now);
    worker_touch(t->w, p);
}

static void hand_over(struct tunnel *t, const struct arrival *a, unsigned owner)
{
    const struct mail_datagram m = {
        .tunnel = t->index,
        .listener = CONTAINER(a->sock, struct listener, src)->index,
        .conv = a->conv,
        .key = a->key,
        .from = *a->from,
        .to = *a->to,
    };

    if (post_put(t->w->sh->post, t->w->id, owner, MAIL_DATAGRAM, bytes_of(&m, sizeof m), a->payload))
        stat_add(&t->stats->mailbox_drops, 1);
    else
        stat_add(&t->stats->handed_over, 1);
}

void server_route(struct tunnel *t, struct io_src *sock, const struct io_event *ev, unsigned key, struct bytes payload)
{
    struct packet_info info;
    struct arrival a = {.sock = sock, .from = &ev->from, .to = &ev->to, .key = key, .info = &info, .payload = payload};
    struct route *rt;
    unsigned owner;

    if (packet_look(&info, payload)) {
        stat_add(&t->stats->in_errs, 1);
        diagnose_unopened(t, sock, &ev->from, 1);
        return;
    }
    if (info.has_conv)
        rt = routes_learn(&t->peers, &ev->from, info.conv, t->w->now);
    else
        rt = routes_find(&t->peers, &ev->from, t->w->now);
    if (!info.has_conv && (!rt || tick_before(t->w->now, rt->mixed_until)))
        return; /* parity of nobody we know, or of one of two */
    a.conv = info.has_conv ? info.conv : rt->conv;
    owner = worker_of_conv(t->w->sh, a.conv);
    if (owner == t->w->id)
        arrive(t, &a, rt);
    else
        hand_over(t, &a, owner);
}

void server_handed(struct tunnel *t, const struct mail_datagram *m, struct bytes payload)
{
    struct packet_info info;
    struct arrival a = {
        .from = &m->from,
        .to = &m->to,
        .key = m->key,
        .conv = m->conv,
        .info = &info,
        .payload = payload,
    };
    struct peer *p;

    if (m->listener >= t->n_listeners || packet_look(&info, payload))
        return;
    a.sock = &t->listeners[m->listener].src;
    arrive(t, &a, NULL);
    p = peers_find(&t->peers, m->conv, &m->from);
    if (!p)
        return;
    session_settle(p->session); /* the letter goes */
    flow_handed(p, m->listener, &m->to);
}
