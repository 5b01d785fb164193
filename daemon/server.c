/* daemon/server.c - listeners; from datagram to session; who may open one. */
#include "daemon/server.h"

#include "core/arq.h"
#include "core/arq_seg.h"
#include "core/base/err.h"
#include "daemon/diagnose.h"
#include "daemon/elder.h"
#include "daemon/event.h"
#include "daemon/faketcp_conn.h"
#include "daemon/finish.h"
#include "daemon/flow.h"
#include "daemon/forward.h"
#include "daemon/log.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- listeners ---- */

static void listeners_free(struct listeners *l)
{
    sockets_put(l->sockets);
    free(l);
}

/* Closes its sockets; freed as they go. */
static void listeners_close(struct listeners *l)
{
    struct worker *w = l->tunnel->w;

    list_del(&l->node);
    if (!l->n_srcs) {
        listeners_free(l);
        return;
    }
    for (unsigned i = 0; i < l->n; i++)
        if (l->v[i].set)
            w->ops->del(w->io, &l->v[i].src);
    for (unsigned i = 0; i < SOCKETS_RAWS; i++)
        if (l->raw[i].set)
            w->ops->del(w->io, &l->raw[i].src);
}

void server_gone(struct io_src *src)
{
    struct listeners *l = CONTAINER(src, struct listener, src)->set;
    struct tunnel *t = l->tunnel;

    if (--l->n_srcs == 0)
        listeners_free(l);
    tunnel_src_gone(t);
}

/* Watches a socket of a port, if there is one. 0, -errno. */
static int listener_open(struct listener *to, struct listeners *l, enum src_kind kind, unsigned port, int fd)
{
    struct worker *w = l->tunnel->w;
    int r = fd < 0 ? 0 : worker_add(w, &to->src, kind, fd, kind == SRC_TCP ? w->ops->add_listener : w->ops->add_udp);

    if (r)
        close(fd);
    if (r || fd < 0)
        return r ? err_pass(r) : 0;
    to->set = l;
    to->index = port;
    l->n_srcs++;
    l->tunnel->n_srcs++;
    return 0;
}

/* Watches this worker's sockets of the set. 0, -errno. */
static int listeners_open(struct listeners *l)
{
    struct sockets *s = l->sockets;
    unsigned id = l->tunnel->w->id, n = s->n_ports;
    int r = 0;

    for (unsigned i = 0; i < n && !r; i++) {
        int fd = sockets_adopt(s, i, id);

        r = fd < 0 ? err_say(-EBADF, "port %u: it could not be opened before", s->at.port_min + i)
                   : listener_open(&l->v[i], l, SRC_LISTENER, i, fd);
    }
    for (unsigned i = 0; i < SOCKETS_RAWS && !r; i++)
        r = listener_open(&l->raw[i], l, SRC_RAW, i, sockets_adopt_raw(s, i, id));
    for (unsigned i = 0; i < n && s->tcp && !r; i++)
        r = listener_open(&l->v[n + i], l, SRC_TCP, i, sockets_adopt_tcp(s, i, id));
    return r;
}

struct listeners *server_set_of(const struct peer *p)
{
    return CONTAINER(p->sock, struct listener, src)->set;
}

/* What p sends by, and is steered to. */
static void change_sock(struct peer *p, struct io_src *sock)
{
    if (p->sock && server_set_of(p) != CONTAINER(sock, struct listener, src)->set)
        flow_end(p);
    p->sock = sock;
}

/* The raw socket for a peer of that family. NULL: there is none. */
static struct io_src *find_raw(struct listeners *l, int family)
{
    struct listener *raw = &l->raw[family == AF_INET6];

    return raw->set ? &raw->src : NULL;
}

/* The socket of that UDP port in l. NULL: it has none. */
static struct io_src *find_port(struct listeners *l, unsigned port)
{
    const struct addr_text *a = &l->sockets->at;

    return port >= a->port_min && port <= a->port_max && l->v[port - a->port_min].set ? &l->v[port - a->port_min].src
                                                                                      : NULL;
}

static unsigned port_of(const struct listener *l)
{
    return l->set->sockets->at.port_min + l->index;
}

/* For a former socket the one that has taken its place, if any. */
static struct io_src *successor(struct tunnel *t, struct io_src *sock)
{
    struct listener *l = CONTAINER(sock, struct listener, src);
    struct io_src *now = NULL;

    if (l->set == t->listeners || !sockets_same_host(l->set->sockets, t->listeners->sockets))
        return sock;
    if (sock->kind == SRC_RAW)
        now = find_raw(t->listeners, l == &l->set->raw[1] ? AF_INET6 : AF_INET);
    else
        now = find_port(t->listeners, port_of(l));
    return now ? now : sock;
}

int server_open(struct tunnel *t, struct sockets *s)
{
    unsigned n = s->tcp ? 2 * s->n_ports : s->n_ports;
    struct listeners *l = calloc(1, sizeof *l + n * sizeof l->v[0]);
    int r;

    if (!l)
        return err_here(-ENOMEM);
    l->n = n;
    l->tunnel = t;
    l->sockets = sockets_ref(s);
    list_init(&l->node);
    r = listeners_open(l);
    if (r) {
        atomic_store(&s->broken, true);
        listeners_close(l);
        return err_pass(r);
    }
    if (t->listeners) {
        list_push(&t->old, &t->listeners->node);
        t->listeners = l;
        LIST_EACH(p, &t->peers.all, struct peer, all) {
            change_sock(p, successor(t, p->sock));
        }
    }
    t->listeners = l;
    return 0;
}

void server_close(struct tunnel *t)
{
    struct listeners *l;

    while ((l = LIST_FIRST(&t->old, struct listeners, node)))
        listeners_close(l);
    if (t->listeners)
        listeners_close(t->listeners);
    t->listeners = NULL;
    fake_conns_close(t);
}

static bool is_elders(const struct listeners *l)
{
    return l->sockets->origin_set && elder_claims_any(l->tunnel->w->sh->elder);
}

void server_mark_unused(struct tunnel *t)
{
    LIST_EACH(l, &t->old, struct listeners, node) {
        l->used = is_elders(l);
    }
}

bool server_reads_for_elder(const struct tunnel *t)
{
    if (t->listeners && is_elders(t->listeners))
        return true;
    LIST_EACH(l, &t->old, struct listeners, node) {
        if (is_elders(l))
            return true;
    }
    return false;
}

bool server_mark_used(struct tunnel *t, const struct peer *p)
{
    struct listeners *l = server_set_of(p);

    l->used = true;
    return l != t->listeners;
}

void server_drop_unused(struct tunnel *t)
{
    LIST_EACH(l, &t->old, struct listeners, node) {
        if (!l->used)
            listeners_close(l);
    }
}

static void tune_set(const struct listeners *l, const struct conf_profile *c)
{
    for (unsigned i = 0; i < l->sockets->n_ports; i++)
        net_udp_tune(l->v[i].src.fd, c->sockbuf, (uint8_t)c->dscp);
    for (unsigned i = 0; i < SOCKETS_RAWS; i++)
        if (l->raw[i].set)
            net_udp_tune(l->raw[i].src.fd, c->sockbuf, (uint8_t)c->dscp);
}

void server_pause(const struct tunnel *t, bool paused)
{
    struct worker *w = t->w;

    if (!t->listeners || !atomic_load(&t->listeners->sockets->handed))
        return;
    for (unsigned i = 0; i < t->listeners->n; i++)
        if (t->listeners->v[i].set) /* raw sockets go on: each process has its own, and they hear everything */
            w->ops->pause(w->io, &t->listeners->v[i].src, paused);
}

void server_tune(const struct tunnel *t)
{
    tune_set(t->listeners, t->conf);
    LIST_EACH(l, &t->old, struct listeners, node) {
        tune_set(l, t->conf);
    }
    if (!t->w->id) /* those of the other workers are like it */
        event_sockbuf(t->conf, t->listeners->v[0].src.fd);
}

/* The set of that id, or what has taken its place. */
static struct listeners *find_set(struct tunnel *t, uint32_t set)
{
    LIST_EACH(l, &t->old, struct listeners, node) {
        if (l->sockets->id == set)
            return l;
    }
    return t->listeners;
}

struct io_src *server_find_sock(struct tunnel *t, uint32_t set, unsigned port)
{
    return find_port(find_set(t, set), port);
}

bool server_heard(struct io_src *sock, const struct faketcp_segment *s)
{
    struct listener *l = CONTAINER(sock, struct listener, src);
    const struct addr_text *at = &l->set->sockets->at;

    if (s->to < at->port_min || s->to > at->port_max || !(s->flags & FAKETCP_PSH))
        return false; /* from before the socket had its filter */
    l->heard = faketcp_heard(s);
    return true;
}

void server_proven(struct tunnel *t, const struct io_src *sock, const struct io_event *ev)
{
    if (sock->kind == SRC_RAW) /* a segment alone, which anybody can send, makes no connection worth keeping */
        fake_conns_heard(t, &ev->from);
}

static void stop_accepting(struct worker *w, struct listeners *l)
{
    for (unsigned i = l->sockets->n_ports; i < l->n; i++)
        if (l->v[i].set)
            w->ops->del(w->io, &l->v[i].src);
}

void server_stop_accepting(const struct tunnel *t)
{
    if (t->listeners)
        stop_accepting(t->w, t->listeners);
    LIST_EACH(l, &t->old, struct listeners, node) {
        stop_accepting(t->w, l);
    }
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
    struct tunnel_key *key;
    uint32_t conv;
    const struct packet_info *info;
    struct bytes payload;
    struct faketcp_numbers heard; /* by a raw socket */
};

enum {
    DISOWN_US = 1000, /* between answers to strangers, ... */
    DISOWN_BURST = 100, /* ... of which so many may go at once */
};

/* Says by one datagram that we know nothing of conversation conv: a WINS whose una lies far before next, up to which its
 * peer may have been acknowledged. Our own client understands (SESSION_LOST_STATE); another ignores it. True: it left. */
static bool say_unknown(struct tunnel *t, const struct tunnel_way *way, struct cipher *c, uint32_t conv, uint32_t next)
{
    struct worker *w = t->w;
    uint8_t mem[ARQ_HEADER + 64];
    struct packet_batch one = {.mem = mem};
    struct wr out = wr_to(mem + cipher_head(c), ARQ_HEADER);
    const struct arq_seg s = {
        .conv = conv,
        .cmd = ARQ_SEG_WINS,
        .wnd = (uint16_t)MIN(t->conf->rcvwnd, (uint32_t)UINT16_MAX),
        .ts = tick_ms(w->now),
        .una = next - 2 * ARQ_FAR_BEHIND,
    };
    int err;

    arq_seg_put(&out, &s);
    packet_batch_add(&one, (size_t)cipher_head(c) + ARQ_HEADER + cipher_tail(c), NULL);
    packet_batch_seal(&one, c, &w->nonce);
    return tunnel_send_run(t, way, mem, one.used, one.used, &err);
}

/* Tells who speaks in a conversation that we know nothing of just that. It is smaller than what it answers, and their number
 * is bounded. */
static void disown(struct tunnel *t, const struct arrival *a)
{
    struct worker *w = t->w;
    struct net_gso gso = {0};
    struct faketcp_numbers numbers = a->heard;
    const struct tunnel_way way = {
        .fd = a->sock->fd,
        .to = a->from,
        .from = a->to,
        .numbers = a->sock->kind == SRC_RAW ? &numbers : NULL,
        .gso = &gso,
    };

    if (w->frozen || tick_since_us(t->disowned, w->now) >= DISOWN_US * DISOWN_BURST)
        return; /* frozen: it may be another process's */
    t->disowned = tick_add_us(tick_max(t->disowned, w->now), DISOWN_US);
    if (say_unknown(t, &way, a->key->cipher, a->conv, a->info->opens ? a->info->sn : 0))
        stat_add(&t->stats->disowned, 1);
}

void server_disown(struct peer *p)
{
    const struct tunnel_way way = tunnel_way_of(p);

    if (smux_peer_is_ours(session_smux(p->session)) && !smux_peer_leaves(session_smux(p->session)))
        say_unknown(p->tunnel, &way, p->key->cipher, session_conv(p->session), session_rcv_next(p->session));
}

/* New sessions come to where the profile listens now, under keys it has now. */
static bool may_begin(const struct tunnel *t, const struct arrival *a)
{
    bool current = false;

    for (unsigned i = 0; i < t->keys.n_current; i++)
        current = current || t->keys.v[i] == a->key;
    return current && !t->w->frozen && CONTAINER(a->sock, struct listener, src)->set == t->listeners;
}

/* A session may begin with a PUSH whose sn a fresh receiver would take: a real client's first datagrams always are such;
 * what a former conversation still retransmits usually is not. */
static struct peer *begin(struct tunnel *t, const struct arrival *a)
{
    struct worker *w = t->w;
    struct peer *p;
    uint8_t ip[16];
    bool stranger =
        !a->info->opens || a->info->sn >= t->conf->rcvwnd || graves_has(&t->peers, a->conv, a->from, w->now);

    if (a->info->has_conv && (!a->info->opens || a->info->sn) && peers_find_conv(&t->peers, a->conv)) {
        stat_add(&t->stats->refused_convs, 1); /* its peer has moved, it seems, and follow() will have proof soon */
        return NULL;
    }
    if (!a->info->has_conv || stranger || t->draining || !may_begin(t, a)) {
        stat_add(&t->stats->refused_convs, 1);
        if (a->info->has_conv && (stranger || t->draining))
            disown(t, a);
        return NULL;
    }
    net_addr_ip(a->from, ip);
    if (worker_is_tight(w) ||
        limits_take(w->sh->limits, t->id, t->conf->maxsessions, ip, t->conf->maxsessionspersource)) {
        stat_add(&t->stats->refused_limit, 1);
        log_warning_of(net_addr_source(a->from),
                       "%s: a session from %s is refused: too many sessions or too little memory", t->conf->name,
                       net_addr_text(a->from));
        return NULL;
    }
    p = peer_new(t, a->key, a->conv, 0);
    if (!p) {
        limits_give(w->sh->limits, t->id, ip);
        stat_add(&t->stats->memory_drops, 1);
        return NULL;
    }
    p->limited = true;
    memcpy(p->ip, ip, sizeof p->ip);
    p->sock = a->sock;
    p->remote = *a->from;
    event_session(p, "opened");
    return p;
}

/* The conversation is known from another address: its peer has moved there (NAT) if the datagram is authentic, which a
 * cipher without a checksum cannot tell, and brings something new, which an echo of an old one cannot. */
static struct peer *follow(struct tunnel *t, const struct arrival *a)
{
    struct peer *p = a->info->has_conv ? peers_find_conv(&t->peers, a->conv) : NULL;

    if (!p || cipher_family(a->key->cipher) == CIPHER_NULL || !session_is_news(p->session, a->info->segs))
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
    finish_tell(p, false);
    return p;
}

/* Under another key than so far: another pass phrase may take over, another cipher has other room in its packets. */
static bool fits_key(const struct peer *p, const struct tunnel_key *key)
{
    return p->key == key || p->key->crypt == key->crypt;
}

/* The session that took it, or NULL. */
static struct peer *arrive(struct tunnel *t, struct arrival *a, struct route *rt)
{
    struct peer *p;

    a->sock = successor(t, a->sock);
    p = rt && rt->conv == a->conv ? rt->peer : NULL;

    if (!p) {
        p = peers_find(&t->peers, a->conv, a->from);
        if (!p)
            p = follow(t, a);
        if (!p)
            p = begin(t, a);
        if (!p)
            return NULL;
        if (rt && rt->conv == a->conv && !p->route) {
            rt->peer = p;
            p->route = rt;
        }
    }
    if (!fits_key(p, a->key)) {
        stat_add(&t->stats->refused_convs, 1);
        return NULL;
    }
    p->heard = true;
    p->key = a->key;
    change_sock(p, a->sock);
    p->local = *a->to;
    if (p->sock->kind == SRC_RAW)
        faketcp_follow(&p->numbers, &a->heard);
    session_input(p->session, a->payload, t->w->now);
    worker_touch(t->w, p);
    return p;
}

static void hand_over(struct tunnel *t, const struct arrival *a, unsigned owner)
{
    const struct listener *l = CONTAINER(a->sock, struct listener, src);
    const struct mail_datagram m = {
        .tunnel = t->id,
        .key = a->key->id,
        .sockets = l->set->sockets->id,
        .port = a->sock->kind == SRC_RAW ? 0 : port_of(l),
        .conv = a->conv,
        .numbers = a->heard,
        .from = *a->from,
        .to = *a->to,
    };

    if (post_put(t->w->sh->post, t->w->id, owner, MAIL_DATAGRAM, bytes_of(&m, sizeof m), a->payload))
        stat_add(&t->stats->mailbox_drops, 1);
    else
        stat_add(&t->stats->handed_over, 1);
}

struct peer *server_route(struct tunnel *t, struct io_src *sock, const struct io_event *ev, struct tunnel_key *key,
                          struct bytes payload, struct bytes raw)
{
    struct packet_info info;
    struct arrival a = {.sock = sock, .from = &ev->from, .to = &ev->to, .key = key, .info = &info, .payload = payload};
    struct route *rt;
    unsigned owner;

    if (sock->kind == SRC_RAW)
        a.heard = CONTAINER(sock, struct listener, src)->heard;
    if (packet_look(&info, payload)) {
        stat_add(&t->stats->in_errs, 1);
        diagnose_unopened(t, sock, &ev->from, 1);
        return NULL;
    }
    if (info.has_conv)
        rt = routes_learn(&t->peers, &ev->from, info.conv, t->w->now);
    else
        rt = routes_find(&t->peers, &ev->from, t->w->now);
    if (forward_opened(t, CONTAINER(sock, struct listener, src), ev, &info, rt, raw))
        return NULL;
    if (!info.has_conv && (!rt || tick_before(t->w->now, rt->mixed_until))) {
        stat_add(&t->stats->refused_convs, 1); /* parity of nobody we know, or of one of two */
        return NULL;
    }
    worker_tidy_later(t->w);
    a.conv = info.has_conv ? info.conv : rt->conv;
    owner = worker_of_conv(t->w->sh, a.conv);
    if (owner == t->w->id)
        return arrive(t, &a, rt);
    hand_over(t, &a, owner);
    return NULL;
}

void server_handed(struct tunnel *t, const struct mail_datagram *m, struct bytes payload)
{
    struct packet_info info;
    struct arrival a = {
        .from = &m->from,
        .to = &m->to,
        .key = keyring_find(&t->keys, m->key),
        .conv = m->conv,
        .info = &info,
        .payload = payload,
        .heard = m->numbers,
    };
    struct peer *p;

    if (packet_look(&info, payload))
        return;
    if (m->port)
        a.sock = server_find_sock(t, m->sockets, m->port);
    else
        a.sock = find_raw(find_set(t, m->sockets), m->from.sa.sa_family);
    if (!a.sock || !a.key || !keyring_cipher(a.key, t->conf->name)) { /* one of us has not moved on yet */
        stat_add(&t->stats->mailbox_drops, 1);
        return;
    }
    p = arrive(t, &a, NULL);
    if (!p)
        return;
    session_settle(p->session); /* the letter goes */
    if (p->sock->kind == SRC_LISTENER)
        flow_handed(p, CONTAINER(p->sock, struct listener, src)->index, &m->to);
}
