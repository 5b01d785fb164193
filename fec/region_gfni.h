/* fec/region_gfni.h - the body of region_gfni512.c and region_gfni256.c: a product with a constant is linear in the bits of a
 * byte, so one instruction of GFNI gives it for a whole vector from an 8 by 8 matrix of bits. (Its own product is of no
 * use: it is modulo 0x11b.) A table holds the matrix of each coefficient. */
#ifndef FEC_REGION_GFNI_H
#define FEC_REGION_GFNI_H

#define VEC_FEATURES "gfni"

#include "core/base/vec.h"
#include "core/base/bytes.h"
#include "fec/region.h"

enum { POLYNOMIAL = 0x11d, MATRIX = 8, N_BYTES = 256, ROWS_MAX = 4, STEP = 2 * VEC_BYTES };

static uint64_t matrices[N_BYTES];

static bool gfni_usable(void)
{
    return vec_usable() && __builtin_cpu_supports("gfni");
}

/* Byte 7 - i of a matrix says which bits of the factor add up to bit i of the product. */
static uint64_t matrix_of(unsigned coef)
{
    uint64_t m = 0;

    for (unsigned in = 0; in < 8; in++) { /* coef: times 2 to the power of in */
        for (unsigned out = 0; out < 8; out++)
            m |= (uint64_t)(coef >> out & 1) << (8 * (7 - out) + in);
        coef = coef << 1 ^ (coef & 0x80 ? POLYNOMIAL : 0);
    }
    return m;
}

static bool gfni_setup(void)
{
    for (unsigned i = 0; i < N_BYTES; i++)
        matrices[i] = matrix_of(i);
    return true;
}

static size_t gfni_table_size(unsigned k, unsigned rows)
{
    return (size_t)MATRIX * k * rows;
}

static void gfni_prepare(uint8_t *table, const uint8_t *coef, unsigned k, unsigned rows)
{
    for (size_t i = 0; i < (size_t)k * rows; i++)
        memcpy(table + MATRIX * i, &matrices[coef[i]], MATRIX);
}

static inline VEC_FN VEC matrix_at(const uint8_t *table)
{
    long long one;
    VEC m;

    memcpy(&one, table, sizeof one);
    m = VEC_SET1_64(one);
#if defined(__clang__) && __clang_major__ < 20
    __asm__("" : "+v"(m)); /* not as a memory operand: its offset is encoded wrong (LLVM pull request 120340) */
#endif
    return m;
}

/* rows x n products of a table whose rows are `stride` bytes apart, added to dst or put there. */
struct job {
    const uint8_t *table;
    size_t stride;
    unsigned n;
    bool add;
    const uint8_t *const *src;
    uint8_t *const *dst;
    size_t len;
};

#define ROW_LOAD(r)                                                                                                    \
    VEC x##r = {0}, y##r = {0};                                                                                        \
    if (j->add) {                                                                                                      \
        x##r = vec_load(j->dst[r] + at);                                                                               \
        y##r = vec_load(j->dst[r] + at + VEC_BYTES);                                                                   \
    }
#define ROW_ADD(r)                                                                                                     \
    {                                                                                                                  \
        VEC m = matrix_at(matrix + r * j->stride);                                      \
                                                                                                                       \
        x##r ^= VEC_OP(gf2p8affine_epi64_epi8)(x, m, 0);                                                               \
        y##r ^= VEC_OP(gf2p8affine_epi64_epi8)(y, m, 0);                                                               \
    }
#define ROW_STORE(r)                                                                                                   \
    vec_store(j->dst[r] + at, x##r);                                                                                   \
    vec_store(j->dst[r] + at + VEC_BYTES, y##r);

#define PART_LOAD(r) VEC x##r = j->add ? vec_load_part(j->dst[r] + at, n) : (VEC){0};
#define PART_ADD(r)                                                                                                    \
    x##r ^= VEC_OP(gf2p8affine_epi64_epi8)(x, matrix_at(matrix + r * j->stride), 0);
#define PART_STORE(r) vec_store_part(j->dst[r] + at, x##r, n);

/* A block of every destination row stays in registers while all the sources go by. */
#define RUN_DEFINE(name, ROWS)                                                                                         \
    static VEC_FN void name(const struct job *j)                                                                       \
    {                                                                                                                  \
        size_t at = 0, n;                                                                                              \
                                                                                                                       \
        for (; j->len - at >= STEP; at += STEP) {                                                                      \
            const uint8_t *matrix = j->table;                                                                          \
                                                                                                                       \
            ROWS(ROW_LOAD)                                                                                             \
            for (unsigned c = 0; c < j->n; c++, matrix += MATRIX) {                                                    \
                VEC x = vec_load(j->src[c] + at), y = vec_load(j->src[c] + at + VEC_BYTES);                            \
                                                                                                                       \
                ROWS(ROW_ADD)                                                                                          \
            }                                                                                                          \
            ROWS(ROW_STORE)                                                                                            \
        }                                                                                                              \
        for (; at < j->len; at += n) {                                                                                 \
            const uint8_t *matrix = j->table;                                                                          \
                                                                                                                       \
            n = MIN(j->len - at, VEC_BYTES);                                                                           \
            ROWS(PART_LOAD)                                                                                            \
            for (unsigned c = 0; c < j->n; c++, matrix += MATRIX) {                                                    \
                VEC x = vec_load_part(j->src[c] + at, n);                                                              \
                                                                                                                       \
                ROWS(PART_ADD)                                                                                         \
            }                                                                                                          \
            ROWS(PART_STORE)                                                                                           \
        }                                                                                                              \
    }

#define ROWS_3(X) VEC_X2(X) X(2)

RUN_DEFINE(run_1, VEC_X1)
RUN_DEFINE(run_2, VEC_X2)
RUN_DEFINE(run_3, ROWS_3)
RUN_DEFINE(run_4, VEC_X4)

static void rows_run(struct job *j, unsigned rows)
{
    static void (*const run[ROWS_MAX + 1])(const struct job *j) = {NULL, run_1, run_2, run_3, run_4};

    while (rows) {
        unsigned n = MIN(rows, ROWS_MAX);

        run[n](j);
        j->table += n * j->stride;
        j->dst += n;
        rows -= n;
    }
}

static void gfni_dot(const uint8_t *table, unsigned k, unsigned rows, const uint8_t *const src[], uint8_t *const dst[],
                     size_t len)
{
    struct job j = {.table = table, .stride = (size_t)MATRIX * k, .n = k, .src = src, .dst = dst, .len = len};

    rows_run(&j, rows);
}

static void gfni_add(const uint8_t *table, unsigned k, unsigned rows, unsigned c, const uint8_t *src,
                     uint8_t *const dst[], size_t len)
{
    struct job j = {
        .table = table + MATRIX * c,
        .stride = (size_t)MATRIX * k,
        .n = 1,
        .add = true,
        .src = &src,
        .dst = dst,
        .len = len,
    };

    rows_run(&j, rows);
}

#define REGION_GFNI(name_)                                                                                             \
    {                                                                                                                  \
        .name = name_, .usable = gfni_usable, .setup = gfni_setup, .table_size = gfni_table_size,                      \
        .prepare = gfni_prepare, .dot = gfni_dot, .add = gfni_add,                                                     \
    }

#endif
