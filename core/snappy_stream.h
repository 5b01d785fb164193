/* core/snappy_stream.h - the snappy framing stream between the multiplexer and KCP.
 * Chunk: | type u8 | length u24 | masked CRC-32C u32 | block or plain bytes |. Source: the compression description.
 * Compression allocates (snappy's C API): the one exception to "no allocation per packet". */
#ifndef CORE_SNAPPY_STREAM_H
#define CORE_SNAPPY_STREAM_H

#include "core/base/bytes.h"

#include <stdbool.h>

enum {
    SNAPPY_PLAIN_MAX = 65536,     /* plain bytes in one chunk */
    SNAPPY_CHUNK_MAX = 4 + 76494, /* a whole chunk at most */
    /* Room snappy_pack() needs for n plain bytes (<= SNAPPY_PLAIN_MAX): identifier, chunk header, worst block. */
#define SNAPPY_PACK_ROOM(n) (10 + 8 + 32 + (n) + (n) / 6)
};

enum { SNAPPY_AGAIN = 1, SNAPPY_CORRUPT, SNAPPY_UNSUPPORTED }; /* both refusals are final */

struct snappy_pack {              /* zeroed: a stream that has not begun */
    bool begun;
};
/* One chunk of 1..SNAPPY_PLAIN_MAX plain bytes into out (SNAPPY_PACK_ROOM(plain.len) bytes), preceded by the stream
 * identifier the first time. Returns the bytes written. */
size_t snappy_pack(struct snappy_pack *s, struct bytes plain, uint8_t *out);

struct snappy_unpack;
struct snappy_unpack *snappy_unpack_new(void);
struct snappy_unpack *snappy_unpack_free(struct snappy_unpack *u);
/* Consumes from *in (advancing it) until a chunk's plain bytes are ready or *in is empty. *out is valid until the next
 * call, and may point into the input. 0 (*out holds 1..SNAPPY_PLAIN_MAX bytes), SNAPPY_AGAIN (all of *in consumed),
 * SNAPPY_CORRUPT, SNAPPY_UNSUPPORTED, -ENOMEM; these three are final. Call it until SNAPPY_AGAIN: then it holds nothing. */
int snappy_unpack(struct snappy_unpack *u, struct bytes *in, struct bytes *out);
/* After a refusal of the stream's first chunk: the 4 bytes that were to be its header. NULL otherwise. */
const uint8_t *snappy_unpack_refused(const struct snappy_unpack *u);
size_t snappy_unpack_memory(const struct snappy_unpack *u); /* heap bytes held; buffers go when they are empty */

#endif
