/* core/base/wire.h - little-endian (and, for the block ciphers, big-endian) integers in packets.
 * A short read sets `bad`, yields 0 and stays bad: decode, then ask once. A writer past its end does the same. */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include "core/base/bytes.h"

#include <stdbool.h>
#include <string.h>

struct rd {
    const uint8_t *p, *end;
    bool bad;
};

struct wr {
    uint8_t *p, *end;
    bool bad;
};

static inline uint16_t get_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t get_le64(const uint8_t *p)
{
    return get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

static inline uint32_t get_be32(const uint8_t *p)
{
    return (uint32_t)p[3] | (uint32_t)p[2] << 8 | (uint32_t)p[1] << 16 | (uint32_t)p[0] << 24;
}

static inline void put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void put_le32(uint8_t *p, uint32_t v)
{
    put_le16(p, (uint16_t)v);
    put_le16(p + 2, (uint16_t)(v >> 16));
}

static inline void put_le64(uint8_t *p, uint64_t v)
{
    put_le32(p, (uint32_t)v);
    put_le32(p + 4, (uint32_t)(v >> 32));
}

static inline void put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static inline struct rd rd_from(const void *p, size_t len)
{
    return (struct rd){.p = p, .end = (const uint8_t *)p + len};
}

static inline size_t rd_left(const struct rd *r)
{
    return r->bad ? 0 : (size_t)(r->end - r->p);
}

static inline const uint8_t *rd_take(struct rd *r, size_t n)
{
    if (r->bad || (size_t)(r->end - r->p) < n) {
        r->bad = true;
        return NULL;
    }
    r->p += n;
    return r->p - n;
}

static inline uint8_t rd_u8(struct rd *r)
{
    const uint8_t *p = rd_take(r, 1);
    return p ? *p : 0;
}

static inline uint16_t rd_le16(struct rd *r)
{
    const uint8_t *p = rd_take(r, 2);
    return p ? get_le16(p) : 0;
}

static inline uint32_t rd_le32(struct rd *r)
{
    const uint8_t *p = rd_take(r, 4);
    return p ? get_le32(p) : 0;
}

static inline struct wr wr_to(void *p, size_t len)
{
    return (struct wr){.p = p, .end = (uint8_t *)p + len};
}

static inline uint8_t *wr_skip(struct wr *w, size_t n)
{
    if (w->bad || (size_t)(w->end - w->p) < n) {
        w->bad = true;
        return NULL;
    }
    w->p += n;
    return w->p - n;
}

static inline void wr_u8(struct wr *w, uint8_t v)
{
    uint8_t *p = wr_skip(w, 1);
    if (p)
        *p = v;
}

static inline void wr_le16(struct wr *w, uint16_t v)
{
    uint8_t *p = wr_skip(w, 2);
    if (p)
        put_le16(p, v);
}

static inline void wr_le24(struct wr *w, uint32_t v)
{
    uint8_t *p = wr_skip(w, 3);
    if (p) {
        put_le16(p, (uint16_t)v);
        p[2] = (uint8_t)(v >> 16);
    }
}

static inline void wr_le32(struct wr *w, uint32_t v)
{
    uint8_t *p = wr_skip(w, 4);
    if (p)
        put_le32(p, v);
}

static inline void wr_bytes(struct wr *w, const void *src, size_t n)
{
    uint8_t *p = wr_skip(w, n);
    if (p && n)
        memcpy(p, src, n);
}

#endif
