/* tests/sim/go_kcp.h - the core inside kcptun, as the KCP description tells it: what its receiver acknowledges and when,
 * and what its sender repeats. A model to simulate against, made for likeness: it scans its windows as the original does.
 * Held to the recordings in tests/data/kcp_go_*.json, datagram by datagram. */
#ifndef SIM_GO_KCP_H
#define SIM_GO_KCP_H

#include "core/arq_seg.h"

struct go_seg {
    struct arq_seg h;
    uint32_t resend_at, rto, fastack, xmit;
    bool acked;
    uint8_t *p;
};

struct go_queue {                 /* ring; cap is a power of two */
    struct go_seg *v;
    uint32_t head, n, cap;
};

struct go_ack {
    uint32_t sn, ts;
};

struct go_kcp {                   /* embedded; go_kcp_init() first. All may be read, the settings written */
    bool newest;                  /* the 5.6.72 line, else 5.6.1 */
    uint32_t conv, mtu, mss;
    uint32_t snd_una, snd_nxt, rcv_nxt, ssthresh, cwnd, incr;
    int32_t rttvar, srtt, rto, min_rto;
    uint32_t snd_wnd, rcv_wnd, rmt_wnd;
    uint32_t interval, nodelay, resend;
    bool nc, stream, dead;
    uint32_t probe, probe_at, probe_wait;
    struct go_queue snd_queue, snd_buf, rcv_queue;
    struct go_seg *rcv_buf;       /* slot sn % 65536; p NULL: not there */
    uint32_t n_rcv_buf;
    struct go_ack *acks;
    uint32_t n_acks, acks_cap;
    uint64_t n_lost, n_fast, n_early, n_repeat;
    void (*output)(void *ctx, struct bytes dgram); /* lent */
    void *ctx;
    uint8_t buf[1500];
    size_t used;
};

enum { GO_REGULAR = 1, GO_ACK_NODELAY = 2 };

void go_kcp_init(struct go_kcp *k, uint32_t conv);
void go_kcp_fini(struct go_kcp *k);
void go_kcp_nodelay(struct go_kcp *k, uint32_t nodelay, uint32_t interval, uint32_t resend, bool nc);
int go_kcp_set_mtu(struct go_kcp *k, uint32_t mtu); /* 0, -1 */
int go_kcp_send(struct go_kcp *k, struct bytes b);  /* copies; 0, -1 nothing, -2 too long */
int go_kcp_peek_size(const struct go_kcp *k);       /* of the next message, -1: none */
int go_kcp_recv(struct go_kcp *k, struct room out); /* its length, -1 none, -2 does not fit */
int go_kcp_input(struct go_kcp *k, struct bytes dgram, unsigned flags, uint32_t now); /* 0, -1, -2, -3 */
/* ms until the next full flush is wanted. */
uint32_t go_kcp_flush(struct go_kcp *k, bool acks_only, uint32_t now);
uint32_t go_kcp_waiting(const struct go_kcp *k);    /* segments not acknowledged by una, and not sent */

#endif
