/* core/packet.h - datagrams in a row: the batch that sessions fill, that is sealed as a whole and leaves in runs.
 * Layout of one datagram: [crypto head][FEC header][KCP segments or parity][crypto tail]. Packets of a batch are
 * contiguous, so that equal-sized neighbours can leave as one UDP_SEGMENT send. */
#ifndef CORE_PACKET_H
#define CORE_PACKET_H

#include "core/base/bytes.h"
#include "crypto/cipher.h"
#include "crypto/nonce.h"

#include <stdbool.h>

enum {
    PACKET_MTU_MAX = 1500,        /* bytes of UDP payload; the peers cut what is longer */
    PACKET_BATCH = 144,           /* datagrams after which a batch is full: three runs; a read of 128 KiB with parity */
    PACKET_BATCH_MAX = 400,       /* with the parity of one more group: at most 255 */
};

struct packet_batch {
    uint8_t *mem;                 /* PACKET_BATCH_MAX * PACKET_MTU_MAX bytes */
    size_t used;
    unsigned n;
    struct packet_out {
        uint32_t off, len;
        void *to;                 /* who sends it: the filler's cookie */
    } v[PACKET_BATCH_MAX];
};

int packet_batch_init(struct packet_batch *b);   /* 0, -ENOMEM */
void packet_batch_fini(struct packet_batch *b);
void packet_batch_reset(struct packet_batch *b);
/* Not full yet: a datagram and all the parity it may complete fit. */
bool packet_batch_fits(const struct packet_batch *b);
/* Where the next datagram begins. */
uint8_t *packet_batch_at(const struct packet_batch *b);
/* The next datagram is len bytes long, crypto head and tail included. */
void packet_batch_add(struct packet_batch *b, size_t len, void *to);
/* Nonce, checksum and cipher over the whole batch. */
void packet_batch_seal(struct packet_batch *b, struct cipher *c, struct nonce_gen *g);

/* What can be told of an opened datagram (crypto header removed) before a session is known. */
enum packet_kind { PACKET_KCP, PACKET_FEC_DATA, PACKET_FEC_PARITY, PACKET_OOB };
enum { PACKET_MALFORMED = 1 };

struct packet_info {
    enum packet_kind kind;
    bool has_conv;                /* conv and segs are valid */
    uint32_t conv;
    struct bytes segs;            /* the KCP segments inside */
    bool opens;                   /* the first segment may begin a conversation: a PUSH with a small sn */
    uint32_t sn;                  /* of the first segment */
};

/* 0, PACKET_MALFORMED: too short for anything. Source: the session description, sections 2 and 3. */
int packet_look(struct packet_info *out, struct bytes payload);

#endif
