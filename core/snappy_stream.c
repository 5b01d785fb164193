/* core/snappy_stream.c - see snappy_stream.h. Does not know what the plain bytes are. */
#include "core/snappy_stream.h"

#include "core/base/wire.h"
#include "crypto/crc32.h"

#include <assert.h>
#include <errno.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADER = 4,
    CRC = 4,
    BODY_MAX = SNAPPY_CHUNK_MAX - HEADER,
    ID_LEN = 6,
    BODY_STEP = 4096, /* first size of the buffer for a chunk in pieces: its length is only claimed */
};

enum chunk_type {
    CHUNK_COMPRESSED = 0x00,
    CHUNK_PLAIN = 0x01,
    CHUNK_SKIPPABLE = 0x80, /* from here on, but for the identifier */
    CHUNK_ID = 0xff,
};

static const uint8_t id_chunk[HEADER + ID_LEN] = {CHUNK_ID, ID_LEN, 0, 0, 's', 'N', 'a', 'P', 'p', 'Y'};

static uint32_t masked_crc(struct bytes b)
{
    uint32_t crc = crc32c(b);

    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

/* ---- out ---- */

size_t snappy_pack(struct snappy_pack *s, struct bytes plain, uint8_t *out)
{
    size_t at = s->begun ? 0 : sizeof id_chunk, len = snappy_max_compressed_length(plain.len);
    uint8_t *body = out + at + HEADER + CRC;
    uint8_t type = CHUNK_COMPRESSED;
    struct wr w = wr_to(out, at + HEADER + CRC);

    assert(plain.len >= 1 && plain.len <= SNAPPY_PLAIN_MAX);
    if (snappy_compress((const char *)plain.p, plain.len, (char *)body, &len) != SNAPPY_OK ||
        len >= plain.len - plain.len / 8) {
        type = CHUNK_PLAIN;
        len = plain.len;
        memcpy(body, plain.p, len);
    }
    if (!s->begun)
        wr_bytes(&w, id_chunk, sizeof id_chunk);
    wr_u8(&w, type);
    wr_le24(&w, (uint32_t)(CRC + len));
    wr_le32(&w, masked_crc(plain));
    s->begun = true;
    return at + HEADER + CRC + len;
}

/* ---- in ---- */

struct snappy_unpack {
    int failed; /* the result that ended the stream */
    bool begun; /* the identifier has been seen */
    uint8_t head[HEADER];
    uint8_t head_have;
    uint32_t body_left; /* bytes of the chunk still to come */
    uint8_t *body; /* what has come of a chunk that came in pieces */
    uint32_t body_have, body_cap;
    uint8_t *plain; /* decompressed, lent to the caller until the next call */
    uint32_t plain_cap;
};

struct snappy_unpack *snappy_unpack_new(void)
{
    return calloc(1, sizeof(struct snappy_unpack));
}

static void drop_body(struct snappy_unpack *u)
{
    free(u->body);
    u->body = NULL;
    u->body_have = u->body_cap = 0;
}

static void drop_plain(struct snappy_unpack *u)
{
    free(u->plain);
    u->plain = NULL;
    u->plain_cap = 0;
}

struct snappy_unpack *snappy_unpack_free(struct snappy_unpack *u)
{
    if (!u)
        return NULL;
    drop_body(u);
    drop_plain(u);
    free(u);
    return NULL;
}

static struct bytes cut(struct bytes *in, size_t n)
{
    struct bytes front = bytes_of(in->p, MIN(n, in->len));

    in->p += front.len;
    in->len -= front.len;
    return front;
}

/* The order of these checks decides between the two kinds of refusal. */
static int check_header(const struct snappy_unpack *u, uint8_t type, uint32_t len)
{
    if (!u->begun && type != CHUNK_ID)
        return SNAPPY_CORRUPT;
    if (len > BODY_MAX)
        return SNAPPY_UNSUPPORTED;
    switch (type) {
    case CHUNK_COMPRESSED:
        return len < CRC ? SNAPPY_CORRUPT : 0;
    case CHUNK_PLAIN:
        return len < CRC || len > CRC + SNAPPY_PLAIN_MAX ? SNAPPY_CORRUPT : 0;
    case CHUNK_ID:
        return len != ID_LEN ? SNAPPY_CORRUPT : 0;
    default:
        return type < CHUNK_SKIPPABLE ? SNAPPY_UNSUPPORTED : 0;
    }
}

/* 0: a chunk has begun. SNAPPY_AGAIN: *in ended inside the header. */
static int take_header(struct snappy_unpack *u, struct bytes *in)
{
    struct bytes b = cut(in, (size_t)(HEADER - u->head_have));
    uint32_t len;
    int r;

    memcpy(u->head + u->head_have, b.p, b.len);
    u->head_have += (uint8_t)b.len;
    if (u->head_have < HEADER)
        return SNAPPY_AGAIN;
    len = get_le32(u->head) >> 8;
    r = check_header(u, u->head[0], len);
    if (!r)
        u->body_left = len;
    return r;
}

static int store(struct snappy_unpack *u, struct bytes b)
{
    uint32_t whole = u->body_have + u->body_left, need = u->body_have + (uint32_t)b.len;

    if (!b.len)
        return 0;
    if (need > u->body_cap) {
        uint32_t cap = MIN(whole, MAX(need, MAX(2 * u->body_cap, (uint32_t)BODY_STEP)));
        uint8_t *body = realloc(u->body, cap);

        if (!body)
            return -ENOMEM;
        u->body = body;
        u->body_cap = cap;
    }
    memcpy(u->body + u->body_have, b.p, b.len);
    u->body_have += (uint32_t)b.len;
    return 0;
}

/* 0: *body is the whole body, in the input or in u->body. SNAPPY_AGAIN, -ENOMEM. */
static int take_body(struct snappy_unpack *u, struct bytes *in, struct bytes *body)
{
    struct bytes b = cut(in, u->body_left);
    bool skip = u->head[0] >= CHUNK_SKIPPABLE && u->head[0] != CHUNK_ID;
    int r;

    if (b.len < u->body_left || u->body_have) {
        r = skip ? 0 : store(u, b);
        if (r)
            return r;
        u->body_left -= (uint32_t)b.len;
        if (u->body_left)
            return SNAPPY_AGAIN;
        b = bytes_of(u->body, u->body_have);
    }
    u->body_left = 0;
    u->head_have = 0;
    *body = b;
    return 0;
}

static int inflate_block(struct snappy_unpack *u, struct bytes block, struct bytes *plain)
{
    size_t n;

    if (snappy_uncompressed_length((const char *)block.p, block.len, &n) != SNAPPY_OK || n > SNAPPY_PLAIN_MAX)
        return SNAPPY_CORRUPT;
    if (n > u->plain_cap || !u->plain) {
        drop_plain(u);
        u->plain = malloc(n + !n);
        if (!u->plain)
            return -ENOMEM;
        u->plain_cap = (uint32_t)n;
    }
    if (snappy_uncompress((const char *)block.p, block.len, (char *)u->plain, &n) != SNAPPY_OK)
        return SNAPPY_CORRUPT;
    *plain = bytes_of(u->plain, n);
    return 0;
}

/* 0: *plain is what the chunk holds, perhaps nothing. */
static int open_chunk(struct snappy_unpack *u, struct bytes body, struct bytes *plain)
{
    uint8_t type = u->head[0];
    struct bytes data;
    int r;

    *plain = (struct bytes){0};
    if (type == CHUNK_ID) {
        u->begun = true;
        return memcmp(body.p, id_chunk + HEADER, ID_LEN) ? SNAPPY_CORRUPT : 0;
    }
    if (type >= CHUNK_SKIPPABLE)
        return 0;
    data = bytes_of(body.p + CRC, body.len - CRC);
    r = type == CHUNK_PLAIN ? 0 : inflate_block(u, data, &data);
    if (r)
        return r;
    if (masked_crc(data) != get_le32(body.p))
        return SNAPPY_CORRUPT;
    *plain = data;
    return 0;
}

/* One chunk, or as much of it as there is. */
static int step(struct snappy_unpack *u, struct bytes *in, struct bytes *plain)
{
    struct bytes body;
    int r = 0;

    *plain = (struct bytes){0};
    if (u->head_have < HEADER)
        r = take_header(u, in);
    if (!r)
        r = take_body(u, in, &body);
    return r ? r : open_chunk(u, body, plain);
}

int snappy_unpack(struct snappy_unpack *u, struct bytes *in, struct bytes *out)
{
    struct bytes plain;

    while (!u->failed) {
        int r;

        if (!u->head_have)
            drop_body(u);
        r = in->len ? step(u, in, &plain) : SNAPPY_AGAIN;
        if (r == SNAPPY_AGAIN) {
            drop_plain(u);
            return r;
        }
        if (r)
            u->failed = r;
        else if (plain.len) {
            *out = plain;
            return 0;
        }
    }
    return u->failed;
}

const uint8_t *snappy_unpack_refused(const struct snappy_unpack *u)
{
    return u->failed && !u->begun && u->head_have == HEADER ? u->head : NULL;
}

size_t snappy_unpack_memory(const struct snappy_unpack *u)
{
    return sizeof *u + u->body_cap + u->plain_cap;
}
