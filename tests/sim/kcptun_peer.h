/* tests/sim/kcptun_peer.h - kcptun in a simulation: its core and its tick, FEC, smux, and an application behind the
 * streams. Datagrams go in and out, time is an argument.
 *
 * An application on the server's side reads at once whatever comes, and does what the first byte of its stream says:
 * 'e' sends everything back (that byte too), 'd' sends without end, else nothing comes back. A client opens streams and
 * writes to them; what comes back goes to on_data.
 * Not modelled: compression, encryption (head stands for its bytes), TCP, the scheduler's lateness. */
#ifndef SIM_KCPTUN_PEER_H
#define SIM_KCPTUN_PEER_H

#include "core/base/tick.h"
#include "tests/sim/go_kcp.h"

struct kcptun_peer;

struct kcptun_peer_params {
    bool client;
    bool newest;                  /* the last kcptun there was, else 20210922 */
    uint32_t conv;
    uint16_t mtu;                 /* bytes of a datagram, head included */
    uint8_t head;                 /* of these, in front of all else, unused here: where the cipher's header would be */
    uint32_t snd_wnd, rcv_wnd;
    uint8_t nodelay;              /* the four numbers of `mode` */
    uint16_t interval_ms;
    uint32_t resend;
    bool nocwnd;
    bool ack_nodelay;
    uint16_t fec_data, fec_parity; /* either 0: no FEC */
    uint8_t smux_ver;
    uint32_t stream_buf;          /* what a stream of smux 2 advertises */
    uint32_t keepalive_ms;
    /* Bytes that came for a stream, in order, in either role; may be NULL. */
    void (*on_data)(void *ctx, uint32_t stream, struct bytes b, struct tick now);
    void *ctx;
};

struct kcptun_peer_counts {
    uint64_t in_dgrams, out_dgrams, out_bytes, fec_recovered;
    uint64_t received;            /* bytes for streams */
    uint64_t lost, fast, early, repeated; /* retransmissions by reason; PUSH that came twice */
    uint64_t malformed;
};

/* What `kcptun-server --mode MODE` has when nothing else is said, at rcvwnd = sndwnd = 1024; mode: "normal", "fast",
 * "fast2", "fast3". A client's defaults differ in the windows. */
struct kcptun_peer_params kcptun_peer_defaults(const char *mode);

struct kcptun_peer *kcptun_peer_new(const struct kcptun_peer_params *p, struct tick now); /* NULL: bad mtu */
struct kcptun_peer *kcptun_peer_free(struct kcptun_peer *k);
/* A datagram arrives; copied. What it causes waits for kcptun_peer_poll(). */
void kcptun_peer_input(struct kcptun_peer *k, struct bytes dgram, struct tick now);
/* The next datagram to send at now, valid until the next call on k. False: no more now. */
bool kcptun_peer_poll(struct kcptun_peer *k, struct bytes *dgram, struct tick now);
struct tick kcptun_peer_deadline(const struct kcptun_peer *k); /* when to poll next if nothing arrives */

uint32_t kcptun_peer_open(struct kcptun_peer *k, struct tick now); /* a client's new stream */
/* Queues bytes for a stream; they leave as windows allow. Bytes of it still queued. */
size_t kcptun_peer_write(struct kcptun_peer *k, uint32_t stream, struct bytes b, struct tick now);
struct kcptun_peer_counts kcptun_peer_counts(const struct kcptun_peer *k);
/* To look at. */
const struct go_kcp *kcptun_peer_core(const struct kcptun_peer *k);

#endif
