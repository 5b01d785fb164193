/* core/smux_out.c - what is sent next. One frame is open at a time and leaves in any cut. Control frames come first and
 * are flags on their stream, not a queue: a peer cannot make us hold more of them than it has streams.
 *
 * Data: deficit round robin. A stream that begins to send takes its place at the end of the round and gets a small credit
 * with which it goes ahead of the round, now and whenever it has something again, until its turn comes. So one that
 * sends little between two turns never waits, and one that sends much gains that credit at most. A turn without anything
 * to send ends its place: all is forgotten, debt too. */
#include "core/smux_priv.h"

#include <assert.h>
#include <stdlib.h>

/* ---- what a stream owes ---- */

void smux_out_due(struct smux_stream *s, unsigned due)
{
    s->due |= (uint8_t)due;
    if (s->due && !list_linked(&s->ctl))
        list_push(&s->m->ctl, &s->ctl);
}

int64_t smux_out_window(const struct smux_stream *s)
{
    if (s->m->p.ver == 1)
        return INT64_MAX;
    return (int64_t)(int32_t)s->peer_window - (int32_t)(s->written - s->peer_consumed);
}

/* Bytes queued behind the frame being sent. */
static size_t waiting(const struct smux_stream *s)
{
    return s->out.bytes - (s->m->cur == s ? s->m->cur_left : 0);
}

static void wake(struct smux_stream *s)
{
    struct smux *m = s->m;

    if (!list_linked(&s->turn)) {
        s->credit = SMUX_NEW_CREDIT;
        list_push(&m->round, &s->turn);
    }
    if (s->credit > 0 && !list_linked(&s->ahead))
        list_push(&m->ahead, &s->ahead);
}

/* The owner is gone, and so is the reader: other peers forget a stream with their FIN, and send no UPD for it any more. */
static bool stuck_for_good(const struct smux_stream *s)
{
    return s->closed && s->fin_in && !s->m->peer_ours && waiting(s) && smux_out_window(s) <= 0;
}

void smux_out_update(struct smux_stream *s)
{
    struct smux *m = s->m;
    bool sendable;

    if (stuck_for_good(s))
        smux_out_cut(s);
    sendable = !s->cut && waiting(s) && smux_out_window(s) > 0;
    if (sendable != s->sendable) {
        s->sendable = sendable;
        m->n_sendable += sendable ? 1 : -1;
        if (sendable)
            wake(s);
    }
    if (!s->out.bytes && s->fin_wanted && !s->fin_sent && !s->ended)
        smux_out_due(s, SMUX_DUE_FIN);
}

static void drop_queue(struct smux_stream *s)
{
    s->m->backlog -= s->out.bytes;
    bufq_drop(&s->out, s->out.bytes);
    s->cut = false;
}

void smux_out_cut(struct smux_stream *s)
{
    if (s->m->cur == s) {
        s->cut = true;
    } else {
        drop_queue(s);
    }
    if (s->sendable) {
        s->sendable = false;
        s->m->n_sendable--;
    }
}

void smux_out_forget(struct smux_stream *s)
{
    assert(s->m->cur != s);
    smux_out_cut(s);
    list_del(&s->turn);
    list_del(&s->ahead);
    list_del(&s->ctl);
}

void smux_out_refuse(struct smux *m, uint32_t id)
{
    uint32_t i;

    if (!m->refused)
        m->refused = malloc(SMUX_REFUSALS * sizeof *m->refused);
    for (i = 0; m->refused && i < m->refused_n; i++)
        if (m->refused[(m->refused_head + i) % SMUX_REFUSALS] == id)
            return;
    if (!m->refused || i == SMUX_REFUSALS) {
        m->counts.refusals_lost++;
        return;
    }
    m->refused[(m->refused_head + m->refused_n++) % SMUX_REFUSALS] = id;
}

/* ---- the next frame ---- */

static void put_header(struct smux *m, enum smux_frame_cmd cmd, uint32_t len, uint32_t id)
{
    struct wr w = wr_to(m->out_head, sizeof m->out_head);
    struct smux_frame f = {.ver = m->p.ver, .cmd = (uint8_t)cmd, .len = (uint16_t)len, .sid = id};

    smux_frame_put(&w, &f);
    m->out_pos = 0;
    m->out_len = SMUX_FRAME_HEADER;
}

static bool begin_hello(struct smux *m)
{
    if (!m->hello_due)
        return false;
    m->hello_due = false;
    m->hello_sent = true;
    put_header(m, SMUX_NOP, 0, SMUX_HELLO);
    return true;
}

static void put_upd(struct smux_stream *s)
{
    struct smux *m = s->m;

    put_header(m, SMUX_UPD, SMUX_FRAME_UPD, s->id);
    put_le32(m->out_head + 8, s->read_total);
    put_le32(m->out_head + 12, m->window);
    m->out_len = sizeof m->out_head;
    s->since_upd = 0;
}

/* The first frame that s owes. */
static void put_control(struct smux *m, struct smux_stream *s)
{
    if (s->due & SMUX_DUE_SYN) {
        s->due &= (uint8_t)~SMUX_DUE_SYN;
        put_header(m, SMUX_SYN, 0, s->id);
    } else if (s->due & SMUX_DUE_UPD) {
        s->due &= (uint8_t)~SMUX_DUE_UPD;
        put_upd(s);
    } else if (s->due & SMUX_DUE_RESET && m->peer_ours) {
        s->due = SMUX_DUE_FIN;
        put_header(m, SMUX_PSH, 0, s->id);
    } else {
        s->due = 0;
        s->fin_sent = true;
        put_header(m, SMUX_FIN, 0, s->id);
    }
}

static bool begin_control(struct smux *m)
{
    struct smux_stream *s = LIST_FIRST(&m->ctl, struct smux_stream, ctl);

    if (!s)
        return false;
    put_control(m, s);
    if (!s->due) {
        list_del(&s->ctl);
        smux_stream_retire(s);
    }
    return true;
}

static bool begin_refusal(struct smux *m)
{
    uint32_t id;

    if (!m->refused_n)
        return false;
    id = m->refused[m->refused_head];
    if (m->peer_ours && !m->refused_marked) {
        m->refused_marked = true;
        put_header(m, SMUX_PSH, 0, id);
        return true;
    }
    m->refused_marked = false;
    m->refused_head = (m->refused_head + 1) % SMUX_REFUSALS;
    m->refused_n--;
    put_header(m, SMUX_FIN, 0, id);
    return true;
}

static bool begin_nop(struct smux *m)
{
    if (!m->nop_due)
        return false;
    m->nop_due = false;
    put_header(m, SMUX_NOP, 0, m->leave_due ? SMUX_LEAVING : 0);
    m->leave_due = false;
    return true;
}

static struct smux_stream *pick_ahead(struct smux *m)
{
    struct smux_stream *s;

    while ((s = LIST_FIRST(&m->ahead, struct smux_stream, ahead)) && !s->sendable)
        list_del(&s->ahead);
    return s;
}

static struct smux_stream *pick_turn(struct smux *m)
{
    struct smux_stream *s;

    while ((s = LIST_FIRST(&m->round, struct smux_stream, turn))) {
        list_del(&s->turn);
        if (!s->sendable)
            continue;
        if (s->credit <= 0)
            s->credit += SMUX_QUANTUM;
        if (s->credit > 0) {
            list_push_front(&m->round, &s->turn);
            return s;
        }
        list_push(&m->round, &s->turn);
    }
    return NULL;
}

/* After a frame of s was begun: is it still its turn? */
static void account(struct smux_stream *s, uint32_t len, bool alone)
{
    bool was_ahead = list_linked(&s->ahead);

    s->credit -= (int32_t)(len + SMUX_FRAME_HEADER);
    if (alone) /* nobody waited: no debt for it */
        s->credit = MAX(s->credit, -SMUX_QUANTUM);
    if (s->credit > 0 && s->sendable)
        return;
    list_del(&s->ahead);
    if (was_ahead)
        return;
    list_del(&s->turn);
    if (s->credit <= 0)
        list_push(&s->m->round, &s->turn);
}

static bool begin_data(struct smux *m)
{
    struct smux_stream *s = pick_ahead(m);
    bool alone = m->n_sendable == 1;
    uint32_t most, len;

    if (!s)
        s = pick_turn(m);
    if (!s)
        return false;
    most = alone ? m->p.frame_max : MIN(m->p.frame_max, (uint32_t)SMUX_QUANTUM);
    len = (uint32_t)MIN((uint64_t)most, MIN((uint64_t)s->out.bytes, (uint64_t)smux_out_window(s)));
    put_header(m, SMUX_PSH, len, s->id);
    m->cur = s;
    m->cur_left = len;
    s->written += len;
    smux_out_update(s);
    m->overtakes += !alone && len <= SMUX_SMALL && list_linked(&s->ahead) && !s->sendable;
    account(s, len, alone);
    return true;
}

static bool begin_frame(struct smux *m)
{
    return begin_hello(m) || begin_control(m) || begin_refusal(m) || begin_nop(m) || begin_data(m);
}

/* ---- handing it out ---- */

static bool frame_open(const struct smux *m)
{
    return m->out_pos < m->out_len || m->cur_left;
}

/* A frame to send is open. A session that failed says nothing more: its queues may have holes. */
static bool next_frame(struct smux *m)
{
    return !m->failed && (frame_open(m) || begin_frame(m));
}

static void end_payload(struct smux *m)
{
    struct smux_stream *s = m->cur;

    m->cur = NULL;
    if (s->cut)
        drop_queue(s);
    smux_out_update(s);
    smux_stream_retire(s);
}

static size_t emit_payload(struct smux *m, uint8_t *out, size_t room)
{
    struct smux_stream *s = m->cur;
    size_t n = MIN(room, m->cur_left);

    bufq_take(&s->out, out, n);
    m->backlog -= n;
    m->cur_left -= (uint32_t)n;
    if (s->above && s->out.bytes < m->p.send_buf) {
        s->above = false;
        smux_stream_say(s, SMUX_EV_ROOM);
    }
    if (!m->cur_left)
        end_payload(m);
    return n;
}

/* Some of the open frame: what is left of the header, or of the payload. */
static size_t emit(struct smux *m, uint8_t *out, size_t room)
{
    size_t n = MIN(room, (size_t)(m->out_len - m->out_pos));

    if (!n)
        return emit_payload(m, out, room);
    memcpy(out, m->out_head + m->out_pos, n);
    m->out_pos += (uint8_t)n;
    return n;
}

size_t smux_fill(struct smux *m, uint8_t *out, size_t room)
{
    size_t n = 0;

    while (n < room && next_frame(m))
        n += emit(m, out + n, room - n);
    return n;
}

size_t smux_fill_frame(struct smux *m, uint8_t *out, size_t room)
{
    size_t n = 0;

    assert(room >= SMUX_FRAME_HEADER + MAX(m->p.frame_max, (uint32_t)SMUX_FRAME_UPD));
    if (!next_frame(m))
        return 0;
    while (frame_open(m))
        n += emit(m, out + n, room - n);
    return n;
}

bool smux_has_output(const struct smux *m)
{
    if (m->failed)
        return false;
    return frame_open(m) || m->hello_due || !list_empty(&m->ctl) || m->refused_n || m->nop_due || m->n_sendable;
}

size_t smux_backlog(const struct smux *m)
{
    return m->backlog;
}

uint64_t smux_queued(const struct smux *m)
{
    return m->queued;
}

uint64_t smux_overtakes(const struct smux *m)
{
    return m->overtakes;
}

void smux_keepalive(struct smux *m)
{
    if (!m->p.ver)
        return;
    if (m->hello_sent)
        m->nop_due = true;
    else
        m->hello_due = true;
}

void smux_leave(struct smux *m)
{
    if (m->leaving || !m->peer_ours)
        return;
    m->leaving = m->leave_due = m->nop_due = true;
}
