// Kernels of our own (not oneDNN's): the output is cut into units (frames, rows, elements), a piece is `grain` of them.
#pragma once
#include "base/arithmetic.h"
#include "device/cpu/cpu.h"
#include "device/cpu/simd_table.h"

typedef struct cpu_unit_kernel {
    cpu_kernel kernel;
    const cpu_simd *simd;
    int64_t units, grain;
    char name[48];
} cpu_unit_kernel;

const cpu_simd *lm_cpu_simd_of(cpu_level level);

// One phase over `units`. grain 0: units are frames, and the kernel may run in chains.
lm_status lm_cpu_unit_kernel_create(lm_error *e, const cpu_state *s, const lm_op *op, int64_t units, int64_t grain,
                                    cpu_piece_fn run, cpu_unit_kernel **out);

static inline const cpu_unit_kernel *cpu_unit_kernel_of(const cpu_piece *p) {
    return (const cpu_unit_kernel *)p->kernel;
}

static inline cpu_range cpu_units_of(const cpu_piece *p) {
    const cpu_unit_kernel *k = cpu_unit_kernel_of(p);
    int64_t end = (p->index + 1) * k->grain;
    return (cpu_range){p->index * k->grain, end < k->units ? end : k->units};
}

static inline int64_t cpu_channels(const lm_desc *d) {
    return d->dim[d->rank - 1];
}
static inline bool cpu_is_real(lm_dtype type) {
    return type == LM_F32 || type == LM_BF16;
}
// Element i of an operand's memory.
static inline void *cpu_at(const lm_operand *o, int64_t i) {
    return (char *)o->data + i * (int64_t)lm_dtype_size(o->desc.type);
}
// n of an operand's elements from `at` on as floats: in place when they are, else converted into buffer.
static inline const float *cpu_floats(const cpu_simd *simd, const lm_operand *o, int64_t at, int64_t n, float *buffer) {
    if (o->desc.type == LM_F32) return cpu_at(o, at);
    simd->convert(LM_F32, buffer, o->desc.type, cpu_at(o, at), n);
    return buffer;
}
