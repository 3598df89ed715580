// The kernels for any processor.
#define VL 4
#define SIMD_TABLE lm_cpu_simd_base
#define SIMD_NAME "base"
#include "device/cpu/simd_all.inc"
