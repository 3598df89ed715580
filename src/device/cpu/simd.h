// Vectors of VL floats, for sources compiled once per instruction set: simd_base.c, simd_avx2.c and simd_avx512.c
// define VL and the compiler's target before they include this. bf16 is converted by integer arithmetic, rounding to
// nearest even, so it comes out the same at every level.
#pragma once
#include "base/bf16.h"
#include "device/cpu/simd_table.h"
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define INLINE static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef uint32_t vu __attribute__((vector_size(VL * 4)));
typedef uint16_t vh __attribute__((vector_size(VL * 2)));

INLINE vf v_all(float x) {
    return x - (vf){0};
}

INLINE vf v_fma(vf a, vf b, vf c) {
#if VL == 16
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif VL == 8
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

INLINE vf v_select(vi mask, vf a, vf b) {
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

// b where either is NaN.
INLINE vf v_max(vf a, vf b) {
#if VL == 16
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif VL == 8
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return v_select(a > b, a, b);
#endif
}

INLINE vf v_min(vf a, vf b) {
#if VL == 16
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif VL == 8
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return v_select(a < b, a, b);
#endif
}

INLINE vf v_sqrt(vf a) {
#if VL == 16
    return (vf)_mm512_sqrt_ps((__m512)a);
#elif VL == 8
    return (vf)_mm256_sqrt_ps((__m256)a);
#else
    for (int i = 0; i < VL; i++) a[i] = sqrtf(a[i]);
    return a;
#endif
}

INLINE float v_sum(vf a) {
    float s[VL];
    memcpy(s, &a, sizeof a);
    for (int w = VL / 2; w; w /= 2)
        for (int i = 0; i < w; i++) s[i] += s[i + w];
    return s[0];
}

INLINE float v_largest(vf a) {
    float m = a[0];
    for (int i = 1; i < VL; i++) m = a[i] > m ? a[i] : m;
    return m;
}

INLINE vf v_from_bf16(vh h) {
#if VL == 16
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)h), 16);
#elif VL == 8
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)h), 16);
#else
    return (vf)(__builtin_convertvector(h, vu) << 16);
#endif
}

// As bf16 in the upper halves; the lower ones are of no use.
INLINE vu v_bf16_bits(vf x) {
    const vu u = (vu)x, rounded = u + 0x7fff + (u >> 16 & 1);
#if VL == 16
    const __mmask16 nan = _mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_UNORD_Q);
    return (vu)_mm512_mask_or_epi32((__m512i)rounded, nan, (__m512i)u, _mm512_set1_epi32(0x400000));
#else
    const vu ordered = (vu)(x == x);
    return (ordered & rounded) | (~ordered & (u | 0x400000));
#endif
}

INLINE vh v_to_bf16(vf x) {
    const vu bits = v_bf16_bits(x);
#if VL == 16
    // A word permutation, because vpmovdw, above all to memory, is slow on Zen 4.
    const __m512i upper = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 31, 29, 27, 25, 23, 21, 19,
                                           17, 15, 13, 11, 9, 7, 5, 3, 1);
    return (vh)_mm512_castsi512_si256(_mm512_permutexvar_epi16(upper, (__m512i)bits));
#elif VL == 8
    __m256i pairs = _mm256_packus_epi32((__m256i)(bits >> 16), (__m256i)(bits >> 16));
    return (vh)_mm256_castsi256_si128(_mm256_permute4x64_epi64(pairs, 0x08));
#else
    return __builtin_convertvector(bits >> 16, vh);
#endif
}

// VL elements of a type (F32 or BF16), starting at element i of p.
INLINE vf v_load(lm_dtype type, const void *p, int64_t i) {
    if (type == LM_F32) {
        vf x;
        memcpy(&x, (const float *)p + i, sizeof x);
        return x;
    }
    vh h;
    memcpy(&h, (const uint16_t *)p + i, sizeof h);
    return v_from_bf16(h);
}

INLINE void v_store(lm_dtype type, void *p, int64_t i, vf x) {
    if (type == LM_F32) {
        memcpy((float *)p + i, &x, sizeof x);
        return;
    }
    vh h = v_to_bf16(x);
    memcpy((uint16_t *)p + i, &h, sizeof h);
}

// The first n < VL of them; the others read as 0 and are not written.
INLINE vf v_load_part(lm_dtype type, const void *p, int64_t i, int64_t n) {
#if VL == 16
    const __mmask16 mask = (__mmask16)((1u << n) - 1);
    if (type == LM_F32) return (vf)_mm512_maskz_loadu_ps(mask, (const float *)p + i);
    return v_from_bf16((vh)_mm256_maskz_loadu_epi16(mask, (const uint16_t *)p + i));
#else
    float x[VL] = {0};
    for (int64_t j = 0; j < n; j++)
        x[j] = type == LM_F32 ? ((const float *)p)[i + j] : lm_float_from_bf16(((const uint16_t *)p)[i + j]);
    vf v;
    memcpy(&v, x, sizeof v);
    return v;
#endif
}

INLINE void v_store_part(lm_dtype type, void *p, int64_t i, int64_t n, vf v) {
#if VL == 16
    const __mmask16 mask = (__mmask16)((1u << n) - 1);
    if (type == LM_F32)
        _mm512_mask_storeu_ps((float *)p + i, mask, (__m512)v);
    else
        _mm256_mask_storeu_epi16((uint16_t *)p + i, mask, (__m256i)v_to_bf16(v));
#else
    float x[VL];
    memcpy(x, &v, sizeof x);
    for (int64_t j = 0; j < n; j++) {
        if (type == LM_F32)
            ((float *)p)[i + j] = x[j];
        else
            ((uint16_t *)p)[i + j] = lm_bf16_from_float(x[j]);
    }
#endif
}

INLINE vf v_get(lm_dtype type, const void *p, int64_t i, int64_t n) {
    return n >= VL ? v_load(type, p, i) : v_load_part(type, p, i, n);
}

INLINE void v_put(lm_dtype type, void *p, int64_t i, int64_t n, vf x) {
    if (n >= VL)
        v_store(type, p, i, x);
    else
        v_store_part(type, p, i, n, x);
}

// Vectors to work on side by side where each needs a long chain of operations, so that the processor always has some to
// begin: more than it finds by looking ahead.
enum { SIDE_BY_SIDE = VL == 16 ? 4 : 2 };

// e^x to about 1 ulp, x limited to [-87, 88]; NaN stays NaN. Polynomial of Cephes' expf (Moshier). n <= 4 vectors, in
// place.
INLINE void v_exps(int n, vf *x) {
    const vf magic = v_all(12582912.0f); // 1.5 2^23: adding it rounds to an integer
    vf t[4], r[4], p[4];
    UNROLL for (int k = 0; k < n; k++) x[k] = v_min(v_all(88.0f), v_max(v_all(-87.0f), x[k]));
    UNROLL for (int k = 0; k < n; k++) t[k] = v_fma(x[k], v_all(1.44269504f), magic);
    UNROLL for (int k = 0; k < n; k++) r[k] = v_fma(t[k] - magic, v_all(-0.693359375f), x[k]);
    UNROLL for (int k = 0; k < n; k++) r[k] = v_fma(t[k] - magic, v_all(2.12194440e-4f), r[k]);
    UNROLL for (int k = 0; k < n; k++) p[k] = v_fma(v_all(1.9875691500e-4f), r[k], v_all(1.3981999507e-3f));
    UNROLL for (int k = 0; k < n; k++) p[k] = v_fma(p[k], r[k], v_all(8.3334519073e-3f));
    UNROLL for (int k = 0; k < n; k++) p[k] = v_fma(p[k], r[k], v_all(4.1665795894e-2f));
    UNROLL for (int k = 0; k < n; k++) p[k] = v_fma(p[k], r[k], v_all(1.6666665459e-1f));
    UNROLL for (int k = 0; k < n; k++) p[k] = v_fma(p[k], r[k], v_all(5.0000001201e-1f));
    UNROLL for (int k = 0; k < n; k++) p[k] = v_fma(p[k], r[k] * r[k], r[k]) + 1;
    UNROLL for (int k = 0; k < n; k++) x[k] = (vf)((vi)p[k] + ((vi)t[k] << 23)); // the low bits of t are the exponent
}

// 1 / x to about 1 ulp, in place.
INLINE void v_reciprocals(int n, vf *x) {
#if VL == 16
    vf r[4];
    UNROLL for (int k = 0; k < n; k++) r[k] = (vf)_mm512_rcp14_ps((__m512)x[k]);
    UNROLL for (int k = 0; k < n; k++) x[k] = v_fma(-x[k], r[k], v_all(1));
    UNROLL for (int k = 0; k < n; k++) x[k] = v_fma(r[k], x[k], r[k]); // a step of Newton's
#else
    UNROLL for (int k = 0; k < n; k++) x[k] = 1 / x[k];
#endif
}

// 1 / (1 + e^-x), in place.
INLINE void v_sigmoids(int n, vf *x) {
    UNROLL for (int k = 0; k < n; k++) x[k] = -x[k];
    v_exps(n, x);
    UNROLL for (int k = 0; k < n; k++) x[k] += 1;
    v_reciprocals(n, x);
}

// x sigmoid(x), in place.
INLINE void v_silus(int n, vf *x) {
    vf s[4];
    UNROLL for (int k = 0; k < n; k++) s[k] = x[k];
    v_sigmoids(n, s);
    UNROLL for (int k = 0; k < n; k++) x[k] *= s[k];
}

// d silu(x) / dx = s (1 + x (1 - s)), s = sigmoid(x), in place.
INLINE void v_silu_slopes(int n, vf *x) {
    vf s[4];
    UNROLL for (int k = 0; k < n; k++) s[k] = x[k];
    v_sigmoids(n, s);
    UNROLL for (int k = 0; k < n; k++) x[k] = v_fma(x[k] * s[k], 1 - s[k], s[k]);
}

// The standard normal distribution: p = Phi(x), and q = e^(-x^2 / 2). With z = |x| / sqrt(2) and t = 1 / (1 + 0.45 z),
// erfc(z) = e^(-z^2) t P(2t - 1); P fitted by weighted least squares to an error of 4e-8 of the value for all z.
INLINE void v_normals(int n, const vf *x, vf *p, vf *q) {
    static const float c[] = {0.46714020f,    0.33543453f,     0.16278911f,    0.042139297f,  -0.0028567078f,
                              -0.0051360397f, -0.00014730692f, 0.00070041056f, 1.7285331e-5f, -8.0855609e-5f};
    vf t[4], u[4];
    UNROLL for (int k = 0; k < n; k++) t[k] = v_min(v_all(1e10f), v_max(x[k], -x[k]));
    UNROLL for (int k = 0; k < n; k++) t[k] = v_fma(t[k], v_all(0.31819805f), v_all(1));
    UNROLL for (int k = 0; k < n; k++) q[k] = v_all(-0.5f) * x[k] * x[k];
    v_reciprocals(n, t);
    v_exps(n, q);
    UNROLL for (int k = 0; k < n; k++) u[k] = t[k] + t[k] - 1;
    UNROLL for (int k = 0; k < n; k++) p[k] = v_all(c[9]);
    UNROLL for (int i = 8; i >= 0; i--) UNROLL for (int k = 0; k < n; k++) p[k] = v_fma(p[k], u[k], v_all(c[i]));
    UNROLL for (int k = 0; k < n; k++) p[k] *= v_all(0.5f) * q[k] * t[k];
    UNROLL for (int k = 0; k < n; k++) p[k] = v_select(x[k] < 0, p[k], 1 - p[k]);
}

// x Phi(x), in place.
INLINE void v_gelus(int n, vf *x) {
    vf p[4], q[4];
    v_normals(n, x, p, q);
    UNROLL for (int k = 0; k < n; k++) x[k] *= p[k];
}

// d gelu(x) / dx = Phi(x) + x phi(x), phi the density, in place.
INLINE void v_gelu_slopes(int n, vf *x) {
    vf p[4], q[4];
    v_normals(n, x, p, q);
    UNROLL for (int k = 0; k < n; k++) x[k] = v_fma(v_all(0.39894228f) * x[k], q[k], p[k]);
}
