/* core/base/simd.h - leaving a library's vector code. */
#ifndef BASE_SIMD_H
#define BASE_SIMD_H

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx"))) static inline void simd_clear_upper_halves(void)
{
    _mm256_zeroupper();
}

/* isa-l's kernels return with the upper halves of the vector registers in use, and every SSE instruction after that
 * (such as those of a 16-byte memcpy) waits for them: 140 ns a packet. */
static inline void simd_leave(void)
{
    if (__builtin_cpu_supports("avx"))
        simd_clear_upper_halves();
}
#else
static inline void simd_leave(void)
{
}
#endif

#endif
