// Normalisation and its gradients: operands to jobs for the vector kernels, one job a unit.
#include "device/cpu/units.h"

enum { ROWS_PER_PIECE = 32, CHANNELS_PER_PIECE = 64 };

typedef struct norm_shape {
    int64_t units, positions, channels;
} norm_shape;

static norm_shape shape_of(const lm_desc *x) {
    int64_t c = cpu_channels(x), rows = lm_desc_count(x) / c;
    int64_t units = x->rank == 5 ? x->dim[0] * x->dim[1] : rows;
    return (norm_shape){units, rows / units, c};
}

// Operands as the kernels take them; what is not in fp32 is converted into buffer, 4 rows of padded channels.
static cpu_norm_job make_job(const cpu_piece *p, float *buffer) {
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *in = p->io->in;
    const lm_norm_attr *a = &p->kernel->op.attr.norm;
    const norm_shape s = shape_of(&in[0].desc);
    return (cpu_norm_job){
        .positions = s.positions,
        .channels = s.channels,
        .groups = a->groups,
        .eps = a->eps,
        .silu = a->silu,
        .x_type = in[0].desc.type,
        .y_type = p->io->out[0].desc.type,
        .gamma = cpu_floats(simd, &in[1], 0, s.channels, buffer),
        .beta = cpu_floats(simd, &in[2], 0, s.channels, buffer + cpu_padded(s.channels)),
        .scratch = buffer + 4 * cpu_padded(s.channels),
    };
}

static void set_scale_shift(cpu_norm_job *j, const cpu_piece *p, int64_t unit, float *buffer) {
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *ss = &p->io->in[3];
    if (!ss->desc.rank) return;
    const int64_t c = j->channels, at = unit / (cpu_unit_kernel_of(p)->units / ss->desc.dim[0]) * 2 * c;
    j->scale = cpu_floats(simd, ss, at, c, buffer + 2 * cpu_padded(c));
    j->shift = cpu_floats(simd, ss, at + c, c, buffer + 3 * cpu_padded(c));
}

static lm_status run_norm(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    cpu_norm_job j = make_job(p, p->scratch);
    for (int64_t u = range.first; u < range.end; u++) {
        set_scale_shift(&j, p, u, p->scratch);
        j.x = cpu_at(&p->io->in[0], u * j.positions * j.channels);
        j.y = cpu_at(&p->io->out[0], u * j.positions * j.channels);
        cpu_unit_kernel_of(p)->simd->norm(&j);
    }
    return LM_OK;
}

static lm_status run_norm_grad(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const lm_operand *in = p->io->in, *out = p->io->out;
    cpu_norm_job j = make_job(p, p->scratch);
    j.dy_type = in[4].desc.type;
    j.acc_type = in[5].desc.type;
    for (int64_t u = range.first; u < range.end; u++) {
        int64_t at = u * j.positions * j.channels;
        set_scale_shift(&j, p, u, p->scratch);
        j.x = cpu_at(&in[0], at);
        j.dy = cpu_at(&in[4], at);
        j.acc = in[5].desc.rank ? cpu_at(&in[5], at) : NULL;
        j.y = out[0].desc.rank ? cpu_at(&out[0], at) : NULL;
        j.sums = out[1].desc.rank ? (float *)out[1].data + u * 2 * j.channels : NULL;
        cpu_unit_kernel_of(p)->simd->norm_grad(&j);
    }
    return LM_OK;
}

// dgamma = sum over units of (1 + scale) sums[u, 1], dbeta of (1 + scale) sums[u, 0]; a unit is a channel here.
static lm_status run_affine(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const lm_operand *ss = &p->io->in[1], *out = p->io->out;
    const float *sums = p->io->in[0].data;
    const int64_t units = p->io->in[0].desc.dim[0], C = cpu_units_of(p).end ? cpu_unit_kernel_of(p)->units : 0;
    const int64_t n = range.end - range.first, per_clip = ss->desc.rank ? units / ss->desc.dim[0] : units;
    double gamma[CHANNELS_PER_PIECE] = {0}, beta[CHANNELS_PER_PIECE] = {0};
    float buffer[CHANNELS_PER_PIECE], result[CHANNELS_PER_PIECE];
    for (int64_t u = 0; u < units; u++) {
        const float *s = sums + u * 2 * C + range.first, *scale = NULL;
        if (ss->desc.rank)
            scale = cpu_floats(cpu_unit_kernel_of(p)->simd, ss, u / per_clip * 2 * C + range.first, n, buffer);
        for (int64_t c = 0; c < n; c++) {
            double grow = scale ? 1 + (double)scale[c] : 1;
            beta[c] += grow * s[c];
            gamma[c] += grow * s[C + c];
        }
    }
    for (int i = 0; i < 2; i++) {
        if (!out[i].desc.rank) continue;
        for (int64_t c = 0; c < n; c++) result[c] = (float)(i ? beta[c] : gamma[c]);
        cpu_unit_kernel_of(p)->simd->convert(out[i].desc.type, cpu_at(&out[i], range.first), LM_F32, result, n);
    }
    return LM_OK;
}

// dss[b] = (sum of gamma sums[u, 1] + beta sums[u, 0], sum of sums[u, 0]) over the clip's units; a unit is a clip here.
static lm_status run_scale_shift(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *in = p->io->in, *out = p->io->out;
    const int64_t C = cpu_channels(&in[0].desc), frames = in[0].desc.dim[0] / cpu_unit_kernel_of(p)->units;
    const int64_t padded = cpu_padded(C);
    float *scale = p->scratch, *shift = scale + padded;
    const float *gamma = cpu_floats(simd, &in[1], 0, C, shift + padded);
    const float *beta = cpu_floats(simd, &in[2], 0, C, shift + 2 * padded);
    for (int64_t b = range.first; b < range.end; b++) {
        for (int64_t c = 0; c < C; c++) scale[c] = shift[c] = 0;
        for (int64_t t = b * frames; t < (b + 1) * frames; t++) {
            const float *s = (const float *)in[0].data + t * 2 * C;
            for (int64_t c = 0; c < C; c++) {
                scale[c] += gamma[c] * s[C + c] + beta[c] * s[c];
                shift[c] += s[c];
            }
        }
        simd->convert(out[0].desc.type, cpu_at(&out[0], b * 2 * C), LM_F32, scale, C);
        simd->convert(out[0].desc.type, cpu_at(&out[0], b * 2 * C + C), LM_F32, shift, C);
    }
    return LM_OK;
}

static lm_status prepare_parts(lm_error *e, cpu_state *s, const lm_op *op, const lm_io *io, cpu_kernel **out) {
    const int64_t c = cpu_channels(&io->in[0].desc);
    const bool affine = op->kind == LM_OP_NORM_GRAD_AFFINE;
    if (io->in[0].desc.type != LM_F32) return LM_OK;
    cpu_unit_kernel *k;
    LM_TRY(affine ? lm_cpu_unit_kernel_create(e, s, op, c, CHANNELS_PER_PIECE, run_affine, &k)
                  : lm_cpu_unit_kernel_create(e, s, op, op->attr.clips.clips, 1, run_scale_shift, &k));
    k->kernel.thread_scratch = affine ? 0 : (size_t)(4 * cpu_padded(c)) * sizeof(float);
    *out = &k->kernel;
    return LM_OK;
}

lm_status lm_cpu_prepare_norm(lm_error *e, cpu_state *s, const lm_op *op, const lm_io *io, cpu_kernel **out) {
    const bool forward = op->kind == LM_OP_NORM;
    if (op->kind == LM_OP_NORM_GRAD_AFFINE || op->kind == LM_OP_NORM_GRAD_SS) return prepare_parts(e, s, op, io, out);
    if (!forward && op->kind != LM_OP_NORM_GRAD) return LM_OK;
    for (int i = 0; i < LM_MAX_INPUTS; i++)
        if (io->in[i].desc.rank && !cpu_is_real(io->in[i].desc.type)) return LM_OK;
    if (io->out[0].desc.rank && !cpu_is_real(io->out[0].desc.type)) return LM_OK;
    if (io->out[1].desc.rank && io->out[1].desc.type != LM_F32) return LM_OK;
    const norm_shape n = shape_of(&io->in[0].desc);
    cpu_unit_kernel *k;
    LM_TRY(lm_cpu_unit_kernel_create(e, s, op, n.units, io->in[0].desc.rank == 5 ? 0 : ROWS_PER_PIECE,
                                     forward ? run_norm : run_norm_grad, &k));
    int64_t floats =
        forward || !op->attr.norm.silu ? cpu_norm_scratch(n.channels) : cpu_norm_grad_scratch(n.positions, n.channels);
    k->kernel.thread_scratch = (size_t)(floats + 4 * cpu_padded(n.channels)) * sizeof(float);
    *out = &k->kernel;
    return LM_OK;
}
