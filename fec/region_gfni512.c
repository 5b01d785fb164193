/* fec/region_gfni512.c - the region kernel by GFNI on 512-bit registers. Its oracle is gf-complete. */
#if defined(__x86_64__)
#define VEC_BITS 512

#include "fec/region_gfni.h"

const struct region_ops region_gfni512 = REGION_GFNI("gfni512");
#endif
