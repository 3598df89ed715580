// Weight gradients by oneDNN's convolutions.
#include "device/cpu/conv_grad.h"

static lm_status compute(const grad_kernel *k, const cpu_piece *p, void *x, void *dy, float *dw, float *db) {
    void *data[] = {x, dy, dw, db};
    return dn_run(p->error, k->dnnl, &k->primitive[k->cut.piece[p->index].variant], p->thread, data, p->scratch);
}

static dnnl_status_t describe(const grad_kernel *k, const conv_variant *v, const dnnl_memory_desc_t *md,
                              dnnl_primitive_desc_t *out) {
    conv_shape s;
    dnnl_status_t status = conv_shape_of(&k->form, v, k->type, k->type, k->type, k->bias, &s);
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t hint = NULL;
    if (status == dnnl_success)
        status =
            dnnl_convolution_forward_desc_init(&op, dnnl_forward_training, dnnl_convolution_direct, &s.x, &s.weights,
                                               k->bias ? &s.bias : NULL, &s.y, s.stride, s.low, s.high);
    if (status == dnnl_success) status = dn_describe(k->dnnl, &op, false, NULL, &hint);
    if (status != dnnl_success) return status;
    s.weights.data_type = dnnl_f32;
    if (md) s.weights = *md;
    status = dnnl_convolution_backward_weights_desc_init(&op, dnnl_convolution_direct, &s.x, &s.weights,
                                                         k->bias ? &s.bias : NULL, &s.y, s.stride, s.low, s.high);
    if (status == dnnl_success) status = dn_describe(k->dnnl, &op, false, hint, out);
    dnnl_primitive_desc_destroy(hint);
    return status;
}

// bf16 where oneDNN has a good implementation of it.
static lm_status choose_type(lm_error *e, grad_kernel *k, cpu_level level, bool bf16) {
    k->type = LM_F32;
    if (!bf16 || level < CPU_AVX512_BF16) return LM_OK;
    k->type = LM_BF16;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = describe(k, &k->cut.variant[0], NULL, &pd);
    if (status != dnnl_success || dn_is_plain(pd)) k->type = LM_F32;
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (status == dnnl_success || status == dnnl_unimplemented) return LM_OK;
    return dn_fail(e, status, "a weight gradient");
}

lm_status grad_conv_prepare(lm_error *e, grad_kernel *k, cpu_level level, bool bf16) {
    static const int args[] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS};
    dnnl_memory_desc_t md = {0};
    LM_TRY(choose_type(e, k, level, bf16));
    for (int i = 0; i < k->cut.variants; i++) {
        dnnl_primitive_desc_t pd = NULL;
        dnnl_status_t status = describe(k, &k->cut.variant[i], i ? &md : NULL, &pd);
        if (status != dnnl_success) return dn_fail(e, status, "a weight gradient");
        lm_status result = LM_OK;
        if (i == 0) {
            md = *dnnl_primitive_desc_query_md(pd, dnnl_query_diff_weights_md, 0);
            result = conv_layout_of(e, &md, &k->layout);
        }
        if (result == LM_OK) result = dn_create(e, k->dnnl, pd, args, k->bias ? 4 : 3, &k->primitive[i]);
        dnnl_primitive_desc_destroy(pd);
        if (result != LM_OK) return result;
        k->primitives++;
        k->base.thread_scratch = larger_size(k->base.thread_scratch, k->primitive[i].scratch);
    }
    k->compute = compute;
    return LM_OK;
}
