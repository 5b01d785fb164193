/* fec/rs.h - Reed-Solomon over GF(2^8), polynomial 0x11d: the systematic Vandermonde code of the peers.
 * The field is set up by the first rs_new(); call one before threads start. */
#ifndef FEC_RS_H
#define FEC_RS_H

#include "core/base/bytes.h"

#include <stdbool.h>

enum { RS_TOO_FEW = 1 };

struct rs;

/* A codec of k data and m parity shards, 1 <= k, 1 <= m, k + m <= 256. NULL: out of memory or bad shape. */
struct rs *rs_new(unsigned k, unsigned m);
struct rs *rs_free(struct rs *rs);
const uint8_t *rs_parity_row(const struct rs *rs, unsigned i); /* k coefficients of parity i */

/* parity[0..m) = code of data[0..k), len bytes each. */
void rs_encode(const struct rs *rs, const uint8_t *const data[], uint8_t *const parity[], size_t len);
/* parity[i][0..len) += coefficient(i, index) * data, for one data shard: codes can be summed as data passes by. */
void rs_encode_add(const struct rs *rs, unsigned index, struct bytes data, uint8_t *const parity[]);
/* Fills in missing data rows. rows: k data then m parity pointers, len bytes each; have[i]: row i is present. Parity rows
 * that are absent may be NULL and are not rebuilt. 0, RS_TOO_FEW (below k present; rows untouched), -ENOMEM. */
int rs_repair(struct rs *rs, uint8_t *const rows[], const bool have[], size_t len);

#endif
