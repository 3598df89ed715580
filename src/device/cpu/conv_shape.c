#include "device/cpu/conv_kernel.h"

static dnnl_status_t picture(dn_layout *out, lm_dtype type, int64_t n, int64_t c, int64_t h, int64_t w) {
    const dnnl_dims_t dims = {n, c, h, w};
    return lm_dn_layout_tagged(out, 4, dims, type, dnnl_nhwc);
}

dnnl_status_t lm_conv_op_of(const conv_form *f, const conv_variant *v, dn_kind kind, conv_types types, dn_md weights,
                            bool bias, dn_op *op) {
    const int64_t x = f->back ? f->w.out : f->w.in, y = f->back ? f->w.in : f->w.out, pad = f->w.kernel / 2;
    const int64_t high = (y - 1) * f->w.stride - pad + f->w.kernel - x;
    *op = (dn_op){.kind = kind,
                  .has_bias = bias,
                  .stride = {f->h.stride, f->w.stride},
                  .low = {v->pad_low, pad},
                  .high = {v->pad_high, high > 0 ? high : 0}};
    dn_layout *in = f->back ? &op->y : &op->x, *out = f->back ? &op->x : &op->y;
    dnnl_status_t status = picture(in, types.in, v->n, f->ci, v->in, f->w.in);
    if (status == dnnl_success) status = picture(out, types.out, v->n, f->co, v->out, f->w.out);
    const dnnl_dims_t size = {f->back ? f->ci : f->co, f->back ? f->co : f->ci, f->h.kernel, f->w.kernel};
    if (status == dnnl_success)
        status = weights ? lm_dn_layout_copy(&op->weights, weights)
                         : lm_dn_layout_tagged(&op->weights, 4, size, types.weights, dnnl_format_tag_any);
    const dnnl_dims_t channels = {f->co};
    if (status == dnnl_success && bias) status = lm_dn_layout_tagged(&op->bias, 1, channels, LM_F32, dnnl_a);
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

bool lm_conv_takes(const lm_op *op, const lm_io *io) {
    for (int i = 0; i < LM_MAX_INPUTS + LM_MAX_OUTPUTS; i++) {
        const lm_desc *d = i < LM_MAX_INPUTS ? &io->in[i].desc : &io->out[i - LM_MAX_INPUTS].desc;
        if (d->rank == 0) continue;
        if (d->type != LM_F32 && (d->type != LM_BF16 || is_parameter(op, i))) return false;
        if (lm_desc_count(d) < 1) return false;
    }
    return true;
}
