/* core/smux.c - the life of streams, and what their owner does with them. */
#include "core/smux.h"
#include "core/smux_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct smux *smux_new(const struct smux_params *p)
{
    struct smux *m;

    if (p->ver > 2 || (!p->ver && p->client) || p->frame_max < 1 || p->frame_max > SMUX_FRAME_MAX || !p->pool)
        return NULL;
    if (!p->session_buf || p->session_buf > INT32_MAX || !p->send_buf || !p->max_streams)
        return NULL;
    if (p->ver != 1 && (!p->stream_buf || p->stream_buf > p->session_buf))
        return NULL;
    m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->p = *p;
    m->next_id = p->client ? 3 : 2;
    m->bucket = p->session_buf;
    smux_set_window(m, p->stream_buf, p->stream_buf / 2);
    list_init(&m->open);
    list_init(&m->closing);
    list_init(&m->events);
    list_init(&m->lent);
    list_init(&m->ctl);
    list_init(&m->ahead);
    list_init(&m->round);
    return m;
}

void smux_set_window(struct smux *m, uint32_t window, uint32_t upd_after)
{
    m->window = window;
    m->upd_after = upd_after;
}

void smux_set_max_streams(struct smux *m, uint32_t max)
{
    m->p.max_streams = max;
}

static void queue_fini(struct smux *m, struct bufq *q)
{
    m->ring_bytes -= q->cap * sizeof *q->v;
    bufq_fini(q);
}

static void stream_free(struct smux_stream *s)
{
    struct smux *m = s->m;

    smux_out_forget(s);
    smux_table_del(m, s);
    if (m->in_stream == s)
        m->in_stream = NULL;
    list_del(&s->all);
    list_del(&s->ev);
    list_del(&s->lent);
    if (s->closed)
        m->n_closing--;
    else
        m->n_open--;
    queue_fini(m, &s->in);
    queue_fini(m, &s->out);
    free(s);
}

struct smux *smux_free(struct smux *m)
{
    if (!m)
        return NULL;
    m->cur = NULL;
    LIST_EACH(s, &m->open, struct smux_stream, all) {
        stream_free(s);
    }
    LIST_EACH(s, &m->closing, struct smux_stream, all) {
        stream_free(s);
    }
    smux_table_fini(m);
    free(m->refused);
    free(m);
    return NULL;
}

/* ---- a stream ---- */

struct smux_stream *smux_stream_new(struct smux *m, uint32_t id)
{
    struct smux_stream *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->m = m;
    s->id = id;
    s->peer_window = SMUX_FIRST_WINDOW;
    if (smux_table_add(m, s)) {
        free(s);
        return NULL;
    }
    list_push(&m->open, &s->all);
    m->n_open++;
    return s;
}

/* What was closed and has not left yet counts too, or a peer that takes nothing could open and close for ever. */
bool smux_stream_fits(const struct smux *m)
{
    return m->n_open < m->p.max_streams && m->n_closing < m->p.max_streams;
}

void smux_stream_say(struct smux_stream *s, unsigned events)
{
    if (s->closed)
        return;
    s->events |= (uint8_t)events;
    if (!list_linked(&s->ev))
        list_push(&s->m->events, &s->ev);
}

void smux_stream_retire(struct smux_stream *s)
{
    if (s->closed && !s->due && !s->out.bytes && s->m->cur != s)
        stream_free(s);
}

void smux_stream_end(struct smux_stream *s, bool tell)
{
    s->ended = true;
    smux_out_cut(s);
    s->due &= tell ? SMUX_DUE_SYN : 0;
    if (tell && (s->m->peer_ours || !s->fin_sent))
        smux_out_due(s, SMUX_DUE_RESET);
    if (!s->due)
        list_del(&s->ctl);
    smux_stream_say(s, SMUX_EV_RESET);
    smux_stream_retire(s);
}

int smux_open(struct smux *m, struct smux_stream **sp)
{
    struct smux_stream *s;

    if (!m->p.ver)
        return SMUX_AGAIN;
    while (m->next_id <= UINT32_MAX && smux_table_find(m, (uint32_t)m->next_id))
        m->next_id += 2;
    if (!smux_stream_fits(m) || !smux_ids_left(m))
        return SMUX_FULL;
    s = smux_stream_new(m, (uint32_t)m->next_id);
    if (!s)
        return -ENOMEM;
    m->next_id += 2;
    m->hello_due = !m->hello_sent;
    smux_out_due(s, SMUX_DUE_SYN);
    *sp = s;
    return 0;
}

bool smux_ids_left(const struct smux *m)
{
    return m->next_id <= UINT32_MAX;
}

uint32_t smux_stream_id(const struct smux_stream *s)
{
    return s->id;
}

void smux_stream_set_ctx(struct smux_stream *s, void *ctx)
{
    s->ctx = ctx;
}

void *smux_stream_ctx(const struct smux_stream *s)
{
    return s->ctx;
}

struct smux_stream *smux_next_event(struct smux *m)
{
    return LIST_FIRST(&m->events, struct smux_stream, ev);
}

unsigned smux_stream_events(struct smux_stream *s)
{
    unsigned events = s->events;

    s->events = 0;
    list_del(&s->ev);
    return events;
}

/* ---- lent bytes ---- */

static int settle_queue(struct smux *m, struct bufq *q)
{
    uint32_t cap = q->cap;
    int r = bufq_settle(q, m->p.pool);

    m->ring_bytes += (q->cap - cap) * sizeof *q->v;
    return r;
}

int smux_stream_lend(struct smux_stream *s, struct bufq *q, struct bytes b)
{
    struct smux *m = s->m;
    uint32_t cap;
    int r = q->n_lent < SMUX_LENT_MAX ? 0 : settle_queue(m, q);

    if (r)
        return r;
    cap = q->cap;
    r = bufq_lend(q, b);
    m->ring_bytes += (q->cap - cap) * sizeof *q->v;
    if (!r && !list_linked(&s->lent))
        list_push(&m->lent, &s->lent);
    return r;
}

int smux_settle(struct smux *m)
{
    struct smux_stream *s;

    while ((s = LIST_FIRST(&m->lent, struct smux_stream, lent))) {
        int in = settle_queue(m, &s->in), out = settle_queue(m, &s->out);

        list_del(&s->lent);
        if (in || out)
            m->failed = -ENOMEM;
    }
    return m->failed == -ENOMEM ? -ENOMEM : 0;
}

/* ---- reading ---- */

unsigned smux_stream_peek(const struct smux_stream *s, struct bytes *v, unsigned max)
{
    return bufq_view(&s->in, v, max);
}

size_t smux_stream_readable(const struct smux_stream *s)
{
    return s->in.bytes;
}

void smux_stream_count_read(struct smux_stream *s, size_t n)
{
    struct smux *m = s->m;

    if (!n || m->p.ver == 1 || s->ended)
        return;
    s->read_total += (uint32_t)n;
    s->since_upd += (uint32_t)n;
    if (s->since_upd >= m->upd_after || s->read_total == n)
        smux_out_due(s, SMUX_DUE_UPD);
}

void smux_stream_read(struct smux_stream *s, size_t n)
{
    bufq_drop(&s->in, n);
    s->m->bucket += (int64_t)n;
    smux_stream_count_read(s, n);
}

bool smux_stream_eof(const struct smux_stream *s)
{
    return s->fin_in && !s->ended && !s->in.bytes && s->m->in_stream != s;
}

/* ---- writing ---- */

int smux_stream_write(struct smux_stream *s, struct bytes b)
{
    struct smux *m = s->m;
    int r;

    if (s->fin_wanted || s->ended)
        return SMUX_CLOSED;
    r = smux_stream_lend(s, &s->out, b);
    if (r)
        return r;
    m->backlog += b.len;
    m->queued += b.len;
    if (s->out.bytes >= m->p.send_buf)
        s->above = true;
    smux_out_update(s);
    return 0;
}

size_t smux_stream_room(const struct smux_stream *s)
{
    if (s->fin_wanted || s->ended || s->out.bytes >= s->m->p.send_buf)
        return 0;
    return s->m->p.send_buf - s->out.bytes;
}

size_t smux_stream_queued(const struct smux_stream *s)
{
    return s->out.bytes;
}

void smux_stream_finish(struct smux_stream *s)
{
    s->fin_wanted = true;
    smux_out_update(s);
}

bool smux_stream_finished(const struct smux_stream *s)
{
    return s->fin_sent;
}

/* Our own kind may go on sending after our FIN, and must not be left waiting for a window: what nobody reads counts as
 * read. When the last of ours has left, its next frame finds no stream here, and is answered by a reset. */
static void drop_unread(struct smux_stream *s)
{
    struct smux *m = s->m;
    size_t n = s->in.bytes;

    bufq_drop(&s->in, n);
    m->bucket += (int64_t)n;
    if (m->in_stream == s)
        m->in_stream = NULL;
    if (m->peer_ours && !s->fin_in)
        smux_stream_count_read(s, n);
}

void smux_stream_close(struct smux_stream *s, bool deliver)
{
    struct smux *m = s->m;
    bool over = s->fin_in && s->fin_wanted && !s->out.bytes;

    list_del(&s->ev);
    list_del(&s->all);
    list_push(&m->closing, &s->all);
    s->closed = true;
    m->n_open--;
    m->n_closing++;
    drop_unread(s);
    if (!deliver && s->due & SMUX_DUE_SYN) {
        smux_stream_end(s, false); /* the peer has never heard of it */
    } else if (!deliver && !over && !s->ended) {
        smux_stream_end(s, true);
    } else {
        s->fin_wanted = true;
        smux_out_update(s);
        smux_stream_retire(s);
    }
}

/* ---- state ---- */

unsigned smux_streams(const struct smux *m)
{
    return m->n_open;
}

struct smux_stream *smux_each(struct smux *m, struct smux_stream *prev)
{
    struct list *next = prev ? prev->all.next : m->open.next;

    return next == &m->open ? NULL : CONTAINER(next, struct smux_stream, all);
}

static void trim_queue(struct smux *m, struct bufq *q)
{
    if (!q->n)
        queue_fini(m, q);
}

void smux_trim(struct smux *m)
{
    LIST_EACH(s, &m->open, struct smux_stream, all) {
        trim_queue(m, &s->in);
        trim_queue(m, &s->out);
    }
    if (!m->refused_n) {
        free(m->refused);
        m->refused = NULL;
    }
    if (!m->table_n)
        smux_table_fini(m);
}

const struct smux_counts *smux_counts(const struct smux *m)
{
    return &m->counts;
}

size_t smux_memory(const struct smux *m)
{
    return sizeof *m + m->table_size * sizeof *m->table + m->table_n * sizeof(struct smux_stream) + m->ring_bytes +
           (m->refused ? SMUX_REFUSALS * sizeof *m->refused : 0);
}
