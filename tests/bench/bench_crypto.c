/* tests/bench/bench_crypto.c - GB/s of every row of the cipher table, sealing and opening, checksum included. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto/cipher.h"
#include "crypto/crc32.h"
#include "crypto/kdf.h"
#include "crypto/nonce.h"

enum { BATCH = 48, PKT = 1350, STRIDE = 1536, ROUNDS_MS = 60 };

static uint8_t mem[BATCH][STRIDE];
static uint8_t nonces[BATCH][16];
static volatile uint32_t crcs[BATCH];
static struct cipher_pkt pkts[BATCH];

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void batch_seal(struct cipher *c)
{
    cipher_seal(c, pkts, BATCH, (const uint8_t(*)[16])nonces);
}

static void batch_open(struct cipher *c)
{
    cipher_open(c, pkts, BATCH);
}

static void batch_crc(struct cipher *c)
{
    (void)c;
    for (size_t i = 0; i < BATCH; i++)
        crcs[i] = crc32_ieee(bytes_of(mem[i], PKT));
}

/* The fastest of some rounds: what else the machine does only ever slows one down. */
static double speed(struct cipher *c, void (*call)(struct cipher *c))
{
    double best = 0, end = now_s() + 1e-3 * ROUNDS_MS;

    while (now_s() < end) {
        double t = now_s(), gbs;

        call(c);
        gbs = 1e-9 * BATCH * PKT / (now_s() - t);
        best = gbs > best ? gbs : best;
    }
    return best;
}

static int row_bench(const struct cipher_ops *ops, const uint8_t key[CIPHER_KEY])
{
    struct cipher *c;
    double seal;

    if (ops->usable && !ops->usable())
        return 0;
    if (cipher_new_impl(&c, ops, key))
        return 1;
    seal = speed(c, batch_seal);
    printf("%-12s %-12s seal %6.2f  open %6.2f GB/s\n", ops->name, ops->impl, seal, speed(c, batch_open));
    cipher_free(c);
    return 0;
}

int main(void)
{
    static const uint8_t seed[NONCE_SEED] = {1};
    uint8_t key[CIPHER_KEY];
    struct nonce_gen g;
    int bad = 0;

    if (crypto_init())
        return 1;
    nonce_init(&g, seed);
    nonce_random(&g, key, sizeof key);
    nonce_random(&g, mem, sizeof mem);
    nonce_fill(&g, nonces, BATCH, 0);
    for (size_t i = 0; i < BATCH; i++)
        pkts[i] = (struct cipher_pkt){.p = mem[i], .len = PKT};
    printf("batches of %d packets of %d bytes; CRC-32 alone %.1f GB/s\n", BATCH, PKT, speed(NULL, batch_crc));
    for (const struct cipher_ops *const *t = cipher_table; *t; t++)
        bad |= row_bench(*t, key);
    return bad;
}
