/* fec/encoder.h - groups on the way out. Writes FEC headers in place, never copies a data packet: a packet added is lent
 * until fec_encoder_settle(), which folds what is still unfinished into P sums. Source: the FEC description, section 2. */
#ifndef FEC_ENCODER_H
#define FEC_ENCODER_H

#include "core/base/bytes.h"
#include "fec/shard.h"

#include <stdbool.h>

enum { FEC_GROUP_FULL = 1 };

struct fec_encoder;

/* shard_max: most payload bytes of a data packet. NULL: bad shape or out of memory. */
struct fec_encoder *fec_encoder_new(unsigned data, unsigned parity, size_t shard_max);
struct fec_encoder *fec_encoder_free(struct fec_encoder *e);
/* Writes the 8-byte data header at pkt and takes pkt[0..8+len) into the group. Lent until settle.
 * 0, FEC_GROUP_FULL: fec_encoder_parity() or fec_encoder_skip() must come next.
 * A group that settle had no memory for has no parity: it ends by itself, with 0, and its parity seqids are consumed. */
int fec_encoder_add(struct fec_encoder *e, uint8_t *pkt, size_t len);
/* Bytes of each parity packet of the group just completed, FEC header included. */
size_t fec_encoder_parity_len(const struct fec_encoder *e);
/* Writes parity packets 0..count-1 (count <= P, rows[i] of fec_encoder_parity_len() bytes), consumes all P seqids. */
void fec_encoder_parity(struct fec_encoder *e, uint8_t *const rows[], unsigned count);
void fec_encoder_skip(struct fec_encoder *e); /* consumes the P seqids, sends none */
/* Nothing more is expected soon: gives up the group begun (its seqids are consumed) and the memory of sums. */
void fec_encoder_rest(struct fec_encoder *e);
void fec_encoder_settle(struct fec_encoder *e); /* data packets lent so far may go. Not on a full group */
unsigned fec_encoder_data(const struct fec_encoder *e); /* D */
unsigned fec_encoder_parities(const struct fec_encoder *e); /* P */
uint32_t fec_encoder_seqid(const struct fec_encoder *e); /* next */
void fec_encoder_set_seqid(struct fec_encoder *e, uint32_t seqid); /* multiple of D+P below paws; for tests */
size_t fec_encoder_memory(const struct fec_encoder *e); /* heap bytes; without the shared codec, see rs_memory() */

#endif
