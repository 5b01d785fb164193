/* fec/rs.h - Reed-Solomon over GF(2^8), polynomial 0x11d: the systematic Vandermonde code of the peers.
 * A codec never changes once made: one of each shape serves every session and thread of the process. rs_new() and
 * rs_free() may be called from any thread. */
#ifndef FEC_RS_H
#define FEC_RS_H

#include "core/base/bytes.h"

#include <stdbool.h>

enum { RS_TOO_FEW = 1 };

struct region_ops;
struct rs;
struct rs_plan;

/* A codec of k data and m parity shards, 1 <= k, 1 <= m, k + m <= 256; shared with others of that shape. NULL: out of
 * memory or bad shape. */
struct rs *rs_new(unsigned k, unsigned m);
/* The same on a region kernel of the caller's choice (region.h). NULL also if the CPU cannot run it. */
struct rs *rs_new_on(const struct region_ops *ops, unsigned k, unsigned m);
struct rs *rs_free(struct rs *rs);
const uint8_t *rs_parity_row(const struct rs *rs, unsigned i); /* k coefficients of parity i */
size_t rs_memory(void); /* heap bytes of all codecs of the process, each counted once */

/* parity[0..n) = code of data[0..k), len bytes each; n <= m. */
void rs_encode(const struct rs *rs, unsigned n, const uint8_t *const data[], uint8_t *const parity[], size_t len);
/* parity[i][0..data.len) += coefficient(i, index) * data, i < n, for one data shard: codes can be summed as data passes
 * by. */
void rs_encode_add(const struct rs *rs, unsigned n, unsigned index, struct bytes data, uint8_t *const parity[]);
/* Fills in missing data rows. rows: k data then m parity pointers, len bytes each; have[i]: row i is present. Parity rows
 * that are absent may be NULL and are not rebuilt. 0, RS_TOO_FEW (below k present; rows untouched), -ENOMEM. */
int rs_repair(const struct rs *rs, uint8_t *const rows[], const bool have[], size_t len);

/* How to rebuild the data rows one loss pattern lacks: made once, used for every group that lost the same. */
struct rs_plan *rs_plan_new(const struct rs *rs, const bool have[]); /* NULL: below k present, or out of memory */
struct rs_plan *rs_plan_free(struct rs_plan *p);
/* True if rs_plan_new(rs, have) would give the same plan; rs is the codec p was made from. */
bool rs_plan_fits(const struct rs_plan *p, const bool have[]);
unsigned rs_plan_missing(const struct rs_plan *p, const uint8_t **rows); /* count of data rows it rebuilds, and which */
size_t rs_plan_memory(const struct rs_plan *p);
/* dst[i][0..len) = the i-th missing row. rows: by row number, those shorter than len count as filled up with zeros;
 * none is longer. Only rows the plan uses are looked at. */
void rs_plan_run(const struct rs_plan *p, const struct bytes rows[], uint8_t *const dst[], size_t len);

#endif
