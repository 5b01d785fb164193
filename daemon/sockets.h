/* daemon/sockets.h - the listening sockets of one profile: opened by main, all at once, before anything refers to them;
 * adopted by the workers, each its own. A server has one UDP socket for each port and worker, a client one stream socket
 * at its home worker. With `tcp` a server has raw sockets, too: two for each worker, by which all of them send and the home
 * worker receives, and there a TCP listener for each port. Where the address does not change they outlive reloads.
 * Knows no tunnels and no sessions. */
#ifndef DAEMON_SOCKETS_H
#define DAEMON_SOCKETS_H

#include "conf/conf.h"
#include "daemon/io.h"

#include <stdatomic.h>

struct elder;
struct own_names;
struct steer;

struct sockets {                  /* immutable but for next, adopted and what is atomic */
    atomic_uint refs;
    struct sockets *next;         /* main's: older ones of the same tunnel, some of which may still be in use */
    uint32_t id;                  /* no two of a process have the same; not 0 */
    struct addr_text at;
    struct sockaddr_any own;      /* client, not at a path: at, resolved */
    uint64_t origin_tunnel;       /* whose they were in the process before an upgrade, in its numbers */
    uint32_t origin_set;          /* 0: nobody's */
    atomic_bool closed;           /* client: the worker has closed it, to listen again later perhaps */
    atomic_bool handed;           /* another process goes on with them: they are not read, names of files stay */
    atomic_bool broken;           /* a worker could not take its own over: the next reload opens others */
    bool stream;                  /* client */
    bool tcp;                     /* server: raw sockets and TCP listeners are wanted, but may be missing */
    unsigned n_workers, n_ports;  /* client: 1 each */
    unsigned home;                /* the worker that listens for TCP */
    struct steer *steer;          /* server with several workers; else NULL */
    bool *adopted;                /* like fds; true: the worker closes it */
    int fds[];                    /* [port * n_workers + worker], raw [family * n_workers + worker], TCP [port] */
};

struct sockets_params {
    const struct conf_profile *conf;
    unsigned n_workers;
    unsigned home;                /* as above */
    uint64_t tunnel;              /* whose they are to be */
    bool closed;                  /* client: it listens later perhaps, by sockets_reopen() */
    const struct sockets *held;   /* what the same tunnel has open: its ports are not in our way */
    struct elder *elder;          /* may have them; NULL: nobody has */
    struct own_names *names;      /* where the address of a name is looked for */
};
/* 0, -errno: err_text() says which. The first references are the caller's. */
int sockets_open(struct sockets **sp, const struct sockets_params *p);
struct sockets *sockets_ref(struct sockets *s);
struct sockets *sockets_put(struct sockets *s);               /* closes what nobody adopted; NULL */
/* True for sockets that p would open just so, and that work. */
bool sockets_fit(const struct sockets *s, const struct conf_profile *p);
/* p, another tunnel's, cannot be opened while s is. Names are compared as text. */
bool sockets_in_way(const struct sockets *s, const struct conf_profile *p);
bool sockets_same_host(const struct sockets *a, const struct sockets *b);
bool sockets_serve_tcp(const struct sockets *s);              /* what `tcp` takes could be opened */
/* A client's socket that was adopted and closed is opened anew, if this is the worker that listens. Waits for nothing.
 * 0, -errno. */
int sockets_reopen(struct sockets *s, unsigned worker);
/* The worker's socket of the port: from now on it closes it. -1: not its own, or adopted before. */
int sockets_adopt(struct sockets *s, unsigned port, unsigned worker);
/* Likewise its raw socket, for IPv4 (0) or IPv6 (1), and the TCP listener of a port. -1: there is none. */
enum { SOCKETS_RAWS = 2 };
int sockets_adopt_raw(struct sockets *s, unsigned family, unsigned worker);
int sockets_adopt_tcp(struct sockets *s, unsigned port, unsigned worker);

#endif
