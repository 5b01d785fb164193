/* daemon/client.c - local connections, dealt to slots. */
#include "daemon/client.h"

#include "core/base/err.h"
#include "daemon/dial.h"
#include "daemon/log.h"
#include "daemon/slot.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AGAIN_MS = 200 };

struct door { /* where local connections arrive, on the home worker; on the heap till IO_GONE */
    struct io_src src;
    struct tunnel *tunnel;
    struct sockets *sockets; /* a reference */
};

struct client {
    struct tunnel *tunnel;
    struct door *door; /* NULL: on another worker, or closed */
    struct remotes *remotes;
    struct slot *slots; /* those of this worker are in use */
    unsigned n_slots; /* `conn`, and with mode auto some more behind them */
    uint16_t next; /* whose turn it is */
    struct timer again; /* to listen again, where that did not work yet */
    unsigned tries;
};

static unsigned slot_worker(const struct client *c, unsigned slot)
{
    return (c->tunnel->plan->sockets->home + slot) % c->tunnel->w->sh->n_workers;
}

static bool is_ours(const struct client *c, unsigned slot)
{
    return slot_worker(c, slot) == c->tunnel->w->id;
}

static void note_closed(struct sockets *s)
{
    atomic_store_explicit(&s->closed, true, memory_order_release);
    if (s->at.path && *s->at.path != '@' && !atomic_load(&s->handed))
        unlink(s->at.path);
}

static void close_door(struct client *c)
{
    struct door *d = c->door;

    c->door = NULL;
    if (!d)
        return;
    note_closed(d->sockets);
    c->tunnel->w->ops->del(c->tunnel->w->io, &d->src);
}

int client_listen(struct client *c, struct sockets *s)
{
    struct tunnel *t = c->tunnel;
    struct worker *w = t->w;
    struct door *d;
    int fd, r;

    fd = sockets_adopt(s, 0, w->id);
    if (fd < 0)
        return 0;
    if (t->draining && !t->retired) { /* later: nobody is to wait there meanwhile */
        note_closed(s);
        close(fd);
        return 0;
    }
    d = calloc(1, sizeof *d);
    r = d ? worker_add(w, &d->src, SRC_CLIENT, fd, w->ops->add_listener) : err_here(-ENOMEM);
    if (r) {
        atomic_store(&s->broken, true);
        note_closed(s);
        close(fd);
        free(d);
        return err_pass(r);
    }
    d->tunnel = t;
    d->sockets = sockets_ref(s);
    t->n_srcs++;
    close_door(c);
    c->door = d;
    return 0;
}

/* n slots that nobody uses yet; NULL: out of memory. */
static struct slot *make_slots(struct client *c, unsigned n)
{
    struct slot *v = calloc(n, sizeof *v);

    for (unsigned i = 0; v && i < n; i++)
        slot_init(&v[i], c->tunnel, c->remotes, i);
    return v;
}

static void on_again(struct timer *tm);

int client_new(struct client **cp, struct tunnel *t)
{
    struct client *c = calloc(1, sizeof *c);

    if (!c)
        return err_here(-ENOMEM);
    *cp = c;
    c->tunnel = t;
    c->again.fire = on_again;
    c->remotes = remotes_new(t->conf);
    c->slots = c->remotes ? make_slots(c, deal_places(t->plan->deal)) : NULL;
    if (!c->slots)
        return err_here(-ENOMEM);
    c->n_slots = deal_places(t->plan->deal);
    return client_listen(c, t->plan->sockets);
}

struct client *client_free(struct client *c)
{
    if (!c)
        return NULL;
    remotes_free(c->remotes);
    free(c->slots);
    free(c);
    return NULL;
}

/* Listens again, once the old listener is gone; tries until it may. */
static void begin_again(struct client *c)
{
    struct tunnel *t = c->tunnel;
    int r;

    if (t->n_srcs || t->draining)
        return;
    r = sockets_reopen(t->plan->sockets, t->w->id);
    if (!r)
        r = client_listen(c, t->plan->sockets);
    if (r && !c->tries++)
        log_error("%s: cannot listen again yet: %s", t->conf->name, err_text());
    if (r) {
        worker_set(t->w, &c->again, tick_add_ms(t->w->now, AGAIN_MS));
        return;
    }
    if (c->tries)
        log_info("%s: listens again", t->conf->name);
    c->tries = 0;
}

static void on_again(struct timer *tm)
{
    begin_again(CONTAINER(tm, struct client, again));
}

void client_drain(struct client *c, bool on)
{
    worker_cancel(c->tunnel->w, &c->again);
    if (!on) {
        begin_again(c);
        return;
    }
    close_door(c);
    for (unsigned i = 0; i < c->n_slots; i++)
        slot_drain(&c->slots[i]);
}

void client_close(struct client *c)
{
    worker_cancel(c->tunnel->w, &c->again);
    close_door(c);
    for (unsigned i = 0; i < c->n_slots; i++)
        slot_close(&c->slots[i]);
}

void client_pause(struct client *c, bool paused)
{
    struct worker *w = c->tunnel->w;

    if (c->door && atomic_load(&c->door->sockets->handed))
        w->ops->pause(w->io, &c->door->src, paused);
}

bool client_waits(const struct client *c)
{
    for (unsigned i = 0; i < c->n_slots; i++)
        if (c->slots[i].n_fds)
            return true;
    return false;
}

void client_gone(struct io_src *s)
{
    struct door *d = CONTAINER(s, struct door, src);
    struct tunnel *t = d->tunnel;

    sockets_put(d->sockets);
    free(d);
    if (t->n_srcs > 1 || t->closing || t->draining || t->client->door) {
        tunnel_src_gone(t);
        return;
    }
    t->n_srcs--;
    begin_again(t->client);
}

/* ---- changes ---- */

static void deal_again(struct slot *s, int fd)
{
    client_deal(s->tunnel->client, s->index % s->tunnel->conf->conn, fd);
}

/* As many slots as the profile says now. */
static void resize(struct client *c)
{
    unsigned n_old = c->n_slots, n = deal_places(c->tunnel->plan->deal);
    struct slot *old = c->slots, *v = n == n_old ? NULL : make_slots(c, n);

    if (n == n_old)
        return;
    if (!v) {
        log_error("%s: %u sessions instead of %u: out of memory", c->tunnel->conf->name, n, n_old);
        return;
    }
    c->slots = v;
    c->n_slots = n;
    for (unsigned i = 0; i < n_old; i++) {
        if (i < n)
            slot_move(&v[i], &old[i]);
        else
            slot_dissolve(&old[i], deal_again);
    }
    free(old);
}

int client_follow(struct client *c, const struct conf_profile *conf)
{
    struct remotes *r = remotes_follow(c->remotes, conf);

    if (!r)
        return err_here(-ENOMEM);
    c->remotes = r;
    for (unsigned i = 0; i < c->n_slots; i++)
        c->slots[i].remotes = r;
    return 0;
}

struct remotes *client_remotes(struct client *c)
{
    return c->remotes;
}

void client_change(struct client *c, bool renew)
{
    resize(c);
    for (unsigned i = 0; i < c->n_slots; i++) {
        if (!is_ours(c, i))
            continue;
        slot_changed(&c->slots[i]);
        if (renew)
            slot_renew(&c->slots[i]);
    }
}

/* ---- what slots are told ---- */

void client_on_resolved(struct client *c, const struct resolve_result *res)
{
    remotes_answer(c->remotes, res, c->tunnel->w->now);
    for (unsigned i = 0; i < c->n_slots; i++)
        if (is_ours(c, i))
            slot_step(&c->slots[i]);
}

void client_on_network(struct client *c)
{
    struct tunnel *t = c->tunnel;

    LIST_EACH(p, &t->peers.all, struct peer, all) {
        if (dial_has_other_way(p))
            slot_way_changed(&c->slots[p->slot % c->n_slots], p); /* that one is gone: it has no other part in any */
    }
}

void client_served(struct client *c, struct peer *p)
{
    if (p->slot < c->n_slots)
        slot_served(&c->slots[p->slot], p);
}

void client_lost(struct client *c, struct peer *p)
{
    if (p->slot < c->n_slots)
        slot_lost(&c->slots[p->slot], p);
}

bool client_refused(struct client *c, struct peer *p, const char *why)
{
    return p->slot < c->n_slots && slot_refused(&c->slots[p->slot], p, why);
}

void client_connected(struct client *c, struct peer *p)
{
    if (p->slot < c->n_slots)
        slot_connected(&c->slots[p->slot], p);
}

void client_cut_off(struct client *c, struct peer *p)
{
    if (p->slot < c->n_slots)
        slot_cut_off(&c->slots[p->slot], p);
}

void client_take(struct client *c, unsigned slot, int fd)
{
    unsigned i = slot % c->n_slots; /* who dealt it may know another number */

    for (unsigned n = 0; n < c->n_slots && !is_ours(c, i); n++)
        i = (i + 1) % c->n_slots;
    slot_take(&c->slots[i], fd);
}

/* ---- local connections ---- */

void client_deal(struct client *c, unsigned slot, int fd)
{
    const struct mail_stream m = {c->tunnel->id, slot, fd};
    struct worker *w = c->tunnel->w;

    if (is_ours(c, slot))
        client_take(c, slot, fd);
    else if (post_put(w->sh->post, w->id, slot_worker(c, slot), MAIL_STREAM, bytes_of(&m, sizeof m), bytes_of(NULL, 0)))
        slot_refuse(fd);
}

/* A listener on loopback has made its connections what they should be. */
static void tune(const struct sockets *s, const struct io_event *ev)
{
    struct sockaddr_any from = ev->from;

    if (!s->at.path && !net_addr_is_loopback(&s->own) && net_accepted_from(ev->res, &from))
        net_accepted(ev->res, &from);
}

void client_on_accept(struct io_src *src, const struct io_event *ev)
{
    struct door *d = CONTAINER(src, struct door, src);
    struct tunnel *t = d->tunnel;
    struct client *c = t->client;

    if (ev->res < 0) {
        log_warning("%s: cannot accept a connection: %s", t->conf->name, strerror(-ev->res));
        return;
    }
    tune(d->sockets, ev);
    client_deal(c, deal_choose(t->plan->deal, c->next++, t->w->now), ev->res);
}
