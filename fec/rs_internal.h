/* fec/rs_internal.h - what rs.c and rs_plan.c share. */
#ifndef FEC_RS_INTERNAL_H
#define FEC_RS_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

struct region_ops;

struct rs {
    struct rs *next; /* in the list of codecs; this and refs change under its lock only */
    unsigned refs;
    unsigned k, m;
    const struct region_ops *ops;
    size_t bytes;
    uint8_t *coef; /* m x k, behind the struct */
    uint8_t *table; /* the kernel's form of it, behind that */
};

#endif
