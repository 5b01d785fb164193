/* daemon/resolve.h - names to addresses, off every loop. Any thread may ask, through a client of its own; answers wait
 * there until the thread takes them, and the client's descriptor is readable as long as some do. The lookups run in a few
 * detached threads, started when needed: one name server that hangs delays neither other names nor the end of the
 * process. */
#ifndef DAEMON_RESOLVE_H
#define DAEMON_RESOLVE_H

#include "daemon/io.h"

enum {
    RESOLVE_ADDRS = 8,            /* addresses of one answer */
    RESOLVE_PENDING = 64,         /* questions and untaken answers of one client */
    RESOLVE_THREADS = 4,
};

struct resolve_result {
    uint64_t token;               /* as asked */
    unsigned n;                   /* addresses; 0: none, text says why */
    struct sockaddr_any addr[RESOLVE_ADDRS]; /* in the order to try them */
    char text[128];
};

/* Fills n and addr, or text. host "": this host. Blocks. */
typedef void (*resolve_lookup)(const char *host, uint16_t port, struct resolve_result *out);

struct resolver;
/* lookup: NULL for getaddrinfo(3). 0, -errno. */
int resolver_new(struct resolver **rp, resolve_lookup lookup);
/* Never waits; lookups under way end by themselves. Clients may still be freed afterwards. */
struct resolver *resolver_free(struct resolver *r);

enum { RESOLVE_BUSY = 1 };

struct resolver_client;
int resolver_client_new(struct resolver_client **cp, struct resolver *r); /* 0, -errno */
/* Questions not answered yet are forgotten. Never waits. */
struct resolver_client *resolver_client_free(struct resolver_client *c);
int resolver_client_fd(const struct resolver_client *c);
/* Never waits. A numeric address is its own answer, at once. host: up to 255 bytes.
 * 0 (exactly one answer comes), RESOLVE_BUSY (too many pending), -errno. */
int resolver_ask(struct resolver_client *c, const char *host, uint16_t port, uint64_t token);
bool resolver_next(struct resolver_client *c, struct resolve_result *out); /* false: none now */

#endif
