/* fec/region_gfni256.c - the region kernel by GFNI on 256-bit registers. Its oracle is gf-complete. */
#if defined(__x86_64__)
#define VEC_BITS 256

#include "fec/region_gfni.h"

const struct region_ops region_gfni256 = REGION_GFNI("gfni256");
#endif
