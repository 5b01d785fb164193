/* daemon/upgrade_wire.h - what an old and a new process of an upgrade say to each other, over seqpacket sockets: one message
 * a packet. Both may be of different versions, so nothing depends on the layout of a struct. Sees no socket.
 *
 *   | type u8 | a u32 | b u32 | c u32 | d u64 | length of text u16 | text | body |        little-endian
 *
 * The old process ("elder" of the new one) offers, the new one ("heir" of the old one) takes. Types that are not known are of
 * a later version and ignored. */
#ifndef DAEMON_UPGRADE_WIRE_H
#define DAEMON_UPGRADE_WIRE_H

#include "core/base/wire.h"
#include "daemon/io.h"

enum {
    UPGRADE_VERSION = 1,
    UPGRADE_MSG_MAX = 32768,      /* bytes of a message but UPGRADE_RUN */
    UPGRADE_RUN_MAX = 65536 + 256,
    UPGRADE_TEXT_MAX = 1024,
    UPGRADE_FDS_MAX = 128,        /* descriptors with one message */
    UPGRADE_NAME_MAX = 64,        /* of a counter */
};

enum upgrade_type {
    /* From the elder: */
    UPGRADE_HELLO = 1,            /* a: version; b: pid; c: workers; d: hash seed */
    UPGRADE_UDP,                  /* a: set; b: index of the first descriptor; c: how many in all; d: tunnel; text: address */
    UPGRADE_STREAM,               /* the same of a client */
    UPGRADE_STEER,                /* a: set; three descriptors: see steer_fds() */
    UPGRADE_CONTROL,              /* a: a number like that of a set; text: path of a control socket */
    UPGRADE_METRICS,              /* likewise; text: its address */
    UPGRADE_LINKS,                /* b: worker of the first descriptor; each takes UPGRADE_RUN for one worker */
    UPGRADE_OFFERED,              /* that was all */
    UPGRADE_SESSIONS,             /* body: upgrade_session; they are the elder's: new, or at another address */
    UPGRADE_ENDED,                /* the same; they are no more */
    UPGRADE_GO,                   /* those are all sessions there are: begin */
    UPGRADE_YOURS,                /* the service is the heir's */
    UPGRADE_COUNTERS,             /* text: profile, "" = in total; body: upgrade_counter */
    UPGRADE_STATE,                /* a: pid; b: sessions; c: streams; d: seconds left; UPGRADE_STATE_OVER: it has ended */
    /* From the heir: */
    UPGRADE_TAKEN,                /* a: the number of a set, control socket or metrics that goes on in the heir */
    UPGRADE_PREPARED,             /* those are all, everything else is open: what about the sessions? */
    UPGRADE_STARTED,              /* workers run */
    UPGRADE_FAILED,               /* text: why; the heir ends */
    UPGRADE_END,                  /* a: seconds; the service ends */
    /* On the links, from a worker of the heir: */
    UPGRADE_RUN,                  /* a: set; b: UDP port; c: bytes of a datagram; d: tunnel; body: from, to, datagrams */
    /* From the elder, behind the others so that these keep their numbers: */
    UPGRADE_DRAINED,              /* text: a profile that takes nothing new, by command */
    UPGRADE_WORK,                 /* b: worker; body: upgrade_counter of it, and of those of that number before it */
    /* From the heir: */
    UPGRADE_REOPEN,               /* the log file was moved away */
};

#define UPGRADE_STATE_OVER UINT64_MAX

enum { UPGRADE_MALFORMED = 1 };

struct upgrade_msg {
    enum upgrade_type type;
    uint32_t a, b, c;
    uint64_t d;
    const char *text;             /* NULL: "" */
    struct bytes body;
};

/* Bytes written; 0: no room. */
size_t upgrade_msg_put(uint8_t *out, size_t room, const struct upgrade_msg *m);
/* text (of UPGRADE_TEXT_MAX + 1 bytes) is where m->text is copied; m->body points into b. 0, UPGRADE_MALFORMED. */
int upgrade_msg_parse(struct upgrade_msg *m, char *text, struct bytes b);

struct upgrade_session {
    uint32_t set, conv;
    struct sockaddr_any remote;
};
void upgrade_session_put(struct wr *w, const struct upgrade_session *s);
/* The next of a body. False: it ends, or, r->bad, is malformed. */
bool upgrade_session_next(struct rd *r, struct upgrade_session *s);
enum { UPGRADE_SESSION_MAX = 8 + 23, UPGRADE_SESSIONS_MAX = (UPGRADE_MSG_MAX - 64) / UPGRADE_SESSION_MAX };

void upgrade_counter_put(struct wr *w, const char *name, uint64_t value);
bool upgrade_counter_next(struct rd *r, char name[UPGRADE_NAME_MAX + 1], uint64_t *value);

struct upgrade_run {              /* datagrams of one sender, as they came */
    uint64_t tunnel;              /* and set: the elder's numbers */
    uint32_t set, port, seg;      /* seg: bytes of a datagram; the last may be shorter */
    struct sockaddr_any from, to;
    struct bytes data;
};
/* Everything but the data, which follows. Bytes written; 0: no room. */
size_t upgrade_run_put(uint8_t *out, size_t room, const struct upgrade_run *run);
int upgrade_run_parse(struct upgrade_run *run, struct bytes b); /* data points into b. 0, UPGRADE_MALFORMED */

#endif
