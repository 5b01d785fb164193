/* tests/sim/test_recorded.c - recordings of the real programs through our whole stack: a session of ours in the place of
 * either end gets the datagrams the other sent, and must give the application what was sent, with up to as many of
 * them missing as parity can make good. */
#include "core/arq.h"
#include "crypto/kdf.h"
#include "tests/sim/pair.h"

#include <stdlib.h>
#include <string.h>

enum { APP_SENT = 6000, TARGET_SENT = 9000, DGRAMS_MAX = 64 };

struct tape { /* the datagrams of one side, opened */
    struct bytes sealed[DGRAMS_MAX];
    struct bytes payload[DGRAMS_MAX];
    unsigned n;
    struct cipher *cipher;
};

static void tape_load(struct tape *t, const json_t *c, const char *from)
{
    struct bytes key = vec_hex(c, "derived_key32");
    const json_t *v = vec_get(c, "datagrams");

    *t = (struct tape){.n = 0};
    assert_int_equal(cipher_new(&t->cipher, vec_str(c, "cipher"), key.p), 0);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *d = json_array_get(v, i);
        struct bytes b = json_is_string(d) ? vec_unhex(d) : vec_hex(d, "datagram");
        struct cipher_pkt pkt = {.p = (uint8_t *)(uintptr_t)b.p, .len = (uint32_t)b.len};

        if (from && strcmp(vec_str(d, "from"), from) != 0) {
            vec_free(b);
            continue;
        }
        assert_true(t->n < DGRAMS_MAX);
        cipher_open(t->cipher, &pkt, 1);
        assert_true(pkt.ok);
        t->sealed[t->n] = b;
        t->payload[t->n++] =
            bytes_of(b.p + cipher_head(t->cipher), b.len - cipher_head(t->cipher) - cipher_tail(t->cipher));
    }
    vec_free(key);
}

static void tape_free(struct tape *t)
{
    for (unsigned i = 0; i < t->n; i++)
        vec_free(t->sealed[i]);
    cipher_free(t->cipher);
}

/* Takes everything the stream has; true once its end was seen. */
static bool read_stream(struct smux_stream *st, uint8_t *out, size_t room, size_t *got)
{
    struct bytes v;

    while (smux_stream_peek(st, &v, 1)) {
        assert_true(*got + v.len <= room);
        memcpy(out + *got, v.p, v.len);
        *got += v.len;
        smux_stream_read(st, v.len);
    }
    return smux_stream_eof(st);
}

/* Plays the tape without the datagrams of `lost` (a bitmap) to a session in the role of the other end. */
static void play(const json_t *c, const struct tape *t, bool we_are_client, uint32_t lost)
{
    struct session_params sp = pair_defaults(we_are_client);
    struct tick now = {1000000};
    uint8_t got[TARGET_SENT + 1], want[TARGET_SENT];
    size_t n = 0, expect = we_are_client ? TARGET_SENT : APP_SENT;
    struct smux_stream *st = NULL;
    struct stats stats = {0};
    bool ended = false, said = false;
    static const uint8_t answer[TARGET_SENT];
    struct packet_batch batch;

    sp.conv = (uint32_t)vec_int(c, "conv");
    sp.fec_data = (uint16_t)vec_int(c, "data_shards");
    sp.fec_parity = (uint16_t)vec_int(c, "parity_shards");
    sp.compress = json_is_true(vec_get(c, "compression"));
    sp.smux_ver = (uint8_t)vec_int(c, "smux_version");
    sp.head = (uint8_t)cipher_head(t->cipher);
    sp.pool = buf_pool_new(PACKET_MTU_MAX, 0);
    sp.stats = &stats;
    struct session *s = session_new(&sp, now);
    assert_non_null(s);
    assert_int_equal(packet_batch_init(&batch), 0);
    if (we_are_client)
        assert_int_equal(smux_open(session_smux(s), &st), 0);
    for (unsigned i = 0; i < t->n; i++, now = tick_add_ms(now, 1)) {
        struct smux_stream *ev;

        if (lost >> i & 1)
            continue;
        assert_int_equal(session_input(s, t->payload[i], now), 0);
        while ((ev = smux_next_event(session_smux(s)))) {
            assert_int_equal(smux_stream_id(ev), 3);
            smux_stream_events(ev);
            st = ev;
        }
        if (st && !said) { /* the other end's window updates speak of what we sent */
            said = smux_stream_write(st, bytes_of(answer, we_are_client ? APP_SENT : TARGET_SENT)) == 0;
            assert_true(said);
        }
        if (st && !ended)
            ended = read_stream(st, got, sizeof got, &n);
        while (session_poll(s, &batch, NULL, now) == 0)
            packet_batch_reset(&batch);
        packet_batch_reset(&batch);
        assert_int_equal(session_settle(s), 0);
    }
    vec_pattern(want, 0, expect);
    for (size_t i = 0; we_are_client && i < expect / 2; i++) {
        uint8_t b = want[i];

        want[i] = want[expect - 1 - i];
        want[expect - 1 - i] = b;
    }
    assert_bytes(bytes_of(got, n), bytes_of(want, expect), "what the application gets");
    assert_true(ended);
    assert_int_equal(stats.kcp_in_errors, 0);
    assert_int_equal(session_end(s), SESSION_ALIVE);
    if (!lost)
        assert_int_equal(stats.repeat_segs, 0);
    session_free(s);
    assert_int_equal(buf_pool_in_use(sp.pool), 0);
    buf_pool_free(sp.pool);
    packet_batch_fini(&batch);
}

/* With these missing, what is left of a first group of 10+3 and what follows it here fits another shape as well (11+2, say),
 * and decoding under the wrong one gives garbage that passes every check. Our decoder waits for packets that decide; a
 * tape has none to come. */
static bool undecidable(uint32_t lost)
{
    return (lost >> 10 & 1 && __builtin_popcount(lost) == 3) || lost == 0x1030;
}

/* Every choice of up to `parity` datagrams of the first group missing. */
static void play_with_losses(const json_t *c, const struct tape *t, bool we_are_client)
{
    unsigned group = (unsigned)(vec_int(c, "data_shards") + vec_int(c, "parity_shards"));
    int parity = (int)vec_int(c, "parity_shards");

    play(c, t, we_are_client, 0);
    if (!group || t->n < group)
        return;
    for (uint32_t lost = 1; lost < 1u << group; lost++)
        if (__builtin_popcount(lost) <= parity && !undecidable(lost))
            play(c, t, we_are_client, lost);
}

static void test_whole_tunnels(void **state)
{
    json_t *j = vec_load("tunnel_kcptun_20210922.json");
    const json_t *cases = vec_get(j, "cases");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        struct tape t;

        tape_load(&t, c, "client");
        play_with_losses(c, &t, false);
        tape_free(&t);
        tape_load(&t, c, "server");
        play_with_losses(c, &t, true);
        tape_free(&t);
    }
    json_decref(j);
}

static int pull_nothing(void *ctx, struct arq *a, struct arq_chunk *c)
{
    (void)ctx, (void)a, (void)c;
    return ARQ_AGAIN;
}

/* The byte stream of a recorded client, put together from its datagrams by packet_look() and the engine. */
static void check_layout(const json_t *c)
{
    struct bytes want = vec_hex(c, "stream");
    struct arq_params ap = {.conv = (uint32_t)vec_int(c, "conv"),
                            .mtu = 1400,
                            .snd_wnd = 32,
                            .rcv_wnd = 128,
                            .interval_ms = 10,
                            .pool = buf_pool_new(PACKET_MTU_MAX, 0),
                            .pull = pull_nothing};
    struct arq *a = arq_new(&ap);
    unsigned oob = 0, data = 0, parity = 0;
    struct arq_chunk chunk;
    struct tape t;
    size_t n = 0;

    tape_load(&t, c, NULL);
    for (unsigned i = 0; i < t.n; i++) {
        struct packet_info info;

        assert_int_equal(packet_look(&info, t.payload[i]), 0);
        oob += info.kind == PACKET_OOB;
        parity += info.kind == PACKET_FEC_PARITY;
        if (!info.has_conv)
            continue;
        data++;
        assert_int_equal(info.conv, ap.conv);
        assert_true(info.opens);
        assert_int_equal(arq_input(a, info.segs, 0, 1000), 0);
        while (arq_recv(a, &chunk) == 0) {
            assert_true(n + chunk.len <= want.len);
            assert_memory_equal(chunk.p, want.p + n, chunk.len);
            n += chunk.len;
            buf_put(chunk.own);
        }
        assert_int_equal(arq_settle(a), 0);
    }
    assert_int_equal(n, want.len);
    assert_true(data > 0);
    if (vec_int(c, "data_shards"))
        assert_true(oob == 1 && parity > 0);
    arq_free(a);
    buf_pool_free(ap.pool);
    tape_free(&t);
    vec_free(want);
}

static void test_layouts(void **state)
{
    json_t *j = vec_load("session_layouts.json");
    const json_t *cases = vec_get(j, "cases");

    (void)state;
    for (size_t i = 0; i < json_array_size(cases); i++)
        check_layout(json_array_get(cases, i));
    json_decref(j);
}

/* Every cut of a datagram is either refused or looked at within its bounds (own block each: sanitizers see more). */
static void test_look_at_every_cut(void **state)
{
    json_t *j = vec_load("tunnel_kcptun_20210922.json");
    struct tape t;

    (void)state;
    tape_load(&t, json_array_get(vec_get(j, "cases"), 0), "client");
    for (unsigned i = 0; i < t.n; i++)
        for (size_t n = 0; n <= t.payload[i].len; n++) {
            uint8_t *copy = memcpy(malloc(n + !n), t.payload[i].p, n);
            struct packet_info info;
            int r = packet_look(&info, bytes_of(copy, n));

            if (n < 12)
                assert_int_equal(r, PACKET_MALFORMED);
            if (!r && info.has_conv)
                assert_true(info.segs.p >= copy && info.segs.p + info.segs.len <= copy + n && info.segs.len >= 24);
            free(copy);
        }
    tape_free(&t);
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_tunnels),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_look_at_every_cut),
    };

    if (crypto_init())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
