/* core/arq_seg.c - the 24-byte segment header, field by field. */
#include "core/arq_seg.h"

struct arq_seg arq_seg_get(struct rd *r)
{
    struct arq_seg s = {0};

    s.conv = rd_le32(r);
    s.cmd = rd_u8(r);
    s.frg = rd_u8(r);
    s.wnd = rd_le16(r);
    s.ts = rd_le32(r);
    s.sn = rd_le32(r);
    s.una = rd_le32(r);
    s.len = rd_le32(r);
    return s;
}

void arq_seg_put(struct wr *w, const struct arq_seg *s)
{
    wr_le32(w, s->conv);
    wr_u8(w, s->cmd);
    wr_u8(w, s->frg);
    wr_le16(w, s->wnd);
    wr_le32(w, s->ts);
    wr_le32(w, s->sn);
    wr_le32(w, s->una);
    wr_le32(w, s->len);
}
