/* docs/examples/ikcp_many.c - thousands of conversations in one loop: nobody is updated before ikcp_check() asks for it.
 *
 *   ikcp_many [PAIRS [SECONDS]]
 *
 * Pairs of control blocks talk over a virtual link (20 to 60 ms, 2 % loss) in virtual time. A program with sockets does
 * the same with its clock in place of `now`: one heap of wake-ups, sleep until the earliest. */
#include <ikcp.h>
#include <stdio.h>
#include <string.h>

enum { LOSS_PER_MILLE = 20, DELAY_MIN = 20, DELAY_SPAN = 40, TALK_MS = 500, MSG = 200 };

struct dgram {
    int len;
    char p[];
};

/* Something to do at a time: deliver a datagram, or (dgram NULL) wake a block up. */
struct event {
    IUINT32 at;
    unsigned who;
    struct dgram *dgram;
};

struct block {
    ikcpcb *kcp;
    IUINT32 wake; /* the one wake-up that counts; earlier plans in the heap are stale */
    IUINT32 talk; /* when to say something again */
    IUINT32 said, heard;
};

static struct event *heap;
static size_t n_heap, heap_cap;
static struct block *blocks;
static IUINT32 now;
static unsigned long n_wakes, n_dgrams;

static unsigned chance(unsigned n)
{
    static IUINT32 seed = 1;

    seed = seed * 1664525 + 1013904223;
    return (unsigned)((IUINT64)seed * n >> 32);
}

static void plan(struct event e)
{
    size_t i = n_heap++;

    if (n_heap > heap_cap) {
        heap_cap = heap_cap ? 2 * heap_cap : 1024;
        heap = realloc(heap, heap_cap * sizeof *heap);
        if (!heap)
            abort();
    }
    for (; i && e.at < heap[(i - 1) / 2].at; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = e;
}

static struct event next(void)
{
    struct event first = heap[0], last = heap[--n_heap];
    size_t i = 0, kid;

    while ((kid = 2 * i + 1) < n_heap) {
        if (kid + 1 < n_heap && heap[kid + 1].at < heap[kid].at)
            kid++;
        if (heap[kid].at >= last.at)
            break;
        heap[i] = heap[kid];
        i = kid;
    }
    heap[i] = last;
    return first;
}

static int carry(const char *buf, int len, ikcpcb *kcp, void *user)
{
    unsigned peer = (unsigned)(size_t)user ^ 1;
    struct dgram *d;

    (void)kcp;
    n_dgrams++;
    if (chance(1000) < LOSS_PER_MILLE)
        return 0;
    d = malloc(sizeof *d + (size_t)len);
    if (!d)
        return -1;
    d->len = len;
    memcpy(d->p, buf, (size_t)len);
    plan((struct event){now + DELAY_MIN + chance(DELAY_SPAN), peer, d});
    return 0;
}

/* Asks when this block wants to run next. A due retransmission that waits for the interval says `now`: 1 ms later. */
static void replan(unsigned who)
{
    struct block *b = &blocks[who];
    IUINT32 at = ikcp_check(b->kcp, now);

    if (!ikcp_waitsnd(b->kcp) && !b->kcp->ackcount)
        at = b->talk; /* nothing is under way: it may sleep until there is something to say, or to hear */
    at = at > now ? at : now + 1;
    if (b->wake > now && b->wake <= at)
        return;
    b->wake = at;
    plan((struct event){at, who, NULL});
}

static void say_and_hear(struct block *b)
{
    char msg[MSG] = {0};

    while (ikcp_recv(b->kcp, msg, sizeof msg) == MSG) {
        IUINT32 index;

        memcpy(&index, msg, sizeof index);
        if (index != b->heard++) {
            fprintf(stderr, "message %u where %u was due\n", index, b->heard - 1);
            abort();
        }
    }
    if (b->talk > now)
        return;
    memcpy(msg, &b->said, sizeof b->said);
    b->said++;
    ikcp_send(b->kcp, msg, sizeof msg);
    b->talk = now + TALK_MS;
}

static void happen(struct event e)
{
    struct block *b = &blocks[e.who];

    if (!e.dgram && b->wake != e.at)
        return;
    if (e.dgram) {
        ikcp_input(b->kcp, e.dgram->p, e.dgram->len);
        free(e.dgram);
    }
    n_wakes++;
    say_and_hear(b);
    ikcp_update(b->kcp, now);
    replan(e.who);
}

int main(int argc, char **argv)
{
    unsigned pairs = argc > 1 ? (unsigned)atoi(argv[1]) : 2000, n = 2 * pairs;
    IUINT32 seconds = argc > 2 ? (IUINT32)atoi(argv[2]) : 5;
    unsigned long said = 0, heard = 0;

    blocks = calloc(n + !n, sizeof *blocks);
    if (!blocks)
        return 1;
    for (unsigned i = 0; i < n; i++) {
        blocks[i].kcp = ikcp_create(i / 2, (void *)(size_t)i);
        if (!blocks[i].kcp)
            return 1;
        ikcp_setoutput(blocks[i].kcp, carry);
        ikcp_nodelay(blocks[i].kcp, 1, 20, 2, 1);
        blocks[i].talk = 1 + chance(TALK_MS);
        ikcp_update(blocks[i].kcp, now);
        replan(i);
    }
    while (n_heap && heap[0].at < seconds * 1000) {
        struct event e = next();

        now = e.at;
        happen(e);
    }
    while (n_heap)
        free(next().dgram);
    for (unsigned i = 0; i < n; i++) {
        said += blocks[i].said;
        heard += blocks[i].heard;
        ikcp_release(blocks[i].kcp);
    }
    printf(
        "%u conversations, %u s: %lu messages said, %lu heard; %lu datagrams, %lu wake-ups (an update of every block "
        "each 20 ms: %lu)\n",
        pairs, seconds, said, heard, n_dgrams, n_wakes, (unsigned long)n * seconds * 50);
    free(blocks);
    free(heap);
    return heard + n >= said && heard ? 0 : 1;
}
