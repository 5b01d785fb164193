/* daemon/mail.h - what threads tell each other. Thread n_workers is the main thread. Each ordered pair of threads has
 * one mailbox; a letter becomes visible when its sender calls post_publish(), once a turn. */
#ifndef DAEMON_MAIL_H
#define DAEMON_MAIL_H

#include "core/session.h"
#include "daemon/faketcp.h"
#include "daemon/io.h"
#include "daemon/mailbox.h"
#include "daemon/upgrade_wire.h"

enum mail_type {
    MAIL_DATAGRAM = 1,            /* mail_datagram, then the opened payload */
    MAIL_STREAM,                  /* mail_stream: a local connection for the client session in a slot */
    MAIL_LIST,                    /* mail_list: main asks for rows (report.h), or for something to be done */
    MAIL_LISTED,                  /* mail_listed: the answer */
    MAIL_DRAIN,                   /* mail_drain: finish what runs, take nothing new */
    MAIL_STOP,                    /* end now */
    MAIL_ENDED,                   /* mail_ended: a worker has nothing left, and its thread ends */
    MAIL_NETWORK,                 /* nothing: addresses or routes of this machine have changed */
    MAIL_PING,                    /* nothing: a worker that gets it takes a turn (watchdog.h) */
    MAIL_EDITION,                 /* mail_edition: tunnels to add, change, remove */
    MAIL_MOVED,                   /* mail_moved: a worker has done so */
    MAIL_GONE,                    /* mail_gone: its part of a removed tunnel has ended */
    MAIL_FREEZE,                  /* mail_freeze: stop reading what the new process of an upgrade has taken (finish.h) */
    MAIL_FROZEN,                  /* mail_frozen: it is done */
    MAIL_THAW,                    /* nothing: it is off, go on */
    MAIL_FINISH,                  /* mail_drain: the new process works */
    MAIL_NEWS,                    /* mail_news: of a session that the new process knows */
};

struct mail_datagram {
    uint64_t tunnel;
    uint64_t key;                 /* id of the key that opened it */
    uint32_t sockets, port;       /* where it arrived: id of the set; UDP port, or 0: a raw socket */
    uint32_t conv;                /* the session it is for; parity has none of its own */
    struct faketcp_numbers numbers; /* of a raw socket: what the segment said */
    struct sockaddr_any from, to;
};

struct mail_stream {
    uint64_t tunnel;
    uint32_t slot;
    int32_t fd;
};

enum list_kind {                  /* what main asks for, and the rows of the answer */
    LIST_SESSIONS,                /* session_row */
    LIST_STREAMS,                 /* stream_row */
    LIST_FACTS,                   /* tunnel_row: for kcptunctl doctor */
    LIST_KICK,                    /* ends the sessions asked for; session_row of each */
    LIST_DRAIN, LIST_UNDRAIN,     /* of tunnels; no rows */
};

enum { LIST_ALL = -1 };

struct list_place {               /* of a row in a worker's list: rows come in ascending order of these, first to last member */
    uint64_t tunnel;              /* slot */
    uint64_t peer, relay;         /* numbers that grow; relay 0: none is meant */
};

struct mail_list {
    uint64_t ask;                 /* comes back in the answer */
    enum list_kind kind;
    uint32_t max;                 /* rows at most */
    int64_t tunnel, session;      /* only of this one, or LIST_ALL */
    bool later;                   /* of sessions and streams: only those behind ... */
    struct list_place after;
};

struct mail_listed {
    uint64_t ask;
    uint32_t worker, n;
    bool more;                    /* there were more than `max` */
    void *rows;                   /* malloc'ed; the receiver's. NULL: none, or out of memory */
};

struct mail_drain {
    struct tick until;
};

struct mail_ended {
    uint32_t worker;
    int32_t result;
};

struct edition;

struct mail_edition {
    const struct edition *edition; /* there until everybody has answered */
};

struct mail_moved {
    uint32_t worker, number;      /* of the edition */
    uint32_t failed;              /* tunnels that could not follow, and stay as they were; told in the log */
};

struct mail_gone {
    uint64_t tunnel;
    uint32_t worker;
};

struct mail_freeze {
    int32_t link;                 /* the worker's from now on */
    uint32_t attempt;             /* comes back in the answer */
};

struct mail_frozen {
    uint32_t worker, attempt, n;
    bool failed;
    struct upgrade_session *sessions; /* malloc'ed; the receiver's. NULL: none */
};

struct mail_news {
    struct upgrade_session session;
    bool ended;
};

struct post;

struct post *post_new(unsigned n_threads);          /* NULL: out of memory or descriptors */
struct post *post_free(struct post *p);
/* 0, MAILBOX_FULL. */
int post_put(struct post *p, unsigned from, unsigned to, enum mail_type type, struct bytes head, struct bytes body);
/* Makes everything `from` put visible, and wakes those who sleep. */
void post_publish(struct post *p, unsigned from);
/* Boxes of `from` that hold more memory than they need, and giving it back. */
bool post_has_spare(const struct post *p, unsigned from);
void post_trim(struct post *p, unsigned from);
/* The next letter for `me`; post_done() ends the loan. 0, MAILBOX_EMPTY. */
int post_get(struct post *p, unsigned me, enum mail_type *type, struct bytes *rec);
void post_done(struct post *p, unsigned me);
int post_fd(struct post *p, unsigned me);           /* an eventfd, readable after a wake; read by its thread */
/* Brackets a sleep: true if nothing waits and a sleep is in order; post_awake() must follow either way. */
bool post_may_sleep(struct post *p, unsigned me);
void post_awake(struct post *p, unsigned me);

#endif
