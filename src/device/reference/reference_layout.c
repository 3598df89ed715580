// Operations that move elements: resizing, joining, shuffling, looking up.
#include "device/reference/reference.h"

// Calls for every element of the large picture [B,T,H,W,C]: its index and that of the element it repeats.
typedef void (*repeat_fn)(lm_reference_call *c, int64_t large, int64_t small);
static void for_repeats(lm_reference_call *c, const lm_desc *large, repeat_fn fn) {
    int time = c->op->attr.upsample.time, space = c->op->attr.upsample.space;
    int64_t h = large->dim[2], w = large->dim[3], channels = large->dim[4], i = 0;
    for (int64_t f = 0; f < large->dim[0] * large->dim[1]; f++) // T is a multiple of time, so clips need no care
        for (int64_t y = 0; y < h; y++)
            for (int64_t x = 0; x < w; x++) {
                int64_t from = (f / time * (h / space) + y / space) * (w / space) + x / space;
                for (int64_t ch = 0; ch < channels; ch++, i++) fn(c, i, from * channels + ch);
            }
}

static void repeat(lm_reference_call *c, int64_t large, int64_t small) {
    c->out[0][large] = c->in[0][small];
}
static void gather(lm_reference_call *c, int64_t large, int64_t small) {
    c->out[0][small] += c->in[0][large];
}

void lm_reference_upsample(lm_reference_call *c) {
    for_repeats(c, &c->io->out[0].desc, repeat);
}

void lm_reference_upsample_grad(lm_reference_call *c) {
    for_repeats(c, &c->io->in[0].desc, gather);
    for (int64_t i = 0; c->in[1] && i < lm_reference_size(&c->io->out[0].desc); i++) c->out[0][i] += c->in[1][i];
}

void lm_reference_concat(lm_reference_call *c) {
    int64_t a = lm_reference_last(&c->io->in[0].desc), b = lm_reference_last(&c->io->in[1].desc);
    for (int64_t r = 0; r < lm_reference_rows(&c->io->in[0].desc); r++) {
        double *y = c->out[0] + r * (a + b);
        for (int64_t i = 0; i < a; i++) y[i] = c->in[0][r * a + i];
        for (int64_t i = 0; i < b; i++) y[a + i] = c->in[1][r * b + i];
    }
}

void lm_reference_slice(lm_reference_call *c) {
    int64_t channels = lm_reference_last(&c->io->in[0].desc), count = c->op->attr.slice.count;
    const double *x = c->in[0] + c->op->attr.slice.first;
    for (int64_t r = 0; r < lm_reference_rows(&c->io->in[0].desc); r++)
        for (int64_t i = 0; i < count; i++)
            c->out[0][r * count + i] = x[r * channels + i] + (c->in[1] ? c->in[1][r * count + i] : 0);
}

// Index into [B,T,H/f,W/f,C f f] of element i of [B,T,H,W,C].
static int64_t deep_index(const lm_desc *wide, int64_t f, int64_t i) {
    int64_t channels = wide->dim[4], w = wide->dim[3], h = wide->dim[2];
    int64_t ch = i % channels, x = i / channels % w, y = i / channels / w % h, frame = i / channels / w / h;
    int64_t position = (frame * (h / f) + y / f) * (w / f) + x / f;
    return position * channels * f * f + ch * f * f + y % f * f + x % f;
}

void lm_reference_space_to_depth(lm_reference_call *c) {
    const lm_desc *wide = &c->io->in[0].desc;
    for (int64_t i = 0; i < lm_reference_size(wide); i++)
        c->out[0][deep_index(wide, c->op->attr.shuffle.factor, i)] = c->in[0][i];
}

void lm_reference_depth_to_space(lm_reference_call *c) {
    const lm_desc *wide = &c->io->out[0].desc;
    for (int64_t i = 0; i < lm_reference_size(wide); i++)
        c->out[0][i] = c->in[0][deep_index(wide, c->op->attr.shuffle.factor, i)];
}

static double real_tokens(const double *mask, int64_t tokens) { // at least 1
    double count = 0;
    for (int64_t l = 0; l < tokens; l++) count += mask[l];
    return count < 1 ? 1 : count;
}

void lm_reference_masked_mean(lm_reference_call *c) {
    const lm_desc *x = &c->io->in[0].desc;
    int64_t tokens = x->dim[1], width = x->dim[2];
    for (int64_t b = 0; b < x->dim[0]; b++) {
        const double *mask = c->in[1] + b * tokens;
        double count = real_tokens(mask, tokens);
        for (int64_t l = 0; l < tokens; l++)
            for (int64_t e = 0; e < width; e++)
                c->out[0][b * width + e] += c->in[0][(b * tokens + l) * width + e] * mask[l] / count;
    }
}

void lm_reference_masked_mean_grad(lm_reference_call *c) {
    const lm_desc *dx = &c->io->out[0].desc;
    int64_t tokens = dx->dim[1], width = dx->dim[2];
    for (int64_t b = 0; b < dx->dim[0]; b++) {
        const double *mask = c->in[0] + b * tokens;
        double count = real_tokens(mask, tokens);
        for (int64_t l = 0; l < tokens; l++)
            for (int64_t e = 0; e < width; e++)
                c->out[0][(b * tokens + l) * width + e] = c->in[1][b * width + e] * mask[l] / count;
    }
}

// The row of id i, or -1 after recording an id that the table of `rows` hasn't.
static int64_t table_row(lm_reference_call *c, int64_t i, int64_t rows) {
    double id = c->in[0][i];
    if (id >= 0 && id < (double)rows) return (int64_t)id;
    c->status = lm_fail(c->error, LM_FAILED, "embedding: id %.0f at position %lld; ids must lie in 0 to %lld", id,
                        (long long)i, (long long)rows - 1);
    return -1;
}

void lm_reference_embedding(lm_reference_call *c) {
    int64_t rows = c->io->in[1].desc.dim[0], width = c->io->in[1].desc.dim[1];
    for (int64_t i = 0; i < lm_reference_size(&c->io->in[0].desc); i++) {
        int64_t row = table_row(c, i, rows);
        if (row < 0) return;
        for (int64_t e = 0; e < width; e++) c->out[0][i * width + e] = c->in[1][row * width + e];
    }
}

void lm_reference_embedding_grad(lm_reference_call *c) {
    int64_t rows = c->io->out[0].desc.dim[0], width = c->io->out[0].desc.dim[1];
    for (int64_t i = 0; i < lm_reference_size(&c->io->in[0].desc); i++) {
        int64_t row = table_row(c, i, rows);
        if (row < 0) return;
        for (int64_t e = 0; e < width; e++) c->out[0][row * width + e] += c->in[1][i * width + e];
    }
}
