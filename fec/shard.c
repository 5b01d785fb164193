/* fec/shard.c - the header codec.
 *   | seqid u32 | type u16 | data: size u16, payload; parity: code bytes |    size counts itself
 * Source: the FEC description, section 1. The payload is not cut to `size`: the peers hand on all that arrived. */
#include "fec/shard.h"

enum { TYPE_AT = 4, SIZE_FIELD = SHARD_DATA_HEADER - SHARD_HEADER };

int shard_parse(struct shard *out, struct bytes pkt)
{
    struct rd r = rd_from(pkt.p, pkt.len);
    struct shard s = {0};

    s.seqid = rd_le32(&r);
    s.kind = rd_le16(&r);
    s.code.len = rd_left(&r);
    s.code.p = rd_take(&r, s.code.len);
    /* Parity covers the size field of data, so no code is shorter than that. */
    if (r.bad || s.code.len < SIZE_FIELD)
        return SHARD_MALFORMED;
    if (s.kind != SHARD_DATA && s.kind != SHARD_PARITY && s.kind != SHARD_OOB)
        return SHARD_MALFORMED;
    if (s.kind != SHARD_PARITY)
        s.payload = bytes_of(s.code.p + SIZE_FIELD, s.code.len - SIZE_FIELD);
    *out = s;
    return 0;
}

bool shard_is_fec(struct bytes pkt)
{
    uint16_t kind = pkt.len >= SHARD_HEADER ? get_le16(pkt.p + TYPE_AT) : 0;

    return kind == SHARD_DATA || kind == SHARD_PARITY || kind == SHARD_OOB;
}

void shard_put_header(uint8_t *pkt, uint32_t seqid, uint16_t kind)
{
    put_le32(pkt, seqid);
    put_le16(pkt + TYPE_AT, kind);
}
