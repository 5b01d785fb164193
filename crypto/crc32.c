/* crypto/crc32.c - both CRCs: isa-l's carry-less multiplication where it was built in, eight tables otherwise. */
#include "crypto/crc32.h"

#include "core/base/simd.h"

#if HAVE_ISAL
#define crc32_ieee isal_crc32_ieee /* its declaration would meet ours */
#include <isa-l/crc.h>
#undef crc32_ieee
#include <limits.h>
#endif

#include "core/base/wire.h"

enum { SLICES = 8 };

/* t[k][b]: the remainder of byte b with k zero bytes behind it. */
struct crc_tables {
    uint32_t t[SLICES][256];
};

static struct crc_tables ieee, castagnoli;

static void tables_fill(struct crc_tables *c, uint32_t poly)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t r = b;

        for (int bit = 0; bit < 8; bit++)
            r = r >> 1 ^ (r & 1 ? poly : 0);
        c->t[0][b] = r;
    }
    for (int k = 1; k < SLICES; k++)
        for (int b = 0; b < 256; b++)
            c->t[k][b] = c->t[k - 1][b] >> 8 ^ c->t[0][c->t[k - 1][b] & 255];
}

/* Before main(), so that no caller has to know that there are tables. */
__attribute__((constructor)) static void tables_start(void)
{
    tables_fill(&ieee, 0xedb88320); /* reflected polynomials */
    tables_fill(&castagnoli, 0x82f63b78);
}

static uint32_t crc_sliced(const struct crc_tables *c, struct bytes b)
{
    uint32_t r = UINT32_MAX;

    for (; b.len >= SLICES; b.p += SLICES, b.len -= SLICES) {
        uint32_t lo = get_le32(b.p) ^ r, hi = get_le32(b.p + 4);

        r = c->t[7][lo & 255] ^ c->t[6][lo >> 8 & 255] ^ c->t[5][lo >> 16 & 255] ^ c->t[4][lo >> 24] ^
            c->t[3][hi & 255] ^ c->t[2][hi >> 8 & 255] ^ c->t[1][hi >> 16 & 255] ^ c->t[0][hi >> 24];
    }
    for (; b.len; b.p++, b.len--)
        r = r >> 8 ^ c->t[0][(r ^ *b.p) & 255];
    return ~r;
}

uint32_t crc32_ieee_portable(struct bytes b)
{
    return crc_sliced(&ieee, b);
}

uint32_t crc32c_portable(struct bytes b)
{
    return crc_sliced(&castagnoli, b);
}

#if HAVE_ISAL
uint32_t crc32_ieee_fast(struct bytes b)
{
    uint32_t r = crc32_gzip_refl(0, b.p, b.len); /* inverts at both ends itself */

    simd_leave();
    return r;
}

uint32_t crc32c(struct bytes b)
{
    uint32_t r = UINT32_MAX;

    while (b.len) { /* takes its length as an int, and its input as if it wrote there */
        size_t n = MIN(b.len, (size_t)INT_MAX);

        r = crc32_iscsi((unsigned char *)(uintptr_t)b.p, (int)n, r);
        b = bytes_of(b.p + n, b.len - n);
    }
    simd_leave();
    return ~r;
}
#else
uint32_t crc32_ieee_fast(struct bytes b)
{
    return crc32_ieee_portable(b);
}

uint32_t crc32c(struct bytes b)
{
    return crc32c_portable(b);
}
#endif
