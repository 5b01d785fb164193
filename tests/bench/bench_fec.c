/* tests/bench/bench_fec.c - GB/s of data through the code, the group encoder and the decoder, on one core. */
#include "fec/decoder.h"
#include "fec/encoder.h"
#include "fec/region.h"
#include "fec/rs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { D = 10, P = 3, PAYLOAD = 1350, PKT = 1536, ROUNDS = 40000, REPEATS = 5 };

static uint8_t mem[D + P][PKT] __attribute__((aligned(64)));

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(const char *what, double seconds, unsigned groups)
{
    double bytes = (double)groups * D * PAYLOAD;

    printf("%-44s %7.2f GB/s  %8.0f ns a group\n", what, bytes / seconds / 1e9, seconds / groups * 1e9);
}

static void bench_rs(const struct region_ops *ops)
{
    struct rs *rs = rs_new_on(ops, D, P);
    const uint8_t *data[D];
    uint8_t *parity[P];
    double best = 1e9;
    char name[64];

    for (unsigned i = 0; i < D; i++)
        data[i] = mem[i];
    for (unsigned i = 0; i < P; i++)
        parity[i] = mem[D + i];
    for (unsigned k = 0; k < REPEATS; k++) {
        double t = now_s();

        for (unsigned r = 0; r < ROUNDS / 4; r++)
            rs_encode(rs, P, data, parity, PAYLOAD);
        best = MIN(best, now_s() - t);
    }
    snprintf(name, sizeof name, "rs_encode, %s", ops->name);
    report(name, best, ROUNDS / 4);
    rs_free(rs);
}

/* settle: packets between two calls of settle; 0: none within a group. */
static void bench_encoder(const char *what, unsigned settle, unsigned odd_len)
{
    struct fec_encoder *e = fec_encoder_new(D, P, PAYLOAD);
    uint8_t *rows[P];
    double best = 1e9;

    for (unsigned i = 0; i < P; i++)
        rows[i] = mem[D + i];
    for (unsigned k = 0; k < REPEATS; k++) {
        double t = now_s();

        for (unsigned r = 0; r < ROUNDS; r++) {
            for (unsigned i = 0; i < D; i++) {
                fec_encoder_add(e, mem[i], PAYLOAD - (i == 3 ? odd_len : 0));
                if (settle && (i + 1) % settle == 0 && i + 1 < D)
                    fec_encoder_settle(e);
            }
            fec_encoder_parity(e, rows, P);
        }
        best = MIN(best, now_s() - t);
    }
    report(what, best, ROUNDS);
    fec_encoder_free(e);
}

/* Every group loses its first `lost` data packets; settle: a loop turn per packet, so all are copied. */
static void bench_decoder(const char *what, unsigned lost, bool settle)
{
    struct buf_pool *pool = buf_pool_new(PKT, 0);
    struct fec_decoder_params params = {.data = D, .parity = P, .groups = 3, .pool = pool};
    struct fec_decoder *d = fec_decoder_new(&params);
    struct fec_encoder *e = fec_encoder_new(D, P, PAYLOAD);
    uint8_t *rows[P];
    double best = 1e9;
    uint64_t recovered = 0;
    uint32_t group = 0;

    for (unsigned i = 0; i < D; i++)
        fec_encoder_add(e, mem[i], PAYLOAD);
    for (unsigned i = 0; i < P; i++)
        rows[i] = mem[D + i];
    fec_encoder_parity(e, rows, P);
    for (unsigned k = 0; k < REPEATS; k++) {
        double t = now_s();

        for (unsigned r = 0; r < ROUNDS; r++, group++)
            for (unsigned i = group > 3 ? lost : 0; i < D + P; i++) {
                struct bytes b;
                struct shard s;

                put_le32(mem[i], group * (D + P) + i);
                if (!shard_parse(&s, bytes_of(mem[i], PAYLOAD + SHARD_DATA_HEADER)))
                    fec_decoder_input(d, &s);
                while (fec_decoder_next(d, &b))
                    recovered++;
                if (settle)
                    fec_decoder_settle(d);
            }
        best = MIN(best, now_s() - t);
    }
    report(what, best, ROUNDS);
    if (recovered != (uint64_t)lost * (group - 4))
        printf("  %llu recovered, not %llu\n", (unsigned long long)recovered, (unsigned long long)lost * (group - 4));
    fec_decoder_free(d);
    fec_encoder_free(e);
    buf_pool_free(pool);
}

int main(void)
{
    for (unsigned i = 0; i < D + P; i++)
        for (unsigned k = 0; k < PKT; k++)
            mem[i][k] = (uint8_t)(i * 37 + k * k);
    printf("%d+%d, %d bytes; GB/s of data\n", D, P, PAYLOAD);
    for (unsigned i = 0; region_kernels[i]; i++)
        if (region_usable(region_kernels[i]))
            bench_rs(region_kernels[i]);
    bench_encoder("encoder, whole group", 0, 0);
    bench_encoder("encoder, whole group, one packet shorter", 0, 400);
    bench_encoder("encoder, settled every 4 packets", 4, 0);
    bench_encoder("encoder, settled every packet", 1, 0);
    bench_decoder("decoder, no loss", 0, false);
    bench_decoder("decoder, no loss, settled every packet", 0, true);
    bench_decoder("decoder, 1 lost", 1, false);
    bench_decoder("decoder, 3 lost", 3, false);
    bench_decoder("decoder, 3 lost, settled every packet", 3, true);
    return 0;
}
