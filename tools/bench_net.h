/* tools/bench_net.h - where the ends' sockets live: all on loopback, or in two network namespaces joined by a veth
 * pair. The namespaces have no name: they are gone when the last process in them is. */
#ifndef TOOLS_BENCH_NET_H
#define TOOLS_BENCH_NET_H

#include "tools/bench.h"

#include <netinet/in.h>

struct bench_net {
    bool spaces;
    int ns[BENCH_ENDS]; /* with spaces */
    struct in_addr server; /* the server end's address, as the client end reaches it */
};

int bench_net_open(struct bench_net *n, bool spaces); /* 0, BENCH_FAILED */
void bench_net_close(struct bench_net *n);

/* What the calling thread makes or starts from now on lives at that end. Async-signal-safe. 0, -1 and errno. */
int bench_net_enter(const struct bench_net *n, enum bench_end end);

/* A port that nobody uses at the calling thread's end, for TCP and UDP alike; 0: none found. */
uint16_t bench_net_port(struct in_addr host);

/* The options of a TCP socket of the load. Nothing paces it, whatever the system's default: timers for a path without a queue
 * would run beside the ends and be taken for their work. */
void bench_net_tcp(int fd);

static inline struct sockaddr_in bench_net_at(struct in_addr host, uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = host, .sin_port = htons(port)};
}

static inline struct in_addr bench_net_loopback(void)
{
    return (struct in_addr){htonl(INADDR_LOOPBACK)};
}

#endif
