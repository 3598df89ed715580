// Kernels that move values between positions and channels of clips [B,T,H,W,C].
#include "device/cpu/simple.h"

#include <string.h>

// What the resizing kernels share: the larger clip's frames and pixels are `time` and `space` times the smaller's.
typedef struct resize {
    int64_t T, H, W, C; // of the smaller clip
    int64_t time, space;
    int64_t row; // elements of the larger clip's rows of pixels
} resize;

static resize resize_of(const cpu_piece *p, const lm_desc *small) {
    const int64_t *d = small->dim, s = p->kernel->op.attr.upsample.space;
    return (resize){d[1], d[2], d[3], d[4], p->kernel->op.attr.upsample.time, s, d[3] * s * d[4]};
}

lm_status lm_cpu_run_upsample(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const lm_operand *x = &p->io->in[0], *y = &p->io->out[0];
    const resize z = resize_of(p, &x->desc);
    const int64_t size = (int64_t)lm_dtype_size(y->desc.type), bytes = z.C * size;
    for (int64_t f = range.first; f < range.end; f++) {
        int64_t from = (f / (z.T * z.time)) * z.T + f % (z.T * z.time) / z.time; // the smaller clip's frame
        for (int64_t h = 0; h < z.H; h++) {
            char *first = cpu_at(y, (f * z.H + h) * z.space * z.row), *to = first;
            const char *pixel = cpu_at(x, (from * z.H + h) * z.W * z.C);
            for (int64_t w = 0; w < z.W; w++, pixel += bytes)
                for (int64_t i = 0; i < z.space; i++, to += bytes) memcpy(to, pixel, (size_t)bytes);
            for (int64_t i = 1; i < z.space; i++, to += z.row * size) memcpy(to, first, (size_t)(z.row * size));
        }
    }
    return LM_OK;
}

lm_status lm_cpu_run_upsample_grad(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *dy = &p->io->in[0], *acc = &p->io->in[1], *dx = &p->io->out[0];
    const resize z = resize_of(p, &dx->desc);
    float *sum = p->scratch;
    for (int64_t f = range.first; f < range.end; f++) {
        for (int64_t h = 0; h < z.H; h++) {
            for (int64_t w = 0; w < z.W; w++) {
                int64_t at = ((f * z.H + h) * z.W + w) * z.C;
                memset(sum, 0, (size_t)z.C * sizeof *sum);
                for (int64_t i = 0; i < z.time * z.space; i++) {
                    int64_t row = ((f * z.time + i / z.space) * z.H + h) * z.space + i % z.space;
                    for (int64_t j = 0; j < z.space; j++)
                        simd->accumulate(sum, dy->desc.type, cpu_at(dy, row * z.row + (w * z.space + j) * z.C), z.C);
                }
                if (acc->desc.rank) simd->accumulate(sum, acc->desc.type, cpu_at(acc, at), z.C);
                simd->convert(dx->desc.type, cpu_at(dx, at), LM_F32, sum, z.C);
            }
        }
    }
    return LM_OK;
}

// Rows of channels in the piece.
static cpu_range rows_of(const cpu_piece *p) {
    cpu_range r = cpu_units_of(p);
    if (!p->kernel->base.frames) return r;
    const lm_desc *y = &p->io->out[0].desc;
    int64_t each = y->dim[2] * y->dim[3];
    return (cpu_range){r.first * each, r.end * each};
}

lm_status lm_cpu_run_concat(const cpu_piece *p) {
    const cpu_range r = rows_of(p);
    const lm_operand *a = &p->io->in[0], *b = &p->io->in[1], *y = &p->io->out[0];
    const int64_t ca = cpu_channels(&a->desc), cb = cpu_channels(&b->desc);
    const size_t size = lm_dtype_size(y->desc.type);
    for (int64_t i = r.first; i < r.end; i++) {
        memcpy(cpu_at(y, i * (ca + cb)), cpu_at(a, i * ca), (size_t)ca * size);
        memcpy(cpu_at(y, i * (ca + cb) + ca), cpu_at(b, i * cb), (size_t)cb * size);
    }
    return LM_OK;
}

lm_status lm_cpu_run_slice(const cpu_piece *p) {
    const cpu_range r = rows_of(p);
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *x = &p->io->in[0], *acc = &p->io->in[1], *y = &p->io->out[0];
    const int64_t all = cpu_channels(&x->desc), n = cpu_channels(&y->desc), first = p->kernel->op.attr.slice.first;
    for (int64_t i = r.first; i < r.end; i++) {
        const void *from = cpu_at(x, i * all + first);
        if (acc->desc.rank)
            simd->add(y->desc.type, cpu_at(y, i * n), x->desc.type, from, acc->desc.type, cpu_at(acc, i * n), n);
        else
            simd->convert(y->desc.type, cpu_at(y, i * n), x->desc.type, from, n);
    }
    return LM_OK;
}

// One pixel's channels, `step` apart at one of the two ends.
static void spread(size_t size, void *to, int64_t to_step, const void *from, int64_t from_step, int64_t n) {
    if (size == sizeof(uint32_t))
        for (int64_t i = 0; i < n; i++) ((uint32_t *)to)[i * to_step] = ((const uint32_t *)from)[i * from_step];
    else
        for (int64_t i = 0; i < n; i++) ((uint16_t *)to)[i * to_step] = ((const uint16_t *)from)[i * from_step];
}

// Between pictures of H x W x C and of H/f x W/f x C f f; to_depth says which way.
static lm_status shuffle(const cpu_piece *p, bool to_depth) {
    const cpu_range range = cpu_units_of(p);
    const lm_operand *x = &p->io->in[0], *y = &p->io->out[0];
    const lm_desc *wide = to_depth ? &x->desc : &y->desc;
    const int64_t H = wide->dim[2], W = wide->dim[3], C = wide->dim[4], f = p->kernel->op.attr.shuffle.factor;
    const size_t size = lm_dtype_size(y->desc.type);
    for (int64_t row = range.first * H; row < range.end * H; row++) {
        const int64_t t = row / H, h = row % H, deep_row = (t * (H / f) + h / f) * (W / f) * C * f * f + h % f * f;
        for (int64_t w = 0; w < W; w++) {
            int64_t flat = (row * W + w) * C, deep = deep_row + w / f * C * f * f + w % f;
            if (to_depth)
                spread(size, cpu_at(y, deep), f * f, cpu_at(x, flat), 1, C);
            else
                spread(size, cpu_at(y, flat), 1, cpu_at(x, deep), f * f, C);
        }
    }
    return LM_OK;
}

lm_status lm_cpu_run_space_to_depth(const cpu_piece *p) {
    return shuffle(p, true);
}
lm_status lm_cpu_run_depth_to_space(const cpu_piece *p) {
    return shuffle(p, false);
}

lm_status lm_cpu_run_add_position(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *x = &p->io->in[0], *position = &p->io->in[1], *y = &p->io->out[0];
    const int64_t T = x->desc.dim[1], C = cpu_channels(&x->desc);
    const int64_t rows = lm_desc_count(&x->desc) / (x->desc.dim[0] * T * C);
    for (int64_t u = range.first; u < range.end; u++)
        for (int64_t i = u * rows; i < (u + 1) * rows; i++)
            simd->add(y->desc.type, cpu_at(y, i * C), x->desc.type, cpu_at(x, i * C), position->desc.type,
                      cpu_at(position, u % T * C), C);
    return LM_OK;
}

lm_status lm_cpu_run_add_position_grad_p(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *dy = &p->io->in[0], *dp = &p->io->out[0];
    const int64_t B = dy->desc.dim[0], T = dy->desc.dim[1], C = cpu_channels(&dy->desc);
    const int64_t rows = lm_desc_count(&dy->desc) / (B * T * C);
    float *sum = p->scratch;
    for (int64_t t = range.first; t < range.end; t++) {
        memset(sum, 0, (size_t)C * sizeof *sum);
        for (int64_t b = 0; b < B && t < T; b++)
            for (int64_t i = 0; i < rows; i++)
                simd->accumulate(sum, dy->desc.type, cpu_at(dy, ((b * T + t) * rows + i) * C), C);
        simd->convert(dp->desc.type, cpu_at(dp, t * C), LM_F32, sum, C);
    }
    return LM_OK;
}
