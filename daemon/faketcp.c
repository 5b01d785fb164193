/* daemon/faketcp.c - segments in and out.
 * Wire: RFC 9293 3.1, timestamps RFC 7323 3.2. What the peers send and accept: the program description of --tcp. */
#include "daemon/faketcp.h"

#include "core/base/wire.h"

enum {
    HEADER_MIN = 20,
    IP4_HEADER_MIN = 20,
    PROTOCOL_TCP = 6,
    WINDOW = 65535,
    KEPT_BEHIND = 1 << 20, /* how far back a peer's seq may go, after a loss, without our ack going with it */
    OPT_NOP = 1,
    OPT_STAMP = 8,
    OPT_STAMP_LEN = 10,
};

static uint16_t get_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

int faketcp_strip_ip4(struct bytes *packet, uint8_t from[4], uint8_t to[4])
{
    const uint8_t *p = packet->p;
    size_t head, len;

    if (packet->len < IP4_HEADER_MIN || p[0] >> 4 != 4)
        return FAKETCP_MALFORMED;
    head = (size_t)(p[0] & 15) * 4;
    len = get_be16(p + 2);
    if (head < IP4_HEADER_MIN || len < head || len > packet->len || p[9] != PROTOCOL_TCP)
        return FAKETCP_MALFORMED;
    memcpy(from, p + 12, 4);
    memcpy(to, p + 16, 4);
    *packet = bytes_of(p + head, len - head);
    return 0;
}

int faketcp_parse(struct faketcp_segment *s, struct bytes tcp)
{
    const uint8_t *p = tcp.p;
    size_t head;

    if (tcp.len < HEADER_MIN)
        return FAKETCP_MALFORMED;
    head = (size_t)(p[12] >> 4) * 4;
    if (head < HEADER_MIN || head > tcp.len)
        return FAKETCP_MALFORMED;
    *s = (struct faketcp_segment){
        .from = get_be16(p),
        .to = get_be16(p + 2),
        .seq = get_be32(p + 4),
        .ack = get_be32(p + 8),
        .flags = p[13],
        .payload = bytes_of(p + head, tcp.len - head),
    };
    return 0;
}

/* ---- checksum ---- */

/* Adds bytes as 16-bit words in the machine's order, in which the ones' complement sum comes out byte-swapped or not, but
 * the same. All but the last part of a sum must be even. */
static uint64_t sum(uint64_t acc, const uint8_t *p, size_t n)
{
    uint8_t last[2] = {0};
    uint16_t w;

    for (; n >= 4; p += 4, n -= 4) {
        uint32_t v;

        memcpy(&v, p, sizeof v);
        acc += v;
    }
    if (n >= 2) {
        memcpy(&w, p, sizeof w);
        acc += w;
        p += 2;
        n -= 2;
    }
    if (n) {
        last[0] = *p;
        memcpy(&w, last, sizeof w);
        acc += w;
    }
    return acc;
}

static uint16_t fold(uint64_t acc)
{
    while (acc >> 16)
        acc = (acc & 0xffff) + (acc >> 16);
    return (uint16_t)acc;
}

/* That of IPv6. With v4-mapped addresses it is that of IPv4 as well, because their ffff counts as nothing. */
static uint64_t sum_pseudo(size_t len, const uint8_t from[16], const uint8_t to[16])
{
    uint8_t tail[8] = {0};

    put_be32(tail, (uint32_t)len);
    tail[7] = PROTOCOL_TCP;
    return sum(sum(sum(0, from, 16), to, 16), tail, sizeof tail);
}

/* ---- out ---- */

/* | from u16 | to u16 | seq u32 | ack u32 | words<<4 u8 | flags u8 | window u16 | checksum u16 | urgent u16 |
 * | NOP | NOP | 8 | 10 | stamp u32 | echo u32 |   big-endian */
void faketcp_put(uint8_t head[FAKETCP_HEADER], const struct faketcp_header *h, struct bytes payload,
                 const uint8_t from[16], const uint8_t to[16])
{
    uint16_t check;

    put_be16(head, h->from);
    put_be16(head + 2, h->to);
    put_be32(head + 4, h->numbers.seq);
    put_be32(head + 8, h->numbers.ack);
    head[12] = FAKETCP_HEADER / 4 << 4;
    head[13] = FAKETCP_PSH | FAKETCP_ACK;
    put_be16(head + 14, WINDOW);
    put_be32(head + 16, 0);
    head[20] = head[21] = OPT_NOP;
    head[22] = OPT_STAMP;
    head[23] = OPT_STAMP_LEN;
    put_be32(head + 24, h->stamp);
    put_be32(head + 28, h->echo);
    check = (uint16_t)~fold(
        sum(sum(sum_pseudo(FAKETCP_HEADER + payload.len, from, to), head, FAKETCP_HEADER), payload.p, payload.len));
    memcpy(head + 16, &check, sizeof check);
}

/* ---- numbers ---- */

struct faketcp_numbers faketcp_heard(const struct faketcp_segment *s)
{
    return (struct faketcp_numbers){
        .seq = s->ack,
        .ack = s->seq + (uint32_t)s->payload.len + !!(s->flags & FAKETCP_SYN) + !!(s->flags & FAKETCP_FIN),
    };
}

void faketcp_follow(struct faketcp_numbers *n, const struct faketcp_numbers *heard)
{
    /* Within a window of what the peer has: a firewall that keeps books would drop what lies beyond. */
    if (n->seq - heard->seq > WINDOW)
        n->seq = heard->seq;
    if (n->ack - heard->ack > KEPT_BEHIND)
        n->ack = heard->ack;
}
