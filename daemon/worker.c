/* daemon/worker.c - the loop: what happened, what others sent, what is due; then every touched session once. */
#include "daemon/worker.h"

#include "core/base/err.h"
#include "daemon/client.h"
#include "daemon/elder.h"
#include "daemon/finish.h"
#include "daemon/faketcp_conn.h"
#include "daemon/flow.h"
#include "daemon/log.h"
#include "daemon/relay.h"
#include "daemon/report.h"
#include "daemon/server.h"
#include "daemon/slot.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 64, LETTERS = 512, SMALL_BUF = 240, AGE_MS = 2000, OVERSLEPT_US = 10000, SILENT_MS = 5000 };

/* ---- services ---- */

void worker_touch(struct worker *w, struct peer *p)
{
    if (!list_linked(&p->dirty))
        list_push(&w->dirty, &p->dirty);
}

void worker_set(struct worker *w, struct timer *t, struct tick at)
{
    wheel_set(&w->wheel, &t->t, at);
}

void worker_cancel(struct worker *w, struct timer *t)
{
    wheel_cancel(&w->wheel, &t->t);
}

int worker_add(struct worker *w, struct io_src *s, enum src_kind kind, int fd, int (*add)(struct io *, struct io_src *))
{
    int r;

    *s = (struct io_src){.fd = fd, .kind = (uint8_t)kind};
    r = add(w->io, s);
    if (r) {
        s->fd = -1;
        return err_pass(r);
    }
    w->n_srcs++;
    return 0;
}

unsigned worker_of_conv(const struct shared *sh, uint32_t conv)
{
    uint64_t x = (conv ^ sh->hash_seed) * UINT64_C(0x9e3779b97f4a7c15);

    return (unsigned)((x >> 32) * sh->n_workers >> 32);
}

void worker_tell_main(struct worker *w, enum mail_type type, struct bytes rec)
{
    while (post_put(w->sh->post, w->id, w->sh->n_workers, type, rec, bytes_of(NULL, 0))) {
        post_publish(w->sh->post, w->id);
        sched_yield();
    }
}

void worker_flush(struct worker *w)
{
    if (!w->batch.n)
        return;
    packet_batch_seal(&w->batch, w->batch_key->cipher, &w->nonce);
    tunnel_send(w->batch_tunnel, &w->batch);
    packet_batch_reset(&w->batch);
}

struct packet_batch *worker_batch(struct worker *w, struct tunnel *t, struct tunnel_key *key)
{
    if (w->batch_tunnel != t || w->batch_key != key || !packet_batch_fits(&w->batch))
        worker_flush(w);
    w->batch_tunnel = t;
    w->batch_key = key;
    return &w->batch;
}

bool worker_is_tight(const struct worker *w)
{
    return buf_pool_used(w->pool) > w->sh->memory / 5 * 4;
}

/* ---- memory kept for the next burst ---- */

void worker_tidy_later(struct worker *w)
{
    if (!list_linked(&w->age.t.node))
        worker_set(w, &w->age, tick_add_ms(w->now, AGE_MS));
}

static void give_back(struct timer *t)
{
    struct worker *w = CONTAINER(t, struct worker, age);
    bool more = false;

    buf_pool_age(w->pool);
    buf_pool_age(w->small);
    post_trim(w->sh->post, w->id);
    for (unsigned i = 0; i < w->n_tunnels; i++)
        more |= w->tunnels[i] && routes_age(&w->tunnels[i]->peers, w->now);
    if (more)
        worker_tidy_later(w);
}

/* A worker without spare memory is not woken for it. */
static void watch_memory(struct worker *w)
{
    if (!list_linked(&w->age.t.node) &&
        (buf_pool_has_spare(w->pool) || buf_pool_has_spare(w->small) || post_has_spare(w->sh->post, w->id)))
        worker_tidy_later(w);
}

struct tunnel *worker_tunnel(const struct worker *w, uint64_t id)
{
    uint32_t slot = (uint32_t)id;
    struct tunnel *t = slot < w->n_tunnels ? w->tunnels[slot] : NULL;

    return t && t->id == id ? t : NULL;
}

int worker_enter(struct worker *w, struct tunnel *t)
{
    uint32_t slot = (uint32_t)t->id, n = MAX(w->n_tunnels, 16u);
    struct tunnel **v;

    while (n <= slot)
        n *= 2;
    if (n > w->n_tunnels) {
        v = reallocarray(w->tunnels, n, sizeof(struct tunnel *));
        if (!v)
            return err_here(-ENOMEM);
        memset(v + w->n_tunnels, 0, (n - w->n_tunnels) * sizeof(struct tunnel *));
        w->tunnels = v;
        w->n_tunnels = n;
    }
    w->tunnels[slot] = t;
    return 0;
}

/* ---- events ---- */

static struct tunnel *tunnel_of(struct io_src *s)
{
    switch (s->kind) {
    case SRC_LISTENER:
    case SRC_FLOW:
    case SRC_RAW:
    case SRC_TCP:
        return CONTAINER(s, struct listener, src)->set->tunnel;
    default:
        return CONTAINER(s, struct peer, src)->tunnel;
    }
}

static void on_gone(struct worker *w, struct io_src *s)
{
    w->n_srcs--;
    switch (s->kind) {
    case SRC_PEER:
        peer_gone(CONTAINER(s, struct peer, src));
        break;
    case SRC_RELAY:
        relay_gone(relay_of_src(s));
        break;
    case SRC_LISTENER:
    case SRC_RAW:
    case SRC_TCP:
        server_gone(s);
        break;
    case SRC_FAKE:
        fake_conn_gone(s);
        break;
    case SRC_DIALLED:
        fake_dial_gone(s);
        break;
    case SRC_FLOW:
        flow_gone(s);
        break;
    case SRC_CLIENT:
        client_gone(s);
        break;
    case SRC_HEIR:
        finish_gone(w);
        break;
    default:
        break; /* part of the worker */
    }
}

static void on_answers(struct worker *w)
{
    struct resolve_result res;

    while (resolver_next(w->resolver, &res)) {
        struct tunnel *t = worker_tunnel(w, res.token);

        if (t)
            tunnel_on_resolved(t, &res);
    }
}

static void on_event(struct worker *w, struct io_event *ev)
{
    struct io_src *s = ev->src;

    if (ev->kind == IO_GONE) {
        on_gone(w, s);
        return;
    }
    if (s->dying) { /* deleted earlier in this turn */
        if (ev->kind == IO_ACCEPT && ev->res >= 0)
            close(ev->res);
        return;
    }
    switch (s->kind) {
    case SRC_WAKE:
        (void)!read(s->fd, &(uint64_t){0}, sizeof(uint64_t));
        break;
    case SRC_RESOLVER:
        on_answers(w);
        break;
    case SRC_LISTENER:
    case SRC_FLOW:
    case SRC_RAW:
    case SRC_PEER:
        if (ev->kind == IO_UDP)
            tunnel_receive(tunnel_of(s), s, ev);
        else if (ev->kind == IO_UDP_CUT)
            stat_add(&tunnel_of(s)->stats->rx_truncated, (uint64_t)ev->res);
        else
            tunnel_receive_failed(tunnel_of(s), s, -ev->res);
        break;
    case SRC_CLIENT:
        client_on_accept(s, ev);
        break;
    case SRC_HEIR:
        finish_receive(w);
        break;
    case SRC_TCP:
        fake_conns_accept(tunnel_of(s), ev);
        break;
    case SRC_FAKE:
        fake_conn_on_io(s, ev);
        break;
    case SRC_DIALLED:
        fake_dial_on_io(s, ev);
        break;
    case SRC_RELAY:
        relay_on_io(relay_of_src(s), ev);
        break;
    }
}

/* ---- letters ---- */

/* Tunnels added, changed and removed. Count of those that could not follow. */
static unsigned adopt(struct worker *w, const struct edition *e)
{
    unsigned failed = 0;

    for (unsigned i = 0; i < e->n; i++) {
        struct plan *p = e->v[i].plan;
        struct tunnel *t = worker_tunnel(w, p->id);

        if (e->v[i].remove && t)
            tunnel_retire(t);
        else if (!e->v[i].remove && (t ? tunnel_change(t, p) : tunnel_new(w, p)))
            failed++;
    }
    return failed;
}

static void on_edition(struct worker *w, const struct edition *e)
{
    struct mail_moved m = {.worker = w->id, .number = e->number, .failed = adopt(w, e)};

    worker_tell_main(w, MAIL_MOVED, bytes_of(&m, sizeof m));
}

static void on_datagram(struct worker *w, struct bytes rec)
{
    const struct mail_datagram *m = (const void *)rec.p;
    struct tunnel *t = worker_tunnel(w, m->tunnel);

    if (t)
        server_handed(t, m, bytes_of(rec.p + sizeof *m, rec.len - sizeof *m));
}

static void on_stream(struct worker *w, const struct mail_stream *m)
{
    struct tunnel *t = worker_tunnel(w, m->tunnel);

    if (t && t->client)
        client_take(t->client, m->slot, m->fd);
    else
        slot_refuse(m->fd);
}

/* The process ends. Who has streams is asked to say something: whoever is gone need not be waited for. */
static void drain(struct worker *w, struct tick until)
{
    w->draining = true;
    w->finish.on = false;
    w->drain_until = until;
    for (unsigned i = 0; i < w->n_tunnels; i++) {
        if (!w->tunnels[i])
            continue;
        tunnel_drain(w->tunnels[i], true);
        LIST_EACH(p, &w->tunnels[i]->peers.all, struct peer, all) {
            if (list_empty(&p->relays))
                continue;
            session_greet(p->session);
            worker_touch(w, p);
        }
    }
}

static void on_letter(struct worker *w, enum mail_type type, struct bytes rec)
{
    switch (type) {
    case MAIL_DATAGRAM:
        on_datagram(w, rec);
        break;
    case MAIL_STREAM:
        on_stream(w, (const void *)rec.p);
        break;
    case MAIL_LIST:
        report_list(w, (const void *)rec.p);
        break;
    case MAIL_EDITION:
        on_edition(w, ((const struct mail_edition *)(const void *)rec.p)->edition);
        break;
    case MAIL_DRAIN:
        drain(w, ((const struct mail_drain *)(const void *)rec.p)->until);
        break;
    case MAIL_NETWORK:
        for (unsigned i = 0; i < w->n_tunnels; i++)
            if (w->tunnels[i])
                tunnel_on_network(w->tunnels[i]);
        break;
    case MAIL_STOP:
        w->stop = true;
        break;
    case MAIL_FREEZE:
        finish_freeze(w, (const void *)rec.p);
        break;
    case MAIL_THAW:
        finish_thaw(w);
        break;
    case MAIL_FINISH:
        finish_begin(w, ((const struct mail_drain *)(const void *)rec.p)->until);
        break;
    case MAIL_PING:
    case MAIL_LISTED: /* this and the following are main's */
    case MAIL_ENDED:
    case MAIL_MOVED:
    case MAIL_GONE:
    case MAIL_FROZEN:
    case MAIL_NEWS:
        break;
    }
}

static void read_letters(struct worker *w)
{
    enum mail_type type;
    struct bytes rec;

    for (unsigned i = 0; i < LETTERS && post_get(w->sh->post, w->id, &type, &rec) == 0; i++) {
        on_letter(w, type, rec);
        post_done(w->sh->post, w->id);
    }
}

/* ---- the loop ---- */

static void fire_timers(struct worker *w)
{
    struct wheel_timer *t;

    while ((t = wheel_expire(&w->wheel, w->now))) {
        struct timer *tm = CONTAINER(t, struct timer, t);

        tm->fire(tm);
    }
}

static void serve_touched(struct worker *w)
{
    struct peer *p;

    while ((p = LIST_FIRST(&w->dirty, struct peer, dirty))) {
        list_del(&p->dirty);
        peer_serve(p);
    }
    worker_flush(w);
}

/* worked: the turn had something to do. */
static void publish(struct worker *w, bool worked)
{
    struct worker_stats *s = &w->stats;

    stat_add(&s->turns, 1);
    stat_set(&s->buffer_bytes, buf_pool_memory(w->pool) + buf_pool_memory(w->small));
    stat_set(&s->sessions, w->n_peers);
    stat_set(&s->connections, w->n_relays);
    stat_set(&s->descriptors, w->n_srcs);
    if (worked)
        histogram_add(&s->turn, tick_since_us(io_now(), w->now));
}

/* Ends our part of removed tunnels that have no sessions any more. */
static void end_leaving(struct worker *w)
{
    struct list over;

    if (!w->look_leaving)
        return;
    w->look_leaving = false;
    list_init(&over);
    LIST_EACH(t, &w->leaving, struct tunnel, node) {
        bool elders = server_reads_for_elder(t);

        w->look_leaving = w->look_leaving || elders; /* nobody tells when that is over */
        if (t->peers.count || elders)
            continue;
        list_del(&t->node);
        list_push(&over, &t->node);
    }
    for (struct tunnel *t; (t = LIST_FIRST(&over, struct tunnel, node));) {
        struct mail_gone m = {.tunnel = t->id, .worker = w->id};

        list_del(&t->node);
        tunnel_close(t);
        worker_tell_main(w, MAIL_GONE, bytes_of(&m, sizeof m));
    }
}

/* Whether the turn after this one waits for more; not where latency was asked for. */
static void consider_rest(struct worker *w, const struct io_event *ev, int n)
{
    size_t bytes = 0;

    for (int i = 0; i < n; i++)
        bytes += ev[i].len;
    w->rests = n && rest_is_due(&w->rest, w->now, bytes) && !w->sh->spin_us;
}

static void take_rest(struct worker *w)
{
    const struct timespec ts = {.tv_nsec = REST_US * 1000};

    w->rests = false;
    clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

/* One turn. 0, -errno: I/O is broken. */
static int turn(struct worker *w, struct tick until)
{
    struct io_event ev[EVENTS];
    bool spin = w->sh->spin_us && tick_since_us(io_now(), w->busy) < w->sh->spin_us;
    bool sleep = !spin && post_may_sleep(w->sh->post, w->id);
    int n = w->ops->wait(w->io, sleep ? until : (struct tick){0}, ev, EVENTS);

    if (!n && sleep && tick_since_us(io_now(), until) >= OVERSLEPT_US)
        n = w->ops->wait(w->io, (struct tick){0}, ev, EVENTS); /* what came meanwhile goes before what is overdue */
    post_awake(w->sh->post, w->id);
    if (!n && spin) /* who shares the core may be who answers */
        sched_yield();
    if (n < 0)
        return n;
    w->now = io_now();
    if (n)
        w->busy = w->now;
    consider_rest(w, ev, n);
    for (int i = 0; i < n; i++)
        on_event(w, &ev[i]);
    read_letters(w);
    fire_timers(w);
    serve_touched(w);
    end_leaving(w);
    watch_memory(w);
    post_publish(w->sh->post, w->id);
    publish(w, n || sleep);
    return 0;
}

/* Nothing of it can reach anybody any more: all was said, or the other end has not answered for so long that it is gone. An
 * end that stops for a shorter time is waited for. */
static bool is_over(const struct peer *p, struct tick now)
{
    struct session_info i;

    if (!session_is_doubtful(p->session, now))
        return list_empty(&p->relays) && session_is_drained(p->session);
    session_info(p->session, &i, now);
    return i.heard_ms >= SILENT_MS && !relay_owes(p);
}

static bool drained(struct worker *w)
{
    if (!w->draining)
        return false;
    if (!tick_before(w->now, w->drain_until))
        return true;
    if (elder_is_there(w->sh->elder)) /* we read for it */
        return false;
    if (w->finish.on)
        return finish_is_over(w);
    for (unsigned i = 0; i < w->n_tunnels; i++) {
        if (!w->tunnels[i])
            continue;
        LIST_EACH(p, &w->tunnels[i]->peers.all, struct peer, all) {
            if (!is_over(p, w->now))
                return false;
        }
    }
    return true;
}

/* Closes everything and waits until the kernel has let go of it. */
static void wind_up(struct worker *w)
{
    for (unsigned i = 0; i < w->n_tunnels; i++)
        if (w->tunnels[i])
            tunnel_close(w->tunnels[i]);
    worker_flush(w);
    if (w->answers.fd >= 0)
        w->ops->del(w->io, &w->answers);
    if (w->wake.fd >= 0)
        w->ops->del(w->io, &w->wake);
    if (w->finish.in_use)
        w->ops->del(w->io, &w->finish.src);
    while (w->n_srcs) {
        struct io_event ev[EVENTS];
        int n = w->ops->wait(w->io, tick_add_ms(io_now(), 100), ev, EVENTS);

        for (int i = 0; i < n; i++)
            on_event(w, &ev[i]);
        if (n < 0)
            break;
    }
}

/* ---- beginning and end ---- */

static int open_parts(struct worker *w)
{
    const struct io_params ip = {.max_events = EVENTS};
    uint8_t seed[NONCE_SEED];
    int r = w->ops->open(&w->io, &ip);

    if (r)
        return err_pass(r);
    w->now = io_now();
    wheel_init(&w->wheel, w->now);
    if (getrandom(seed, sizeof seed, 0) != sizeof seed)
        return err_say(-errno, "getrandom");
    nonce_init(&w->nonce, seed);
    w->pool = buf_pool_new(PACKET_MTU_MAX, w->sh->memory);
    w->small = buf_pool_new(SMALL_BUF, w->sh->memory / 8);
    if (!w->pool || !w->small)
        return err_here(-ENOMEM);
    buf_pool_set_small(w->pool, w->small);
    if (packet_batch_init(&w->batch))
        return err_here(-ENOMEM);
    r = resolver_client_new(&w->resolver, w->sh->resolver);
    if (r)
        return err_pass(r);
    r = worker_add(w, &w->wake, SRC_WAKE, dup(post_fd(w->sh->post, w->id)), w->ops->watch);
    if (!r)
        r = worker_add(w, &w->answers, SRC_RESOLVER, dup(resolver_client_fd(w->resolver)), w->ops->watch);
    return r;
}

/* Everything the worker needs, opened by its own thread: a ring belongs to the thread that made it. */
static int begin(struct worker *w)
{
    const struct edition *e = w->sh->first;
    int r = open_parts(w);

    for (unsigned i = 0; i < e->n && !r; i++)
        r = tunnel_new(w, e->v[i].plan);
    return r ? err_pass(r) : 0;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    int r = begin(w);

    w->result = r;
    if (r)
        snprintf(w->why, sizeof w->why, "%s", err_text());
    publish(w, false);
    sem_post(&w->ready);
    while (!w->stop && !r && !drained(w)) {
        struct tick until = wheel_next(&w->wheel);

        if (w->rests)
            take_rest(w);
        r = turn(w, w->draining && !w->finish.on ? tick_min(until, tick_add_ms(w->now, 50)) : until);
        if (r)
            log_error("worker %u: %s: %s", w->id, w->ops->name, strerror(-r));
    }
    if (w->io)
        wind_up(w);
    stat_set(&w->stats.ended, 1);
    post_put(w->sh->post, w->id, w->sh->n_workers, MAIL_ENDED,
             bytes_of(&(struct mail_ended){w->id, r}, sizeof(struct mail_ended)), bytes_of(NULL, 0));
    post_publish(w->sh->post, w->id);
    return NULL;
}

/* The CPU for a worker; false: any. Unless told, workers are pinned only if there is one for each CPU: the scheduler likes to
 * put threads that wake each other on one CPU, but fewer workers must be able to make way for other programs. */
static bool choose_cpu(const struct worker *w, unsigned *cpu)
{
    unsigned nth = w->id;
    cpu_set_t set;

    if (w->sh->n_cpus) {
        *cpu = w->sh->cpus[w->id % w->sh->n_cpus];
        return true;
    }
    if (w->sh->n_workers == 1 || sched_getaffinity(0, sizeof set, &set) ||
        (unsigned)CPU_COUNT(&set) != w->sh->n_workers)
        return false;
    *cpu = 0;
    while (!CPU_ISSET(*cpu, &set) || nth--)
        ++*cpu;
    return true;
}

static void pin(struct worker *w)
{
    cpu_set_t set;
    unsigned cpu;

    if (!choose_cpu(w, &cpu))
        return;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (pthread_setaffinity_np(w->thread, sizeof set, &set))
        log_warning("worker %u cannot be pinned to CPU %u", w->id, cpu);
}

int worker_start(struct worker **wp, struct shared *sh, unsigned id)
{
    struct worker *w = aligned_alloc(64, (sizeof *w + 63) / 64 * 64);
    char name[16];
    int r;

    if (!w)
        return err_here(-ENOMEM);
    memset(w, 0, sizeof *w);
    w->sh = sh;
    w->id = id;
    w->ops = sh->io;
    w->wake.fd = w->answers.fd = -1;
    list_init(&w->dirty);
    w->age.fire = give_back;
    list_init(&w->leaving);
    list_init(&w->closing);
    sem_init(&w->ready, 0, 0);
    r = pthread_create(&w->thread, NULL, run, w);
    if (r) {
        free(w);
        return err_say(-r, "start worker %u", id);
    }
    *wp = w;
    snprintf(name, sizeof name, "worker %u", id);
    pthread_setname_np(w->thread, name);
    pin(w);
    while (sem_wait(&w->ready))
        ;
    return w->result ? err_say(0, "%s", w->why), w->result : 0;
}

const struct worker_stats *worker_stats(const struct worker *w)
{
    return w ? &w->stats : NULL;
}

struct worker *worker_free(struct worker *w)
{
    if (!w)
        return NULL;
    pthread_join(w->thread, NULL);
    if (w->io)
        w->ops->close(w->io);
    for (struct tunnel *t; (t = LIST_FIRST(&w->closing, struct tunnel, node));)
        tunnel_free(t);
    free(w->tunnels);
    resolver_client_free(w->resolver);
    packet_batch_fini(&w->batch);
    buf_pool_free(w->pool);
    buf_pool_free(w->small);
    nonce_fini(&w->nonce);
    sem_destroy(&w->ready);
    free(w->scratch);
    finish_fini(w);
    free(w);
    return NULL;
}
