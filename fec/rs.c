/* fec/rs.c - generator matrices and the list of codecs in use. Plans are in rs_plan.c.
 * Source: the FEC description, section 3. Field and matrix work is jerasure's; its region calls are not used, because
 * they write global counters. */
#include "fec/rs.h"

#include "fec/region.h"
#include "fec/rs_internal.h"
#include "fec/shard.h"

#include <jerasure.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

const struct region_ops *const region_kernels[] = {
#if defined(__x86_64__)
    &region_gfni512, &region_gfni256,
#endif
#ifdef HAVE_ISAL
    &region_isal,
#endif
    &region_gfc,     NULL,
};

/* All codecs of the process. The lock is held for a walk over a handful of shapes, never while a matrix is made. */
static atomic_flag lock = ATOMIC_FLAG_INIT;
static struct rs *codecs;
static size_t codecs_bytes;
static enum { FIELD_UNSET, FIELD_READY, FIELD_BROKEN } field;

static void take_lock(void)
{
    while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
        ;
}

static void drop_lock(void)
{
    atomic_flag_clear_explicit(&lock, memory_order_release);
}

/* Both libraries build tables on first use without any locking of their own. */
static bool field_setup(void)
{
    take_lock();
    if (field == FIELD_UNSET) {
        field = galois_init_default_field(8) == 0 ? FIELD_READY : FIELD_BROKEN;
        for (unsigned i = 0; region_kernels[i] && field == FIELD_READY; i++)
            if (!region_kernels[i]->setup())
                field = FIELD_BROKEN;
    }
    drop_lock();
    return field == FIELD_READY;
}

/* coef = the parity rows of V * inverse(T), V the Vandermonde matrix of the row numbers and T its top square. Row r of that
 * product carries the values of a polynomial at 0 .. k-1 to its value at r, so its entries are Lagrange's:
 *   coef(r, c) = product over j < k, j != c of (r - j) / (c - j)          ("-" is XOR)
 * Inverting T instead takes 50 ms at k = 254: a peer could make a worker stand still by changing shapes. */
static void generator(uint8_t *coef, unsigned k, unsigned m)
{
    int below[SHARD_MAX_N];

    for (unsigned c = 0; c < k; c++) {
        below[c] = 1;
        for (unsigned j = 0; j < k; j++)
            if (j != c)
                below[c] = galois_single_multiply(below[c], (int)(c ^ j), 8);
    }
    for (unsigned r = k; r < k + m; r++) {
        int all = 1;

        for (unsigned j = 0; j < k; j++)
            all = galois_single_multiply(all, (int)(r ^ j), 8);
        for (unsigned c = 0; c < k; c++)
            *coef++ = (uint8_t)galois_single_divide(all, galois_single_multiply(below[c], (int)(r ^ c), 8), 8);
    }
}

static struct rs *build(const struct region_ops *ops, unsigned k, unsigned m)
{
    size_t n_coef = (size_t)k * m, bytes = sizeof(struct rs) + n_coef + ops->table_size(k, m);
    struct rs *rs = calloc(1, bytes);

    if (!rs)
        return NULL;
    *rs = (struct rs){.ops = ops, .k = k, .m = m, .refs = 1, .bytes = bytes, .coef = (uint8_t *)(rs + 1)};
    rs->table = rs->coef + n_coef;
    generator(rs->coef, k, m);
    ops->prepare(rs->table, rs->coef, k, m);
    return rs;
}

/* Under the lock. */
static struct rs *find(const struct region_ops *ops, unsigned k, unsigned m)
{
    for (struct rs *rs = codecs; rs; rs = rs->next)
        if (rs->ops == ops && rs->k == k && rs->m == m) {
            rs->refs++;
            return rs;
        }
    return NULL;
}

struct rs *rs_new_on(const struct region_ops *ops, unsigned k, unsigned m)
{
    struct rs *rs, *made;

    if (!k || !m || k > SHARD_MAX_N || m > SHARD_MAX_N || k + m > SHARD_MAX_N || !region_usable(ops) || !field_setup())
        return NULL;
    take_lock();
    rs = find(ops, k, m);
    drop_lock();
    if (rs)
        return rs;
    made = build(ops, k, m);
    if (!made)
        return NULL;
    take_lock();
    rs = find(ops, k, m); /* another thread may have been faster */
    if (!rs) {
        rs = made;
        made = NULL;
        rs->next = codecs;
        codecs = rs;
        codecs_bytes += rs->bytes;
    }
    drop_lock();
    free(made);
    return rs;
}

struct rs *rs_new(unsigned k, unsigned m)
{
    const struct region_ops *const *ops = region_kernels;

    while (!region_usable(*ops)) /* the last one always is */
        ops++;
    return rs_new_on(*ops, k, m);
}

struct rs *rs_free(struct rs *rs)
{
    if (!rs)
        return NULL;
    take_lock();
    if (--rs->refs) {
        rs = NULL;
    } else {
        struct rs **at = &codecs;

        while (*at != rs)
            at = &(*at)->next;
        *at = rs->next;
        codecs_bytes -= rs->bytes;
    }
    drop_lock();
    free(rs);
    return NULL;
}

size_t rs_memory(void)
{
    size_t n;

    take_lock();
    n = codecs_bytes;
    drop_lock();
    return n;
}

const uint8_t *rs_parity_row(const struct rs *rs, unsigned i)
{
    return rs->coef + (size_t)i * rs->k;
}

void rs_encode(const struct rs *rs, unsigned n, const uint8_t *const data[], uint8_t *const parity[], size_t len)
{
    rs->ops->dot(rs->table, rs->k, n, data, parity, len);
}

void rs_encode_add(const struct rs *rs, unsigned n, unsigned index, struct bytes data, uint8_t *const parity[])
{
    rs->ops->add(rs->table, rs->k, n, index, data.p, parity, data.len);
}
