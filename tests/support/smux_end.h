/* tests/support/smux_end.h - one end of the multiplexer in a test: made, fed by hand, and what it sends as words. */
#ifndef SUPPORT_SMUX_END_H
#define SUPPORT_SMUX_END_H

#include "core/smux.h"
#include "core/smux_frame.h"
#include "core/smux_priv.h"

#include "tests/support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 8 + 65535 };

static struct buf_pool *pool;

static inline int setup(void **state)
{
    (void)state;
    pool = buf_pool_new(2048, 0);
    return !pool;
}

static inline int teardown(void **state)
{
    size_t left = buf_pool_in_use(pool);

    (void)state;
    if (left) {
        print_error("%zu buffers not given back\n", left);
        return 1;
    }
    pool = buf_pool_free(pool);
    return 0;
}

static inline struct smux_params params(bool client, uint8_t ver)
{
    return (struct smux_params){.client = client,
                                .ver = ver,
                                .frame_max = 8192,
                                .session_buf = 4194304,
                                .stream_buf = 65536,
                                .send_buf = 65536,
                                .max_streams = 64,
                                .pool = pool};
}

static inline struct smux *end_new(bool client, uint8_t ver)
{
    struct smux_params p = params(client, ver);
    struct smux *m = smux_new(&p);

    assert_non_null(m);
    return m;
}

static inline struct smux_stream *stream(struct smux *m, uint32_t id)
{
    for (struct smux_stream *s = smux_each(m, NULL); s; s = smux_each(m, s))
        if (smux_stream_id(s) == id)
            return s;
    fail_msg("no stream %u", id);
    return NULL;
}

/* Feeds bytes on a heap block of their own that is gone after settling. */
static inline int feed(struct smux *m, const void *p, size_t n)
{
    uint8_t *copy = memcpy(malloc(n + !n), p, n);
    struct bytes in = bytes_of(copy, n);
    int r = smux_input(m, &in);

    assert_int_equal(smux_settle(m), 0);
    if (!r)
        assert_int_equal(in.len, 0);
    free(copy);
    return r;
}

static inline int feed_hex(struct smux *m, const char *hex)
{
    json_t *j = json_string(hex);
    struct bytes b = vec_unhex(j);
    int r = feed(m, b.p, b.len);

    vec_free(b);
    json_decref(j);
    return r;
}

static inline int feed_frame(struct smux *m, enum smux_frame_cmd cmd, uint32_t id, const void *data, size_t n)
{
    uint8_t *p = malloc(SMUX_FRAME_HEADER + n);
    struct wr w = wr_to(p, SMUX_FRAME_HEADER + n);
    int r;

    smux_frame_put(&w, &(struct smux_frame){m->p.ver, (uint8_t)cmd, (uint16_t)n, id});
    wr_bytes(&w, data, n);
    r = feed(m, p, SMUX_FRAME_HEADER + n);
    free(p);
    return r;
}

static inline int feed_upd(struct smux *m, uint32_t id, uint32_t consumed, uint32_t window)
{
    uint8_t body[8];

    put_le32(body, consumed);
    put_le32(body + 4, window);
    return feed_frame(m, SMUX_UPD, id, body, sizeof body);
}

static inline void write_n(struct smux_stream *s, size_t n)
{
    uint8_t *p = calloc(1, n);

    assert_int_equal(smux_stream_write(s, bytes_of(p, n)), 0);
    assert_int_equal(smux_settle(s->m), 0);
    free(p);
}

/* The frames there are to send, as words: "SYN 3", "PSH 3 5", "UPD 3 5/65536", "HELLO". */
static inline const char *frames(struct smux *m)
{
    static char text[4096];
    static const char *const names[] = {"SYN", "FIN", "PSH", "NOP", "UPD"};
    uint8_t *out = malloc(ROOM);
    size_t at = 0;

    text[0] = 0;
    while (at < sizeof text - 100) {
        bool has = smux_has_output(m);
        size_t n = smux_fill_frame(m, out, ROOM);
        struct smux_frame f;

        assert_int_equal(has, n > 0);
        if (!n)
            break;
        assert_int_equal(smux_frame_parse(&f, out, m->p.ver), 0);
        assert_int_equal(n, SMUX_FRAME_HEADER + f.len);
        at += (size_t)sprintf(text + at, "%s", at ? ", " : "");
        if (f.cmd == SMUX_NOP && f.sid == (uint32_t)SMUX_HELLO)
            at += (size_t)sprintf(text + at, "HELLO");
        else
            at += (size_t)sprintf(text + at, "%s %u", names[f.cmd], f.sid);
        if (f.cmd == SMUX_PSH)
            at += (size_t)sprintf(text + at, " %u", f.len);
        if (f.cmd == SMUX_UPD)
            at += (size_t)sprintf(text + at, " %u/%u", get_le32(out + 8), get_le32(out + 12));
    }
    free(out);
    return text;
}

#define assert_frames(m, want) assert_string_equal(frames(m), want)

#endif
