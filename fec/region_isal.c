/* fec/region_isal.c - the region kernel over isa-l, which picks its instruction set by itself. */
#include "fec/region.h"

#include "core/base/simd.h"

#include <isa-l/erasure_code.h>

/* isa-l documents shortest lengths (up to 64) for its gf_vect_*() calls only; ec_encode_data() and
 * ec_encode_data_update() go to their byte-wise base themselves below that. The tests hold them to it with guard
 * pages on both sides of every length. */
enum { TABLE_BYTES = 32 }; /* per coefficient */

static bool isal_setup(void)
{
    return true;
}

static size_t isal_table_size(unsigned k, unsigned rows)
{
    return (size_t)TABLE_BYTES * k * rows;
}

static void isal_prepare(uint8_t *table, const uint8_t *coef, unsigned k, unsigned rows)
{
    ec_init_tables((int)k, (int)rows, (unsigned char *)coef, table);
}

static void isal_dot(const uint8_t *table, unsigned k, unsigned rows, const uint8_t *const src[], uint8_t *const dst[],
                     size_t len)
{
    if (!len)
        return;
    ec_encode_data((int)len, (int)k, (int)rows, (unsigned char *)table, (unsigned char **)src, (unsigned char **)dst);
    simd_leave();
}

static void isal_add(const uint8_t *table, unsigned k, unsigned rows, unsigned c, const uint8_t *src,
                     uint8_t *const dst[], size_t len)
{
    if (!len)
        return;
    ec_encode_data_update((int)len, (int)k, (int)rows, (int)c, (unsigned char *)table, (unsigned char *)src,
                          (unsigned char **)dst);
    simd_leave();
}

const struct region_ops region_isal = {
    .name = "isa-l",
    .setup = isal_setup,
    .table_size = isal_table_size,
    .prepare = isal_prepare,
    .dot = isal_dot,
    .add = isal_add,
};
