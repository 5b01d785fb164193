/* tests/packages/ikcp_user.c - a program as users of the reference's ikcp.h write them, for the installed library: C or C++.
 * Messages and bytes over a link that loses a tenth of everything, with an algorithm and an allocator of its own. */
#include <ikcp.h>
#include <stdio.h>
#include <string.h>

enum { CONV = 0x11223344, MESSAGES = 300, LINK = 4096, DGRAM = 1500 };

static char wire[2][LINK][DGRAM];
static int length[2][LINK], head[2], tail[2];
static unsigned seed = 7, lines, rtts, sent, acked;
static long live;

static int output(const char *buf, int len, ikcpcb *kcp, void *user)
{
    int way = user != NULL;

    (void)kcp;
    seed = seed * 1103515245u + 12345u;
    if ((seed >> 16) % 10 == 0)
        return 0;
    memcpy(wire[way][tail[way] % LINK], buf, (size_t)len);
    length[way][tail[way]++ % LINK] = len;
    return len;
}

static void writelog(const char *log, struct IKCPCB *kcp, void *user)
{
    (void)log;
    (void)kcp;
    (void)user;
    lines++;
}

static void *counted_malloc(size_t n)
{
    live++;
    return malloc(n);
}

static void counted_free(void *p)
{
    live--;
    free(p);
}

static int cc_init(ikcpcb *kcp)
{
    kcp->cwnd = 32;
    kcp->congest = malloc(1);
    return 0;
}

static void cc_release(ikcpcb *kcp)
{
    free(kcp->congest);
    kcp->congest = NULL;
}

static void cc_rtt(ikcpcb *kcp, IINT32 rtt)
{
    (void)kcp;
    (void)rtt;
    rtts++;
}

static void cc_sent(ikcpcb *kcp, IUINT32 sn, IUINT32 ts, IUINT32 len, IUINT32 inflight, IUINT32 xmit)
{
    (void)kcp, (void)sn, (void)ts, (void)len, (void)inflight, (void)xmit;
    sent++;
}

static void cc_acked(ikcpcb *kcp, IUINT32 sn, IUINT32 ts, IUINT32 len, IINT32 rtt, IUINT32 xmit)
{
    (void)kcp, (void)sn, (void)ts, (void)len, (void)rtt, (void)xmit;
    acked++;
}

static const struct IKCPOPS algorithm = {
    "fixed", cc_init, cc_release, NULL, NULL, NULL, NULL, NULL, cc_rtt, cc_sent, cc_acked, NULL, NULL,
};

/* What arrives on both sides. */
static int carry(ikcpcb *const end[2])
{
    for (int way = 0; way < 2; way++)
        for (; head[way] < tail[way]; head[way]++) {
            const char *p = wire[way][head[way] % LINK];

            if (ikcp_getconv(p) != CONV || ikcp_input(end[!way], p, length[way][head[way] % LINK]))
                return -1;
        }
    return 0;
}

static int size_of(const ikcpcb *kcp, int i)
{
    return kcp->stream ? 100 : 100 + 10 * i; /* the longest take several segments */
}

/* Sends MESSAGES and takes them at the other end; in a stream only their bytes are counted. */
static int talk(ikcpcb *const end[2])
{
    char out[4000], in[5000];
    int said = 0, heard = 0, bytes = 0, n;

    for (IUINT32 now = 1; heard < MESSAGES && now < 600000; now++) {
        ikcp_update(end[0], now);
        ikcp_update(end[1], now);
        if (said < MESSAGES && ikcp_waitsnd(end[0]) < 100) {
            memset(out, said & 127, sizeof out);
            if (ikcp_send(end[0], out, size_of(end[0], said)) != size_of(end[0], said))
                return -1;
            said++;
        }
        if (carry(end) || ikcp_check(end[0], now) - now > end[0]->interval)
            return -1;
        while ((n = ikcp_peeksize(end[1])) >= 0) {
            if (ikcp_recv(end[1], in, sizeof in) != n)
                return -1;
            bytes += n;
            if (!end[1]->stream && (n != size_of(end[1], heard) || in[n - 1] != (heard & 127)))
                return -1;
            heard = end[1]->stream ? bytes / size_of(end[1], 0) : heard + 1;
        }
    }
    return heard == MESSAGES ? 0 : -1;
}

static int run(int nodelay, int stream, const struct IKCPOPS *ops)
{
    ikcpcb *end[2];
    int r;

    memset(head, 0, sizeof head);
    memset(tail, 0, sizeof tail);
    for (int i = 0; i < 2; i++) {
        end[i] = ikcp_create(CONV, i ? &seed : NULL);
        if (!end[i] || ikcp_setmtu(end[i], 1200) || end[i]->mss != 1176 || ikcp_setcc(end[i], ops))
            return -1;
        ikcp_setoutput(end[i], output);
        ikcp_wndsize(end[i], 128, 128);
        ikcp_nodelay(end[i], nodelay, 10, nodelay ? 2 : 0, nodelay);
        end[i]->rx_minrto = 10;
        end[i]->stream = stream;
        end[i]->writelog = writelog;
        end[i]->logmask = IKCP_LOG_OUT_DATA | IKCP_LOG_IN_ACK;
    }
    r = talk(end);
    r = r || !end[0]->rx_srtt || !end[0]->xmit || end[0]->state;
    for (int i = 0; i < 2; i++)
        ikcp_release(end[i]);
    return r;
}

struct item {
    int n;
    struct IQUEUEHEAD node;
};

static int queues(void)
{
    struct IQUEUEHEAD q, *at;
    struct item one, two, *it;
    int sum = 0;

    one.n = 1;
    two.n = 2;
    iqueue_init(&q);
    iqueue_add_tail(&two.node, &q);
    iqueue_add(&one.node, &q);
    iqueue_foreach(it, &q, struct item, node) sum = 10 * sum + it->n;
    iqueue_foreach_entry(at, &q) sum++;
    iqueue_del(&one.node);
    iqueue_del_init(&two.node);
    return sum == 14 && iqueue_is_empty(&q) ? 0 : -1;
}

int main(void)
{
    ikcp_allocator(counted_malloc, counted_free);
    if (queues() || run(0, 0, NULL) || run(1, 0, NULL) || run(1, 1, NULL) || run(2, 0, &algorithm))
        return 1;
    printf("%u lines, %u samples, %u sent, %u acknowledged, %ld left\n", lines, rtts, sent, acked, live);
    return live || !lines || !rtts || acked < MESSAGES || sent <= acked;
}
