/* daemon/report.c - a worker's answers to main: sessions, streams, facts about tunnels; and kicking and draining. */
#include "daemon/report.h"

#include "daemon/relay.h"

#include <linux/sock_diag.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
    SOCKETS_MAX = 256, /* of a tunnel that are looked at: each takes a few system calls */
    STALLED_MS = 3000, /* nothing was acknowledged for so long, ... */
    ANSWERS_MS = 2000, /* although the peer was heard this recently */
};

struct rows { /* of an answer that is being gathered */
    const struct mail_list *m;
    char *v;
    size_t size; /* of a row */
    uint32_t n, cap;
    bool more;
};

/* A zeroed row, or NULL: there is no room for it. */
static void *add(struct rows *r)
{
    if (r->n == r->cap) {
        uint32_t cap = MIN(r->cap ? r->cap * 2 : 16, r->m->max);
        char *v = r->n < cap ? realloc(r->v, cap * r->size) : NULL;

        if (!v) {
            r->more = true;
            return NULL;
        }
        r->v = v;
        r->cap = cap;
    }
    return memset(r->v + r->n++ * r->size, 0, r->size);
}

static uint64_t session_id(const struct peer *p)
{
    return (uint64_t)p->tunnel->w->id << 48 | p->id;
}

static struct list_place place_of(const struct peer *p, uint64_t relay)
{
    return (struct list_place){(uint32_t)p->tunnel->id, p->id, relay};
}

/* It is not on a page before. */
static bool is_later(const struct mail_list *m, const struct list_place *x)
{
    const struct list_place *y = &m->after;

    if (!m->later || x->tunnel != y->tunnel)
        return !m->later || x->tunnel > y->tunnel;
    return x->peer != y->peer ? x->peer > y->peer : x->relay > y->relay;
}

/* Of the last peer of a page, streams may be left. */
static bool wanted(const struct mail_list *m, const struct peer *p)
{
    const struct list_place place = place_of(p, m->kind == LIST_STREAMS ? UINT64_MAX : 0);

    return (m->session == LIST_ALL || m->session == (int64_t)session_id(p)) && is_later(m, &place);
}

static const char *state_of(const struct peer *p)
{
    const struct tunnel *t = p->tunnel;

    if (!p->heard)
        return "opening";
    if (t->draining || p->retired)
        return "draining";
    return t->client && p->slot >= t->conf->conn ? "extra" : "live";
}

static void add_session(struct rows *r, struct peer *p)
{
    struct tunnel *t = p->tunnel;
    struct session_row *row = add(r);

    if (!row)
        return;
    row->place = place_of(p, 0);
    row->id = session_id(p);
    row->tunnel = (int64_t)t->id;
    row->remote = p->remote;
    row->state = state_of(p);
    session_info(p->session, &row->info, t->w->now);
}

static void add_stream(void *rows, const struct relay_info *i, struct peer *p)
{
    const struct list_place place = place_of(p, i->serial);
    struct rows *r = rows;
    struct stream_row *row = is_later(r->m, &place) ? add(r) : NULL;

    if (!row)
        return;
    *row = (struct stream_row){
        .place = place,
        .session = session_id(p),
        .tunnel = (int64_t)p->tunnel->id,
        .id = i->id,
        .state = i->state,
        .age_ms = i->age_ms,
        .in_bytes = i->in_bytes,
        .out_bytes = i->out_bytes,
        .readable = i->readable,
        .queued = i->queued,
    };
    row->local.len = sizeof row->local.in6;
    if (i->fd < 0 || getpeername(i->fd, &row->local.sa, &row->local.len) || row->local.sa.sa_family == AF_UNIX)
        row->local.len = 0;
}

/* ---- facts ---- */

static uint32_t option(int fd, int level, int name)
{
    int v = 0;
    socklen_t len = sizeof v;

    return getsockopt(fd, level, name, &v, &len) || v < 0 ? 0 : (uint32_t)v;
}

static void look_at_socket(struct tunnel_row *row, int fd)
{
    uint32_t mem[SK_MEMINFO_VARS] = {0}, rcv = option(fd, SOL_SOCKET, SO_RCVBUF) / 2;
    uint32_t snd = option(fd, SOL_SOCKET, SO_SNDBUF) / 2;
    socklen_t len = sizeof mem;

    row->rcvbuf = row->asked ? MIN(row->rcvbuf, rcv) : rcv;
    row->sndbuf = row->asked ? MIN(row->sndbuf, snd) : snd;
    row->no_gro += !option(fd, SOL_UDP, UDP_GRO);
    row->asked++;
    if (!getsockopt(fd, SOL_SOCKET, SO_MEMINFO, mem, &len))
        row->drops += mem[SK_MEMINFO_DROPS];
}

static void look_at_path(struct tunnel_row *row, const struct peer *p)
{
    bool v6 = p->remote.sa.sa_family == AF_INET6;
    uint32_t mtu = option(p->src.fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU);

    if (mtu && (!row->mtu_path || mtu < row->mtu_path))
        row->mtu_path = mtu;
}

static void look_at_session(struct tunnel_row *row, const struct peer *p, struct tick now)
{
    struct session_info i;

    session_info(p->session, &i, now);
    row->sessions++;
    row->no_gso += p->gso.off;
    row->stalled += i.stalled_ms >= STALLED_MS && i.heard_ms < ANSWERS_MS && i.rmt_wnd;
    if (p->src.fd < 0)
        return;
    row->sockets++;
    if (row->asked < SOCKETS_MAX) {
        look_at_socket(row, p->src.fd);
        look_at_path(row, p);
    }
}

/* Datagrams of this address open after all. */
static bool is_known(struct tunnel *t, const struct sockaddr_any *a)
{
    if (!t->client)
        return routes_find(&t->peers, a, t->w->now);
    LIST_EACH(p, &t->peers.all, struct peer, all) {
        if (p->heard && net_addr_equal(&p->remote, a))
            return true;
    }
    return false;
}

static void add_facts(struct rows *r, struct tunnel *t)
{
    struct tunnel_row *row = add(r);

    if (!row)
        return;
    row->tunnel = (int64_t)t->id;
    row->trouble = t->trouble;
    for (unsigned i = 0; i < TROUBLE_STRANGERS; i++)
        if (row->trouble.strangers[i].n && is_known(t, &row->trouble.strangers[i].from))
            row->trouble.strangers[i].n = 0;
    row->sockets = t->listeners ? t->listeners->sockets->n_ports : 0;
    for (unsigned i = 0; i < MIN(row->sockets, (unsigned)SOCKETS_MAX); i++)
        look_at_socket(row, t->listeners->v[i].src.fd);
    LIST_EACH(p, &t->peers.all, struct peer, all) {
        look_at_session(row, p, t->w->now);
    }
}

/* ---- all kinds ---- */

static void look(struct rows *r, struct tunnel *t)
{
    struct peer *p, *next;

    if (r->m->kind == LIST_FACTS) {
        add_facts(r, t);
        return;
    }
    if (r->m->kind == LIST_DRAIN || r->m->kind == LIST_UNDRAIN) {
        tunnel_drain(t, r->m->kind == LIST_DRAIN);
        return;
    }
    for (p = LIST_FIRST(&t->peers.all, struct peer, all); p && !r->more; p = next) {
        next = p->all.next == &t->peers.all ? NULL : CONTAINER(p->all.next, struct peer, all);
        if (!wanted(r->m, p))
            continue;
        if (r->m->kind == LIST_STREAMS) {
            relay_list(p, add_stream, r);
            continue;
        }
        add_session(r, p);
        if (r->m->kind == LIST_KICK && !r->more) {
            peer_close(p, "an operator ended it (kick)"); /* others may go with it */
            return;
        }
    }
}

void report_list(struct worker *w, const struct mail_list *m)
{
    static const size_t sizes[] = {
        [LIST_SESSIONS] = sizeof(struct session_row),
        [LIST_STREAMS] = sizeof(struct stream_row),
        [LIST_FACTS] = sizeof(struct tunnel_row),
        [LIST_KICK] = sizeof(struct session_row),
        [LIST_DRAIN] = 0,
        [LIST_UNDRAIN] = 0,
    };
    struct rows r = {.m = m, .size = sizes[m->kind]};
    struct mail_listed a = {.ask = m->ask, .worker = w->id};

    for (unsigned i = 0; i < w->n_tunnels; i++)
        if (w->tunnels[i] && (m->tunnel == LIST_ALL || m->tunnel == (int64_t)w->tunnels[i]->id))
            look(&r, w->tunnels[i]);
    a.rows = r.v;
    a.n = r.n;
    a.more = r.more;
    if (post_put(w->sh->post, w->id, w->sh->n_workers, MAIL_LISTED, bytes_of(&a, sizeof a), bytes_of(NULL, 0)))
        free(r.v);
}
