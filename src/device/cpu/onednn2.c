// What oneDNN 2 calls otherwise than oneDNN 3.
#include "device/cpu/onednn.h"
#include <string.h>

#if DNNL_VERSION_MAJOR < 3

static dnnl_data_type_t type_of(lm_dtype type) {
    return type == LM_BF16 ? dnnl_bf16 : dnnl_f32;
}

dnnl_status_t lm_dn_layout_tagged(dn_layout *out, int rank, const dnnl_dims_t size, lm_dtype type,
                                  dnnl_format_tag_t tag) {
    return dnnl_memory_desc_init_by_tag(&out->md, rank, size, type_of(type), tag);
}

dnnl_status_t lm_dn_layout_strided(dn_layout *out, int rank, const dnnl_dims_t size, lm_dtype type,
                                   const dnnl_dims_t stride) {
    return dnnl_memory_desc_init_by_strides(&out->md, rank, size, type_of(type), stride);
}

dnnl_status_t lm_dn_layout_copy(dn_layout *out, dn_md from) {
    out->md = *from;
    return dnnl_success;
}

void lm_dn_layout_free(dn_layout *l) {
    *l = (dn_layout){0};
}

bool lm_dn_blocks_of(dn_md md, dn_blocks *out) {
    if (md->format_kind != dnnl_blocked || md->ndims != 4 || md->offset0 != 0 || md->extra.flags != 0) return false;
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    *out = (dn_blocks){.type = md->data_type == dnnl_bf16 ? LM_BF16 : LM_F32, .count = b->inner_nblks};
    memcpy(out->size, md->dims, sizeof out->size);
    memcpy(out->stride, b->strides, sizeof out->stride);
    memcpy(out->block, b->inner_blks, sizeof out->block);
    memcpy(out->of, b->inner_idxs, sizeof out->of);
    return true;
}

// oneDNN 2.6's convolution by block products on AMX, first of its list there, reads through a null pointer while it
// makes code for small pictures, in programs built with AddressSanitizer alone. There the next one of the list is
// taken; elsewhere it is not, because the forward pass takes half as long again by that.
#if defined(__SANITIZE_ADDRESS__)
enum { WITH_SANITIZER = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { WITH_SANITIZER = 1 };
#else
enum { WITH_SANITIZER = 0 };
#endif
#else
enum { WITH_SANITIZER = 0 };
#endif

static bool is_unsafe(const_dnnl_primitive_desc_t pd) {
    const char *name = NULL;
    if (!WITH_SANITIZER) return false;
    dnnl_status_t status = dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&name);
    return status == dnnl_success && name && strncmp(name, "brgconv:avx512_core_amx", 23) == 0;
}

static dnnl_status_t first_safe(const_dnnl_op_desc_t op, const_dnnl_primitive_attr_t attr, dnnl_engine_t engine,
                                const_dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *out) {
    dnnl_primitive_desc_iterator_t list = NULL;
    dnnl_status_t status = dnnl_primitive_desc_iterator_create(&list, op, attr, engine, hint);
    for (; status == dnnl_success; status = dnnl_primitive_desc_iterator_next(list)) {
        *out = dnnl_primitive_desc_iterator_fetch(list);
        if (!*out) status = dnnl_out_of_memory;
        if (!*out || !is_unsafe(*out)) break;
        dnnl_primitive_desc_destroy(*out);
        *out = NULL;
    }
    if (list) dnnl_primitive_desc_iterator_destroy(list);
    return status == dnnl_iterator_ends ? dnnl_unimplemented : status;
}

dnnl_status_t lm_dn_version_describe(dnnl_engine_t engine, const dn_op *op, const_dnnl_primitive_attr_t attr,
                                     const_dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *out) {
    const dnnl_memory_desc_t *x = &op->x.md, *w = &op->weights.md, *y = &op->y.md,
                             *bias = op->has_bias ? &op->bias.md : NULL;
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    union {
        dnnl_convolution_desc_t conv;
        dnnl_matmul_desc_t matmul;
    } desc;
    dnnl_status_t status = dnnl_invalid_arguments;
    switch (op->kind) {
    case DN_CONV:
    case DN_CONV_TRAIN:
        status = dnnl_convolution_forward_desc_init(
            &desc.conv, op->kind == DN_CONV ? dnnl_forward_inference : dnnl_forward_training, direct, x, w, bias, y,
            op->stride, op->low, op->high);
        break;
    case DN_CONV_GRAD_X:
        status = dnnl_convolution_backward_data_desc_init(&desc.conv, direct, x, w, y, op->stride, op->low, op->high);
        break;
    case DN_CONV_GRAD_W:
        status = dnnl_convolution_backward_weights_desc_init(&desc.conv, direct, x, w, bias, y, op->stride, op->low,
                                                             op->high);
        break;
    case DN_MATMUL:
        status = dnnl_matmul_desc_init(&desc.matmul, x, w, bias, y);
        break;
    }
    return status == dnnl_success ? first_safe(&desc, attr, engine, hint, out) : status;
}

dnnl_status_t lm_dn_version_append_sum(dnnl_post_ops_t post) {
    return dnnl_post_ops_append_sum(post, 1.0F);
}

dnnl_status_t lm_dn_version_set_data(dnnl_memory_t memory, void *data, dnnl_stream_t stream) {
    return dnnl_memory_set_data_handle_v2(memory, data, stream);
}

#endif
