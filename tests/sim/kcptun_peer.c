/* tests/sim/kcptun_peer.c - the layers around the core, as the session, FEC and smux descriptions tell them. */
#include "tests/sim/kcptun_peer.h"

#include "core/base/list.h"
#include "fec/decoder.h"
#include "fec/encoder.h"

#include <stdlib.h>
#include <string.h>

enum { SYN, FIN, PSH, NOP, UPD };
enum { FRAME_HEADER = 8, DGRAM_MAX = 1500, PEER_WINDOW_FIRST = 262144, GROUPS_KEPT = 4, PARITY_PAUSE_US = 500000 };

struct stream {
    struct list node;
    uint32_t id;
    char kind; /* its first byte; 0: nothing has come */
    uint8_t *queue; /* to be sent */
    size_t n_queue, queue_cap;
    uint32_t read_total, since_upd;
    uint32_t written, peer_consumed, peer_window;
};

struct dgram {
    struct dgram *next;
    size_t len;
    uint8_t p[DGRAM_MAX];
};

struct kcptun_peer {
    struct kcptun_peer_params p;
    struct go_kcp core;
    struct buf_pool *pool;
    struct fec_encoder *enc;
    struct fec_decoder *dec;
    struct tick now, tick_at, keepalive_at, data_at; /* data_at: the FEC encoder's last data packet */
    struct list streams;
    uint32_t next_id;
    uint8_t head[FRAME_HEADER]; /* of the frame being read */
    uint32_t n_head, left; /* its bytes read; payload bytes to come */
    uint8_t body[FRAME_HEADER]; /* UPD */
    struct dgram *out, **out_end, *lent, *unused;
    struct kcptun_peer_counts n;
};

struct kcptun_peer_params kcptun_peer_defaults(const char *mode)
{
    struct kcptun_peer_params p = {
        .conv = 0x01020304,
        .mtu = 1350,
        .snd_wnd = 1024,
        .rcv_wnd = 1024,
        .nodelay = !strcmp(mode, "fast2") || !strcmp(mode, "fast3"),
        .interval_ms = 40,
        .resend = 2,
        .nocwnd = true,
        .fec_data = 10,
        .fec_parity = 3,
        .smux_ver = 1,
        .stream_buf = 2 << 20,
        .keepalive_ms = 10000,
    };

    if (!strncmp(mode, "fast", 4))
        p.interval_ms = mode[4] == '3' ? 10 : mode[4] == '2' ? 20 : 30;
    return p;
}

/* ---- out ---- */

static struct dgram *dgram_new(struct kcptun_peer *k, size_t len)
{
    struct dgram *d = k->unused;

    if (d)
        k->unused = d->next;
    else
        d = malloc(sizeof *d);
    d->next = NULL;
    d->len = len;
    *k->out_end = d;
    k->out_end = &d->next;
    k->n.out_dgrams++;
    k->n.out_bytes += len;
    memset(d->p, 0, k->p.head);
    return d;
}

/* The newest leaves parity out if the group's last packet comes long after the one before it. */
static void put_parity(struct kcptun_peer *k, bool after_pause)
{
    size_t len = fec_encoder_parity_len(k->enc);
    uint8_t *rows[SHARD_MAX_N];

    if (after_pause && k->p.newest) {
        fec_encoder_skip(k->enc);
        return;
    }
    for (unsigned i = 0; i < k->p.fec_parity; i++)
        rows[i] = dgram_new(k, k->p.head + len)->p + k->p.head;
    fec_encoder_parity(k->enc, rows, k->p.fec_parity);
}

static void on_core_output(void *ctx, struct bytes b)
{
    struct kcptun_peer *k = ctx;
    bool after_pause = tick_since_us(k->now, k->data_at) >= PARITY_PAUSE_US;
    size_t gap = k->enc ? SHARD_DATA_HEADER : 0;
    struct dgram *d = dgram_new(k, k->p.head + gap + b.len);

    memcpy(d->p + k->p.head + gap, b.p, b.len);
    k->data_at = k->now;
    if (!k->enc)
        return;
    if (fec_encoder_add(k->enc, d->p + k->p.head, b.len) == FEC_GROUP_FULL)
        put_parity(k, after_pause);
    fec_encoder_settle(k->enc);
}

static bool may_write(const struct kcptun_peer *k)
{
    uint32_t limit = k->p.newest ? k->core.snd_wnd : MIN(k->core.snd_wnd, k->core.rmt_wnd);

    return go_kcp_waiting(&k->core) < limit;
}

/* One write of the multiplexer: cut into segments, and flushed at once. */
static void put_frame(struct kcptun_peer *k, uint8_t cmd, uint32_t id, struct bytes body)
{
    uint8_t frame[FRAME_HEADER + 8192];
    struct wr w = wr_to(frame, sizeof frame);

    wr_u8(&w, k->p.smux_ver);
    wr_u8(&w, cmd);
    wr_le16(&w, (uint16_t)body.len);
    wr_le32(&w, id);
    wr_bytes(&w, body.p, body.len);
    for (size_t n = 0, all = (size_t)(w.p - frame); n < all; n += k->core.mss)
        go_kcp_send(&k->core, bytes_of(frame + n, MIN(k->core.mss, all - n)));
    go_kcp_flush(&k->core, false, tick_ms(k->now));
}

/* ---- streams ---- */

static struct stream *stream_find(struct kcptun_peer *k, uint32_t id)
{
    LIST_EACH(s, &k->streams, struct stream, node)
        if (s->id == id)
            return s;
    return NULL;
}

static struct stream *stream_new(struct kcptun_peer *k, uint32_t id)
{
    struct stream *s = calloc(1, sizeof *s);

    s->id = id;
    s->peer_window = PEER_WINDOW_FIRST;
    list_push(&k->streams, &s->node);
    return s;
}

static void stream_free(struct stream *s)
{
    list_del(&s->node);
    free(s->queue);
    free(s);
}

static void stream_append(struct stream *s, struct bytes b)
{
    if (s->n_queue + b.len > s->queue_cap) {
        s->queue_cap = (s->n_queue + b.len) * 2;
        s->queue = realloc(s->queue, s->queue_cap);
    }
    memcpy(s->queue + s->n_queue, b.p, b.len);
    s->n_queue += b.len;
}

static size_t stream_room(const struct kcptun_peer *k, const struct stream *s)
{
    int32_t room = (int32_t)s->peer_window - serial_diff(s->written, s->peer_consumed);

    if (k->p.smux_ver < 2)
        return SIZE_MAX;
    return room > 0 ? (size_t)room : 0;
}

/* One frame, if the stream has one and may. */
static bool stream_pump(struct kcptun_peer *k, struct stream *s)
{
    static const uint8_t endless[8192];
    size_t n = MIN(stream_room(k, s), k->p.newest ? (size_t)8192 : 4096);
    bool source = !k->p.client && s->kind == 'd';

    if (!source)
        n = MIN(n, s->n_queue);
    if (!n)
        return false;
    put_frame(k, PSH, s->id, bytes_of(source ? endless : s->queue, n));
    s->written += (uint32_t)n;
    if (!source) {
        s->n_queue -= n;
        memmove(s->queue, s->queue + n, s->n_queue);
    }
    return true;
}

/* Streams take turns, a frame each, while the core takes writes. */
static void pump(struct kcptun_peer *k)
{
    bool any = true;

    while (any) {
        any = false;
        LIST_EACH(s, &k->streams, struct stream, node) {
            if (!may_write(k))
                return;
            any |= stream_pump(k, s);
        }
    }
}

static void stream_take(struct kcptun_peer *k, struct stream *s, struct bytes b)
{
    k->n.received += b.len;
    if (!s->kind)
        s->kind = (char)b.p[0];
    if (k->p.on_data)
        k->p.on_data(k->p.ctx, s->id, b, k->now);
    if (s->kind == 'e' && !k->p.client)
        stream_append(s, b);
}

/* The application has read a whole frame, or a piece of it if it came in pieces. */
static void stream_read(struct kcptun_peer *k, struct stream *s, uint32_t n)
{
    uint8_t body[8];

    s->read_total += n;
    s->since_upd += n;
    if (k->p.smux_ver < 2 || (s->since_upd < k->p.stream_buf / 2 && s->read_total != n))
        return;
    put_le32(body, s->read_total);
    put_le32(body + 4, k->p.stream_buf);
    s->since_upd = 0;
    put_frame(k, UPD, s->id, bytes_of(body, sizeof body));
}

static void frame_done(struct kcptun_peer *k)
{
    uint32_t id = get_le32(k->head + 4);
    struct stream *s = stream_find(k, id);

    if (k->head[1] == SYN && !s && !k->p.client)
        stream_new(k, id);
    if (!s)
        return;
    if (k->head[1] == UPD) {
        s->peer_consumed = get_le32(k->body);
        s->peer_window = get_le32(k->body + 4);
    } else if (k->head[1] == PSH && get_le16(k->head + 2)) {
        stream_read(k, s, get_le16(k->head + 2));
    } else if (k->head[1] == FIN) {
        put_frame(k, FIN, id, bytes_of(NULL, 0));
        stream_free(s);
    }
}

static void take_stream_bytes(struct kcptun_peer *k, struct bytes b)
{
    while (b.len) {
        uint32_t len = get_le16(k->head + 2);
        size_t n = k->n_head < FRAME_HEADER ? FRAME_HEADER - k->n_head : k->left;
        struct stream *s;

        n = MIN(n, b.len);
        if (k->n_head < FRAME_HEADER) {
            memcpy(k->head + k->n_head, b.p, n);
            k->n_head += (uint32_t)n;
            k->left = k->n_head == FRAME_HEADER ? get_le16(k->head + 2) : 1;
        } else {
            s = stream_find(k, get_le32(k->head + 4));
            if (k->head[1] == UPD && len == sizeof k->body)
                memcpy(k->body + len - k->left, b.p, n);
            if (k->head[1] == PSH && s)
                stream_take(k, s, bytes_of(b.p, n));
            k->left -= (uint32_t)n;
        }
        b = bytes_of(b.p + n, b.len - n);
        if (!k->left) {
            frame_done(k);
            k->n_head = 0;
        }
    }
}

/* ---- in ---- */

static void input_core(struct kcptun_peer *k, struct bytes segs, unsigned flags)
{
    uint8_t msg[DGRAM_MAX];
    int n;

    if (k->p.ack_nodelay)
        flags |= GO_ACK_NODELAY;
    if (go_kcp_input(&k->core, segs, flags, tick_ms(k->now)))
        k->n.malformed++;
    while ((n = go_kcp_recv(&k->core, (struct room){msg, sizeof msg})) >= 0)
        take_stream_bytes(k, bytes_of(msg, (size_t)n));
}

void kcptun_peer_input(struct kcptun_peer *k, struct bytes dgram, struct tick now)
{
    struct bytes b = bytes_of(dgram.p + k->p.head, dgram.len - k->p.head);
    struct shard sh;

    k->now = now;
    k->n.in_dgrams++;
    if (!shard_is_fec(b)) {
        input_core(k, b, GO_REGULAR);
    } else if (shard_parse(&sh, b)) {
        k->n.malformed++;
    } else {
        if (sh.kind == SHARD_DATA)
            input_core(k, sh.payload, GO_REGULAR);
        fec_decoder_input(k->dec, &sh);
        while (fec_decoder_next(k->dec, &b)) {
            k->n.fec_recovered++;
            input_core(k, b, 0);
        }
        fec_decoder_settle(k->dec);
    }
    pump(k);
}

bool kcptun_peer_poll(struct kcptun_peer *k, struct bytes *dgram, struct tick now)
{
    k->now = now;
    if (k->lent) {
        k->lent->next = k->unused;
        k->unused = k->lent;
        k->lent = NULL;
    }
    if (!tick_before(now, k->tick_at)) {
        k->tick_at = tick_add_ms(now, go_kcp_flush(&k->core, false, tick_ms(now)));
        pump(k);
    }
    if (!tick_before(now, k->keepalive_at)) {
        k->keepalive_at = tick_add_ms(now, k->p.keepalive_ms);
        put_frame(k, NOP, 0, bytes_of(NULL, 0));
    }
    if (!k->out)
        return false;
    k->lent = k->out;
    k->out = k->out->next;
    if (!k->out)
        k->out_end = &k->out;
    *dgram = bytes_of(k->lent->p, k->lent->len);
    return true;
}

struct tick kcptun_peer_deadline(const struct kcptun_peer *k)
{
    return k->out ? k->now : tick_min(k->tick_at, k->keepalive_at);
}

/* ---- life ---- */

uint32_t kcptun_peer_open(struct kcptun_peer *k, struct tick now)
{
    uint32_t id = k->next_id += 2;

    k->now = now;
    stream_new(k, id);
    put_frame(k, SYN, id, bytes_of(NULL, 0));
    return id;
}

size_t kcptun_peer_write(struct kcptun_peer *k, uint32_t stream, struct bytes b, struct tick now)
{
    struct stream *s = stream_find(k, stream);

    if (!s)
        return 0;
    k->now = now;
    if (b.len)
        stream_append(s, b);
    pump(k);
    return s->n_queue;
}

struct kcptun_peer_counts kcptun_peer_counts(const struct kcptun_peer *k)
{
    struct kcptun_peer_counts n = k->n;

    n.lost = k->core.n_lost;
    n.fast = k->core.n_fast;
    n.early = k->core.n_early;
    n.repeated = k->core.n_repeat;
    return n;
}

const struct go_kcp *kcptun_peer_core(const struct kcptun_peer *k)
{
    return &k->core;
}

struct kcptun_peer *kcptun_peer_new(const struct kcptun_peer_params *p, struct tick now)
{
    struct kcptun_peer *k = calloc(1, sizeof *k);
    unsigned gap = p->fec_data && p->fec_parity ? SHARD_DATA_HEADER : 0;
    struct fec_decoder_params dp = {p->fec_data, p->fec_parity, GROUPS_KEPT, NULL};

    k->p = *p;
    k->now = k->data_at = k->tick_at = now;
    k->keepalive_at = tick_add_ms(now, p->keepalive_ms);
    k->out_end = &k->out;
    k->next_id = 1;
    list_init(&k->streams);
    k->pool = dp.pool = buf_pool_new(DGRAM_MAX, 0);
    k->dec = fec_decoder_new(&dp);
    if (gap)
        k->enc = fec_encoder_new(p->fec_data, p->fec_parity, p->mtu);
    go_kcp_init(&k->core, p->conv);
    k->core.newest = p->newest;
    k->core.stream = true;
    k->core.snd_wnd = p->snd_wnd;
    k->core.rcv_wnd = p->rcv_wnd;
    k->core.output = on_core_output;
    k->core.ctx = k;
    go_kcp_nodelay(&k->core, p->nodelay, p->interval_ms, p->resend, p->nocwnd);
    if (go_kcp_set_mtu(&k->core, p->mtu - p->head - gap))
        return kcptun_peer_free(k);
    return k;
}

struct kcptun_peer *kcptun_peer_free(struct kcptun_peer *k)
{
    if (!k)
        return NULL;
    while (!list_empty(&k->streams))
        stream_free(LIST_FIRST(&k->streams, struct stream, node));
    *k->out_end = k->lent;
    for (struct dgram *d = k->out, *next; d; d = next) {
        next = d->next;
        free(d);
    }
    for (struct dgram *d = k->unused, *next; d; d = next) {
        next = d->next;
        free(d);
    }
    fec_encoder_free(k->enc);
    fec_decoder_free(k->dec);
    buf_pool_free(k->pool);
    go_kcp_fini(&k->core);
    free(k);
    return NULL;
}
