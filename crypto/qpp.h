/* crypto/qpp.h - quantum permutation pads, as kcptun applies them to the bytes of each stream in both directions.
 * A stream transform: no integrity, no nonce, the number of bytes stays. One table per pass phrase serves all streams and
 * threads; a stream keeps one small state per direction. Source: the QPP description. */
#ifndef CRYPTO_QPP_H
#define CRYPTO_QPP_H

#include "core/base/bytes.h"

enum {
    QPP_GENERATIONS = 3,          /* incompatible ones are in the field: 1 until 17 December 2025, 2 until the 22nd, 3 */
    QPP_COUNT_MAX = 65535,
};

struct qpp;                       /* constant once made */

struct qpp_state {                /* one direction of one stream; qpp_begin() first */
    uint64_t s[4];                /* xoshiro256** */
    uint64_t word;                /* drawn last; its low 16 bits choose the pad */
    uint64_t used;                /* bytes of it, 0..7 */
};

/* Makes the pads of a pass phrase (which may be empty). count: 1..QPP_COUNT_MAX pads of 512 bytes each; generation:
 * 1..QPP_GENERATIONS. Takes about 0.04 ms a pad. 0, -errno. */
int qpp_new(struct qpp **qp, struct bytes passphrase, unsigned count, unsigned generation);
struct qpp *qpp_free(struct qpp *q);                  /* wipes. NULL in, NULL out */
void qpp_begin(const struct qpp *q, struct qpp_state *st);
/* The next n bytes of a direction, in any cut. out may be in. */
void qpp_encrypt(const struct qpp *q, struct qpp_state *st, uint8_t *out, const uint8_t *in, size_t n);
void qpp_decrypt(const struct qpp *q, struct qpp_state *st, uint8_t *out, const uint8_t *in, size_t n);
/* Leaves n bytes out, as if they had passed. */
void qpp_skip(struct qpp_state *st, size_t n);
/* The permutation number i < count, 256 bytes. For tests. */
const uint8_t *qpp_pad(const struct qpp *q, unsigned i);

#endif
