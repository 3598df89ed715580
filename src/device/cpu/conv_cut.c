#include "device/cpu/conv_cut.h"
#include "base/arithmetic.h"
#include "base/memory.h"

static conv_form linear_form(const lm_desc *x, const lm_desc *y) {
    conv_form f = {.n = 1, .h = {1, 1, 1, 1}, .w = {1, 1, 1, 1}};
    f.ci = x->dim[x->rank - 1];
    f.co = y->dim[y->rank - 1];
    if (x->rank == 5) {
        f.n = x->dim[0] * x->dim[1];
        f.h.in = f.h.out = x->dim[2];
        f.w.in = f.w.out = x->dim[3];
        f.frames = true;
    } else {
        f.h.in = f.h.out = lm_desc_count(x) / lm_greater(f.ci, 1);
    }
    return f;
}

conv_form lm_conv_form_of(const lm_op *op, const lm_io *io) {
    const bool back = op->kind == LM_OP_CONV_GRAD_X || op->kind == LM_OP_LINEAR_GRAD_X;
    const bool weights = op->kind == LM_OP_CONV_GRAD_W || op->kind == LM_OP_LINEAR_GRAD_W;
    const lm_desc *x = back ? &io->out[0].desc : &io->in[0].desc;
    const lm_desc *y = back ? &io->in[0].desc : weights ? &io->in[1].desc : &io->out[0].desc;
    if (op->kind == LM_OP_LINEAR || op->kind == LM_OP_LINEAR_GRAD_X || op->kind == LM_OP_LINEAR_GRAD_W)
        return linear_form(x, y);
    const lm_conv_attr *a = &op->attr.conv;
    conv_form f = {.ci = x->dim[4], .co = y->dim[4]};
    if (a->axis == LM_TIME) {
        f.n = x->dim[0];
        f.h = (conv_side){x->dim[1], y->dim[1], a->kernel, a->stride};
        f.w = (conv_side){x->dim[2] * x->dim[3], y->dim[2] * y->dim[3], 1, 1};
    } else {
        f.n = x->dim[0] * x->dim[1];
        f.h = (conv_side){x->dim[2], y->dim[2], a->kernel, a->stride};
        f.w = (conv_side){x->dim[3], y->dim[3], a->kernel, a->stride};
        f.frames = true;
    }
    return f;
}

conv_form lm_conv_form_back(const conv_form *f) {
    conv_form b = *f;
    b.ci = f->co;
    b.co = f->ci;
    b.h.in = f->h.out;
    b.h.out = f->h.in;
    b.w.in = f->w.out;
    b.w.out = f->w.in;
    b.back = f->h.stride != 1 || f->w.stride != 1;
    b.flipped = !b.back;
    return b;
}

int64_t lm_conv_in_row(const conv_form *f) {
    return f->w.in * f->ci;
}
int64_t lm_conv_out_row(const conv_form *f) {
    return f->w.out * f->co;
}

static int find_variant(conv_cut *cut, conv_variant v) {
    for (int i = 0; i < cut->variants; i++) {
        const conv_variant *o = &cut->variant[i];
        if (o->n == v.n && o->in == v.in && o->out == v.out && o->pad_low == v.pad_low && o->pad_high == v.pad_high)
            return i;
    }
    if (cut->variants == CONV_VARIANTS) return -1;
    cut->variant[cut->variants] = v;
    return cut->variants++;
}

// Rows [a,b) of the output: which rows of input they need, from *first on.
static conv_variant rows_variant(const conv_side *h, bool back, int64_t a, int64_t b, int64_t *first) {
    const int64_t k = h->kernel, p = k / 2, s = h->stride;
    if (back) { // row o of the input reaches rows o s - p ... o s - p + k - 1 of the output
        const int64_t low = (lm_greater(a + p - k + 1, 0) + s - 1) / s, high = lm_lesser((b - 1 + p) / s + 1, h->in);
        *first = low;
        return (conv_variant){.n = 1,
                              .in = high - low,
                              .out = b - a,
                              .pad_low = lm_greater(a - (low * s - p), 0),
                              .pad_high = lm_greater((high - 1) * s - p + k - b, 0)};
    }
    const int64_t low = a * s - p, high = (b - 1) * s - p + k;
    const int64_t from = lm_greater(low, 0), to = lm_lesser(high, h->in);
    *first = from;
    return (conv_variant){.n = 1, .in = to - from, .out = b - a, .pad_low = from - low, .pad_high = high - to};
}

static lm_status cut_alloc(lm_error *e, int64_t pieces, conv_cut *cut) {
    *cut = (conv_cut){.pieces = pieces, .piece = lm_alloc_zero((size_t)pieces, sizeof *cut->piece)};
    return cut->piece ? LM_OK : lm_fail_memory(e, (double)pieces * sizeof *cut->piece, "a convolution's pieces");
}

lm_status lm_conv_cut_whole(lm_error *e, const conv_form *f, int64_t step, conv_cut *cut) {
    LM_TRY(cut_alloc(e, (f->n + step - 1) / step, cut));
    const conv_side *big = &f->h;
    const int64_t x = f->back ? big->out : big->in, y = f->back ? big->in : big->out, p = big->kernel / 2;
    const int64_t pad_high = lm_greater((y - 1) * big->stride - p + big->kernel - x, 0);
    for (int64_t i = 0; i < cut->pieces; i++) {
        conv_variant v = {lm_lesser(step, f->n - i * step), big->in, big->out, p, pad_high};
        cut->piece[i] = (conv_piece){.variant = find_variant(cut, v),
                                     .in = i * step * big->in * lm_conv_in_row(f),
                                     .out = i * step * big->out * lm_conv_out_row(f)};
    }
    return LM_OK;
}

lm_status lm_conv_cut_rows(lm_error *e, const conv_form *f, int64_t step, conv_cut *cut) {
    if (f->back) step = (step + f->h.stride - 1) / f->h.stride * f->h.stride;
    const int64_t ranges = (f->h.out + step - 1) / step;
    LM_TRY(cut_alloc(e, f->n * ranges, cut));
    for (int64_t i = 0; i < cut->pieces; i++) {
        const int64_t n = i / ranges, a = i % ranges * step, b = lm_lesser(a + step, f->h.out);
        int64_t first = 0;
        const int variant = find_variant(cut, rows_variant(&f->h, f->back, a, b, &first));
        if (variant < 0)
            return lm_fail(e, LM_FAILED, "a convolution along %lld rows fell into too many shapes",
                           (long long)f->h.out);
        cut->piece[i] = (conv_piece){.variant = variant,
                                     .in = (n * f->h.in + first) * lm_conv_in_row(f),
                                     .out = (n * f->h.out + a) * lm_conv_out_row(f)};
    }
    return LM_OK;
}

void lm_conv_cut_free(conv_cut *cut) {
    lm_free(cut->piece);
    *cut = (conv_cut){0};
}
