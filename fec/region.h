/* fec/region.h - multiply-accumulate over byte rows in GF(2^8), polynomial 0x11d: one table of calls per library.
 * A kernel knows coefficients and bytes only. Every call takes any length and any alignment; rows may not overlap. */
#ifndef FEC_REGION_H
#define FEC_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct region_ops {
    const char *name;
    bool (*usable)(void); /* on this CPU; NULL: on every */
    bool (*setup)(void); /* once, before the first use; false: broken */
    size_t (*table_size)(unsigned k, unsigned rows);
    /* Expands rows x k coefficients, row by row. The first r rows of a table are a table of r rows. */
    void (*prepare)(uint8_t *table, const uint8_t *coef, unsigned k, unsigned rows);
    /* dst[r] = sum over c of coefficient(r, c) * src[c], r < rows, c < k. */
    void (*dot)(const uint8_t *table, unsigned k, unsigned rows, const uint8_t *const src[], uint8_t *const dst[],
                size_t len);
    /* dst[r] += coefficient(r, c) * src. */
    void (*add)(const uint8_t *table, unsigned k, unsigned rows, unsigned c, const uint8_t *src, uint8_t *const dst[],
                size_t len);
};

#if defined(__x86_64__)
extern const struct region_ops region_gfni512, region_gfni256;
#endif
extern const struct region_ops region_isal; /* only in builds with isa-l */
extern const struct region_ops region_gfc;

/* Best first; ends in NULL. The first usable one serves. */
extern const struct region_ops *const region_kernels[];

static inline bool region_usable(const struct region_ops *ops)
{
    return !ops->usable || ops->usable();
}

#endif
