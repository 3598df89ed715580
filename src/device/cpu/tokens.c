// Kernels on tokens and times: embedding, masked mean, sinusoids.
#include "device/cpu/simple.h"

#include <math.h>
#include <string.h>

static float number_at(const cpu_simd *simd, const lm_operand *o, int64_t i) {
    float buffer;
    return *cpu_floats(simd, o, i, 1, &buffer);
}

void cpu_run_fourier(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *y = &p->io->out[0];
    const int64_t width = cpu_channels(&y->desc), half = width / 2;
    float *row = p->scratch;
    for (int64_t b = range.first; b < range.end; b++) {
        const double t = 1000 * (double)number_at(simd, &p->io->in[0], b);
        for (int64_t i = 0; i < half; i++) {
            double angle = t * pow(10000, -(double)i / (double)half);
            row[i] = (float)sin(angle);
            row[half + i] = (float)cos(angle);
        }
        simd->convert(y->desc.type, cpu_at(y, b * width), LM_F32, row, width);
    }
}

static float mask_count(const cpu_simd *simd, const lm_operand *mask, int64_t b, int64_t L) {
    float n = 0;
    for (int64_t l = 0; l < L; l++) n += number_at(simd, mask, b * L + l);
    return n > 1 ? n : 1;
}

void cpu_run_masked_mean(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *x = &p->io->in[0], *mask = &p->io->in[1], *y = &p->io->out[0];
    const int64_t L = x->desc.dim[1], E = x->desc.dim[2];
    float *sum = p->scratch, *buffer = sum + cpu_padded(E);
    for (int64_t b = range.first; b < range.end; b++) {
        const float count = mask_count(simd, mask, b, L);
        memset(sum, 0, (size_t)E * sizeof *sum);
        for (int64_t l = 0; l < L; l++) {
            const float weight = number_at(simd, mask, b * L + l) / count;
            const float *row = cpu_floats(simd, x, (b * L + l) * E, E, buffer);
            for (int64_t i = 0; i < E && weight != 0; i++) sum[i] += weight * row[i];
        }
        simd->convert(y->desc.type, cpu_at(y, b * E), LM_F32, sum, E);
    }
}

void cpu_run_masked_mean_grad(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *mask = &p->io->in[0], *dy = &p->io->in[1], *dx = &p->io->out[0];
    const int64_t L = dx->desc.dim[1], E = dx->desc.dim[2];
    float *row = p->scratch, *buffer = row + cpu_padded(E);
    for (int64_t b = range.first; b < range.end; b++) {
        const float count = mask_count(simd, mask, b, L), *d = cpu_floats(simd, dy, b * E, E, buffer);
        for (int64_t l = 0; l < L; l++) {
            const float weight = number_at(simd, mask, b * L + l) / count;
            for (int64_t i = 0; i < E; i++) row[i] = weight * d[i];
            simd->convert(dx->desc.type, cpu_at(dx, (b * L + l) * E), LM_F32, row, E);
        }
    }
}

// An id outside the table gives zeros: it can't come from our tokeniser, and must not read foreign memory.
void cpu_run_embedding(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const lm_operand *table = &p->io->in[1], *y = &p->io->out[0];
    const int32_t *ids = p->io->in[0].data;
    const int64_t V = table->desc.dim[0], E = table->desc.dim[1];
    for (int64_t i = range.first; i < range.end; i++) {
        void *to = cpu_at(y, i * E);
        if (ids[i] < 0 || ids[i] >= V)
            memset(to, 0, (size_t)E * lm_dtype_size(y->desc.type));
        else
            cpu_unit_kernel_of(p)->simd->convert(y->desc.type, to, table->desc.type, cpu_at(table, ids[i] * E), E);
    }
}

// A piece holds its rows of the table as sums and looks for their ids among all.
void cpu_run_embedding_grad(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *dy = &p->io->in[1], *table = &p->io->out[0];
    const int32_t *ids = p->io->in[0].data;
    const int64_t E = cpu_channels(&table->desc), tokens = lm_desc_count(&p->io->in[0].desc);
    float *sum = p->scratch;
    memset(sum, 0, (size_t)((range.end - range.first) * E) * sizeof *sum);
    for (int64_t i = 0; i < tokens; i++)
        if (ids[i] >= range.first && ids[i] < range.end)
            simd->accumulate(sum + (ids[i] - range.first) * E, dy->desc.type, cpu_at(dy, i * E), E);
    simd->convert(table->desc.type, cpu_at(table, range.first * E), LM_F32, sum, (range.end - range.first) * E);
}
