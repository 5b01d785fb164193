/* tests/support/udpmangle.c - a UDP relay that loses, doubles, shuffles, damages, cuts and delays what passes, by seed.
 * Each client address gets an upstream socket of its own, as behind a NAT; SIGUSR1 gives every one of them a new source
 * port. SIGTERM or SIGINT: prints the counters as one line of JSON and exits.
 *
 * udpmangle --listen HOST:PORT --to HOST:PORT [--seed N] [--both SPEC] [--up SPEC] [--down SPEC]
 * SPEC is a list such as loss=2,dup=1,reorder=5,corrupt=0.1,truncate=0.1,delay=10,jitter=3: percentages, then
 * milliseconds. A reordered packet is held back REORDER_MS more than its neighbours. IPv4 only. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 64,
    PACKET_MAX = 2048,
    FLOWS_MAX = 1024,
    HELD_MAX = 32768,
    SOCKBUF = 8 << 20,
    ROUNDS = 32, /* batches of one socket before the others get their turn */
    REORDER_MS = 3,
};

enum { UP, DOWN, DIRECTIONS };

struct spec {
    double loss, dup, reorder, corrupt, truncate; /* percent */
    double delay, jitter; /* milliseconds */
};

struct counters {
    uint64_t in, out, lost, doubled, reordered, corrupted, cut, queue_full, send_failed;
};

struct packet {
    uint64_t due_us;
    uint64_t order; /* keeps packets of one due time in order */
    uint32_t flow;
    uint8_t dir;
    uint16_t len;
    uint8_t data[PACKET_MAX];
};

struct flow {
    struct sockaddr_in client;
    int fd; /* connected to the upstream */
};

struct lane { /* what goes out of one socket in one call */
    struct mmsghdr msgs[BATCH];
    struct iovec iov[BATCH];
    uint8_t data[BATCH][PACKET_MAX];
    unsigned n, flow, dir;
};

struct relay {
    struct sockaddr_in listen_addr, upstream;
    int fd, epoll_fd, signal_fd;
    struct spec spec[DIRECTIONS];
    struct counters count[DIRECTIONS];
    uint64_t rng[DIRECTIONS];
    struct flow flows[FLOWS_MAX];
    uint32_t n_flows, last_flow;
    uint64_t flows_refused, rebound, order;
    struct packet *heap[HELD_MAX]; /* by due time */
    struct packet *spare[HELD_MAX];
    unsigned held, n_spare, allocated;
    struct lane out;
};

static struct relay relay;

static void die(const char *what)
{
    fprintf(stderr, "udpmangle: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t rnd(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static bool chance(uint64_t *s, double percent)
{
    return percent > 0 && (double)(rnd(s) >> 11) / 9007199254740992.0 * 100.0 < percent;
}

/* The heap of held packets. */
static bool before(const struct packet *a, const struct packet *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void heap_push(struct relay *r, struct packet *p)
{
    unsigned i = r->held++;

    while (i && before(p, r->heap[(i - 1) / 2])) {
        r->heap[i] = r->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    r->heap[i] = p;
}

static struct packet *heap_pop(struct relay *r)
{
    struct packet *top = r->heap[0], *last = r->heap[--r->held];
    unsigned i = 0, child;

    while ((child = 2 * i + 1) < r->held) {
        if (child + 1 < r->held && before(r->heap[child + 1], r->heap[child]))
            child++;
        if (!before(r->heap[child], last))
            break;
        r->heap[i] = r->heap[child];
        i = child;
    }
    r->heap[i] = last;
    return top;
}

static struct packet *packet_new(struct relay *r)
{
    if (r->n_spare)
        return r->spare[--r->n_spare];
    if (r->allocated == HELD_MAX)
        return NULL;
    r->allocated++;
    return malloc(sizeof(struct packet));
}

static void lane_flush(struct relay *r)
{
    struct lane *l = &r->out;
    struct counters *c = &r->count[l->dir];
    int fd = l->dir == UP ? r->flows[l->flow].fd : r->fd;
    unsigned done = 0;

    while (done < l->n) {
        int n = sendmmsg(fd, l->msgs + done, l->n - done, 0);

        if (n > 0) {
            done += (unsigned)n;
            c->out += (unsigned)n;
        } else if (errno != EINTR) { /* refused by ICMP, or no room: that packet is gone, as on a wire */
            done++;
            c->send_failed++;
        }
    }
    l->n = 0;
}

static void lane_add(struct relay *r, unsigned dir, uint32_t flow, const uint8_t *data, size_t len)
{
    struct lane *l = &r->out;
    struct msghdr *m;

    if (l->n == BATCH || (l->n && (l->dir != dir || l->flow != flow)))
        lane_flush(r);
    l->dir = dir;
    l->flow = flow;
    m = &l->msgs[l->n].msg_hdr;
    memcpy(l->data[l->n], data, len);
    l->iov[l->n] = (struct iovec){l->data[l->n], len};
    *m = (struct msghdr){.msg_iov = &l->iov[l->n], .msg_iovlen = 1};
    if (dir == DOWN) {
        m->msg_name = &r->flows[flow].client;
        m->msg_namelen = sizeof r->flows[flow].client;
    }
    l->n++;
}

static void send_due(struct relay *r)
{
    uint64_t now = now_us();

    while (r->held && r->heap[0]->due_us <= now) {
        struct packet *p = heap_pop(r);

        lane_add(r, p->dir, p->flow, p->data, p->len);
        r->spare[r->n_spare++] = p;
    }
    lane_flush(r);
}

static void hold(struct relay *r, unsigned dir, uint32_t flow, const uint8_t *data, size_t len, double ms)
{
    struct packet *p = packet_new(r);

    if (!p) {
        r->count[dir].queue_full++;
        return;
    }
    p->due_us = now_us() + (uint64_t)(ms * 1000);
    p->order = r->order++;
    p->flow = flow;
    p->dir = (uint8_t)dir;
    p->len = (uint16_t)len;
    memcpy(p->data, data, len);
    heap_push(r, p);
}

static void pass(struct relay *r, unsigned dir, uint32_t flow, const uint8_t *data, size_t len)
{
    const struct spec *s = &r->spec[dir];
    uint64_t *rng = &r->rng[dir];
    double ms = s->delay;

    if (s->jitter > 0)
        ms += s->jitter * (double)(rnd(rng) >> 11) / 9007199254740992.0;
    if (chance(rng, s->reorder)) {
        r->count[dir].reordered++;
        ms += REORDER_MS;
    }
    if (ms > 0)
        hold(r, dir, flow, data, len, ms);
    else
        lane_add(r, dir, flow, data, len);
}

/* One packet from a wire: decides its fate. data is writable. */
static void mangle(struct relay *r, unsigned dir, uint32_t flow, uint8_t *data, size_t len)
{
    const struct spec *s = &r->spec[dir];
    struct counters *c = &r->count[dir];
    uint64_t *rng = &r->rng[dir];
    unsigned copies = 1;

    c->in++;
    if (chance(rng, s->loss)) {
        c->lost++;
        return;
    }
    if (len && chance(rng, s->truncate)) {
        len = rnd(rng) % len;
        c->cut++;
    }
    if (len && chance(rng, s->corrupt)) {
        data[rnd(rng) % len] ^= (uint8_t)(1u << (rnd(rng) % 8));
        c->corrupted++;
    }
    if (chance(rng, s->dup)) {
        copies++;
        c->doubled++;
    }
    while (copies--)
        pass(r, dir, flow, data, len);
}

static int flow_socket(struct relay *r, uint32_t flow)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = flow};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), size = SOCKBUF;

    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (connect(fd, (struct sockaddr *)&r->upstream, sizeof r->upstream))
        die("connect");
    if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &ev))
        die("epoll_ctl");
    return fd;
}

static bool same_addr(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
    return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
}

/* The flow of a client address, made if new; FLOWS_MAX when the table is full. Runs of one client are the rule. */
static uint32_t flow_of(struct relay *r, const struct sockaddr_in *from)
{
    if (r->last_flow < r->n_flows && same_addr(&r->flows[r->last_flow].client, from))
        return r->last_flow;
    for (uint32_t i = 0; i < r->n_flows; i++)
        if (same_addr(&r->flows[i].client, from))
            return r->last_flow = i;
    if (r->n_flows == FLOWS_MAX) {
        r->flows_refused++;
        return FLOWS_MAX;
    }
    r->flows[r->n_flows].client = *from;
    r->flows[r->n_flows].fd = flow_socket(r, r->n_flows);
    return r->last_flow = r->n_flows++;
}

static void rebind_flows(struct relay *r)
{
    lane_flush(r);
    for (uint32_t i = 0; i < r->n_flows; i++) {
        int fd = flow_socket(r, i); /* made before the old one goes, so the port differs */

        close(r->flows[i].fd);
        r->flows[i].fd = fd;
    }
    r->rebound++;
}

/* One batch from one socket; false when it is drained. flow: FLOWS_MAX for the listening socket. */
static bool receive(struct relay *r, int fd, uint32_t flow)
{
    static struct mmsghdr msgs[BATCH];
    static struct iovec iov[BATCH];
    static struct sockaddr_in from[BATCH];
    static uint8_t data[BATCH][PACKET_MAX];
    int n;

    for (unsigned i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec){data[i], PACKET_MAX};
        msgs[i].msg_hdr =
            (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &iov[i], .msg_iovlen = 1};
    }
    n = recvmmsg(fd, msgs, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        uint32_t to = flow == FLOWS_MAX ? flow_of(r, &from[i]) : flow;

        if (to != FLOWS_MAX)
            mangle(r, flow == FLOWS_MAX ? UP : DOWN, to, data[i], msgs[i].msg_len);
    }
    lane_flush(r);
    return n == BATCH;
}

static void print_counters(const struct relay *r)
{
    static const char *const names[DIRECTIONS] = {"up", "down"};

    printf("{\"flows\": %u, \"flows_refused\": %" PRIu64 ", \"rebound\": %" PRIu64, r->n_flows, r->flows_refused,
           r->rebound);
    for (int d = 0; d < DIRECTIONS; d++) {
        const struct counters *c = &r->count[d];

        printf(", \"%s\": {\"in\": %" PRIu64 ", \"out\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"doubled\": %" PRIu64
               ", \"reordered\": %" PRIu64 ", \"corrupted\": %" PRIu64 ", \"cut\": %" PRIu64
               ", \"queue_full\": %" PRIu64 ", \"send_failed\": %" PRIu64 "}",
               names[d], c->in, c->out, c->lost, c->doubled, c->reordered, c->corrupted, c->cut, c->queue_full,
               c->send_failed);
    }
    printf("}\n");
    fflush(stdout);
}

/* false: time to go. */
static bool on_signal(struct relay *r)
{
    struct signalfd_siginfo si;

    if (read(r->signal_fd, &si, sizeof si) != sizeof si)
        return true;
    if (si.ssi_signo != SIGUSR1)
        return false;
    rebind_flows(r);
    return true;
}

static int next_wait_ms(const struct relay *r)
{
    uint64_t now = now_us();

    if (!r->held)
        return -1;
    return r->heap[0]->due_us <= now ? 0 : (int)((r->heap[0]->due_us - now + 999) / 1000);
}

enum { TAG_LISTEN = FLOWS_MAX, TAG_SIGNAL };

static void run(struct relay *r)
{
    for (;;) {
        struct epoll_event ev[BATCH];
        int n = epoll_wait(r->epoll_fd, ev, BATCH, next_wait_ms(r));

        for (int i = 0; i < n; i++) {
            uint32_t tag = ev[i].data.u32;

            if (tag == TAG_SIGNAL) {
                if (!on_signal(r))
                    return;
                continue;
            }
            for (int round = 0; round < ROUNDS && receive(r, tag == TAG_LISTEN ? r->fd : r->flows[tag].fd, tag);)
                round++;
        }
        send_due(r);
    }
}

static struct sockaddr_in parse_addr(const char *text)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    const char *colon = strrchr(text, ':');
    char host[64];

    if (!colon || (size_t)(colon - text) >= sizeof host) {
        errno = EINVAL;
        die(text);
    }
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    a.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
        errno = EINVAL;
        die(text);
    }
    return a;
}

static void parse_spec(struct spec *s, const char *text)
{
    const struct {
        const char *name;
        double *value;
    } keys[] = {
        {"loss", &s->loss},         {"dup", &s->dup},     {"reorder", &s->reorder}, {"corrupt", &s->corrupt},
        {"truncate", &s->truncate}, {"delay", &s->delay}, {"jitter", &s->jitter},
    };
    const char *p = text;

    while (*p) {
        size_t name = strcspn(p, "="), i;
        char *end;

        for (i = 0; i < sizeof keys / sizeof keys[0]; i++)
            if (strlen(keys[i].name) == name && !strncmp(keys[i].name, p, name))
                break;
        errno = EINVAL;
        if (i == sizeof keys / sizeof keys[0] || !p[name])
            die(p);
        *keys[i].value = strtod(p + name + 1, &end);
        if (end == p + name + 1 || *keys[i].value < 0 || (*end && *end != ','))
            die(p);
        p = *end ? end + 1 : end;
    }
}

static void parse_args(struct relay *r, int argc, char **argv)
{
    uint64_t seed = 1;

    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (!strcmp(argv[i], "--listen")) {
            r->listen_addr = parse_addr(value);
        } else if (!strcmp(argv[i], "--to")) {
            r->upstream = parse_addr(value);
        } else if (!strcmp(argv[i], "--seed")) {
            seed = strtoull(value, NULL, 0);
        } else if (!strcmp(argv[i], "--up")) {
            parse_spec(&r->spec[UP], value);
        } else if (!strcmp(argv[i], "--down")) {
            parse_spec(&r->spec[DOWN], value);
        } else if (!strcmp(argv[i], "--both")) {
            parse_spec(&r->spec[UP], value);
            parse_spec(&r->spec[DOWN], value);
        } else {
            errno = EINVAL;
            die(argv[i]);
        }
    }
    r->rng[UP] = seed * 0x9e3779b97f4a7c15u + 1;
    r->rng[DOWN] = ~r->rng[UP];
}

static void open_sockets(struct relay *r)
{
    struct epoll_event on_listen = {.events = EPOLLIN, .data.u32 = TAG_LISTEN};
    struct epoll_event on_sig = {.events = EPOLLIN, .data.u32 = TAG_SIGNAL};
    int size = SOCKBUF;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    r->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->fd < 0 || r->epoll_fd < 0 || r->signal_fd < 0)
        die("socket");
    setsockopt(r->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(r->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (bind(r->fd, (struct sockaddr *)&r->listen_addr, sizeof r->listen_addr))
        die("bind");
    if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->fd, &on_listen) ||
        epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->signal_fd, &on_sig))
        die("epoll_ctl");
}

int main(int argc, char **argv)
{
    struct relay *r = &relay;

    parse_args(r, argc, argv);
    if (!r->listen_addr.sin_family || !r->upstream.sin_family) {
        fprintf(stderr, "usage: udpmangle --listen HOST:PORT --to HOST:PORT [--seed N] [--up|--down|--both SPEC]\n");
        return 1;
    }
    open_sockets(r);
    run(r);
    print_counters(r);
    while (r->n_spare)
        free(r->spare[--r->n_spare]);
    while (r->held)
        free(r->heap[--r->held]);
    return 0;
}
