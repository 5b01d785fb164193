/* core/smux_frame.c - see smux_frame.h. Knows nothing of streams. */
#include "core/smux_frame.h"

static bool length_fits(const struct smux_frame *f)
{
    switch (f->cmd) {
    case SMUX_PSH:
        return true;
    case SMUX_UPD:
        return f->len == SMUX_FRAME_UPD;
    default:
        return f->len == 0;
    }
}

int smux_frame_parse(struct smux_frame *f, const uint8_t p[SMUX_FRAME_HEADER], uint8_t ver)
{
    struct rd r = rd_from(p, SMUX_FRAME_HEADER);
    struct smux_frame g;

    g.ver = rd_u8(&r);
    g.cmd = rd_u8(&r);
    g.len = rd_le16(&r);
    g.sid = rd_le32(&r);
    if (g.ver != ver || g.cmd > (ver == 2 ? SMUX_UPD : SMUX_NOP) || !length_fits(&g))
        return SMUX_FRAME_BAD;
    *f = g;
    return 0;
}

void smux_frame_put(struct wr *w, const struct smux_frame *f)
{
    wr_u8(w, f->ver);
    wr_u8(w, f->cmd);
    wr_le16(w, f->len);
    wr_le32(w, f->sid);
}
