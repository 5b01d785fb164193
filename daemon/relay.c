/* daemon/relay.c - between a stream and a local connection. */
#include "daemon/relay.h"

#include "crypto/qpp.h"
#include "daemon/event.h"
#include "daemon/log.h"
#include "daemon/slot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    VIEWS = 64,
    PADDED = 32 * 1024, /* bytes unpadded at a time */
    CROWDED_US = 10 * 1000, /* between attempts at a unix socket with a full backlog, ... */
    CROWDED_SHARE = 4, /* ... or this part of the time since the first */
    HELD_LOOK_US = 200 * 1000,
};

struct relay {
    struct io_src src;
    struct timer timer; /* dialtimeout, or another attempt before it; then closewait */
    struct tick held_until; /* the local side has said all, and the peer is not told before */
    struct list node; /* in peer->relays */
    struct peer *peer;
    uint64_t serial; /* as in relay_info */
    struct smux_stream *st; /* NULL: over, waiting for IO_GONE */
    struct list waiting; /* in tunnel->waiting while the target's name is resolved */
    unsigned tried; /* addresses of the target */
    int failed; /* the address before was refused: its socket is being closed */
    struct tick since, give_up; /* give_up: dialtimeout */
    bool crowded; /* the target's backlog was full */
    uint64_t in_bytes, out_bytes; /* into the connection, and out of it */
    bool connected;
    bool reading, writing; /* asked of io */
    bool in_done; /* local end-of-file seen: our direction of the stream is finished */
    bool out_done; /* the peer's end-of-file was passed on */
    struct secret *secret; /* what the pads are of; a reference */
    const struct qpp *qpp; /* pads over the stream's bytes; NULL: none */
    struct qpp_state pad_in, pad_out; /* from the stream; to it */
};

struct relay *relay_of_src(struct io_src *s)
{
    return CONTAINER(s, struct relay, src);
}

static struct worker *worker_of(const struct relay *r)
{
    return r->peer->tunnel->w;
}

static const char *relay_text(const struct relay *r)
{
    static _Thread_local char text[224];

    snprintf(text, sizeof text, "%s stream %u", peer_text(r->peer), smux_stream_id(r->st));
    return text;
}

static void on_timer(struct timer *tm);

/* Pads over what the stream carries, if its session began with such. False: out of memory. */
static bool make_pads(struct relay *r)
{
    const struct peer *p = r->peer;

    if (!p->qppcount)
        return true;
    r->qpp = secret_qpp(p->key->secret, p->qppcount, p->qppgeneration);
    if (!r->qpp)
        return false;
    r->secret = secret_ref(p->key->secret); /* the session may go over to another key */
    qpp_begin(r->qpp, &r->pad_in);
    qpp_begin(r->qpp, &r->pad_out);
    return true;
}

static void relay_free(struct relay *r)
{
    secret_put(r->secret);
    free(r);
}

static struct relay *relay_new(struct peer *p, struct smux_stream *st)
{
    struct relay *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->peer = p;
    r->st = st;
    r->src.fd = -1;
    r->since = p->tunnel->w->now;
    r->timer.fire = on_timer;
    if (!make_pads(r)) {
        free(r);
        return NULL;
    }
    smux_stream_set_ctx(st, r);
    list_init(&r->node);
    list_init(&r->waiting);
    list_push(&p->relays, &r->node);
    r->serial = ++p->tunnel->w->last_relay;
    p->tunnel->w->n_relays++;
    stat_add(&p->tunnel->stats->streams_opened, 1);
    stat_add(&p->tunnel->stats->streams_now, 1);
    return r;
}

/* Lets go of the stream and the connection. reset: cut short, and both sides are to see that. */
static void relay_end(struct relay *r, bool reset)
{
    struct worker *w = worker_of(r);
    struct stats *st = r->peer->tunnel->stats;

    if (r->connected) /* else it was never said to be open */
        event_stream(r->peer, smux_stream_id(r->st), r->src.fd, reset ? "reset" : "closed");
    smux_stream_close(r->st, !reset);
    worker_touch(w, r->peer);
    r->st = NULL;
    list_del(&r->node);
    list_del(&r->waiting);
    worker_cancel(w, &r->timer);
    w->n_relays--;
    stat_add(&st->streams_closed, 1);
    stat_sub(&st->streams_now, 1);
    if (reset)
        stat_add(&st->streams_reset, 1);
    if (r->failed) /* IO_GONE is on its way */
        return;
    if (r->src.fd < 0) {
        relay_free(r);
        return;
    }
    if (reset)
        setsockopt(r->src.fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    w->ops->del(w->io, &r->src);
}

void relay_abort_all(struct peer *p)
{
    struct relay *r;

    while ((r = LIST_FIRST(&p->relays, struct relay, node)))
        relay_end(r, true);
}

struct tick relay_oldest(const struct peer *p)
{
    const struct relay *r = LIST_FIRST(&p->relays, struct relay, node);

    return r ? r->since : TICK_NEVER;
}

bool relay_owes(const struct peer *p)
{
    LIST_EACH(r, &p->relays, struct relay, node) {
        if (r->connected && smux_stream_readable(r->st))
            return true;
    }
    return false;
}

/* Asks for more from the local side if the stream has room for it. */
static void read_more(struct relay *r)
{
    struct worker *w = worker_of(r);

    if (!r->connected || r->reading || r->in_done || !smux_stream_room(r->st))
        return;
    r->reading = w->ops->read(w->io, &r->src) == 0;
    if (!r->reading)
        relay_end(r, true);
}

static void want_write(struct relay *r)
{
    struct worker *w = worker_of(r);

    if (!r->writing)
        r->writing = w->ops->want_write(w->io, &r->src) == 0;
    if (!r->writing)
        relay_end(r, true);
}

/* The peer has said all. Toward our own kind our direction goes on for as long as it likes; another has forgotten the
 * stream, or soon will, so ours is cut after closewait. */
static void end_out(struct relay *r)
{
    struct worker *w = worker_of(r);

    r->out_done = true;
    shutdown(r->src.fd, SHUT_WR);
    if (r->in_done)
        relay_end(r, false);
    else if (!smux_peer_is_ours(session_smux(r->peer->session)))
        worker_set(w, &r->timer, tick_add_ms(w->now, r->peer->tunnel->conf->closewait * UINT64_C(1000)));
}

/* With pads: what the connection does not take stays padded in the stream, since others (an FEC group) may still need
 * those bytes as they came. */
static ssize_t write_unpadded(struct relay *r, const struct bytes *v, unsigned n)
{
    struct qpp_state st = r->pad_in;
    uint8_t plain[PADDED];
    size_t len = 0;
    ssize_t k;

    for (unsigned i = 0; i < n && len < sizeof plain; i++) {
        size_t part = MIN(v[i].len, sizeof plain - len);

        qpp_decrypt(r->qpp, &st, plain + len, v[i].p, part);
        len += part;
    }
    k = net_write(r->src.fd, &(struct bytes){plain, len}, 1);
    if (k == (ssize_t)len)
        r->pad_in = st;
    else if (k > 0)
        qpp_skip(&r->pad_in, (size_t)k);
    return k;
}

/* Passes on what the stream holds, as far as the connection takes it. */
static void write_out(struct relay *r)
{
    struct bytes v[VIEWS];
    unsigned n;

    if (!r->connected || r->writing || r->out_done)
        return;
    while ((n = smux_stream_peek(r->st, v, VIEWS))) {
        ssize_t k = r->qpp ? write_unpadded(r, v, n) : net_write(r->src.fd, v, n);

        if (k == -EAGAIN) {
            want_write(r);
            return;
        }
        if (k < 0) {
            relay_end(r, true);
            return;
        }
        smux_stream_read(r->st, (size_t)k);
        r->in_bytes += (uint64_t)k;
        deal_meter_add(&r->peer->meter, (size_t)k, worker_of(r)->now);
        worker_touch(worker_of(r), r->peer); /* room, window updates */
    }
    if (smux_stream_eof(r->st))
        end_out(r);
}

static void on_connected(struct relay *r)
{
    struct worker *w = worker_of(r);

    r->connected = true;
    worker_cancel(w, &r->timer);
    event_stream(r->peer, smux_stream_id(r->st), r->src.fd, "opened");
    write_out(r);
    if (r->st)
        read_more(r);
}

/* ---- client ---- */

void relay_accept(struct peer *p, int fd)
{
    struct worker *w = p->tunnel->w;
    struct smux_stream *st;
    struct relay *r = NULL;

    if (smux_open(session_smux(p->session), &st) == 0) {
        r = relay_new(p, st);
        if (!r)
            smux_stream_close(st, false);
    }
    if (!r || worker_add(w, &r->src, SRC_RELAY, fd, w->ops->add_stream)) {
        log_warning_of(net_addr_source(&p->remote), "%s: no room for another stream", peer_text(p));
        stat_add(&p->tunnel->stats->streams_refused, 1);
        slot_refuse(fd);
        if (r)
            relay_end(r, true);
        return;
    }
    worker_touch(w, p);
    on_connected(r);
}

/* ---- server ---- */

static void target_failed(struct relay *r, const char *why)
{
    const struct addr_text *a = &r->peer->tunnel->conf->target;
    char target[256];

    addr_text_print(a, target, sizeof target);
    log_warning_of(net_addr_source(&r->peer->remote), "%s: cannot reach the target %s: %s", relay_text(r), target, why);
    trouble_dial(&r->peer->tunnel->trouble, why, worker_of(r)->now);
    stat_add(&r->peer->tunnel->stats->dial_errors, 1);
    relay_end(r, true);
}

/* A unix socket whose backlog is full refuses at once, where TCP would try again: so it is tried again. False: there is no
 * time left for it. */
static bool wait_for_room(struct relay *r)
{
    struct worker *w = worker_of(r);
    uint64_t wait = tick_since_us(w->now, r->since) / CROWDED_SHARE;

    if (!tick_before(w->now, r->give_up))
        return false;
    r->crowded = true;
    r->tried = 0;
    worker_set(w, &r->timer, tick_min(tick_add_us(w->now, MAX(wait, (uint64_t)CROWDED_US)), r->give_up));
    return true;
}

/* Connects to the next address of the target. */
static void try_next(struct relay *r, int err)
{
    struct tunnel *t = r->peer->tunnel;
    const struct addr_text *a = &t->conf->target;
    unsigned n = a->path ? 1 : t->target.n;
    struct worker *w = t->w;

    for (;;) {
        struct sockaddr_any addr;
        int fd;

        if (a->path && err == -EAGAIN && wait_for_room(r))
            return;
        if (r->tried >= n) {
            target_failed(r, err == -EAGAIN ? "its queue of connections is full" : strerror(-err));
            return;
        }
        if (!a->path)
            addr = name_pick(&t->target, r->tried, a, &w->nonce);
        r->tried++;
        fd = net_connect(a->path ? NULL : &addr, a->path);
        if (fd < 0) {
            err = fd;
            continue;
        }
        err = worker_add(w, &r->src, SRC_RELAY, fd, w->ops->add_stream);
        if (err) {
            close(fd);
            continue;
        }
        want_write(r);
        return;
    }
}

void relay_gone(struct relay *r)
{
    int err = r->failed;

    if (!r->st) {
        relay_free(r);
        return;
    }
    r->src = (struct io_src){.fd = -1};
    r->failed = 0;
    r->writing = false;
    try_next(r, err);
}

/* Connects once the target's addresses are known. */
static void find_target(struct relay *r)
{
    struct tunnel *t = r->peer->tunnel;
    int k = 0;

    if (!t->conf->target.path)
        k = name_get(&t->target, t->w, &t->conf->target, t->id);
    if (k == NAME_FAILED)
        target_failed(r, t->target.why);
    else if (k == NAME_WAIT)
        list_push(&t->waiting, &r->waiting);
    else
        try_next(r, -EHOSTUNREACH);
}

/* Connects to the target for a stream the peer opened. */
static void relay_dial(struct peer *p, struct smux_stream *st)
{
    struct tunnel *t = p->tunnel;
    struct worker *w = t->w;
    struct relay *r = t->draining ? NULL : relay_new(p, st);

    if (!r) {
        smux_stream_close(st, false);
        worker_touch(w, p);
        stat_add(&t->stats->streams_refused, 1);
        return;
    }
    r->give_up = tick_add_ms(w->now, t->conf->dialtimeout * UINT64_C(1000));
    worker_set(w, &r->timer, r->give_up);
    find_target(r);
}

void relay_on_resolved(struct tunnel *t)
{
    struct list waiting;
    struct relay *r;

    list_init(&waiting);
    list_splice(&waiting, &t->waiting);
    while ((r = LIST_FIRST(&waiting, struct relay, waiting))) {
        list_del(&r->waiting);
        find_target(r);
    }
}

/* ---- events ---- */

/* Looks again soon while nothing tells yet of which kind the peer is. */
static void hold(struct relay *r)
{
    struct worker *w = worker_of(r);
    bool known = smux_frames_in(session_smux(r->peer->session));

    worker_set(w, &r->timer, known ? r->held_until : tick_min(r->held_until, tick_add_us(w->now, HELD_LOOK_US)));
}

/* By now the peer may have shown to be our kind, for which one direction can end alone. */
static void look_at_held(struct relay *r)
{
    if (!smux_peer_is_ours(session_smux(r->peer->session))) {
        hold(r);
        return;
    }
    smux_stream_finish(r->st);
    worker_touch(worker_of(r), r->peer);
}

/* The local side has said all. Another kind of server than ours, told that, forgets what its target still has to say, so
 * a client holds it back for closewait, as a late kcptun does. */
static void end_in(struct relay *r)
{
    const struct tunnel *t = r->peer->tunnel;

    r->in_done = true;
    if (t->client && t->conf->closewait && !r->out_done && !smux_peer_is_ours(session_smux(r->peer->session))) {
        r->held_until = tick_add_ms(t->w->now, t->conf->closewait * UINT64_C(1000));
        hold(r);
        return;
    }
    smux_stream_finish(r->st);
    if (r->out_done)
        relay_end(r, false);
}

static void on_timer(struct timer *tm)
{
    struct relay *r = CONTAINER(tm, struct relay, timer);

    if (r->crowded) {
        r->crowded = false;
        worker_set(worker_of(r), tm, r->give_up);
        find_target(r); /* which may have changed */
    } else if (!r->connected)
        target_failed(r, "no answer within dialtimeout");
    else if (r->out_done || !tick_before(worker_of(r)->now, r->held_until))
        relay_end(r, false); /* closewait is over */
    else
        look_at_held(r);
}

/* The first writability of a dialled socket: it is connected, or was refused. */
static void on_dialled(struct relay *r)
{
    int err = net_socket_error(r->src.fd);
    struct worker *w = worker_of(r);

    if (!err) {
        on_connected(r);
        return;
    }
    if (r->tried >= r->peer->tunnel->target.n) {
        target_failed(r, strerror(-err));
        return;
    }
    r->failed = err; /* another address, once this socket is gone */
    w->ops->del(w->io, &r->src);
}

static void on_read(struct relay *r, const struct io_event *ev)
{
    r->reading = false;
    if (ev->kind == IO_READ_ERROR) {
        relay_end(r, true);
        return;
    }
    worker_touch(worker_of(r), r->peer);
    if (!ev->len) {
        end_in(r);
        return;
    }
    if (r->qpp)
        qpp_encrypt(r->qpp, &r->pad_out, ev->data, ev->data, ev->len);
    r->out_bytes += ev->len;
    deal_meter_add(&r->peer->meter, ev->len, worker_of(r)->now);
    if (smux_stream_write(r->st, bytes_of(ev->data, ev->len)) == -ENOMEM)
        relay_end(r, true);
    else
        read_more(r);
}

void relay_on_io(struct relay *r, const struct io_event *ev)
{
    if (!r->st || r->failed)
        return;
    if (ev->kind == IO_WRITABLE) {
        r->writing = false;
        if (r->connected)
            write_out(r);
        else
            on_dialled(r);
    } else if (ev->kind == IO_READ || ev->kind == IO_READ_ERROR) {
        on_read(r, ev);
    }
}

void relay_on_stream(struct peer *p, struct smux_stream *st)
{
    unsigned ev = smux_stream_events(st);
    struct relay *r;

    if ((ev & SMUX_EV_OPENED) && (ev & SMUX_EV_RESET)) {
        smux_stream_close(st, false);
        return;
    }
    if (ev & SMUX_EV_OPENED) {
        relay_dial(p, st);
        return; /* what it brought along is read once the target is connected */
    }
    r = smux_stream_ctx(st);
    if (ev & SMUX_EV_RESET) {
        relay_end(r, true);
        return;
    }
    if (ev & (SMUX_EV_DATA | SMUX_EV_FIN))
        write_out(r);
    if ((ev & SMUX_EV_ROOM) && r->st)
        read_more(r);
}

/* ---- for people ---- */

static const char *state_text(const struct relay *r)
{
    if (!r->connected)
        return list_linked(&r->waiting) ? "resolving" : "connecting";
    if (r->in_done || r->out_done)
        return r->in_done && r->out_done ? "closing" : "half-closed";
    return "open";
}

void relay_list(struct peer *p, relay_tell_fn *tell, void *ctx)
{
    LIST_EACH(r, &p->relays, struct relay, node) {
        const struct relay_info i = {
            .id = smux_stream_id(r->st),
            .serial = r->serial,
            .fd = r->src.fd,
            .state = state_text(r),
            .age_ms = tick_since_us(worker_of(r)->now, r->since) / 1000,
            .in_bytes = r->in_bytes,
            .out_bytes = r->out_bytes,
            .readable = smux_stream_readable(r->st),
            .queued = smux_stream_queued(r->st),
        };

        tell(ctx, &i, p);
    }
}
