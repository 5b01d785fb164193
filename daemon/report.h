/* daemon/report.h - what a worker tells main of its sessions and streams, and what an operator has it do to them. */
#ifndef DAEMON_REPORT_H
#define DAEMON_REPORT_H

#include "daemon/tunnel.h"

struct session_row {
    struct list_place place;
    uint64_t id;
    int64_t tunnel;
    struct sockaddr_any remote;
    const char *state;            /* a constant */
    struct session_info info;
};

struct stream_row {
    struct list_place place;
    uint64_t session;
    int64_t tunnel;
    uint32_t id;
    const char *state;            /* a constant */
    struct sockaddr_any local;    /* whom the connection is with: the application, or the target; len 0: unix, or none yet */
    uint64_t age_ms, in_bytes, out_bytes; /* from the tunnel to the connection; the other way */
    uint64_t readable, queued;    /* bytes that wait for either */
};

struct tunnel_row {               /* of one tunnel in one worker */
    int64_t tunnel;
    uint32_t sockets, asked;      /* UDP; of these, looked at */
    uint32_t rcvbuf, sndbuf;      /* least bytes the kernel gave, in the unit of sockbuf; 0: no socket */
    uint32_t no_gro;              /* sockets without */
    uint64_t drops;               /* datagrams the kernel dropped because a socket's buffer was full */
    uint32_t sessions, no_gso;    /* without: their path refuses runs */
    uint32_t stalled;             /* sessions whose peer answers, yet has not acknowledged anything for seconds */
    uint32_t mtu_path;            /* least MTU that the kernel knows of a session's path; 0: none known */
    struct trouble trouble;       /* strangers whose datagrams do open now left out */
};

/* Answers m by a letter to main. */
void report_list(struct worker *w, const struct mail_list *m);

#endif
