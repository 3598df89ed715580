// Weight gradients by oneDNN's convolutions.
#include "device/cpu/conv_grad.h"

static lm_status compute(const grad_kernel *k, const cpu_piece *p, void *x, void *dy, float *dw, float *db) {
    void *data[] = {x, dy, dw, db};
    return lm_dn_run(p->error, k->dnnl, &k->primitive[k->cut.piece[p->index].variant], p->thread, data, p->scratch);
}

// The forward pass that a gradient belongs to.
static dnnl_status_t describe_forward(const grad_kernel *k, const conv_variant *v, dnnl_primitive_desc_t *out) {
    dn_op op;
    const conv_types types = {k->type, k->type, k->type};
    dnnl_status_t status = lm_conv_op_of(&k->form, v, DN_CONV_TRAIN, types, NULL, k->bias, &op);
    if (status == dnnl_success) status = lm_dn_describe(k->dnnl, &op, false, NULL, out);
    lm_dn_op_free(&op);
    return status;
}

static dnnl_status_t describe(const grad_kernel *k, const conv_variant *v, dn_md md, dnnl_primitive_desc_t *out) {
    dn_op op;
    const conv_types types = {k->type, k->type, LM_F32};
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t status = describe_forward(k, v, &hint);
    if (status != dnnl_success) return status;
    status = lm_conv_op_of(&k->form, v, DN_CONV_GRAD_W, types, md, k->bias, &op);
    if (status == dnnl_success) status = lm_dn_describe(k->dnnl, &op, false, hint, out);
    lm_dn_op_free(&op);
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
    if (status != dnnl_success || lm_dn_is_plain(pd)) k->type = LM_F32;
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (status == dnnl_success || status == dnnl_unimplemented) return LM_OK;
    return lm_dn_fail(e, status, "a weight gradient");
}

// The primitive of variant i. The first one's layout of dw is that of all.
static lm_status prepare_variant(lm_error *e, grad_kernel *k, int i, dn_layout *dw) {
    static const int args[] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS};
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = describe(k, &k->cut.variant[i], i ? dn_md_of(dw) : NULL, &pd);
    if (status == dnnl_success && i == 0)
        status = lm_dn_layout_copy(dw, dnnl_primitive_desc_query_md(pd, dnnl_query_diff_weights_md, 0));
    lm_status result = status == dnnl_success ? LM_OK : lm_dn_fail(e, status, "a weight gradient");
    if (result == LM_OK && i == 0) result = lm_conv_layout_of(e, dn_md_of(dw), &k->layout);
    if (result == LM_OK) result = lm_dn_create(e, k->dnnl, pd, args, k->bias ? 4 : 3, &k->primitive[i]);
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (result != LM_OK) return result;
    k->primitives++;
    k->base.thread_scratch = lm_greater_size(k->base.thread_scratch, k->primitive[i].scratch);
    return LM_OK;
}

lm_status lm_grad_conv_prepare(lm_error *e, grad_kernel *k, cpu_level level, bool bf16) {
    dn_layout dw = {0};
    lm_status status = choose_type(e, k, level, bf16);
    for (int i = 0; status == LM_OK && i < k->cut.variants; i++) status = prepare_variant(e, k, i, &dw);
    lm_dn_layout_free(&dw);
    k->compute = compute;
    return status;
}
