/* tests/fuzz/fuzz_snappy.c - any bytes as a framing stream: the same result however they are cut, memory within one
 * chunk, and what was accepted goes through our writer and back unchanged. */
#include "core/snappy_stream.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct outcome {
    int r;
    uint64_t hash; /* of the plain bytes, in order */
    size_t plain;
    uint8_t *kept; /* the first of them */
    size_t n_kept;
};

enum { KEEP = 1 << 17 };

static void take(struct outcome *o, struct bytes b)
{
    size_t n = MIN(b.len, KEEP - o->n_kept);

    if (!b.len || b.len > SNAPPY_PLAIN_MAX)
        abort();
    for (size_t i = 0; i < b.len; i++)
        o->hash = (o->hash ^ b.p[i]) * 0x100000001b3u;
    memcpy(o->kept + o->n_kept, b.p, n);
    o->n_kept += n;
    o->plain += b.len;
}

static struct outcome run(struct bytes in, size_t cut)
{
    struct outcome o = {.r = SNAPPY_AGAIN, .hash = 1, .kept = malloc(KEEP)};
    struct snappy_unpack *u = snappy_unpack_new();
    size_t base = snappy_unpack_memory(u);

    while (in.len && o.r == SNAPPY_AGAIN) {
        size_t n = MIN(in.len, cut);
        uint8_t *copy = memcpy(malloc(n), in.p, n);
        struct bytes piece = bytes_of(copy, n), plain;

        while ((o.r = snappy_unpack(u, &piece, &plain)) == 0) {
            take(&o, plain);
            if (snappy_unpack_memory(u) > base + SNAPPY_CHUNK_MAX + SNAPPY_PLAIN_MAX)
                abort();
        }
        if (o.r == SNAPPY_AGAIN && (piece.len || snappy_unpack_memory(u) > base + SNAPPY_CHUNK_MAX))
            abort();
        free(copy);
        in.p += n;
        in.len -= n;
    }
    snappy_unpack_free(u);
    return o;
}

static void repack(const struct outcome *o)
{
    uint8_t *wire = malloc(2 * SNAPPY_PACK_ROOM(SNAPPY_PLAIN_MAX));
    struct snappy_pack s = {0};
    struct outcome back;
    size_t n = 0;

    for (size_t at = 0; at < o->n_kept; at += SNAPPY_PLAIN_MAX)
        n += snappy_pack(&s, bytes_of(o->kept + at, MIN(o->n_kept - at, (size_t)SNAPPY_PLAIN_MAX)), wire + n);
    back = run(bytes_of(wire, n), 5000);
    if (back.r != SNAPPY_AGAIN || back.n_kept != o->n_kept || memcmp(back.kept, o->kept, o->n_kept))
        abort();
    free(back.kept);
    free(wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const size_t cuts[] = {1, 3, 1000};
    struct outcome whole = run(bytes_of(data, len), len + 1);

    for (size_t i = 0; i < LEN(cuts); i++) {
        struct outcome o = run(bytes_of(data, len), cuts[i]);

        if (o.r != whole.r || o.plain != whole.plain || o.hash != whole.hash)
            abort();
        free(o.kept);
    }
    repack(&whole);
    free(whole.kept);
    return 0;
}
