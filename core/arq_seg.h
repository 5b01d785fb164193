/* core/arq_seg.h - the 24-byte segment header.
 *   | conv u32 | cmd u8 | frg u8 | wnd u16 | ts u32 | sn u32 | una u32 | len u32 |   little-endian
 * Source: the KCP description, section 1. */
#ifndef CORE_ARQ_SEG_H
#define CORE_ARQ_SEG_H

#include "core/base/bytes.h"
#include "core/base/wire.h"

enum { ARQ_SEG_PUSH = 81, ARQ_SEG_ACK, ARQ_SEG_WASK, ARQ_SEG_WINS };

struct arq_seg {
    uint32_t conv;
    uint8_t cmd, frg;
    uint16_t wnd;
    uint32_t ts, sn, una, len;
};

enum { ARQ_SEG_SIZE = 24 };

/* Reads one header; r->bad (and all fields 0) if fewer than 24 bytes are left. Checks nothing else. */
static inline struct arq_seg arq_seg_get(struct rd *r)
{
    const uint8_t *p = rd_take(r, ARQ_SEG_SIZE);

    if (!p)
        return (struct arq_seg){0};
    return (struct arq_seg){
        .conv = get_le32(p),
        .cmd = p[4],
        .frg = p[5],
        .wnd = get_le16(p + 6),
        .ts = get_le32(p + 8),
        .sn = get_le32(p + 12),
        .una = get_le32(p + 16),
        .len = get_le32(p + 20),
    };
}

static inline void arq_seg_put(struct wr *w, const struct arq_seg *s)
{
    uint8_t *p = wr_skip(w, ARQ_SEG_SIZE);

    if (!p)
        return;
    put_le32(p, s->conv);
    p[4] = s->cmd;
    p[5] = s->frg;
    put_le16(p + 6, s->wnd);
    put_le32(p + 8, s->ts);
    put_le32(p + 12, s->sn);
    put_le32(p + 16, s->una);
    put_le32(p + 20, s->len);
}

#endif
