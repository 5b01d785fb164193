/* crypto/crc32.h - CRC-32 (IEEE 802.3) of the packet header and CRC-32C of the snappy framing. */
#ifndef CRYPTO_CRC32_H
#define CRYPTO_CRC32_H

#include "core/base/bytes.h"

uint32_t crc32_ieee_fast(struct bytes b);
uint32_t crc32c(struct bytes b);
uint32_t crc32_ieee_portable(struct bytes b); /* the test oracle, and the fallback without isa-l */
uint32_t crc32c_portable(struct bytes b);

/* Not a symbol: isa-l exports a crc32_ieee() of its own, with other arguments. */
static inline uint32_t crc32_ieee(struct bytes b)
{
    return crc32_ieee_fast(b);
}

#endif
