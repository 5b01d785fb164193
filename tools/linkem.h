/* tools/linkem.h - kcptun-linkem: two network namespaces, a link between them in real time, commands at its ends. */
#ifndef TOOLS_LINKEM_H
#define TOOLS_LINKEM_H

#include "tools/link_text.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/types.h>

enum { LINKEM_A, LINKEM_B, LINKEM_ENDS };
enum { LINKEM_FAILED = 1, LINKEM_USAGE = 2 }; /* exit status; that of the first command counts otherwise */

struct linkem {                   /* what to do */
    struct link_plan plan;
    uint64_t seed;
    unsigned mtu;
    const char *name;             /* namespaces NAME-a and NAME-b; NULL: nameless */
    char *netns[LINKEM_ENDS];     /* namespaces that are there already: name or path */
    char **command[LINKEM_ENDS];  /* argv; NULL */
    int first;                    /* whose command counts */
    uint64_t time_us;             /* 0: until a signal or the end of the first command */
    const char *json, *trace;     /* files; NULL */
    uint64_t trace_us;            /* between two lines of the trace */
    bool quiet;
};

/* ---- linkem_options.c ---- */
/* 0: *e is filled in (words of argv borrowed). -1: *status is what to exit with. */
int linkem_options(struct linkem *e, int argc, char **argv, int *status);

/* ---- linkem_space.c ---- */
struct linkem_space {             /* namespaces and a TUN device in each; zeroed: nothing */
    int home, lock;               /* descriptors, each + 1, so that 0 is none */
    int ns[LINKEM_ENDS], tun[LINKEM_ENDS];
    char *made[LINKEM_ENDS];      /* paths of names to remove */
    char *lock_path;
};
int linkem_space_open(struct linkem_space *s, const struct linkem *e); /* 0, -errno; what is there goes by close */
void linkem_space_close(struct linkem_space *s);
int linkem_space_enter(const struct linkem_space *s, int end); /* the calling thread */
uint64_t linkem_space_dropped(const struct linkem_space *s, int end); /* by the device, before we saw the packet */
const char *linkem_address(int end);

/* ---- linkem_way.c ---- */
struct linkem_way {               /* a direction, on a thread of its own */
    struct link l;
    int in, out, wake;            /* descriptors, borrowed */
    const atomic_bool *stop;      /* ends the thread; `wake` becomes readable then */
    FILE *trace;                  /* borrowed; NULL */
    uint64_t trace_us;
    unsigned way;
    struct tick start;
    uint64_t refused;             /* the kernel did not take what arrived: a header that was corrupted */
    uint64_t late_us, late_max_us; /* past their time when handed to the kernel: sum, worst */
    pthread_t thread;
    bool running;
};
struct tick linkem_now(void);
int linkem_way_start(struct linkem_way *w); /* 0, -errno */
void linkem_way_join(struct linkem_way *w); /* after *stop */

/* ---- linkem_command.c ---- */
void linkem_block_signals(void); /* those that linkem_wait() waits for; before threads are made */
/* Starts what is to run. 0, -errno. */
int linkem_start(const struct linkem *e, const struct linkem_space *s, pid_t pids[LINKEM_ENDS]);
/* Waits for the first command, a signal or the time, and ends all commands and what they left behind. The status to exit
 * with. */
int linkem_wait(const struct linkem *e, const pid_t pids[LINKEM_ENDS]);

/* ---- linkem_report.c ---- */
void linkem_table(const struct linkem_way w[LINKEM_ENDS], const uint64_t dropped[LINKEM_ENDS], FILE *out);
int linkem_json(const struct linkem *e, const struct linkem_way w[LINKEM_ENDS], const uint64_t dropped[LINKEM_ENDS],
                double seconds); /* 0, -errno */

#endif
