/* tests/fuzz/fuzz_session.c - arbitrary opened datagrams into a session that talks to another one.
 * Input: | settings u8 | then datagrams: | length u16 | gap u8 (ms) | bytes | ...
 * Property: nothing crashes or leaks, memory stays within the session's bounds, and unless the input spoke for our
 * conversation the transfer that goes on meanwhile is not disturbed. */
#include "core/base/wire.h"
#include "core/session.h"

#include <stdlib.h>
#include <string.h>

enum { CONV = 0x11223344, MESSAGE = 2000, MEMORY_MAX = 8 << 20 };

static struct buf_pool *pool;
static struct packet_batch batch;

static struct session *make(bool client, uint8_t settings, struct stats *stats, struct tick now)
{
    const struct session_params p = {
        .conv = CONV,
        .client = client,
        .mtu = 1350,
        .snd_wnd = 64,
        .rcv_wnd = 64,
        .nodelay = 1,
        .interval_ms = 10,
        .resend = 2,
        .nocwnd = true,
        .adaptive = settings & 16,
        .redundancy = 3,
        .fec_data = settings & 1 ? 3 : 0,
        .fec_parity = 2,
        .compress = settings & 2,
        .smux_ver = settings & 4 ? 1 : 2,
        .frame_max = 8192,
        .session_buf = 1 << 20,
        .stream_buf = 1 << 19,
        .max_streams = 64,
        .keepalive_ms = 10000,
        .peer_timeout_ms = 10000,
        .pool = pool,
        .stats = stats,
    };

    return session_new(&p, now);
}

/* Everything `from` has to say goes to `to`. */
static void carry(struct session *from, struct session *to, struct tick now)
{
    int r;

    do {
        packet_batch_reset(&batch);
        r = session_poll(from, &batch, NULL, now);
        for (unsigned i = 0; i < batch.n; i++)
            session_input(to, bytes_of(batch.mem + batch.v[i].off, batch.v[i].len), now);
        session_settle(to);
    } while (r == 0);
    session_settle(from);
}

/* Reads what came; echoes on the server; true if the client has its message back. */
static bool serve(struct session *s, bool client, size_t *back)
{
    struct smux_stream *st;
    struct bytes v;

    while (!session_end(s) && (st = smux_next_event(session_smux(s)))) {
        unsigned ev = smux_stream_events(st);

        while (smux_stream_peek(st, &v, 1)) {
            if (client)
                *back += v.len;
            else if (smux_stream_write(st, v) == 0)
                smux_settle(session_smux(s));
            smux_stream_read(st, v.len);
        }
        if (ev & SMUX_EV_RESET || (!client && smux_stream_eof(st)))
            smux_stream_close(st, !(ev & SMUX_EV_RESET));
    }
    return *back >= MESSAGE;
}

static void setup(void)
{
    if (pool)
        return;
    pool = buf_pool_new(PACKET_MTU_MAX, 0);
    if (!pool || packet_batch_init(&batch))
        abort();
}

/* True if the datagram may be for our conversation, or disturb its FEC groups: then anything may happen to it. */
static bool ours(struct bytes d)
{
    struct packet_info i;

    return packet_look(&i, d) == 0 && (i.kind != PACKET_KCP || i.conv == CONV);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct rd r = rd_from(data, len);
    uint8_t settings = rd_u8(&r), message[MESSAGE] = {1, 2, 3};
    struct stats stats[2] = {{0}, {0}};
    struct tick now = {1000000};
    struct smux_stream *st;
    bool disturbed = false, done = false;
    struct session *c, *s;
    size_t back = 0;

    setup();
    c = make(true, settings, &stats[0], now);
    s = make(false, settings, &stats[1], now);
    if (!c || !s || smux_open(session_smux(c), &st) || smux_stream_write(st, bytes_of(message, sizeof message)))
        abort();
    if (smux_settle(session_smux(c)))
        abort();
    if (settings & 32)
        session_prove(c);
    for (unsigned i = 0; i < 200 && (rd_left(&r) || !done) && !session_end(c) && !session_end(s); i++) {
        size_t n = rd_le16(&r);
        uint8_t gap = rd_u8(&r);
        const uint8_t *p = rd_take(&r, MIN(n, rd_left(&r)));

        now = tick_add_ms(now, 1 + gap);
        if (p) {
            struct session *victim = settings & 8 ? c : s;

            disturbed |= ours(bytes_of(p, MIN(n, (size_t)(r.p - p))));
            session_input(victim, bytes_of(p, (size_t)(r.p - p)), now);
            session_settle(victim);
        }
        carry(c, s, now);
        serve(s, false, &back);
        carry(s, c, now);
        done = serve(c, true, &back);
        if (buf_pool_memory(pool) > MEMORY_MAX)
            abort();
    }
    if (!disturbed && (!done || !session_is_proven(c)))
        abort();
    session_free(c);
    session_free(s);
    if (buf_pool_in_use(pool))
        abort();
    return 0;
}
