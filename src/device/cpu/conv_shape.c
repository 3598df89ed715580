#include "device/cpu/conv_kernel.h"

static dnnl_status_t picture(dnnl_memory_desc_t *md, lm_dtype type, int64_t n, int64_t c, int64_t h, int64_t w) {
    const dnnl_dims_t dims = {n, c, h, w};
    return dnnl_memory_desc_init_by_tag(md, 4, dims, type == LM_BF16 ? dnnl_bf16 : dnnl_f32, dnnl_nhwc);
}

dnnl_status_t conv_shape_of(const conv_form *f, const conv_variant *v, lm_dtype in_type, lm_dtype out_type,
                            lm_dtype weights_type, bool bias, conv_shape *s) {
    dnnl_memory_desc_t *in = f->back ? &s->y : &s->x, *out = f->back ? &s->x : &s->y;
    const int64_t x = f->back ? f->w.out : f->w.in, y = f->back ? f->w.in : f->w.out, pad = f->w.kernel / 2;
    const int64_t high = (y - 1) * f->w.stride - pad + f->w.kernel - x;
    s->stride[0] = f->h.stride;
    s->stride[1] = f->w.stride;
    s->low[0] = v->pad_low;
    s->low[1] = pad;
    s->high[0] = v->pad_high;
    s->high[1] = high > 0 ? high : 0;
    dnnl_status_t status = picture(in, in_type, v->n, f->ci, v->in, f->w.in);
    if (status == dnnl_success) status = picture(out, out_type, v->n, f->co, v->out, f->w.out);
    const dnnl_dims_t weights = {f->back ? f->ci : f->co, f->back ? f->co : f->ci, f->h.kernel, f->w.kernel};
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_tag(&s->weights, 4, weights, weights_type == LM_BF16 ? dnnl_bf16 : dnnl_f32,
                                              dnnl_format_tag_any);
    const dnnl_dims_t channels = {f->co};
    if (status == dnnl_success && bias) status = dnnl_memory_desc_init_by_tag(&s->bias, 1, channels, dnnl_f32, dnnl_a);
    return status;
}

static bool is_parameter(const lm_op *op, int operand) {
    switch (op->kind) {
    case LM_OP_CONV_GRAD_W:
    case LM_OP_LINEAR_GRAD_W:
        return operand >= LM_MAX_INPUTS;
    case LM_OP_CONV_GRAD_X:
    case LM_OP_LINEAR_GRAD_X:
        return operand == 1;
    default:
        return operand == 1 || operand == 2;
    }
}

bool conv_takes(const lm_op *op, const lm_io *io) {
    for (int i = 0; i < LM_MAX_INPUTS + LM_MAX_OUTPUTS; i++) {
        const lm_desc *d = i < LM_MAX_INPUTS ? &io->in[i].desc : &io->out[i - LM_MAX_INPUTS].desc;
        if (d->rank == 0) continue;
        if (d->type != LM_F32 && (d->type != LM_BF16 || is_parameter(op, i))) return false;
        if (lm_desc_count(d) < 1) return false;
    }
    return true;
}
