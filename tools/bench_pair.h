/* tools/bench_pair.h - one tunnel under measurement: a client process, a server process, and what the kernel says of
 * them. */
#ifndef TOOLS_BENCH_PAIR_H
#define TOOLS_BENCH_PAIR_H

#include "tools/bench.h"

#include <netinet/in.h>
#include <sys/types.h>

struct bench_memory { /* KiB; NAN where the kernel does not tell */
    double rss, pss, peak;
};

struct bench_pair {
    const struct bench *bench;
    pid_t pid[BENCH_ENDS]; /* 0: does not run */
    char name[BENCH_ENDS][32];
    struct sockaddr_in local; /* where applications connect to */
};

/* Starts both ends, the client with `conn` sessions and the server toward the target's port at its end; returns when
 * both listen. bench_pair_stop() is due after a failure, too. 0, BENCH_FAILED, BENCH_STOPPED. */
int bench_pair_start(struct bench_pair *p, const struct bench *b, const struct bench_case *c,
                     const struct bench_kind *k, unsigned conn, uint16_t target_port);
void bench_pair_stop(struct bench_pair *p);
int bench_pair_check(struct bench_pair *p); /* both still run: 0; else BENCH_FAILED */
double bench_pair_cpu(const struct bench_pair *p, enum bench_end end); /* seconds so far, all threads */
struct bench_memory bench_pair_memory(const struct bench_pair *p, enum bench_end end);

int bench_pair_dir_open(struct bench *b); /* the directory that holds configurations and logs, and the key */
void bench_pair_dir_close(struct bench *b);

/* Whether the help of kcptun at `path` names the cipher: an unknown one would silently be aes. */
bool bench_pair_peer_knows(const char *path, const char *crypt);

#endif
