/* tests/fuzz/fuzz_fec_decoder.c - any sequence of FEC packets. A recovered payload is shorter than the longest shard and
 * its bytes are readable, memory stays within the window, and the pool is whole again at the end.
 * Input: shape (2 bytes), groups, then records of | op | length | seqid u16 or u32 | bytes |. */
#include "fec/decoder.h"

#include "fec/rs.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { PKT = 1500, OP_JUMP = 1, OP_PARITY = 2, OP_SETTLE = 4, OP_TRIM = 8, OP_KEEP = 16, OP_STEP = 32 };

static void require(bool ok)
{
    if (!ok)
        abort();
}

static uint8_t drain(struct fec_decoder *d)
{
    struct bytes b;
    uint8_t sum = 0;

    while (fec_decoder_next(d, &b)) {
        require(b.len <= UINT8_MAX);
        for (size_t i = 0; i < b.len; i++)
            sum ^= b.p[i];
    }
    return sum;
}

/* One packet on a block of its own. The caller frees it once the decoder has let go. */
static uint8_t *packet(struct rd *r, uint32_t *seqid, uint8_t op, struct shard *s)
{
    uint8_t *pkt, len = rd_u8(r);
    size_t n = MIN((size_t)len, rd_left(r));

    *seqid = op & OP_JUMP ? rd_le32(r) : op & OP_STEP ? *seqid + 1 : rd_u8(r);
    n = MIN(n, rd_left(r));
    pkt = calloc(1, SHARD_HEADER + len + 1);
    require(pkt != NULL);
    shard_put_header(pkt, *seqid, op & OP_PARITY ? SHARD_PARITY : SHARD_DATA);
    if (n)
        memcpy(pkt + SHARD_HEADER, rd_take(r, n), n);
    if (shard_parse(s, bytes_of(pkt, SHARD_HEADER + (size_t)len))) {
        free(pkt);
        return NULL;
    }
    return pkt;
}

static void check_bounds(const struct fec_decoder *d, const struct buf_pool *pool, unsigned groups, unsigned lent)
{
    unsigned data, parity;
    bool sure;

    fec_decoder_shape(d, &data, &parity, &sure);
    require(data && parity && data + parity <= SHARD_MAX_N);
    require(fec_decoder_groups(d) <= groups + 1);
    require(sure || !fec_decoder_groups(d));
    /* shards kept, and at most one sweep of recovered ones */
    require(buf_pool_in_use(pool) <= (groups + 2) * SHARD_MAX_N + lent);
    require(fec_decoder_memory(d) <= 64 * 1024 + (size_t)(groups + 1) * (SHARD_MAX_N * 24 + 128) + 32 * 128 * 129);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct rd r = rd_from(data, len);
    struct fec_decoder_params p = {.data = rd_u8(&r) % 140, .parity = rd_u8(&r) % 70, .groups = 3 + rd_u8(&r) % 13};
    struct buf_pool *pool = buf_pool_new(PKT, 0);
    uint8_t *lent[64];
    unsigned n_lent = 0;
    uint32_t seqid = 0;

    p.pool = pool;
    struct fec_decoder *d = fec_decoder_new(&p);
    require(d != NULL);
    while (rd_left(&r) && !r.bad) {
        uint8_t op = rd_u8(&r);
        struct shard s;
        uint8_t *pkt = packet(&r, &seqid, op, &s);

        if (pkt) {
            fec_decoder_input(d, &s);
            lent[n_lent++] = pkt;
        }
        if (!(op & OP_KEEP))
            drain(d);
        if (op & OP_SETTLE || n_lent == LEN(lent)) {
            fec_decoder_settle(d);
            while (n_lent)
                free(lent[--n_lent]);
        }
        if (op & OP_TRIM)
            fec_decoder_rest(d);
        check_bounds(d, pool, p.groups, n_lent);
    }
    drain(d);
    fec_decoder_free(d);
    while (n_lent)
        free(lent[--n_lent]);
    require(buf_pool_in_use(pool) == 0);
    buf_pool_free(pool);
    require(rs_memory() == 0);
    return 0;
}
