/* daemon/client.c - local connections, dealt to slots. */
#include "daemon/client.h"

#include "core/base/err.h"
#include "daemon/dial.h"
#include "daemon/log.h"
#include "daemon/slot.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct client {
    struct tunnel *tunnel;
    struct io_src src; /* the local listener, on its home worker; fd -1 elsewhere */
    struct remotes *remotes;
    struct slot *slots; /* conf->conn of them; those of this worker are in use */
    uint16_t next; /* whose turn it is */
    bool closed;
};

static unsigned slot_worker(const struct client *c, unsigned slot)
{
    return (c->tunnel->index + slot) % c->tunnel->w->sh->n_workers;
}

/* Whether local connections arrive at this worker. */
static bool is_home(const struct tunnel *t)
{
    return t->w->id == t->index % t->w->sh->n_workers;
}

static int listen_local(struct client *c)
{
    struct tunnel *t = c->tunnel;
    const struct addr_text *a = &t->conf->localaddr;
    struct sockaddr_any addr = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port_min)},
                                .len = sizeof addr.in6};
    unsigned tries = 0;
    int fd, r;

    if (!a->path && *a->host && net_bytes_in_name(a->host, a->port_min, &addr))
        return err_say(-EINVAL, "%s:%u: localaddr = %s: not an address", t->conf->file, t->conf->line, a->host);
    do
        fd = net_listen(a->path ? NULL : &addr, a->path);
    while (net_bind_again(fd, &tries));
    if (fd == -EAFNOSUPPORT && !a->path && !*a->host) {
        addr =
            (struct sockaddr_any){.in = {.sin_family = AF_INET, .sin_port = htons(a->port_min)}, .len = sizeof addr.in};
        fd = net_listen(&addr, NULL);
    }
    if (fd < 0)
        return err_pass(fd);
    r = worker_add(t->w, &c->src, SRC_CLIENT, fd, t->w->ops->add_listener);
    if (r)
        close(fd);
    return r;
}

int client_new(struct client **cp, struct tunnel *t)
{
    struct client *c = calloc(1, sizeof *c);

    if (!c)
        return err_here(-ENOMEM);
    *cp = c;
    c->tunnel = t;
    c->src.fd = -1;
    c->remotes = remotes_new(t->conf);
    c->slots = calloc(t->conf->conn, sizeof *c->slots);
    if (!c->remotes || !c->slots)
        return err_here(-ENOMEM);
    for (unsigned i = 0; i < t->conf->conn; i++)
        slot_init(&c->slots[i], t, c->remotes, i);
    return is_home(t) ? listen_local(c) : 0;
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

static void stop_listening(struct client *c)
{
    const char *path = c->tunnel->conf->localaddr.path;

    if (c->src.fd < 0 || c->src.dying)
        return;
    if (path && *path != '@')
        unlink(path);
    c->tunnel->w->ops->del(c->tunnel->w->io, &c->src);
}

static void begin_again(struct client *c)
{
    struct tunnel *t = c->tunnel;

    if (!is_home(t) || c->src.fd >= 0) /* once the old listener is gone, if it still dies */
        return;
    if (listen_local(c))
        log_error("%s: cannot listen again: %s", t->conf->name, err_text());
}

void client_drain(struct client *c, bool on)
{
    if (!on) {
        begin_again(c);
        return;
    }
    stop_listening(c);
    for (unsigned i = 0; i < c->tunnel->conf->conn; i++)
        slot_drain(&c->slots[i]);
}

void client_close(struct client *c)
{
    c->closed = true;
    stop_listening(c);
    for (unsigned i = 0; c->slots && i < c->tunnel->conf->conn; i++)
        slot_close(&c->slots[i]);
}

void client_gone(struct io_src *s)
{
    struct client *c = CONTAINER(s, struct client, src);

    s->fd = -1;
    if (!c->tunnel->draining && !c->closed)
        begin_again(c);
}

/* ---- what slots are told ---- */

void client_on_resolved(struct client *c, const struct resolve_result *res)
{
    remotes_answer(c->remotes, res, c->tunnel->w->now);
    for (unsigned i = 0; i < c->tunnel->conf->conn; i++)
        slot_step(&c->slots[i]);
}

void client_on_network(struct client *c)
{
    struct tunnel *t = c->tunnel;

    LIST_EACH(p, &t->peers.all, struct peer, all) {
        if (dial_has_other_way(p))
            slot_way_changed(&c->slots[p->slot], p);
    }
}

void client_served(struct client *c, struct peer *p)
{
    slot_served(&c->slots[p->slot], p);
}

void client_lost(struct client *c, struct peer *p)
{
    slot_lost(&c->slots[p->slot], p);
}

bool client_refused(struct client *c, struct peer *p)
{
    return slot_refused(&c->slots[p->slot], p);
}

void client_take(struct client *c, unsigned slot, int fd)
{
    slot_take(&c->slots[slot], fd);
}

/* ---- local connections ---- */

void client_on_accept(struct io_src *src, const struct io_event *ev)
{
    struct client *c = CONTAINER(src, struct client, src);
    struct tunnel *t = c->tunnel;
    unsigned slot, owner;
    struct mail_stream m;

    if (ev->res < 0) {
        log_warning("%s: cannot accept a connection: %s", t->conf->name, strerror(-ev->res));
        return;
    }
    slot = c->next++ % t->conf->conn;
    owner = slot_worker(c, slot);
    m = (struct mail_stream){t->index, slot, ev->res};
    if (owner == t->w->id)
        client_take(c, slot, ev->res);
    else if (post_put(t->w->sh->post, t->w->id, owner, MAIL_STREAM, bytes_of(&m, sizeof m), bytes_of(NULL, 0)))
        slot_refuse(ev->res);
}
