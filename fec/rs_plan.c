/* fec/rs_plan.c - from a loss pattern to the coefficients that rebuild the lost rows.
 * With E the lost data rows and Q as many parity rows that arrived, parity = A * lost + B * present, so
 * lost = inverse(A) * (parity + B * present): only the small square A, |E| by |E|, is ever inverted. */
#include "fec/rs.h"

#include "fec/region.h"
#include "fec/rs_internal.h"
#include "fec/shard.h"

#include <errno.h>
#include <jerasure.h>
#include <stdlib.h>
#include <string.h>

struct rs_plan {
    const struct region_ops *ops;
    unsigned k, n_missing;
    size_t bytes;
    uint8_t src[SHARD_MAX_N]; /* the k rows used, ascending: data, then n_missing parities */
    uint8_t missing[SHARD_MAX_N]; /* data rows, ascending */
    uint8_t table[]; /* n_missing x k, columns in the order of src */
};

/* The rows a plan uses; the first k of have[]. False: there are not so many. */
static bool pick(unsigned k, unsigned m, const bool have[], uint8_t src[])
{
    unsigned n = 0;

    for (unsigned i = 0; i < k + m && n < k; i++)
        if (have[i])
            src[n++] = (uint8_t)i;
    return n == k;
}

/* inverse(A), or NULL. */
static int *invert_lost(const struct rs *rs, const struct rs_plan *p)
{
    unsigned e = p->n_missing;
    int *a = malloc((size_t)e * e * sizeof *a), *inverse = malloc((size_t)e * e * sizeof *inverse);
    int r = -1;

    if (a && inverse) {
        for (unsigned i = 0; i < e; i++)
            for (unsigned j = 0; j < e; j++)
                a[i * e + j] = rs_parity_row(rs, p->src[p->k - e + i] - p->k)[p->missing[j]];
        r = jerasure_invert_matrix(a, inverse, (int)e, 8);
    }
    free(a);
    if (r) {
        free(inverse);
        return NULL;
    }
    return inverse;
}

/* coef (e x k) = inverse(A) * [B | 1]. */
static bool solve(const struct rs *rs, const struct rs_plan *p, uint8_t *coef)
{
    unsigned e = p->n_missing, present = p->k - e;
    int *inverse = invert_lost(rs, p), *b = malloc(((size_t)e * present + 1) * sizeof *b), *x = NULL;

    if (inverse && b) {
        for (unsigned i = 0; i < e; i++)
            for (unsigned j = 0; j < present; j++)
                b[i * present + j] = rs_parity_row(rs, p->src[present + i] - p->k)[p->src[j]];
        x = jerasure_matrix_multiply(inverse, b, (int)e, (int)e, (int)e, (int)present, 8);
    }
    for (unsigned i = 0; x && i < e; i++) {
        for (unsigned j = 0; j < present; j++)
            coef[i * p->k + j] = (uint8_t)x[i * present + j];
        for (unsigned j = 0; j < e; j++)
            coef[i * p->k + present + j] = (uint8_t)inverse[i * e + j];
    }
    free(inverse);
    free(b);
    free(x);
    return x != NULL;
}

struct rs_plan *rs_plan_new(const struct rs *rs, const bool have[])
{
    uint8_t src[SHARD_MAX_N], *coef;
    unsigned e = 0;
    struct rs_plan *p;
    size_t bytes;

    if (!pick(rs->k, rs->m, have, src))
        return NULL;
    for (unsigned i = 0; i < rs->k; i++)
        e += !have[i];
    bytes = sizeof *p + rs->ops->table_size(rs->k, e);
    p = malloc(bytes);
    coef = malloc((size_t)rs->k * e + 1);
    if (!p || !coef)
        goto fail;
    p->ops = rs->ops;
    p->k = rs->k;
    p->n_missing = 0;
    p->bytes = bytes;
    memcpy(p->src, src, p->k);
    for (unsigned i = 0; i < p->k; i++)
        if (!have[i])
            p->missing[p->n_missing++] = (uint8_t)i;
    if (e) {
        if (!solve(rs, p, coef))
            goto fail;
        p->ops->prepare(p->table, coef, p->k, e);
    }
    free(coef);
    return p;
fail:
    free(coef);
    free(p);
    return NULL;
}

struct rs_plan *rs_plan_free(struct rs_plan *p)
{
    free(p);
    return NULL;
}

bool rs_plan_fits(const struct rs_plan *p, const bool have[])
{
    unsigned n = 0;

    for (unsigned i = 0; n < p->k; i++) {
        if (have[i] != (p->src[n] == i))
            return false;
        n += have[i];
    }
    return true;
}

unsigned rs_plan_missing(const struct rs_plan *p, const uint8_t **rows)
{
    *rows = p->missing;
    return p->n_missing;
}

size_t rs_plan_memory(const struct rs_plan *p)
{
    return p->bytes;
}

void rs_plan_run(const struct rs_plan *p, const struct bytes rows[], uint8_t *const dst[], size_t len)
{
    const uint8_t *src[SHARD_MAX_N];
    bool equal = true;

    for (unsigned i = 0; i < p->k; i++) {
        src[i] = rows[p->src[i]].p;
        equal = equal && rows[p->src[i]].len == len;
    }
    if (!p->n_missing)
        return;
    if (equal) {
        p->ops->dot(p->table, p->k, p->n_missing, src, dst, len);
        return;
    }
    for (unsigned i = 0; i < p->n_missing; i++)
        memset(dst[i], 0, len);
    for (unsigned i = 0; i < p->k; i++)
        p->ops->add(p->table, p->k, p->n_missing, i, src[i], dst, rows[p->src[i]].len);
}

int rs_repair(const struct rs *rs, uint8_t *const rows[], const bool have[], size_t len)
{
    uint8_t src[SHARD_MAX_N], *dst[SHARD_MAX_N];
    struct bytes views[SHARD_MAX_N];
    struct rs_plan *p;

    if (!pick(rs->k, rs->m, have, src))
        return RS_TOO_FEW;
    p = rs_plan_new(rs, have);
    if (!p)
        return -ENOMEM;
    for (unsigned i = 0; i < rs->k; i++)
        views[p->src[i]] = bytes_of(rows[p->src[i]], len);
    for (unsigned i = 0; i < p->n_missing; i++)
        dst[i] = rows[p->missing[i]];
    rs_plan_run(p, views, dst, len);
    rs_plan_free(p);
    return 0;
}
