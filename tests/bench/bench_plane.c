/* tests/bench/bench_plane.c - what a packet costs our own code, from a stream into sealed datagrams and back, without the
 * kernel: two sessions that hand each other runs of datagrams. The lower quartile of many turns hardly feels other programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "core/session.h"

enum {
    CONV = 7,
    HEAD_MTU = 1350,
    READ = 128 * 1024, /* bytes of a stream a turn, as the daemon reads them */
    RUN = 48, /* datagrams the kernel hands over at once */
    WIRE_MAX = 512, /* datagrams of a turn */
    TURNS = 4000,
    DELAYS_MAX = 32,
};

enum part { FILL, SEAL, OPEN, TAKE, ANSWER, PARTS };
static const char *const names[PARTS] = {"stream to packets", "seal", "open", "packets to stream", "acknowledge"};

struct wire { /* of one turn and direction; packets of equal length but the last few */
    uint8_t *mem;
    struct cipher_pkt v[WIRE_MAX];
    unsigned n;
};

static struct buf_pool *pool;
static struct cipher *cipher;
static struct nonce_gen nonce;
static struct packet_batch batch;
static struct stats stats;
static double spent[PARTS], took[PARTS][TURNS];

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static struct session *end_new(bool client, unsigned parity)
{
    const struct session_params p = {
        .conv = CONV,
        .client = client,
        .mtu = HEAD_MTU,
        .head = (uint8_t)cipher_head(cipher),
        .tail = (uint8_t)cipher_tail(cipher),
        .snd_wnd = 2048,
        .rcv_wnd = 2048,
        .nodelay = 1,
        .interval_ms = 10,
        .resend = 2,
        .nocwnd = true,
        .fec_data = parity ? 10 : 0,
        .fec_parity = (uint16_t)parity,
        .smux_ver = 2,
        .frame_max = 8192,
        .session_buf = 4 << 20,
        .stream_buf = 2 << 20,
        .max_streams = 64,
        .keepalive_ms = 10000,
        .peer_timeout_ms = 30000,
        .pool = pool,
        .stats = &stats,
    };

    return session_new(&p, (struct tick){1});
}

/* Seals the batch, and copies it as the kernel would. */
static void flush(struct wire *to)
{
    double t = now_ns();

    packet_batch_seal(&batch, cipher, &nonce);
    spent[SEAL] += now_ns() - t;
    for (unsigned i = 0; i < batch.n && to->n < WIRE_MAX; i++, to->n++) {
        uint8_t *at = to->mem + (size_t)to->n * PACKET_MTU_MAX;

        memcpy(at, batch.mem + batch.v[i].off, batch.v[i].len);
        to->v[to->n] = (struct cipher_pkt){.p = at, .len = batch.v[i].len};
    }
    packet_batch_reset(&batch);
}

static void send_all(struct session *s, struct wire *to, enum part part, struct tick now)
{
    int r;

    do {
        double t = now_ns();

        r = session_poll(s, &batch, NULL, now);
        spent[part] += now_ns() - t;
        flush(to);
    } while (r == 0);
}

static void receive(struct session *s, struct wire *from, enum part part, struct tick now)
{
    for (unsigned i = 0; i < from->n; i += RUN) {
        unsigned n = MIN(from->n - i, (unsigned)RUN);
        double t = now_ns();

        cipher_open(cipher, from->v + i, n);
        spent[OPEN] += now_ns() - t;
        t = now_ns();
        for (unsigned k = i; k < i + n; k++) {
            struct packet_info info;
            struct bytes b = bytes_of(from->v[k].p + cipher_head(cipher),
                                      from->v[k].len - cipher_head(cipher) - cipher_tail(cipher));

            if (from->v[k].ok && !packet_look(&info, b))
                session_input(s, b, now);
        }
        spent[part] += now_ns() - t;
    }
    from->n = 0;
}

static size_t read_streams(struct session *s)
{
    struct smux_stream *st;
    struct bytes v[64];
    size_t sum = 0;
    double t = now_ns();
    unsigned n;

    while ((st = smux_next_event(session_smux(s)))) {
        smux_stream_events(st);
        while ((n = smux_stream_peek(st, v, LEN(v)))) {
            size_t len = 0;

            for (unsigned i = 0; i < n; i++)
                len += v[i].len;
            smux_stream_read(st, len);
            sum += len;
        }
    }
    spent[TAKE] += now_ns() - t;
    return sum;
}

static int by_size(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static void wire_init(struct wire *w)
{
    w->mem = malloc((size_t)WIRE_MAX * PACKET_MTU_MAX);
    w->n = 0;
}

/* Acknowledgements come back `delay` turns late, as from a peer that is behind: so much is in flight. */
static void run(const char *crypt, unsigned parity, unsigned delay)
{
    static struct wire out, back[DELAYS_MAX];
    static uint8_t data[READ], key[CIPHER_KEY];
    struct session *a, *b;
    struct smux_stream *st;
    uint64_t bytes = 0, before;
    double sum = 0;

    if (cipher_new(&cipher, crypt, key))
        return;
    a = end_new(true, parity);
    b = end_new(false, parity);
    if (!out.mem)
        wire_init(&out);
    for (unsigned i = 0; i < DELAYS_MAX; i++)
        if (!back[i].mem)
            wire_init(&back[i]);
    smux_open(session_smux(a), &st);
    before = stats.in_pkts;
    for (unsigned i = 0; i < TURNS; i++) {
        struct tick now = {1000000 + i * UINT64_C(100)};
        double t = now_ns();

        memset(spent, 0, sizeof spent);
        if (smux_stream_room(st))
            smux_stream_write(st, bytes_of(data, sizeof data));
        spent[FILL] += now_ns() - t;
        send_all(a, &out, FILL, now);
        t = now_ns();
        session_settle(a);
        spent[FILL] += now_ns() - t;
        receive(b, &out, TAKE, now);
        bytes += read_streams(b);
        send_all(b, &back[i % delay], ANSWER, now);
        t = now_ns();
        session_settle(b);
        spent[ANSWER] += now_ns() - t;
        if (i + 1 >= delay) {
            receive(a, &back[(i + 1) % delay], ANSWER, now);
            t = now_ns();
            session_settle(a);
            spent[ANSWER] += now_ns() - t;
        }
        for (unsigned k = 0; k < PARTS; k++)
            took[k][i] = spent[k];
    }
    printf("%-12s FEC %s, %2u turns in flight: ", crypt, parity ? "10/3" : "off ", delay);
    for (unsigned k = 0; k < PARTS; k++) {
        qsort(took[k], TURNS, sizeof took[k][0], by_size);
        sum += took[k][TURNS / 4];
        printf("%s %.3f, ", names[k], took[k][TURNS / 4] / READ);
    }
    printf("all %.3f ns/byte (%.0f MB, %.0f packets)\n", sum / READ, 1e-6 * (double)bytes,
           (double)(stats.in_pkts - before));
    for (unsigned i = 0; i < DELAYS_MAX; i++)
        back[i].n = 0;
    out.n = 0;
    session_free(a);
    session_free(b);
    cipher = cipher_free(cipher);
}

int main(void)
{
    const uint8_t seed[NONCE_SEED] = {1};
    struct buf_pool *small = buf_pool_new(240, 0);

    pool = buf_pool_new(PACKET_MTU_MAX, 0);
    buf_pool_set_small(pool, small);
    nonce_init(&nonce, seed);
    if (sodium_init() < 0 || packet_batch_init(&batch))
        return 1;
    for (unsigned delay = 1; delay <= 16; delay *= 4) {
        run("aes", 3, delay);
        run("null", 0, delay);
    }
    packet_batch_fini(&batch);
    buf_pool_free(pool);
    buf_pool_free(small);
    return 0;
}
