// The kernels for x86-64 processors with AVX-512 (F, BW, VL, DQ).
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"))),                   \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")
#endif
#define VL 16
#define SIMD_TABLE lm_cpu_simd_avx512
#define SIMD_NAME "avx512"
#include "device/cpu/simd_all.inc"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
typedef int lm_no_avx512_here;
#endif
