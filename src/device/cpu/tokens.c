// Kernels on tokens and times: embedding, masked mean, sinusoids.
#include "device/cpu/simple.h"

#include <math.h>
#include <string.h>

static float number_at(const cpu_simd *simd, const lm_operand *o, int64_t i) {
    float buffer;
    return *cpu_floats(simd, o, i, 1, &buffer);
}

lm_status lm_cpu_run_fourier(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *y = &p->io->out[0];
    const lm_fourier_attr *a = &p->kernel->op.attr.fourier;
    const int64_t width = cpu_channels(&y->desc), half = width / 2;
    float *row = p->scratch, *sine = row + (a->cosine_first ? half : 0), *cosine = row + (a->cosine_first ? 0 : half);
    for (int64_t b = range.first; b < range.end; b++) {
        const double t = a->scale * (double)number_at(simd, &p->io->in[0], b);
        for (int64_t i = 0; i < half; i++) {
            double angle = t * pow(10000, -(double)i / (double)half);
            sine[i] = (float)sin(angle);
            cosine[i] = (float)cos(angle);
        }
        simd->convert(y->desc.type, cpu_at(y, b * width), LM_F32, row, width);
    }
    return LM_OK;
}

static float mask_count(const cpu_simd *simd, const lm_operand *mask, int64_t b, int64_t L) {
    float n = 0;
    for (int64_t l = 0; l < L; l++) n += number_at(simd, mask, b * L + l);
    return n > 1 ? n : 1;
}

lm_status lm_cpu_run_masked_mean(const cpu_piece *p) {
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
    return LM_OK;
}

lm_status lm_cpu_run_masked_mean_grad(const cpu_piece *p) {
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
    return LM_OK;
}

// Our tokeniser gives no id outside the table, and none may read or write foreign memory.
static lm_status check_id(const cpu_piece *p, int64_t i, int64_t rows) {
    const int32_t id = ((const int32_t *)p->io->in[0].data)[i];
    if (id >= 0 && id < rows) return LM_OK;
    return lm_fail(p->error, LM_FAILED, "embedding: id %d at position %lld; ids must lie in 0 to %lld", (int)id,
                   (long long)i, (long long)rows - 1);
}

lm_status lm_cpu_run_embedding(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const lm_operand *table = &p->io->in[1], *y = &p->io->out[0];
    const int32_t *ids = p->io->in[0].data;
    const int64_t V = table->desc.dim[0], E = table->desc.dim[1];
    for (int64_t i = range.first; i < range.end; i++) {
        LM_TRY(check_id(p, i, V));
        cpu_unit_kernel_of(p)->simd->convert(y->desc.type, cpu_at(y, i * E), table->desc.type,
                                             cpu_at(table, ids[i] * E), E);
    }
    return LM_OK;
}

// A piece holds its rows of the table as sums and looks for their ids among all.
lm_status lm_cpu_run_embedding_grad(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *dy = &p->io->in[1], *table = &p->io->out[0];
    const int32_t *ids = p->io->in[0].data;
    const int64_t E = cpu_channels(&table->desc), tokens = lm_desc_count(&p->io->in[0].desc);
    float *sum = p->scratch;
    memset(sum, 0, (size_t)((range.end - range.first) * E) * sizeof *sum);
    for (int64_t i = 0; i < tokens; i++) {
        LM_TRY(check_id(p, i, table->desc.dim[0]));
        if (ids[i] >= range.first && ids[i] < range.end)
            simd->accumulate(sum + (ids[i] - range.first) * E, dy->desc.type, cpu_at(dy, i * E), E);
    }
    simd->convert(table->desc.type, cpu_at(table, range.first * E), LM_F32, sum, (range.end - range.first) * E);
    return LM_OK;
}
