// The most that this machine's multipliers give on all of the device's threads: fp32 fused multiply-add, or bf16 dot
// products where the processor has them.
#include "base/clock.h"
#include "base/threads.h"
#include "device/cpu/cpu.h"

#include <math.h>
#include <stdbool.h>

// Ten accumulators hide the latency of a fused multiply-add; each instruction is repeated for ten registers.
enum { ROUNDS = 200000, REGISTERS = 10 };

typedef double (*peak_loop)(void); // runs ROUNDS rounds, returns the operations done

#if defined(__x86_64__)
#define LOOP(name, op, r, operations)                                                                                  \
    static double name(void) {                                                                                         \
        long n = ROUNDS;                                                                                               \
        __asm__ volatile(".irp i,0,1,2,3,4,5,6,7,8,9,14,15\nvpxor %%xmm\\i, %%xmm\\i, %%xmm\\i\n.endr\n"               \
                         "1:\n.irp i,0,1,2,3,4,5,6,7,8,9\n" op " %%" r "14, %%" r "15, %%" r "\\i\n.endr\n"            \
                         "dec %0\njnz 1b\nvzeroupper\n"                                                                \
                         : "+r"(n)                                                                                     \
                         :                                                                                             \
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm14",    \
                           "xmm15", "cc");                                                                             \
        return (double)(operations)*REGISTERS * ROUNDS;                                                                \
    }
LOOP(fp32_avx512, "vfmadd231ps", "zmm", 2 * 16)
LOOP(bf16_avx512, "vdpbf16ps", "zmm", 2 * 32)
LOOP(fp32_avx2, "vfmadd231ps", "ymm", 2 * 8)
#endif

// Anything else, and processors without fused multiply-add: what the compiler makes of it.
static double plain(void) {
    volatile float sink;
    float a[64] = {0};
    const float b = 0.999f, c = 0.001f;
    for (int round = 0; round < ROUNDS / 8; round++)
        for (int i = 0; i < 64; i++) a[i] = a[i] * b + c;
    for (int i = 0; i < 64; i++) sink = a[i];
    (void)sink;
    return 2.0 * 64 * (ROUNDS / 8);
}

static peak_loop choose(lm_dtype type, lm_dtype *of) {
    *of = LM_F32;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (type == LM_BF16 && __builtin_cpu_supports("avx512bf16")) {
        *of = LM_BF16;
        return bf16_avx512;
    }
    if (__builtin_cpu_supports("avx512f")) return fp32_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return fp32_avx2;
#else
    (void)type;
#endif
    return plain;
}

static lm_status run_loop(lm_error *e, void *context, int64_t piece, int thread) {
    (void)e, (void)piece, (void)thread;
    ((peak_loop *)context)[0]();
    return LM_OK;
}

lm_status lm_cpu_peak(lm_error *e, lm_device *d, lm_dtype type, double *out, lm_dtype *of) {
    const cpu_state *s = d->state;
    peak_loop loop = choose(type, of);
    const int64_t pieces = 4 * (int64_t)s->threads;
    const double operations = loop() * (double)pieces;
    *out = 0;
    for (int i = 0; i < 20; i++) {
        const double start = lm_seconds();
        LM_TRY(lm_pool_run(e, s->pool, pieces, run_loop, &loop));
        *out = fmax(*out, operations / (lm_seconds() - start));
    }
    return LM_OK;
}
