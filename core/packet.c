/* core/packet.c - batches of datagrams, and a first look at one. */
#include "core/packet.h"

#include "core/arq.h"
#include "core/arq_seg.h"
#include "fec/shard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_MIN = 12 }; /* the shortest payload the newest peer considers */

int packet_batch_init(struct packet_batch *b)
{
    b->mem = malloc(PACKET_BATCH_MAX * (size_t)PACKET_MTU_MAX);
    b->used = 0;
    b->n = 0;
    return b->mem ? 0 : -ENOMEM;
}

void packet_batch_fini(struct packet_batch *b)
{
    free(b->mem);
    b->mem = NULL;
}

void packet_batch_reset(struct packet_batch *b)
{
    b->used = 0;
    b->n = 0;
}

bool packet_batch_fits(const struct packet_batch *b)
{
    return b->n < PACKET_BATCH;
}

uint8_t *packet_batch_at(const struct packet_batch *b)
{
    return b->mem + b->used;
}

void packet_batch_add(struct packet_batch *b, size_t len, void *to)
{
    b->v[b->n++] = (struct packet_out){(uint32_t)b->used, (uint32_t)len, to};
    b->used += len;
}

void packet_batch_seal(struct packet_batch *b, struct cipher *c, struct nonce_gen *g)
{
    uint8_t nonces[PACKET_BATCH_MAX][16];
    struct cipher_pkt v[PACKET_BATCH_MAX];

    if (cipher_family(c) == CIPHER_NULL)
        return;
    nonce_fill(g, nonces, b->n, cipher_family(c) == CIPHER_AEAD);
    for (unsigned i = 0; i < b->n; i++)
        v[i] = (struct cipher_pkt){.p = b->mem + b->v[i].off, .len = b->v[i].len};
    cipher_seal(c, v, b->n, (const uint8_t(*)[16])nonces);
}

/* Reads conv and the rest from the first segment of segs that is no WASK, if a whole header is there. */
static void look_segs(struct packet_info *i, struct bytes segs)
{
    struct rd r = rd_from(segs.p, segs.len);
    struct arq_seg s = arq_seg_get(&r);

    if (r.bad)
        return;
    while (s.cmd == ARQ_SEG_WASK && !s.len && rd_left(&r) >= ARQ_HEADER) { /* a question may go before what opens */
        struct arq_seg next = arq_seg_get(&r);

        if (next.conv != s.conv) /* the engine comes no further either */
            break;
        s = next;
    }
    i->segs = segs;
    i->has_conv = true;
    i->conv = s.conv;
    i->sn = s.sn;
    i->opens = s.cmd == ARQ_SEG_PUSH;
}

int packet_look(struct packet_info *out, struct bytes payload)
{
    struct packet_info i = {0};
    struct shard s;

    if (payload.len < LOOK_MIN)
        return PACKET_MALFORMED;
    if (!shard_is_fec(payload)) {
        look_segs(&i, payload);
        if (!i.has_conv)
            return PACKET_MALFORMED;
    } else {
        if (shard_parse(&s, payload))
            return PACKET_MALFORMED;
        i.kind = s.kind == SHARD_DATA ? PACKET_FEC_DATA : s.kind == SHARD_PARITY ? PACKET_FEC_PARITY : PACKET_OOB;
        if (i.kind == PACKET_FEC_DATA)
            look_segs(&i, s.payload);
    }
    *out = i;
    return 0;
}
