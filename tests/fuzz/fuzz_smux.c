/* tests/fuzz/fuzz_smux.c - any bytes as the peer's frames, with an owner that reads, writes and closes by rules that
 * depend on ids alone: the same happens however the bytes are cut; memory stays within the session buffer and what the
 * streams cost; nothing is left over. The first byte chooses version, role and how the owner behaves. */
#include "core/smux.h"
#include "core/smux_frame.h"
#include "core/smux_priv.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { SESSION_BUF = 20000, STREAMS = 20, SEND_BUF = 1000 };

struct outcome {
    int r;
    uint64_t hash; /* of what was delivered and what was left to deliver */
    uint64_t frames;
};

static void mix(struct outcome *o, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        o->hash = (o->hash ^ ((const uint8_t *)p)[i]) * 0x100000001b3u;
}

/* The owner's part. It happens once, at the end, so that it cannot depend on the cuts. */
static void own(struct smux *m, struct outcome *o)
{
    struct smux_stream *s;

    while ((s = smux_next_event(m))) {
        uint32_t id = smux_stream_id(s);
        unsigned ev = smux_stream_events(s);
        struct bytes v[4];

        mix(o, &id, sizeof id);
        mix(o, &ev, sizeof ev);
        while (smux_stream_readable(s) && id % 3) {
            unsigned n = smux_stream_peek(s, v, LEN(v));
            size_t all = 0;

            for (unsigned i = 0; i < n; i++) {
                mix(o, v[i].p, v[i].len);
                all += v[i].len;
            }
            smux_stream_read(s, all);
        }
        smux_stream_write(s, bytes_of("0123456789", id % 11));
        if (id % 5 == 0)
            smux_stream_finish(s);
        if (id % 4 == 0)
            smux_stream_close(s, id % 8 == 0);
    }
}

static void check_memory(const struct smux *m, const struct buf_pool *pool)
{
    size_t streams = 2 * STREAMS + 2, pieces = SESSION_BUF / 256 + 65536 / 256 + SMUX_LENT_MAX;

    if (buf_pool_in_use(pool) > (SESSION_BUF + 65535) / buf_pool_size(pool) + 1 + 2 * streams)
        abort();
    if (smux_memory(m) > sizeof *m + streams * (sizeof(struct smux_stream) + 64 + 2 * 8 * sizeof(struct buf_piece)) +
                             SMUX_REFUSALS * 4 + 4 * (streams + pieces) * sizeof(struct buf_piece))
        abort();
}

/* Whatever we send must be frames, and has_output() must know. */
static void drain(struct smux *m, struct outcome *o, size_t cut)
{
    uint8_t out[4096], frame[SMUX_FRAME_HEADER];
    size_t skip = 0, have = 0, n;

    while ((n = smux_fill(m, out, cut)) > 0) {
        mix(o, out, n);
        for (size_t i = 0; i < n; i++) {
            struct smux_frame f;

            if (skip) {
                skip--;
                continue;
            }
            frame[have++] = out[i];
            if (have < sizeof frame)
                continue;
            have = 0;
            if (smux_frame_parse(&f, frame, m->p.ver))
                abort();
            skip = f.len;
        }
    }
    if (skip || have || smux_has_output(m))
        abort();
}

static struct outcome run(const uint8_t *p, size_t len, uint8_t mode, size_t cut, bool owner_last)
{
    struct buf_pool *pool = buf_pool_new(256, 0);
    struct smux_params params = {.client = mode & 1,
                                 .ver = mode & 2 ? 2 : 1,
                                 .frame_max = 100,
                                 .session_buf = SESSION_BUF,
                                 .stream_buf = 1000,
                                 .send_buf = SEND_BUF,
                                 .max_streams = STREAMS,
                                 .pool = pool};
    struct smux *m = smux_new(&params);
    struct outcome o = {.hash = 1};
    struct smux_stream *s;

    if (mode & 1 && !smux_open(m, &s))
        smux_stream_write(s, bytes_of("hello", 5));
    while (len && !o.r) {
        size_t n = MIN(len, cut);
        uint8_t *copy = memcpy(malloc(n), p, n);
        struct bytes in = bytes_of(copy, n);

        o.r = smux_input(m, &in);
        if (!owner_last)
            own(m, &o);
        if (smux_settle(m))
            abort();
        check_memory(m, pool);
        free(copy);
        if (!o.r && in.len && smux_wants_input(m) && owner_last)
            abort();
        if (!owner_last && mode & 4)
            drain(m, &o, 1 + cut % 1000);
        n -= in.len;
        p += n;
        len -= n;
        if (in.len)
            break; /* the session buffer is used up: an owner that reads comes last */
    }
    own(m, &o);
    if (smux_settle(m))
        abort();
    o.frames = smux_frames_in(m);
    drain(m, &o, owner_last ? 4096 : 1 + cut % 4096);
    smux_free(m);
    if (buf_pool_in_use(pool))
        abort();
    buf_pool_free(pool);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const size_t cuts[] = {1, 7, 1000};
    struct outcome whole;

    if (!len)
        return 0;
    whole = run(data + 1, len - 1, data[0], len, true);
    for (size_t i = 0; i < LEN(cuts); i++) {
        struct outcome o = run(data + 1, len - 1, data[0], cuts[i], true);

        if (o.r != whole.r || o.hash != whole.hash || o.frames != whole.frames)
            abort();
        run(data + 1, len - 1, data[0], cuts[i], false);
    }
    return 0;
}
