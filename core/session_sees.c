/* core/session_sees.c - what the peer's settings look like from here. Nothing is ever said about them on the wire, so this
 * reads it off what arrives, and off what does not. */
#include "core/session_priv.h"

#include "core/smux_frame.h"

#include <string.h>

enum {
    STALL_US = 10 * 1000 * 1000, /* the window closed for so long while something waits for it */
    UNSURE_MAX = 512, /* FEC packets in a row that no shape explains; every shape is found within two of its groups */
};

/* A header of the version it names itself. */
static bool is_frame(const uint8_t head[SMUX_FRAME_HEADER])
{
    struct smux_frame f;

    return (head[0] == 1 || head[0] == 2) && !smux_frame_parse(&f, head, head[0]);
}

/* Why the very beginning of the peer's stream could not be read. */
static unsigned see_beginning(const struct session *s, struct session_sight *out)
{
    static const uint8_t packed[SMUX_FRAME_HEADER] = {0xff, 6, 0, 0, 's', 'N', 'a', 'P'};
    const uint8_t *chunk = s->unpack ? snappy_unpack_refused(s->unpack) : NULL, *head = smux_refused(s->smux);
    uint8_t frame[SMUX_FRAME_HEADER] = {0};

    if (chunk) { /* half a header, but the stream id may be anything */
        memcpy(frame, chunk, 4);
        return is_frame(frame) ? SESSION_SEES_PLAIN : 0;
    }
    if (smux_frames_in(s->smux) != 1)
        return 0;
    if (!s->unpack && !memcmp(head, packed, sizeof packed))
        return SESSION_SEES_PACKED;
    if (!is_frame(head) || head[0] == smux_version(s->smux))
        return 0;
    out->smux_ver = head[0];
    return SESSION_SEES_SMUX_VER;
}

/* A server that cannot read a client's stream drops the session without a word: a kcptun then knows nothing of what it had
 * acknowledged. No frame of its own ever came, not even a keepalive. */
static unsigned see_end(const struct session *s, struct session_sight *out)
{
    if (s->end == SESSION_PROTOCOL)
        return see_beginning(s, out);
    if (!s->p.client || smux_frames_in(s->smux) || s->end == SESSION_NO_MEMORY)
        return 0;
    return s->in_bytes ? SESSION_SEES_DROPPED : SESSION_SEES_NOTHING;
}

static unsigned see_fec(struct session *s, struct session_sight *out)
{
    unsigned d = 0, p = 0;
    bool sure = true;

    if (s->dec)
        fec_decoder_shape(s->dec, &d, &p, &sure);
    if (sure)
        s->fec_sure_at = s->fec_heard;
    if (s->fec_heard - s->fec_sure_at >= UNSURE_MAX)
        return SESSION_SEES_FEC_UNSETTLED;
    if (!s->enc)
        return s->fec_heard ? SESSION_SEES_FEC : 0;
    if (!s->fec_differs)
        return 0;
    if (!s->dec)
        return SESSION_SEES_NO_FEC;
    out->fec_data = (uint16_t)(sure ? d : 0);
    out->fec_parity = (uint16_t)(sure ? p : 0);
    return SESSION_SEES_FEC_SHAPE;
}

/* The peer answers, and keeps its window shut in front of something that waits. */
static bool is_stalled(struct session *s, struct tick now)
{
    bool waits = arq_state(s->arq)->n_inflight || s->z.at < s->z.len || smux_has_output(s->smux);

    if (!waits || arq_state(s->arq)->rmt_wnd)
        s->taking = now;
    return tick_since_us(now, s->taking) >= STALL_US && tick_before(s->taking, s->heard);
}

struct session_sight session_sees(struct session *s, struct tick now)
{
    struct session_sight out = {.smux_ver = smux_version(s->smux)};

    if (s->end)
        out.bits = see_end(s, &out);
    else
        out.bits = see_fec(s, &out) | (is_stalled(s, now) ? SESSION_SEES_STALL : 0);
    return out;
}
