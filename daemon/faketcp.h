/* daemon/faketcp.h - datagrams dressed as TCP segments (`tcp = true`): the segment codec and the numbers in it. Pure; the
 * sockets are faketcp_sock.h's, connections faketcp_conn.h's.
 *
 * Each segment carries one datagram. There is no window, no retransmission and no stream: sequence numbers follow what the
 * peer says it has, so that middleboxes see a connection that makes sense. */
#ifndef DAEMON_FAKETCP_H
#define DAEMON_FAKETCP_H

#include "core/base/bytes.h"

enum {
    FAKETCP_FIN = 1,
    FAKETCP_SYN = 2,
    FAKETCP_RST = 4,
    FAKETCP_PSH = 8,
    FAKETCP_ACK = 16,
};
enum { FAKETCP_HEADER = 32 };     /* bytes of those that we send */
enum { FAKETCP_MALFORMED = 1 };

struct faketcp_numbers {          /* of one end. Zeroed: nothing heard yet */
    uint32_t seq;                 /* of the next byte we send */
    uint32_t ack;                 /* of the next byte we expect */
};

struct faketcp_segment {          /* one that arrived */
    uint16_t from, to;            /* ports */
    uint8_t flags;
    uint32_t seq, ack;
    struct bytes payload;         /* points into what was parsed */
};

struct faketcp_header {           /* of one to send; flags are always PSH and ACK */
    uint16_t from, to;
    struct faketcp_numbers numbers;
    uint32_t stamp, echo;         /* timestamp option: milliseconds; what it answers */
};

/* Any header length, any options, and any checksum: some of the peers' are wrong (kcptun of 2024 to 2026, by the length of
 * their option), and the datagram inside has its own. 0, FAKETCP_MALFORMED (*s untouched). */
int faketcp_parse(struct faketcp_segment *s, struct bytes tcp);
/* Takes the IPv4 header off *packet. 0, FAKETCP_MALFORMED (everything untouched). */
int faketcp_strip_ip4(struct bytes *packet, uint8_t from[4], uint8_t to[4]);
/* Writes the header that goes in front of payload. Addresses as 16 bytes, IPv4 as v4-mapped. */
void faketcp_put(uint8_t head[FAKETCP_HEADER], const struct faketcp_header *h, struct bytes payload,
                 const uint8_t from[16], const uint8_t to[16]);
/* What a segment of the peer says of our numbers, and how ours follow it. */
struct faketcp_numbers faketcp_heard(const struct faketcp_segment *s);
void faketcp_follow(struct faketcp_numbers *n, const struct faketcp_numbers *heard);

#endif
