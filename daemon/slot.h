/* daemon/slot.h - one of a client's places for a session: which server it leads to, what comes after it, and the local
 * connections that wait for it. A session is never replaced before its successor has been answered (but for a client with a
 * single server and none yet: it begins without waiting). The places beyond `conn` are extra: a session there begins when a
 * stream needs it and the server answers, else the stream goes elsewhere; it ends once it has been empty for a while. */
#ifndef DAEMON_SLOT_H
#define DAEMON_SLOT_H

#include "daemon/peers.h"
#include "daemon/remotes.h"

enum slot_aim {                   /* why a successor is looked for */
    SLOT_CONTENT,
    SLOT_DOUBT,                   /* its peer does not answer */
    SLOT_BETTER,                  /* a preferred server may be back */
    SLOT_RENEW,                   /* the way or the settings have changed */
};

struct slot {
    struct tunnel *tunnel;
    struct remotes *remotes;      /* of the client, in this worker */
    unsigned index;
    enum slot_aim aim;
    struct peer *peer;            /* takes new streams; NULL: none */
    struct peer *trial;           /* takes its place once it is answered */
    struct remote_pick at, tried; /* where they lead */
    bool used;                    /* `at` is set */
    bool again;                   /* it had a session: the next is dialled unasked */
    struct timer timer;
    struct tick dial_at;          /* not before */
    struct tick dialled, answered; /* the trial */
    struct tick better_at;        /* when to look for a preferred server */
    struct tick ends_at;          /* of an extra session: when it has been without streams for long enough */
    uint32_t backoff_ms;
    unsigned failures;            /* in a row */
    struct tick since;            /* the oldest connection waits since then */
    int *fds;                     /* connections that wait */
    unsigned n_fds, cap_fds;
};

void slot_init(struct slot *s, struct tunnel *t, struct remotes *r, unsigned index);
void slot_close(struct slot *s);                   /* drops what waits; its sessions have ended */
void slot_drain(struct slot *s);                   /* nothing new is dialled any more */
void slot_take(struct slot *s, int fd);            /* a local connection; takes fd */
void slot_refuse(int fd);                          /* closes by a reset, so that it does not look like the end of a stream */
/* Something it waits for may have happened: names were resolved. */
void slot_step(struct slot *s);
/* Its session p, or one it had, would leave from another address if it were dialled now. A server of our kind follows it
 * there; toward another a successor is dialled. */
void slot_way_changed(struct slot *s, struct peer *p);
/* It goes on in another place of memory, which slot_init() has prepared. */
void slot_move(struct slot *to, struct slot *from);
/* It is no more: its session ends with its streams, what waits is given to take(). */
void slot_dissolve(struct slot *s, void (*take)(struct slot *s, int fd));
/* A successor is to be looked for; the session it has goes on with its streams. */
void slot_renew(struct slot *s);
/* What the profile says has changed; it is this worker's. */
void slot_changed(struct slot *s);

/* Of a session in it: */
void slot_served(struct slot *s, struct peer *p);  /* its turn is over; p may be gone afterwards */
void slot_lost(struct slot *s, struct peer *p);    /* p is about to end */
bool slot_refused(struct slot *s, struct peer *p, const char *why); /* nobody listens there. True: p is gone, it was only a
                                                      trial */
void slot_connected(struct slot *s, struct peer *p); /* fake TCP: it can send from now on; it may be gone afterwards */
void slot_cut_off(struct slot *s, struct peer *p); /* fake TCP: its connection has ended */

#endif
