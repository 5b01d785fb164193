/* tests/fuzz/fuzz_faketcp.c - any bytes as an IPv4 packet and as a segment: what is taken lies within them, and a segment
 * made of its parts is read as the same. */
#include "daemon/faketcp.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void within(struct bytes part, struct bytes all)
{
    if (part.p < all.p || part.len > all.len || part.p + part.len > all.p + all.len)
        abort();
}

static void again(const struct faketcp_segment *s)
{
    static const uint8_t from[16] = {1}, to[16] = {2};
    const struct faketcp_header h = {s->from, s->to, {s->seq, s->ack}, s->seq ^ s->ack, 0};
    uint8_t *v = malloc(FAKETCP_HEADER + s->payload.len);
    struct bytes all = bytes_of(v, FAKETCP_HEADER + s->payload.len);
    struct faketcp_segment t;

    memcpy(v + FAKETCP_HEADER, s->payload.p, s->payload.len);
    faketcp_put(v, &h, bytes_of(v + FAKETCP_HEADER, s->payload.len), from, to);
    if (faketcp_parse(&t, all))
        abort();
    if (t.from != s->from || t.to != s->to || t.seq != s->seq || t.ack != s->ack || t.payload.len != s->payload.len)
        abort();
    free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes all = bytes_of(data, len), tcp = all;
    uint8_t from[4], to[4];
    struct faketcp_segment s;

    if (faketcp_strip_ip4(&tcp, from, to) == 0)
        within(tcp, all);
    if (faketcp_parse(&s, tcp))
        return 0;
    within(s.payload, tcp);
    again(&s);
    return 0;
}
