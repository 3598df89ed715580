#include "device/cpu/units.h"

#include "base/memory.h"

#include <stdio.h>

const cpu_simd *lm_cpu_simd_of(cpu_level level) {
#if defined(__x86_64__)
    return level >= CPU_AVX512 ? &lm_cpu_simd_avx512 : level == CPU_AVX2 ? &lm_cpu_simd_avx2 : &lm_cpu_simd_base;
#else
    (void)level;
    return &lm_cpu_simd_base;
#endif
}

lm_status lm_cpu_unit_kernel_create(lm_error *e, const cpu_state *s, const lm_op *op, int64_t units, int64_t grain,
                                    cpu_piece_fn run, cpu_unit_kernel **out) {
    cpu_unit_kernel *k = lm_alloc_zero(1, sizeof *k);
    if (!k) return lm_fail_memory(e, (double)sizeof *k, "a kernel");
    k->simd = lm_cpu_simd_of(s->level);
    k->units = units;
    k->grain = grain ? grain : cpu_frames_per_piece(units);
    k->kernel.op = *op;
    k->kernel.base.frames = grain ? 0 : units;
    k->kernel.phases = 1;
    k->kernel.phase[0] = (cpu_phase){lm_divide_up(units, k->grain), run};
    snprintf(k->name, sizeof k->name, "cpu %s %s", lm_op_name(op->kind), k->simd->name);
    k->kernel.base.name = k->name;
    *out = k;
    return LM_OK;
}
