/* daemon/shared.h - what all threads of the process share. */
#ifndef DAEMON_SHARED_H
#define DAEMON_SHARED_H

#include "conf/conf.h"
#include "daemon/io.h"

struct edition;
struct elder;
struct limits;
struct post;
struct resolver;
struct worker;

/* Built by main before the workers start; constant afterwards, but for conf. */
struct shared {
    const struct conf *conf;      /* main's: a reload replaces it */
    const struct edition *first;  /* the tunnels to start with */
    const struct io_ops *io;
    const uint16_t *cpus;         /* to pin workers to; n_cpus 0: as choose_cpu() finds best */
    unsigned n_cpus;
    struct limits *limits;
    struct resolver *resolver;
    struct post *post;            /* all mailboxes */
    struct worker **workers;
    unsigned n_workers;
    uint64_t hash_seed;           /* of every table and of the choice of worker, against chosen collisions */
    size_t memory;                /* bytes of buffers per worker */
    uint32_t spin_us;             /* see the key; 0 if there are too few cores */
    struct elder *elder;          /* the process that was upgraded to this one (elder.h); NULL: none */
};

/* Fills in what c and the system decide; c stays main's. Set before: elder. 0, -errno: shared_fini() is due all the same. */
int shared_init(struct shared *sh, const struct conf *c);
void shared_fini(struct shared *sh);  /* the workers have ended */

#endif
