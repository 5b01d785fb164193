/* docs/examples/ikcp_echo.c - KCP over UDP with libikcp: a server that echoes messages, for one client at a time, and a
 * client.
 *
 *   ikcp_echo server PORT
 *   ikcp_echo client ADDRESS PORT [COUNT]
 *   ikcp_echo                       both, over loopback, for a moment
 *
 * One socket, one conversation, one poll() loop: sleep until a datagram comes or ikcp_check() says so. */
#include <arpa/inet.h>
#include <ikcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CONV = 0x4b435000, MTU_MAX = 1500, PATIENCE_MS = 10000 };

struct end {
    int fd;
    int serves;
    struct sockaddr_in peer;
    ikcpcb *kcp;
};

static IUINT32 clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (IUINT32)((IUINT64)t.tv_sec * 1000 + (IUINT64)t.tv_nsec / 1000000);
}

/* Loses what the network loses: a full socket buffer is no different. */
static int send_dgram(const char *buf, int len, ikcpcb *kcp, void *user)
{
    struct end *e = user;

    (void)kcp;
    return (int)sendto(e->fd, buf, (size_t)len, 0, (struct sockaddr *)&e->peer, sizeof e->peer);
}

/* A conversation from its beginning: nothing of the one before is left. */
static int begin(struct end *e)
{
    if (e->kcp)
        ikcp_release(e->kcp);
    e->kcp = ikcp_create(CONV, e);
    if (!e->kcp)
        return -1;
    ikcp_setoutput(e->kcp, send_dgram);
    ikcp_nodelay(e->kcp, 1, 10, 2, 1);
    ikcp_wndsize(e->kcp, 128, 128);
    ikcp_update(e->kcp, clock_ms());
    return 0;
}

static int end_open(struct end *e, const char *address, int port)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    e->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (e->fd < 0 || inet_pton(AF_INET, address, &here.sin_addr) != 1 ||
        bind(e->fd, (struct sockaddr *)&here, sizeof here)) {
        perror("socket");
        return -1;
    }
    return begin(e);
}

static void end_close(struct end *e)
{
    if (e->kcp)
        ikcp_release(e->kcp);
    if (e->fd >= 0)
        close(e->fd);
}

static int same_address(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
    return a->sin_addr.s_addr == b->sin_addr.s_addr && a->sin_port == b->sin_port;
}

/* Sleeps until something happens, and lets it. 0, -1: out of memory. */
static int end_turn(struct end *e)
{
    struct pollfd p = {.fd = e->fd, .events = POLLIN};
    IUINT32 now = clock_ms();
    IINT32 wait = (IINT32)(ikcp_check(e->kcp, now) - now);
    char d[MTU_MAX];
    ssize_t n;

    /* a retransmission that is due waits for the interval's end: 1 ms, so as not to spin meanwhile */
    poll(&p, 1, wait > 0 ? wait : 1);
    ikcp_update(e->kcp, clock_ms());
    for (;;) {
        struct sockaddr_in from;
        socklen_t len = sizeof from;

        n = recvfrom(e->fd, d, sizeof d, 0, (struct sockaddr *)&from, &len);
        if (n < 0)
            break;
        if (!same_address(&from, &e->peer)) {
            if (!e->serves)
                continue; /* not the server */
            e->peer = from;
            if (begin(e)) /* another client: its conversation takes the place of the last one's */
                return -1;
        }
        ikcp_input(e->kcp, d, n);
    }
    ikcp_flush(e->kcp);
    return 0;
}

static int serve(struct end *e)
{
    char msg[4096];
    int n;

    e->serves = 1;
    while (end_turn(e) == 0) {
        while ((n = ikcp_recv(e->kcp, msg, sizeof msg)) >= 0)
            ikcp_send(e->kcp, msg, n);
        if (e->kcp->state && begin(e)) /* its client has gone */
            break;
    }
    return 1;
}

static int ask(struct end *e, int count)
{
    char msg[64], got[64];
    IUINT32 began = clock_ms();

    for (int i = 0; i < count; i++) {
        int n = snprintf(msg, sizeof msg, "message %d of %d", i + 1, count);
        IUINT32 sent = clock_ms();

        ikcp_send(e->kcp, msg, n);
        ikcp_update(e->kcp, sent);
        ikcp_flush(e->kcp);
        while (ikcp_recv(e->kcp, got, sizeof got) != n) {
            if (end_turn(e) || e->kcp->state || clock_ms() - began > PATIENCE_MS)
                return fprintf(stderr, "no answer\n"), 1;
        }
        if (memcmp(msg, got, (size_t)n) != 0)
            return fprintf(stderr, "a wrong answer\n"), 1;
        printf("%.*s: %u ms\n", n, got, clock_ms() - sent);
    }
    return 0;
}

/* The server in a child, on a port the kernel picks. */
static int both(void)
{
    struct end server = {.fd = -1}, client = {.fd = -1};
    socklen_t len = sizeof client.peer;
    int r = 1;

    if (end_open(&server, "127.0.0.1", 0) == 0 && end_open(&client, "127.0.0.1", 0) == 0 &&
        getsockname(server.fd, (struct sockaddr *)&client.peer, &len) == 0) {
        pid_t child = fork();

        if (child == 0)
            _exit(serve(&server));
        if (child > 0) {
            r = ask(&client, 20);
            kill(child, SIGTERM);
            waitpid(child, NULL, 0);
        }
    }
    end_close(&server);
    end_close(&client);
    return r;
}

int main(int argc, char **argv)
{
    struct end e = {.fd = -1};
    int r = 2;

    if (argc == 1)
        return both();
    if (argc == 3 && !strcmp(argv[1], "server")) {
        r = end_open(&e, "0.0.0.0", atoi(argv[2])) ? 1 : serve(&e);
    } else if (argc >= 4 && !strcmp(argv[1], "client")) {
        e.peer = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};
        if (inet_pton(AF_INET, argv[2], &e.peer.sin_addr) == 1)
            r = end_open(&e, "0.0.0.0", 0) ? 1 : ask(&e, argc > 4 ? atoi(argv[4]) : 10);
    }
    if (r == 2)
        fprintf(stderr, "usage: %s server PORT | client ADDRESS PORT [COUNT]\n", argv[0]);
    end_close(&e);
    return r;
}
