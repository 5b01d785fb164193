/* core/ikcp.h - libikcp: the KCP transport behind the programming interface of the reference implementation, 2.1.1.
 *
 * Programs written for the reference compile against this header unchanged; there is no promise about binary layout.
 * The library opens no socket and reads no clock: datagrams leave through a callback and come in through ikcp_input(),
 * time comes in through ikcp_update(). A control block and all calls on it belong to one thread at a time. */
#ifndef CORE_IKCP_H
#define CORE_IKCP_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef int8_t IINT8;
typedef uint8_t IUINT8;
typedef int16_t IINT16;
typedef uint16_t IUINT16;
typedef int32_t IINT32;
typedef uint32_t IUINT32;
typedef long long IINT64;
typedef unsigned long long IUINT64;

/* Intrusive circular queues. The head is a node; in an empty queue it points at itself. */
struct IQUEUEHEAD {
    struct IQUEUEHEAD *next, *prev;
};
typedef struct IQUEUEHEAD iqueue_head;

/* clang-format off */
#define IOFFSETOF(TYPE, MEMBER) offsetof(TYPE, MEMBER)
#define ICONTAINEROF(ptr, type, member) ((type *)(void *)((char *)(ptr) - IOFFSETOF(type, member)))

#define IQUEUE_HEAD_INIT(name) {&(name), &(name)}
#define IQUEUE_HEAD(name) struct IQUEUEHEAD name = IQUEUE_HEAD_INIT(name)
#define IQUEUE_INIT(ptr) ((ptr)->prev = (ptr), (ptr)->next = (ptr))
#define IQUEUE_ENTRY(ptr, type, member) ICONTAINEROF(ptr, type, member)
#define IQUEUE_IS_EMPTY(head) ((head)->next == (head))

#define IQUEUE_ADD(node, head)                                             \
    ((node)->next = (head)->next, (node)->prev = (head),                   \
     (node)->next->prev = (node), (head)->next = (node))
#define IQUEUE_ADD_TAIL(node, head)                                        \
    ((node)->prev = (head)->prev, (node)->next = (head),                   \
     (node)->prev->next = (node), (head)->prev = (node))
#define IQUEUE_DEL_BETWEEN(before, after) ((before)->next = (after), (after)->prev = (before))
#define IQUEUE_DEL(entry)                                                  \
    (IQUEUE_DEL_BETWEEN((entry)->prev, (entry)->next),                     \
     (entry)->prev = 0, (entry)->next = 0)
#define IQUEUE_DEL_INIT(entry) do { IQUEUE_DEL(entry); IQUEUE_INIT(entry); } while (0)

#define IQUEUE_FOREACH(iterator, head, TYPE, MEMBER)                       \
    for ((iterator) = IQUEUE_ENTRY((head)->next, TYPE, MEMBER);            \
         (head) != &(iterator)->MEMBER;                                    \
         (iterator) = IQUEUE_ENTRY((iterator)->MEMBER.next, TYPE, MEMBER))
#define iqueue_foreach_entry(pos, head)                                    \
    for ((pos) = (head)->next; (head) != (pos); (pos) = (pos)->next)

#define iqueue_init IQUEUE_INIT
#define iqueue_entry IQUEUE_ENTRY
#define iqueue_is_empty IQUEUE_IS_EMPTY
#define iqueue_add IQUEUE_ADD
#define iqueue_add_tail IQUEUE_ADD_TAIL
#define iqueue_del IQUEUE_DEL
#define iqueue_del_init IQUEUE_DEL_INIT
#define iqueue_foreach IQUEUE_FOREACH

/* Puts the members of `list` at the front of `head`; `list` itself is then stale (splice) or empty (splice_init). */
#define iqueue_splice(list, head) do {                                     \
        if (!IQUEUE_IS_EMPTY(list)) {                                      \
            IQUEUE_DEL_BETWEEN((list)->prev, (head)->next);                \
            IQUEUE_DEL_BETWEEN(head, (list)->next);                        \
        }                                                                  \
    } while (0)
#define iqueue_splice_init(list, head) do { iqueue_splice(list, head); IQUEUE_INIT(list); } while (0)
/* clang-format on */

/* One segment of the send queue: data that has no sequence number yet. */
struct IKCPSEG {
    struct IQUEUEHEAD node;
    IUINT32 conv, cmd, frg, wnd, ts, sn, una, len;
    IUINT32 resendts, rto, fastack, xmit;
    char data[1];
};

struct IKCPCB;
typedef struct IKCPCB ikcpcb;

/* A congestion control algorithm. Any member but `name` may be NULL; what has a built-in counterpart then behaves as
 * built in. It sets kcp->cwnd (segments) and keeps its own state in kcp->congest. Times in ms, `inflight` in segments. */
struct IKCPOPS {
    const char *name;
    int (*init)(ikcpcb *kcp);     /* negative: refused */
    void (*release)(ikcpcb *kcp);
    void (*on_ack)(ikcpcb *kcp, IUINT32 acked_segs, IUINT32 acked_bytes, IUINT32 prior_in_flight);
    void (*on_fast_retransmit)(ikcpcb *kcp, IUINT32 count, IUINT32 inflight, IUINT32 prior_cwnd);
    void (*on_timeout)(ikcpcb *kcp, IUINT32 prior_cwnd);
    void (*on_tick)(ikcpcb *kcp);
    void (*on_app_limited)(ikcpcb *kcp, IUINT32 inflight);
    void (*on_rtt)(ikcpcb *kcp, IINT32 rtt);
    void (*on_pkt_sent)(ikcpcb *kcp, IUINT32 sn, IUINT32 ts, IUINT32 len, IUINT32 inflight, IUINT32 xmit);
    void (*on_pkt_acked)(ikcpcb *kcp, IUINT32 sn, IUINT32 ts, IUINT32 len, IINT32 rtt, IUINT32 xmit); /* rtt -1: none */
    IUINT32 (*get_info)(ikcpcb *kcp, void *buf, IUINT32 bufsize);
    IUINT32 (*pacing_rate)(ikcpcb *kcp); /* payload bytes per flush; negative as a signed number: unlimited */
};

/* The control block. Members may be read at any time; those marked `set` may be written between calls. The engine
 * behind it has rings of its own, so rcv_queue, snd_buf, rcv_buf and acklist stay empty: use the counts. */
struct IKCPCB {
    IUINT32 conv, mtu, mss, state; /* state -1: a segment was sent dead_link times */
    IUINT32 snd_una, snd_nxt, rcv_nxt;
    IUINT32 ts_recent, ts_lastack, ssthresh;
    IINT32 rx_rttval, rx_srtt, rx_rto, rx_minrto; /* rx_minrto: set */
    IUINT32 snd_wnd, rcv_wnd, rmt_wnd, cwnd, probe;
    IUINT32 current, interval, ts_flush, xmit; /* interval: set; xmit: timeouts so far */
    IUINT32 nrcv_buf, nsnd_buf;
    IUINT32 nrcv_que, nsnd_que;
    IUINT32 nodelay, updated;
    IUINT32 ts_probe, probe_wait;
    IUINT32 dead_link, incr;      /* dead_link: set */
    struct IQUEUEHEAD snd_queue;
    struct IQUEUEHEAD rcv_queue;
    struct IQUEUEHEAD snd_buf;
    struct IQUEUEHEAD rcv_buf;
    IUINT32 *acklist;
    IUINT32 ackcount;             /* acknowledgements waiting for a flush */
    IUINT32 ackblock;
    IUINT32 ackedlen;
    void *user;                   /* set */
    char *buffer;
    int fastresend;               /* set */
    int fastlimit;                /* set; <= 0: no limit */
    int nocwnd, stream;           /* set; stream 1: a byte stream instead of messages */
    const struct IKCPOPS *ccops;  /* ikcp_setcc() */
    void *congest;
    int logmask;                  /* set */
    int (*output)(const char *buf, int len, struct IKCPCB *kcp, void *user); /* set */
    void (*writelog)(const char *log, struct IKCPCB *kcp, void *user); /* set */
    struct arq *arq;              /* the engine; private */
};

#define IKCP_LOG_OUTPUT    1
#define IKCP_LOG_INPUT     2
#define IKCP_LOG_SEND      4
#define IKCP_LOG_RECV      8
#define IKCP_LOG_IN_DATA   16
#define IKCP_LOG_IN_ACK    32
#define IKCP_LOG_IN_PROBE  64
#define IKCP_LOG_IN_WINS   128
#define IKCP_LOG_OUT_DATA  256
#define IKCP_LOG_OUT_ACK   512
#define IKCP_LOG_OUT_PROBE 1024
#define IKCP_LOG_OUT_WINS  2048

#ifdef __cplusplus
extern "C" {
#endif

/* A conversation; both ends give the same conv. `user` goes to the callbacks. NULL: out of memory. */
ikcpcb *ikcp_create(IUINT32 conv, void *user);
void ikcp_release(ikcpcb *kcp);

/* Who carries datagrams away; buf is valid during the call only, and what it returns is ignored. */
void ikcp_setoutput(ikcpcb *kcp, int (*output)(const char *buf, int len, ikcpcb *kcp, void *user));

/* Takes the next message. Its length; -1: none, -2: incomplete, -3: longer than len. A negative len looks without taking.
 * buffer may be NULL. */
int ikcp_recv(ikcpcb *kcp, char *buffer, int len);
/* Queues a message (stream: bytes). Bytes taken; -1: negative length, -2: 128 segments or more, or out of memory.
 * It never refuses for a full window: watch ikcp_waitsnd(). */
int ikcp_send(ikcpcb *kcp, const char *buffer, int len);

/* Tells the time, in ms, and flushes if the interval has passed. */
void ikcp_update(ikcpcb *kcp, IUINT32 current);
/* The time at which ikcp_update() should be called next if nothing is sent or received before. */
IUINT32 ikcp_check(const ikcpcb *kcp, IUINT32 current);

/* One datagram from the network. 0; -1: too short or another conversation, -2: cut short, -3: unknown command;
 * -4: out of memory, and the conversation is dead. */
int ikcp_input(ikcpcb *kcp, const char *data, long size);
/* Sends what is due now, once ikcp_update() has been called. */
void ikcp_flush(ikcpcb *kcp);

/* Length of the next message; -1: none complete. */
int ikcp_peeksize(const ikcpcb *kcp);
/* Bytes per datagram, headers included, 50..65535. 0, -1: out of range, -2: out of memory. */
int ikcp_setmtu(ikcpcb *kcp, int mtu);
/* Windows in segments; <= 0 leaves one as it is, the receive window is at least 128. 0. */
int ikcp_wndsize(ikcpcb *kcp, int sndwnd, int rcvwnd);
/* Segments queued or in flight. */
int ikcp_waitsnd(const ikcpcb *kcp);
/* nodelay 0..2; interval in ms, 10..5000; resend after that many later acknowledgements, 0 off; nc 1: no congestion
 * window. A negative value leaves that one as it is. 0. */
int ikcp_nodelay(ikcpcb *kcp, int nodelay, int interval, int resend, int nc);
int ikcp_interval(ikcpcb *kcp, int interval);
/* Installs a congestion control algorithm, or with NULL the built-in one. 0, -1: its init refused. */
int ikcp_setcc(ikcpcb *kcp, const struct IKCPOPS *ops);

/* Formats a line (1023 bytes) for kcp->writelog if the mask is in kcp->logmask. */
void ikcp_log(ikcpcb *kcp, int mask, const char *fmt, ...);
/* For the whole process, before the first ikcp_create(). NULL: malloc, free. */
void ikcp_allocator(void *(*new_malloc)(size_t), void (*new_free)(void *));
/* The conversation a raw datagram belongs to. */
IUINT32 ikcp_getconv(const void *ptr);

#ifdef __cplusplus
}
#endif

#endif
