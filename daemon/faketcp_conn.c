/* daemon/faketcp_conn.c - accepting, finding and ending connections; dialling one. */
#include "daemon/faketcp_conn.h"

#include "core/base/err.h"
#include "daemon/client.h"
#include "daemon/log.h"
#include "daemon/server.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CONNS_MAX = 65536,
    CONN_SLOTS = 8192, /* of the table: short chains up to some ten thousand connections */
    LOOK_MS = 5000,
    SILENT_US = 60 * 1000000, /* without a segment */
    UNPROVEN_US = 10 * 1000000, /* likewise, if there has never been one */
};

/* ---- server ---- */

struct fake_conn {
    struct io_src src;
    struct tunnel *tunnel;
    struct sockaddr_any remote;
    struct list bucket, lru;
    struct tick seen; /* the last segment, or the beginning */
    bool proven; /* there has been one */
};

struct fake_conns {
    struct tunnel *tunnel;
    struct timer look;
    unsigned n;
    struct list proven, unproven; /* longest silent first */
    struct list slots[CONN_SLOTS];
};

static struct list *slot_of(struct fake_conns *cs, const struct sockaddr_any *a)
{
    return &cs->slots[net_addr_hash(a, cs->tunnel->w->sh->hash_seed) % CONN_SLOTS];
}

/* What is left of it goes with IO_GONE. */
static void drop(struct fake_conn *c)
{
    struct tunnel *t = c->tunnel;

    list_del(&c->bucket);
    list_del(&c->lru);
    t->conns->n--;
    t->w->ops->del(t->w->io, &c->src);
}

void fake_conn_gone(struct io_src *src)
{
    struct fake_conn *c = CONTAINER(src, struct fake_conn, src);
    struct tunnel *t = c->tunnel;

    free(c);
    tunnel_src_gone(t);
}

static void drop_silent(const struct fake_conns *cs, struct list *lru, uint64_t after_us)
{
    struct fake_conn *c;

    while ((c = LIST_FIRST(lru, struct fake_conn, lru)) && tick_since_us(cs->tunnel->w->now, c->seen) >= after_us)
        drop(c);
}

static void on_look(struct timer *tm)
{
    struct fake_conns *cs = CONTAINER(tm, struct fake_conns, look);

    drop_silent(cs, &cs->proven, SILENT_US);
    drop_silent(cs, &cs->unproven, UNPROVEN_US);
    if (cs->n)
        worker_set(cs->tunnel->w, &cs->look, tick_add_ms(cs->tunnel->w->now, LOOK_MS));
}

static struct fake_conns *conns_of(struct tunnel *t)
{
    struct fake_conns *cs = t->conns ? t->conns : calloc(1, sizeof *cs);

    if (!cs || t->conns)
        return cs;
    cs->tunnel = t;
    cs->look.fire = on_look;
    list_init(&cs->proven);
    list_init(&cs->unproven);
    for (unsigned i = 0; i < CONN_SLOTS; i++)
        list_init(&cs->slots[i]);
    return t->conns = cs;
}

/* 0, -errno: fd is still the caller's. */
static int add(struct fake_conns *cs, int fd, const struct sockaddr_any *from)
{
    struct tunnel *t = cs->tunnel;
    struct worker *w = t->w;
    struct fake_conn *c = calloc(1, sizeof *c);
    int r = c ? worker_add(w, &c->src, SRC_FAKE, fd, w->ops->add_stream) : -ENOMEM;

    if (r) {
        free(c);
        return r;
    }
    t->n_srcs++;
    c->tunnel = t;
    c->remote = *from;
    c->seen = w->now;
    list_init(&c->bucket);
    list_init(&c->lru);
    list_push(slot_of(cs, from), &c->bucket);
    list_push(&cs->unproven, &c->lru);
    if (!cs->n++)
        worker_set(w, &cs->look, tick_add_ms(w->now, LOOK_MS));
    w->ops->read(w->io, &c->src);
    return 0;
}

/* Room for one more: those that never sent a segment make way. */
static bool make_room(struct fake_conns *cs)
{
    struct fake_conn *oldest = LIST_FIRST(&cs->unproven, struct fake_conn, lru);

    if (cs->n == CONNS_MAX && oldest)
        drop(oldest);
    return cs->n < CONNS_MAX;
}

void fake_conns_accept(struct tunnel *t, const struct io_event *ev)
{
    struct fake_conns *cs = conns_of(t);
    struct sockaddr_any from = ev->from;

    if (ev->res < 0) {
        log_warning("%s: cannot accept a connection: %s", t->conf->name, strerror(-ev->res));
        return;
    }
    if (!net_accepted_from(ev->res, &from)) {
        close(ev->res);
    } else if (!server_allows(t, &from)) {
        stat_add(&t->stats->refused_access, 1);
        close(ev->res);
    } else if (!cs || !make_room(cs) || add(cs, ev->res, &from)) {
        stat_add(&t->stats->refused_limit, 1);
        log_warning_of(net_addr_source(&from), "%s: a connection from %s is refused: too many, or too little memory",
                       t->conf->name, net_addr_text(&from));
        close(ev->res);
    }
}

void fake_conn_on_io(struct io_src *src, const struct io_event *ev)
{
    struct fake_conn *c = CONTAINER(src, struct fake_conn, src);
    struct worker *w = c->tunnel->w;

    if (ev->kind == IO_READ && ev->len)
        w->ops->read(w->io, src);
    else
        drop(c);
}

void fake_conns_heard(struct tunnel *t, const struct sockaddr_any *from)
{
    struct fake_conns *cs = t->conns;

    if (!cs)
        return;
    LIST_EACH(c, slot_of(cs, from), struct fake_conn, bucket) {
        if (!net_addr_equal(&c->remote, from))
            continue;
        c->seen = t->w->now;
        c->proven = true;
        list_del(&c->lru);
        list_push(&cs->proven, &c->lru);
    }
}

void fake_conns_close(struct tunnel *t)
{
    struct fake_conns *cs = t->conns;

    if (!cs)
        return;
    drop_silent(cs, &cs->proven, 0);
    drop_silent(cs, &cs->unproven, 0);
    worker_cancel(t->w, &cs->look);
    free(cs);
    t->conns = NULL;
}

/* ---- client ---- */

struct fake_dial {
    struct io_src src;
    struct tunnel *tunnel;
    struct peer *peer; /* NULL: it has ended */
    bool connected, answered; /* the kernel is; the numbers are known */
};

bool fake_dial_waits(const struct peer *p)
{
    return p->fake && !(p->fake->connected && p->fake->answered);
}

int fake_dial(struct peer *p, const struct faketcp_dialled *d)
{
    struct worker *w = p->tunnel->w;
    struct fake_dial *f = calloc(1, sizeof *f);
    int r = f ? worker_add(w, &f->src, SRC_DIALLED, d->tcp, w->ops->add_stream) : err_here(-ENOMEM);

    if (r) {
        close(d->tcp);
        close(d->raw);
        free(f);
        return err_pass(r);
    }
    f->tunnel = p->tunnel;
    f->peer = p;
    p->fake = f;
    p->local = d->local;
    r = worker_add(w, &p->src, SRC_PEER, d->raw, w->ops->add_udp);
    if (r) {
        close(d->raw);
        return err_pass(r);
    }
    return w->ops->want_write(w->io, &f->src);
}

void fake_dial_close(struct peer *p)
{
    struct fake_dial *f = p->fake;
    struct worker *w = p->tunnel->w;

    p->fake = NULL;
    if (!f)
        return;
    f->peer = NULL;
    w->ops->del(w->io, &f->src);
}

void fake_dial_gone(struct io_src *src)
{
    free(CONTAINER(src, struct fake_dial, src));
}

static void came_up(struct peer *p)
{
    if (!fake_dial_waits(p))
        client_connected(p->tunnel->client, p);
}

bool fake_dial_heard(struct peer *p, const struct io_event *ev, const struct faketcp_segment *s)
{
    struct faketcp_numbers heard;

    if (!net_addr_equal(&ev->from, &p->remote) || !net_addr_equal(&ev->to, &p->local))
        return false;
    heard = faketcp_heard(s);
    faketcp_follow(&p->numbers, &heard);
    if (!p->fake->answered) {
        p->fake->answered = true;
        came_up(p);
        return false;
    }
    return !(s->flags & FAKETCP_SYN);
}

/* Connected, or not; or the server has ended the connection. Then segments may still pass, but not for long, since nothing
 * on the way believes in them any more. */
void fake_dial_on_io(struct io_src *src, const struct io_event *ev)
{
    struct fake_dial *f = CONTAINER(src, struct fake_dial, src);
    struct worker *w = f->tunnel->w;
    int r;

    if (ev->kind == IO_WRITABLE && !f->connected) {
        r = net_socket_error(src->fd);
        if (r) {
            client_refused(f->tunnel->client, f->peer, strerror(-r));
            return;
        }
        f->connected = true;
        w->ops->read(w->io, src);
        came_up(f->peer);
    } else if (ev->kind == IO_READ && ev->len) {
        w->ops->read(w->io, src);
    } else if (!client_refused(f->tunnel->client, f->peer, "the server has ended the connection")) {
        client_cut_off(f->tunnel->client, f->peer);
    }
}
