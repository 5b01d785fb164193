/* fec/region_gfc.c - the portable region kernel over gf-complete. Its "table" is the coefficients themselves: the
 * library keeps its own tables per field element. After setup the field is only read, so threads may share it. */
#include "fec/region.h"

#include <gf_complete.h>
#include <string.h>

enum {
    POLYNOMIAL = 0x11d,
    ALIGN = 16, /* what the library's SIMD code works in */
    SHORT = 2 * ALIGN, /* below: byte by byte; the library reaches past the end of rows that hold no
                                     aligned block */
    SCRATCH = 2048,
};

static gf_t field;

static bool gfc_setup(void)
{
    return gf_init_hard(&field, 8, GF_MULT_DEFAULT, GF_REGION_DEFAULT, GF_DIVIDE_DEFAULT, POLYNOMIAL, 0, 0, NULL,
                        NULL) != 0;
}

static size_t gfc_table_size(unsigned k, unsigned rows)
{
    return (size_t)k * rows;
}

static void gfc_prepare(uint8_t *table, const uint8_t *coef, unsigned k, unsigned rows)
{
    memcpy(table, coef, (size_t)k * rows);
}

static void short_mul(const uint8_t *src, uint8_t *dst, uint8_t coef, size_t len, bool add)
{
    for (size_t i = 0; i < len; i++)
        dst[i] = (uint8_t)((add ? dst[i] : 0) ^ field.multiply.w32(&field, coef, src[i]));
}

/* dst (+)= coef * src. The library aborts unless both are equally aligned modulo 16: a source that is not goes through
 * scratch memory that is. */
static void mul(const uint8_t *src, uint8_t *dst, uint8_t coef, size_t len, bool add)
{
    uint8_t scratch[SCRATCH + ALIGN] __attribute__((aligned(ALIGN)));
    uint8_t *copy = scratch + (uintptr_t)dst % ALIGN;

    if (((uintptr_t)src - (uintptr_t)dst) % ALIGN == 0 && len >= SHORT) {
        field.multiply_region.w32(&field, (void *)src, dst, coef, (int)len, add);
        return;
    }
    while (len >= SHORT) {
        size_t n = len < SCRATCH ? len : SCRATCH;

        memcpy(copy, src, n);
        field.multiply_region.w32(&field, copy, dst, coef, (int)n, add);
        src += n;
        dst += n; /* SCRATCH is a multiple of ALIGN: copy stays aligned as dst is */
        len -= n;
    }
    short_mul(src, dst, coef, len, add);
}

static void gfc_dot(const uint8_t *table, unsigned k, unsigned rows, const uint8_t *const src[], uint8_t *const dst[],
                    size_t len)
{
    for (unsigned r = 0; r < rows; r++)
        for (unsigned c = 0; c < k; c++)
            mul(src[c], dst[r], table[r * k + c], len, c > 0);
}

static void gfc_add(const uint8_t *table, unsigned k, unsigned rows, unsigned c, const uint8_t *src,
                    uint8_t *const dst[], size_t len)
{
    for (unsigned r = 0; r < rows; r++)
        mul(src, dst[r], table[r * k + c], len, true);
}

const struct region_ops region_gfc = {
    .name = "gf-complete",
    .setup = gfc_setup,
    .table_size = gfc_table_size,
    .prepare = gfc_prepare,
    .dot = gfc_dot,
    .add = gfc_add,
};
