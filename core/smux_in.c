/* core/smux_in.c - the peer's byte stream: frames out of any cut, payload lent to the stream it belongs to.
 * As strict as the strictest peer about headers, as lenient as all of them about streams: frames cross a close. */
#include "core/smux_priv.h"

#include <errno.h>
#include <string.h>

static void on_syn(struct smux *m, uint32_t id)
{
    struct smux_stream *s;

    if (smux_table_find(m, id))
        return;
    if (!smux_stream_fits(m)) {
        m->counts.refused++;
        smux_out_refuse(m, id);
        return;
    }
    s = smux_stream_new(m, id);
    if (!s) {
        m->failed = -ENOMEM;
        return;
    }
    smux_stream_say(s, SMUX_EV_OPENED);
}

static void on_fin(struct smux *m, uint32_t id)
{
    struct smux_stream *s = smux_table_find(m, id);

    if (!s || s->ended)
        return;
    if (s->marked && m->peer_ours) {
        m->counts.resets++;
        smux_stream_end(s, false);
        return;
    }
    if (s->fin_in)
        return;
    s->fin_in = true;
    smux_stream_say(s, SMUX_EV_FIN);
    smux_out_update(s);
}

/* The reader took the news of the end and has nothing left to read: what comes now is too late. */
static bool end_was_seen(const struct smux_stream *s)
{
    return s->fin_in && !(s->events & SMUX_EV_FIN) && !s->in.bytes;
}

static void on_psh(struct smux *m, const struct smux_frame *f)
{
    struct smux_stream *s = smux_table_find(m, f->sid);

    if (s)
        s->marked = !f->len;
    if (!f->len)
        return;
    m->in_left = f->len;
    m->in_stream = s && !s->closed && !s->ended && !end_was_seen(s) ? s : NULL;
    if (!m->in_stream)
        m->counts.discarded += f->len;
    /* Our own kind believes in half-closed streams: it must learn that nobody listens here any more. */
    if (!s && m->peer_ours)
        smux_out_refuse(m, f->sid);
    if (s && s->closed && m->peer_ours)
        smux_stream_count_read(s, f->len);
    if (m->in_stream && m->p.ver == 2 && s->in.bytes + f->len > MAX(m->window, (uint32_t)SMUX_FIRST_WINDOW))
        m->counts.overruns++;
}

static void on_upd(struct smux *m, uint32_t id, uint32_t consumed, uint32_t window)
{
    struct smux_stream *s = smux_table_find(m, id);

    if (!s || s->ended)
        return;
    if ((int32_t)(s->written - consumed) < 0) {
        m->counts.broken++;
        smux_stream_end(s, true);
        return;
    }
    s->peer_consumed = consumed;
    s->peer_window = window;
    smux_out_update(s);
}

static void on_nop(struct smux *m, uint32_t id)
{
    if (id == SMUX_LEAVING)
        m->peer_leaves = true;
    if (id != SMUX_HELLO)
        return;
    m->peer_ours = true;
    m->hello_due = !m->hello_sent;
}

static void on_frame(struct smux *m, const struct smux_frame *f)
{
    switch (f->cmd) {
    case SMUX_SYN:
        on_syn(m, f->sid);
        break;
    case SMUX_FIN:
        on_fin(m, f->sid);
        break;
    case SMUX_PSH:
        on_psh(m, f);
        break;
    case SMUX_NOP:
        on_nop(m, f->sid);
        break;
    case SMUX_UPD:
        on_upd(m, f->sid, get_le32(m->in_head + 8), get_le32(m->in_head + 12));
        break;
    }
}

/* Moves header bytes from *in until `want` are there. */
static bool gather(struct smux *m, struct bytes *in, uint8_t want)
{
    size_t n = MIN(in->len, (size_t)(want - m->in_have));

    memcpy(m->in_head + m->in_have, in->p, n);
    m->in_have += (uint8_t)n;
    in->p += n;
    in->len -= n;
    return m->in_have == want;
}

/* A server may leave the version to its client: the first byte of all tells it. */
static void learn_version(struct smux *m)
{
    if (m->in_head[0] == 1 || m->in_head[0] == 2)
        m->p.ver = m->in_head[0];
    else
        m->failed = SMUX_PROTOCOL;
}

static void take_header(struct smux *m, struct bytes *in)
{
    struct smux_frame f;

    if (m->in_have < SMUX_FRAME_HEADER) {
        if (!gather(m, in, SMUX_FRAME_HEADER))
            return;
        m->frames_in++;
    }
    if (!m->p.ver)
        learn_version(m);
    if (m->failed)
        return;
    if (smux_frame_parse(&f, m->in_head, m->p.ver)) {
        m->failed = SMUX_PROTOCOL;
        return;
    }
    if (f.cmd == SMUX_UPD && !gather(m, in, SMUX_FRAME_HEADER + SMUX_FRAME_UPD))
        return;
    m->in_have = 0;
    on_frame(m, &f);
}

static void take_payload(struct smux *m, struct bytes *in)
{
    struct smux_stream *s = m->in_stream;
    size_t n = MIN(in->len, m->in_left);

    m->in_left -= (uint32_t)n;
    if (s && smux_stream_lend(s, &s->in, bytes_of(in->p, n))) {
        m->failed = -ENOMEM;
        return;
    }
    if (s) {
        m->bucket -= (int64_t)n;
        smux_stream_say(s, SMUX_EV_DATA);
    }
    if (!m->in_left)
        m->in_stream = NULL;
    in->p += n;
    in->len -= n;
}

int smux_input(struct smux *m, struct bytes *in)
{
    while (in->len && smux_wants_input(m)) {
        if (m->in_left)
            take_payload(m, in);
        else
            take_header(m, in);
    }
    return m->failed;
}

/* A frame begun is taken to its end whatever the bucket says, as the peers do: it goes below 0 by one frame at most. */
bool smux_wants_input(const struct smux *m)
{
    return !m->failed && (m->bucket > 0 || m->in_left || m->in_have);
}

bool smux_peer_leaves(const struct smux *m)
{
    return m->peer_leaves;
}

bool smux_peer_is_ours(const struct smux *m)
{
    return m->peer_ours;
}

uint64_t smux_frames_in(const struct smux *m)
{
    return m->frames_in;
}

uint8_t smux_version(const struct smux *m)
{
    return m->p.ver;
}

const uint8_t *smux_refused(const struct smux *m)
{
    return m->in_head;
}
