/* fec/encoder.c - groups on the way out. Source: the FEC description, section 2.
 * A group whose packets are all still lent when it completes is coded in one pass over them. What must be let go before
 * that is added into P sums first; both give the same parity. Padding to the longest packet is never written: zeros add
 * nothing. */
#include "fec/encoder.h"

#include "fec/rs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIZE_FIELD = SHARD_DATA_HEADER - SHARD_HEADER,
    SUM_STEP = 256, /* sums grow in steps: a session that only acks stays small */
};

struct fec_encoder {
    struct rs *rs;
    unsigned data, parity;
    uint32_t seqid, paws;
    size_t shard_max; /* code bytes of the longest packet allowed */
    unsigned n, n_folded; /* packets in the group; the first n_folded of them are in the sums */
    size_t len_min, len_max; /* code bytes of the group's packets */
    bool spoiled; /* no memory for the sums of this group */
    uint8_t *sums; /* parity rows of sum_room bytes; the first sum_len bytes of each are in use */
    size_t sum_room, sum_len;
    struct bytes shards[]; /* code bytes of packets n_folded .. n, lent */
};

struct fec_encoder *fec_encoder_new(unsigned data, unsigned parity, size_t shard_max)
{
    struct rs *rs = rs_new(data, parity); /* refuses bad shapes */
    struct fec_encoder *e = rs ? calloc(1, sizeof *e + data * sizeof e->shards[0]) : NULL;

    assert(shard_max <= UINT16_MAX - SIZE_FIELD);
    if (!e) {
        rs_free(rs);
        return NULL;
    }
    e->rs = rs;
    e->data = data;
    e->parity = parity;
    e->paws = UINT32_MAX / (data + parity) * (data + parity);
    e->shard_max = SIZE_FIELD + shard_max;
    return e;
}

struct fec_encoder *fec_encoder_free(struct fec_encoder *e)
{
    if (!e)
        return NULL;
    rs_free(e->rs);
    free(e->sums);
    free(e);
    return NULL;
}

static void next_group(struct fec_encoder *e)
{
    e->seqid += e->parity;
    if (e->seqid == e->paws)
        e->seqid = 0;
    e->n = e->n_folded = 0;
    e->len_min = e->len_max = e->sum_len = 0;
    e->spoiled = false;
}

int fec_encoder_add(struct fec_encoder *e, uint8_t *pkt, size_t len)
{
    size_t code = SIZE_FIELD + len;

    assert(e->n < e->data && code <= e->shard_max);
    shard_put_header(pkt, e->seqid++, SHARD_DATA);
    put_le16(pkt + SHARD_HEADER, (uint16_t)code);
    e->len_min = e->n ? MIN(e->len_min, code) : code;
    e->len_max = e->n ? MAX(e->len_max, code) : code;
    e->shards[e->n++] = bytes_of(pkt + SHARD_HEADER, code);
    if (e->n < e->data)
        return 0;
    if (!e->spoiled)
        return FEC_GROUP_FULL;
    next_group(e);
    return 0;
}

size_t fec_encoder_parity_len(const struct fec_encoder *e)
{
    return SHARD_HEADER + e->len_max;
}

/* Makes the first len bytes of every sum valid; those not in use before are zero. */
static bool sums_grow(struct fec_encoder *e, size_t len)
{
    if (len > e->sum_room) {
        size_t room = MIN((len + SUM_STEP - 1) / SUM_STEP * SUM_STEP, e->shard_max);
        uint8_t *sums = malloc(room * e->parity);

        if (!sums)
            return false;
        for (unsigned i = 0; i < e->parity && e->sum_len; i++)
            memcpy(sums + i * room, e->sums + i * e->sum_room, e->sum_len);
        free(e->sums);
        e->sums = sums;
        e->sum_room = room;
    }
    for (unsigned i = 0; i < e->parity && len > e->sum_len; i++)
        memset(e->sums + i * e->sum_room + e->sum_len, 0, len - e->sum_len);
    e->sum_len = MAX(e->sum_len, len);
    return true;
}

static void add_lent(const struct fec_encoder *e, uint8_t *const rows[], unsigned count)
{
    for (unsigned i = e->n_folded; i < e->n; i++)
        rs_encode_add(e->rs, count, i, e->shards[i], rows);
}

void fec_encoder_settle(struct fec_encoder *e)
{
    uint8_t *rows[SHARD_MAX_N];

    assert(e->n < e->data);
    if (e->n_folded == e->n)
        return;
    if (!e->spoiled && !sums_grow(e, e->len_max))
        e->spoiled = true;
    if (!e->spoiled) {
        for (unsigned i = 0; i < e->parity; i++)
            rows[i] = e->sums + i * e->sum_room;
        add_lent(e, rows, e->parity);
    }
    e->n_folded = e->n;
}

static void code_group(const struct fec_encoder *e, uint8_t *const rows[], unsigned count)
{
    const uint8_t *data[SHARD_MAX_N];

    if (!e->n_folded && e->len_min == e->len_max) {
        for (unsigned i = 0; i < e->n; i++)
            data[i] = e->shards[i].p;
        rs_encode(e->rs, count, data, rows, e->len_max);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        if (e->sum_len)
            memcpy(rows[i], e->sums + i * e->sum_room, e->sum_len);
        memset(rows[i] + e->sum_len, 0, e->len_max - e->sum_len);
    }
    add_lent(e, rows, count);
}

void fec_encoder_parity(struct fec_encoder *e, uint8_t *const rows[], unsigned count)
{
    uint8_t *code[SHARD_MAX_N];

    assert(e->n == e->data && count <= e->parity);
    for (unsigned i = 0; i < count; i++) {
        shard_put_header(rows[i], e->seqid + i, SHARD_PARITY);
        code[i] = rows[i] + SHARD_HEADER;
    }
    if (count)
        code_group(e, code, count);
    next_group(e);
}

void fec_encoder_skip(struct fec_encoder *e)
{
    fec_encoder_parity(e, NULL, 0);
}

void fec_encoder_rest(struct fec_encoder *e)
{
    assert(e->n < e->data);
    if (e->n) {
        e->seqid += e->data - e->n;
        next_group(e);
    }
    free(e->sums);
    e->sums = NULL;
    e->sum_room = e->sum_len = 0;
}

unsigned fec_encoder_data(const struct fec_encoder *e)
{
    return e->data;
}

unsigned fec_encoder_parities(const struct fec_encoder *e)
{
    return e->parity;
}

uint32_t fec_encoder_seqid(const struct fec_encoder *e)
{
    return e->seqid;
}

void fec_encoder_set_seqid(struct fec_encoder *e, uint32_t seqid)
{
    assert(!e->n && seqid < e->paws && seqid % (e->data + e->parity) == 0);
    e->seqid = seqid;
}

size_t fec_encoder_memory(const struct fec_encoder *e)
{
    return sizeof *e + e->data * sizeof e->shards[0] + (e->sums ? e->sum_room * e->parity : 0);
}
