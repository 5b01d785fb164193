/* fec/shard.h - the header in front of a FEC packet.
 *   | seqid u32 | type u16 | data: size u16, payload; parity: code bytes |    size counts itself. Little-endian.
 * Source: the FEC description, section 1. */
#ifndef FEC_SHARD_H
#define FEC_SHARD_H

#include "core/base/bytes.h"
#include "core/base/wire.h"

enum { SHARD_DATA = 0xf1, SHARD_PARITY = 0xf2, SHARD_OOB = 0xf3 };
enum { SHARD_HEADER = 6, SHARD_DATA_HEADER = 8, SHARD_MAX_N = 256 };
enum { SHARD_MALFORMED = 1 };

struct shard {
    uint32_t seqid;
    uint16_t kind;
    struct bytes code; /* what the code runs over: size field and payload, or parity bytes */
    struct bytes payload; /* data and OOB: behind the size field, not limited by it */
};

/* Reads a packet from its FEC header on. 0, SHARD_MALFORMED (*out untouched). */
int shard_parse(struct shard *out, struct bytes pkt);
/* True if the u16 at offset 4 names a FEC packet (a KCP segment never does). */
bool shard_is_fec(struct bytes pkt);
/* Writes the first SHARD_HEADER bytes of a packet. */
void shard_put_header(uint8_t *pkt, uint32_t seqid, uint16_t kind);

#endif
