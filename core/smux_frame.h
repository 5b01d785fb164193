/* core/smux_frame.h - the 8-byte frame header and the 8-byte window update of smux.
 *   | version u8 | command u8 | length u16 | stream id u32 |     UPD payload: | consumed u32 | window u32 |
 * Source: the smux description, section 2. */
#ifndef CORE_SMUX_FRAME_H
#define CORE_SMUX_FRAME_H

#include "core/base/bytes.h"
#include "core/base/wire.h"

enum { SMUX_FRAME_HEADER = 8, SMUX_FRAME_UPD = 8, SMUX_FRAME_MAX = 65535 };
enum smux_frame_cmd { SMUX_SYN, SMUX_FIN, SMUX_PSH, SMUX_NOP, SMUX_UPD };
enum { SMUX_FRAME_BAD = 1 };

struct smux_frame {
    uint8_t ver, cmd;
    uint16_t len;
    uint32_t sid;
};

/* Reads 8 bytes and checks them as the strictest peer does: version equals ver, command known in it, length fits the
 * command. 0, SMUX_FRAME_BAD (*f untouched). */
int smux_frame_parse(struct smux_frame *f, const uint8_t p[SMUX_FRAME_HEADER], uint8_t ver);
void smux_frame_put(struct wr *w, const struct smux_frame *f);

#endif
