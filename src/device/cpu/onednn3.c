// What oneDNN 3 calls otherwise than oneDNN 2.
#include "device/cpu/onednn.h"
#include <string.h>

#if DNNL_VERSION_MAJOR >= 3

static dnnl_data_type_t type_of(lm_dtype type) {
    return type == LM_BF16 ? dnnl_bf16 : dnnl_f32;
}

dnnl_status_t lm_dn_layout_tagged(dn_layout *out, int rank, const dnnl_dims_t size, lm_dtype type,
                                  dnnl_format_tag_t tag) {
    return dnnl_memory_desc_create_with_tag(&out->md, rank, size, type_of(type), tag);
}

dnnl_status_t lm_dn_layout_strided(dn_layout *out, int rank, const dnnl_dims_t size, lm_dtype type,
                                   const dnnl_dims_t stride) {
    return dnnl_memory_desc_create_with_strides(&out->md, rank, size, type_of(type), stride);
}

dnnl_status_t lm_dn_layout_copy(dn_layout *out, dn_md from) {
    return dnnl_memory_desc_clone(&out->md, from);
}

void lm_dn_layout_free(dn_layout *l) {
    if (l->md) dnnl_memory_desc_destroy(l->md);
    *l = (dn_layout){0};
}

static bool query_dims(dn_md md, dnnl_query_t what, int count, dnnl_dims_t out) {
    const dnnl_dims_t *dims = NULL;
    if (count == 0) return true;
    if (dnnl_memory_desc_query(md, what, &dims) != dnnl_success || !dims) return false;
    memcpy(out, *dims, (size_t)count * sizeof **dims);
    return true;
}

bool lm_dn_blocks_of(dn_md md, dn_blocks *out) {
    dnnl_format_kind_t kind = dnnl_format_kind_undef;
    dnnl_data_type_t type = dnnl_data_type_undef;
    dnnl_dim_t offset = -1;
    dnnl_dims_t padded;
    int rank = 0;
    *out = (dn_blocks){0};
    if (dnnl_memory_desc_query(md, dnnl_query_format_kind, &kind) != dnnl_success || kind != dnnl_blocked ||
        dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &rank) != dnnl_success || rank != 4 ||
        dnnl_memory_desc_query(md, dnnl_query_submemory_offset_s64, &offset) != dnnl_success || offset != 0 ||
        dnnl_memory_desc_query(md, dnnl_query_data_type, &type) != dnnl_success ||
        dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &out->count) != dnnl_success)
        return false;
    if (!query_dims(md, dnnl_query_dims, rank, out->size) || !query_dims(md, dnnl_query_strides, rank, out->stride) ||
        !query_dims(md, dnnl_query_padded_dims, rank, padded) ||
        !query_dims(md, dnnl_query_inner_blks, out->count, out->block) ||
        !query_dims(md, dnnl_query_inner_idxs, out->count, out->of))
        return false;
    out->type = type == dnnl_bf16 ? LM_BF16 : LM_F32;
    size_t elements = 1; // sums that some layouts keep after the elements can't be asked for, but they take room
    for (int d = 0; d < rank; d++) elements *= (size_t)padded[d];
    return dnnl_memory_desc_get_size(md) <= elements * lm_dtype_size(out->type);
}

// A single row or column whose elements lie apart.
static bool has_gaps(dn_md md) {
    dnnl_dims_t size, stride;
    if (!query_dims(md, dnnl_query_dims, 2, size) || !query_dims(md, dnnl_query_strides, 2, stride)) return true;
    return (size[0] == 1 && size[1] > 1 && stride[1] != 1) || (size[1] == 1 && size[0] > 1 && stride[0] != 1);
}

static bool is_plain_loop(const_dnnl_primitive_desc_t pd) {
    const char *name = NULL;
    dnnl_status_t status = dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&name);
    return status == dnnl_success && name && strncmp(name, "ref", 3) == 0;
}

// oneDNN 3.7's fast products take the elements of a row or column with gaps for neighbours: those are left to its plain
// loops.
static dnnl_status_t describe_matmul(dnnl_engine_t engine, const dn_op *op, const_dnnl_primitive_attr_t attr,
                                     dnnl_primitive_desc_t *out) {
    const dn_md x = op->x.md, w = op->weights.md, y = op->y.md, bias = op->has_bias ? op->bias.md : NULL;
    dnnl_status_t status = dnnl_matmul_primitive_desc_create(out, engine, x, w, bias, y, attr);
    if (status != dnnl_success || !(has_gaps(x) || has_gaps(w) || has_gaps(y))) return status;
    while (status == dnnl_success && !is_plain_loop(*out)) status = dnnl_primitive_desc_next_impl(*out);
    if (status == dnnl_success) return status;
    dnnl_primitive_desc_destroy(*out);
    *out = NULL;
    return status == dnnl_last_impl_reached ? dnnl_unimplemented : status;
}

dnnl_status_t lm_dn_version_describe(dnnl_engine_t engine, const dn_op *op, const_dnnl_primitive_attr_t attr,
                                     const_dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *out) {
    const dn_md x = op->x.md, w = op->weights.md, y = op->y.md, bias = op->has_bias ? op->bias.md : NULL;
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    const dnnl_dims_t dense = {0}; // dilation
    switch (op->kind) {
    case DN_CONV:
    case DN_CONV_TRAIN:
        return dnnl_convolution_forward_primitive_desc_create(
            out, engine, op->kind == DN_CONV ? dnnl_forward_inference : dnnl_forward_training, direct, x, w, bias, y,
            op->stride, dense, op->low, op->high, attr);
    case DN_CONV_GRAD_X:
        return dnnl_convolution_backward_data_primitive_desc_create(out, engine, direct, x, w, y, op->stride, dense,
                                                                    op->low, op->high, hint, attr);
    case DN_CONV_GRAD_W:
        return dnnl_convolution_backward_weights_primitive_desc_create(out, engine, direct, x, w, bias, y, op->stride,
                                                                       dense, op->low, op->high, hint, attr);
    case DN_MATMUL:
        return describe_matmul(engine, op, attr, out);
    }
    return dnnl_invalid_arguments;
}

dnnl_status_t lm_dn_version_append_sum(dnnl_post_ops_t post) {
    return dnnl_post_ops_append_sum(post, 1.0F, 0, dnnl_data_type_undef);
}

dnnl_status_t lm_dn_version_set_data(dnnl_memory_t memory, void *data, dnnl_stream_t stream) {
    (void)stream;
    return dnnl_memory_set_data_handle(memory, data);
}

#endif
