/* fec/decoder.h - groups on the way in: recovers lost data packets, finds out the peer's shape. Never delays or reorders:
 * data packets go to the protocol by themselves, this only adds what was lost. Packets are lent until
 * fec_decoder_settle(), which copies those of unfinished groups.
 * Recovers only what no shape the peer may have makes wrong. Losses that leave that open (in a session's first group of
 * 10 + 3: 66 of 370 patterns, nearly all of them the first parity and two more) wait for the packets that decide, one group
 * later as a rule; see decoder.c. Source: the FEC description, sections 4 and 5. */
#ifndef FEC_DECODER_H
#define FEC_DECODER_H

#include "core/base/buf.h"
#include "fec/shard.h"

#include <stdbool.h>

struct fec_decoder;

struct fec_decoder_params {
    unsigned data, parity; /* shape to begin with; 0: not known (1 + 1) */
    unsigned groups; /* groups back that are kept; 3..255 */
    struct buf_pool *pool; /* for shards kept and recovered; buffers >= 1500. Borrowed for life */
};

struct fec_decoder_counts { /* since the last fec_decoder_take_counts() */
    uint64_t full; /* groups that got all their data without help */
    uint64_t parity; /* parity packets in the window, those of finished groups too */
    uint64_t errs; /* refused packets, dropped groups, recovered shards of an impossible size */
    uint64_t recovered, shape_changes;
    uint64_t stranded; /* data packets of groups that were left with some missing */
};

struct fec_decoder *fec_decoder_new(const struct fec_decoder_params *p); /* NULL: out of memory or bad shape */
struct fec_decoder *fec_decoder_free(struct fec_decoder *d);
/* Takes a data or parity packet. 0, SHARD_MALFORMED (counted in errs). */
int fec_decoder_input(struct fec_decoder *d, const struct shard *s);
/* A recovered payload (checked: 2 <= size <= shard length), valid until the next call on d. False: no more. */
bool fec_decoder_next(struct fec_decoder *d, struct bytes *payload);
void fec_decoder_settle(struct fec_decoder *d); /* out of memory: the group is dropped and counted in errs */
/* The shape in force; *sure is false while packets contradict it and nothing is recovered. */
void fec_decoder_shape(const struct fec_decoder *d, unsigned *data, unsigned *parity, bool *sure);
struct fec_decoder_counts fec_decoder_take_counts(struct fec_decoder *d);
unsigned fec_decoder_groups(const struct fec_decoder *d); /* open now */
uint32_t fec_decoder_newest(const struct fec_decoder *d); /* number of the newest group seen */
/* The flow is at rest, so all that was lost has been repaired otherwise: gives open groups up, and their memory back. */
void fec_decoder_rest(struct fec_decoder *d);
size_t fec_decoder_memory(const struct fec_decoder *d); /* heap bytes; no pool buffers, no shared codec (rs_memory()) */

#endif
