/* core/base/vec.h - vectors of one width, so that a kernel is written once and compiled for 256 and for 512 bits.
 * A file includes it once, behind #define VEC_BITS (256 or 512) and VEC_FEATURES, a target string of the instructions its
 * VEC_FN functions use besides those of vec_usable(). XOR is the operator ^. x86-64 only. */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* X(0), X(1) ... written out, so that every vector stays in a register of its own: for vectors of VEC_BITS that hold 64,
 * 128 or 256 bytes together. */
#define VEC_X1(X) X(0)
#define VEC_X2(X) X(0) X(1)
#define VEC_X4(X) VEC_X2(X) X(2) X(3)
#define VEC_X8(X) VEC_X4(X) X(4) X(5) X(6) X(7)

#define VEC_FN __attribute__((target(VEC_TARGET)))

enum { VEC_BYTES = VEC_BITS / 8, VEC_PARTS = VEC_BITS / 128 };

#if VEC_BITS == 512
#define VEC_TARGET              "avx512f,avx512bw,bmi2," VEC_FEATURES
#define VEC                     __m512i
#define VEC_UNALIGNED           __m512i_u
#define VEC_OP(name)            _mm512_##name
#define VEC_OF_64(X)            VEC_X1(X)
#define VEC_OF_128(X)           VEC_X2(X)
#define VEC_OF_256(X)           VEC_X4(X)
#define VEC_OF_512(X)           VEC_X8(X)
#define VEC_SET1_64(x)          _mm512_set1_epi64(x)
#define VEC_PART(x, i)          _mm512_extracti32x4_epi32(x, i)
#define VEC_XOR_3(a, b, c)      _mm512_ternarylogic_epi64(a, b, c, 0x96)
#define VEC_XOR_ROL(to, x, n)   ((to) ^ _mm512_rol_epi32(x, n))
#else
#define VEC_TARGET              "avx2," VEC_FEATURES
#define VEC                     __m256i
#define VEC_UNALIGNED           __m256i_u
#define VEC_OP(name)            _mm256_##name
#define VEC_OF_64(X)            VEC_X2(X)
#define VEC_OF_128(X)           VEC_X4(X)
#define VEC_OF_256(X)           VEC_X8(X)
#define VEC_SET1_64(x)          _mm256_set1_epi64x(x)
#define VEC_PART(x, i)          _mm256_extracti128_si256(x, i)
#define VEC_XOR_3(a, b, c)      ((a) ^ (b) ^ (c))
#define VEC_XOR_ROL(to, x, n)   ((to) ^ _mm256_slli_epi32(x, n) ^ _mm256_srli_epi32(x, 32 - (n)))
#endif

static inline VEC_FN VEC vec_load(const void *p)
{
    return *(const VEC_UNALIGNED *)p;
}

static inline VEC_FN void vec_store(void *p, VEC x)
{
    *(VEC_UNALIGNED *)p = x;
}

#if VEC_BITS == 512
/* What the instructions beyond VEC_FEATURES need. */
static inline bool vec_usable(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("bmi2");
}

static inline VEC_FN VEC vec_all(__m128i x)
{
    return _mm512_broadcast_i32x4(x);
}

/* The parts of x, xored. */
static inline VEC_FN __m128i vec_fold(VEC x)
{
    __m256i y = _mm512_castsi512_si256(x) ^ _mm512_extracti64x4_epi64(x, 1);

    return _mm256_castsi256_si128(y) ^ _mm256_extracti128_si256(y, 1);
}

/* The first n bytes, 0..VEC_BYTES, touching no others; zeros behind them. */
static inline VEC_FN VEC vec_load_part(const uint8_t *p, size_t n)
{
    return _mm512_maskz_loadu_epi8(_bzhi_u64(UINT64_MAX, (unsigned)n), p);
}

static inline VEC_FN void vec_store_part(uint8_t *p, VEC x, size_t n)
{
    _mm512_mask_storeu_epi8(p, _bzhi_u64(UINT64_MAX, (unsigned)n), x);
}

/* x with zeros behind its first n bytes. */
static inline VEC_FN VEC vec_cut(VEC x, size_t n)
{
    return _mm512_maskz_mov_epi8(_bzhi_u64(UINT64_MAX, (unsigned)n), x);
}
#else
static inline bool vec_usable(void)
{
    return __builtin_cpu_supports("avx2");
}

static inline VEC_FN VEC vec_all(__m128i x)
{
    return _mm256_broadcastsi128_si256(x);
}

static inline VEC_FN __m128i vec_fold(VEC x)
{
    return VEC_PART(x, 0) ^ VEC_PART(x, 1);
}

static inline VEC_FN VEC vec_load_part(const uint8_t *p, size_t n)
{
    uint8_t b[VEC_BYTES] = {0};

    if (n == VEC_BYTES)
        return vec_load(p);
    memcpy(b, p, n);
    return vec_load(b);
}

static inline VEC_FN void vec_store_part(uint8_t *p, VEC x, size_t n)
{
    uint8_t b[VEC_BYTES];

    if (n == VEC_BYTES) {
        vec_store(p, x);
        return;
    }
    vec_store(b, x);
    memcpy(p, b, n);
}

static inline VEC_FN VEC vec_cut(VEC x, size_t n)
{
    const VEC place = _mm256_set_epi8(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11,
                                      10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);

    return _mm256_and_si256(x, _mm256_cmpgt_epi8(_mm256_set1_epi8((char)n), place));
}
#endif

#endif
