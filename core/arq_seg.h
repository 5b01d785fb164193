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

/* Reads one header; r->bad if fewer than 24 bytes are left. Checks nothing else. */
struct arq_seg arq_seg_get(struct rd *r);
void arq_seg_put(struct wr *w, const struct arq_seg *s);

#endif
