// Attention and its gradient: operands to jobs for the vector kernels, one job a head of a unit. Units are frames in
// space, pixels in time, and clips where the text's gradient is summed over frames.
#include "device/cpu/units.h"

#include <string.h>

enum { PIXELS_PER_PIECE = 4 };

typedef struct layout {
    int64_t frames, pixels, width, heads, tokens; // frames: T; width: C
    int64_t clips;
    bool time;
} layout;

static layout layout_of(const lm_op *op, const lm_io *io) {
    const lm_desc *x = &io->in[0].desc;
    return (layout){x->dim[1],
                    x->dim[2] * x->dim[3],
                    x->dim[4] / 3,
                    op->attr.attention.heads,
                    io->in[1].desc.rank ? io->in[1].desc.dim[1] : 0,
                    x->dim[0],
                    op->attr.attention.axis == LM_TIME};
}

static int64_t most_keys(const layout *l) {
    return l->time ? l->frames : l->pixels + l->tokens;
}

static bool mask_keeps(const lm_operand *mask, int64_t i) {
    const void *data = mask->data;
    if (mask->desc.type == LM_I32) return ((const int32_t *)data)[i] > 0;
    if (mask->desc.type == LM_F32) return ((const float *)data)[i] > 0.5f;
    return ((const uint16_t *)data)[i] > 0x3f00 && ((const uint16_t *)data)[i] < 0x8000; // bf16: above 0.5
}

// The keys that take part for a clip, see cpu_attention_job.
static int64_t list_keys(const layout *l, const lm_io *io, int64_t clip, int32_t *keys) {
    const lm_operand *mask = &io->in[2];
    const int64_t rows = l->time ? l->frames : l->pixels;
    const bool row_mask = mask->desc.rank && !l->tokens;
    int64_t n = 0;
    for (int64_t i = 0; i < rows; i++)
        if (!row_mask || mask_keeps(mask, clip * rows + i)) keys[n++] = (int32_t)i;
    for (int64_t i = 0; i < l->tokens; i++)
        if (!mask->desc.rank || mask_keeps(mask, clip * l->tokens + i)) keys[n++] = (int32_t)(rows + i);
    return n;
}

typedef struct work {
    const cpu_piece *piece;
    layout l;
    cpu_attention_job job;
    int32_t *keys;
    bool backward;
} work;

static work start(const cpu_piece *p) {
    work w = {
        .piece = p, .l = layout_of(&p->kernel->op, p->io), .backward = p->kernel->op.kind == LM_OP_ATTENTION_GRAD};
    const int64_t d = w.l.width / w.l.heads;
    w.keys = p->scratch;
    w.job = (cpu_attention_job){
        .rows = w.l.time ? w.l.frames : w.l.pixels,
        .stride = w.l.time ? w.l.pixels : 1,
        .width = w.l.width,
        .head_dim = d,
        .scale = (float)(1 / __builtin_sqrt((double)d)),
        .type = p->io->in[0].desc.type,
        .keys = w.keys,
        .text_type = p->io->in[1].desc.type,
        .scratch = (float *)p->scratch + cpu_padded(most_keys(&w.l)),
    };
    return w;
}

// One head of the unit whose first row is `row` of all rows [B,T,H,W].
static void run_head(work *w, int64_t clip, int64_t row, int64_t head) {
    const cpu_simd *simd = cpu_unit_kernel_of(w->piece)->simd;
    const lm_io *io = w->piece->io;
    cpu_attention_job *j = &w->job;
    const int64_t at = head * j->head_dim;
    j->qkv = cpu_at(&io->in[0], row * 3 * j->width + at);
    j->text = w->l.tokens ? cpu_at(&io->in[1], clip * w->l.tokens * 2 * j->width + at) : NULL;
    if (w->backward) {
        j->dy = cpu_at(&io->in[3], row * j->width + at);
        j->dqkv = cpu_at(&io->out[0], row * 3 * j->width + at);
        simd->attention_grad(j);
    } else {
        j->y = cpu_at(&io->out[0], row * j->width + at);
        simd->attention(j);
    }
}

static lm_status run_space(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    work w = start(p);
    for (int64_t f = range.first; f < range.end; f++) {
        int64_t clip = f / w.l.frames;
        if (f == range.first || f % w.l.frames == 0) w.job.key_count = list_keys(&w.l, p->io, clip, w.keys);
        for (int64_t h = 0; h < w.l.heads; h++) run_head(&w, clip, f * w.l.pixels, h);
    }
    return LM_OK;
}

static lm_status run_time(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    work w = start(p);
    w.job.key_count = list_keys(&w.l, p->io, 0, w.keys);
    for (int64_t h = 0; h < w.l.heads; h++) {
        for (int64_t i = range.first; i < range.end; i++) {
            int64_t clip = i / w.l.pixels;
            run_head(&w, clip, clip * w.l.frames * w.l.pixels + i % w.l.pixels, h);
        }
    }
    return LM_OK;
}

// Backward with the text's gradient: a unit is a head of a clip, over all its frames.
static lm_status run_text(const cpu_piece *p) {
    const cpu_range range = cpu_units_of(p);
    const cpu_simd *simd = cpu_unit_kernel_of(p)->simd;
    const lm_operand *out = &p->io->out[1];
    work w = start(p);
    const int64_t d = w.job.head_dim, dp = cpu_padded(d), n = w.l.tokens * dp;
    w.job.dtext_k = w.job.scratch;
    w.job.dtext_v = w.job.scratch + n;
    w.job.scratch += 2 * n;
    for (int64_t u = range.first; u < range.end; u++) {
        int64_t clip = u / w.l.heads, head = u % w.l.heads;
        w.job.key_count = list_keys(&w.l, p->io, clip, w.keys);
        memset(w.job.dtext_k, 0, (size_t)(2 * n) * sizeof(float));
        for (int64_t t = 0; t < w.l.frames; t++) run_head(&w, clip, (clip * w.l.frames + t) * w.l.pixels, head);
        for (int64_t l = 0; l < w.l.tokens; l++) {
            int64_t at = (clip * w.l.tokens + l) * 2 * w.l.width + head * d;
            simd->convert(out->desc.type, cpu_at(out, at), LM_F32, w.job.dtext_k + l * dp, d);
            simd->convert(out->desc.type, cpu_at(out, at + w.l.width), LM_F32, w.job.dtext_v + l * dp, d);
        }
    }
    return LM_OK;
}

static bool takes(const lm_op *op, const lm_io *io) {
    if (op->kind != LM_OP_ATTENTION && op->kind != LM_OP_ATTENTION_GRAD) return false;
    const lm_dtype type = io->in[0].desc.type;
    if (!cpu_is_real(type) || !io->out[0].desc.rank || io->out[0].desc.type != type) return false;
    if (op->kind == LM_OP_ATTENTION_GRAD && io->in[3].desc.type != type) return false;
    if (io->in[1].desc.rank && !cpu_is_real(io->in[1].desc.type)) return false;
    if (io->in[2].desc.rank && io->in[2].desc.type == LM_F64) return false;
    return !io->out[1].desc.rank || cpu_is_real(io->out[1].desc.type);
}

lm_status lm_cpu_prepare_attention(lm_error *e, cpu_state *s, const lm_op *op, const lm_io *io, cpu_kernel **out) {
    if (!takes(op, io)) return LM_OK;
    const layout l = layout_of(op, io);
    const int64_t d = l.width / l.heads;
    const bool backward = op->kind == LM_OP_ATTENTION_GRAD, text = backward && io->out[1].desc.rank;
    int64_t floats = cpu_padded(most_keys(&l)) + cpu_attention_scratch(most_keys(&l), d, backward);
    cpu_unit_kernel *k;
    if (text) {
        LM_TRY(lm_cpu_unit_kernel_create(e, s, op, l.clips * l.heads, 1, run_text, &k));
        floats += 2 * l.tokens * cpu_padded(d);
    } else if (l.time) {
        LM_TRY(lm_cpu_unit_kernel_create(e, s, op, l.clips * l.pixels, PIXELS_PER_PIECE, run_time, &k));
    } else {
        LM_TRY(lm_cpu_unit_kernel_create(e, s, op, l.clips * l.frames, 0, run_space, &k));
    }
    k->kernel.thread_scratch = (size_t)floats * sizeof(float);
    *out = &k->kernel;
    return LM_OK;
}
