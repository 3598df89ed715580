#include "device/cpu/conv_layout.h"
#include "base/memory.h"
#include "device/cpu/onednn.h"
#include <string.h>

static int64_t place(const dnnl_blocking_desc_t *b, int dim, int64_t index) {
    int64_t at = 0, inner = 1;
    for (int i = b->inner_nblks - 1; i >= 0; i--) {
        if (b->inner_idxs[i] == dim) {
            at += index % b->inner_blks[i] * inner;
            index /= b->inner_blks[i];
        }
        inner *= b->inner_blks[i];
    }
    return at + index * b->strides[dim];
}

lm_status conv_layout_of(lm_error *e, const dnnl_memory_desc_t *md, conv_layout *out) {
    *out = (conv_layout){.bytes = dnnl_memory_desc_get_size(md), .type = md->data_type == dnnl_bf16 ? LM_BF16 : LM_F32};
    if (md->format_kind != dnnl_blocked || md->ndims != 4 || md->offset0 != 0 || md->extra.flags != 0)
        return lm_fail(e, LM_FAILED, "oneDNN chose a weight layout of an unknown kind (%d)", (int)md->format_kind);
    int64_t total = 0;
    for (int d = 0; d < 4; d++) total += out->size[d] = md->dims[d];
    out->term = lm_alloc((size_t)total, sizeof *out->term);
    if (!out->term) return lm_fail_memory(e, (double)total * sizeof *out->term, "a weight layout");
    int64_t *term = out->term;
    for (int d = 0; d < 4; d++)
        for (int64_t i = 0; i < md->dims[d]; i++) *term++ = place(&md->format_desc.blocking, d, i);
    return LM_OK;
}

void conv_layout_free(conv_layout *l) {
    lm_free(l->term);
    *l = (conv_layout){0};
}

static uint16_t to_bf16(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if (f != f) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

// The plain array's strides along o i h w and the place of element 0.
static void plain_strides(const conv_layout *l, bool flipped, int64_t stride[4], int64_t *first) {
    const int64_t taps = l->size[2] * l->size[3];
    stride[0] = flipped ? taps : l->size[1] * taps;
    stride[1] = flipped ? l->size[0] * taps : taps;
    stride[2] = flipped ? -l->size[3] : l->size[3];
    stride[3] = flipped ? -1 : 1;
    *first = flipped ? taps - 1 : 0;
}

void conv_layout_pack(const conv_layout *l, bool flipped, const float *plain, void *packed) {
    const int64_t *to = l->term, *ti = to + l->size[0], *th = ti + l->size[1], *tw = th + l->size[2];
    int64_t stride[4], start;
    plain_strides(l, flipped, stride, &start);
    for (int64_t o = 0; o < l->size[0]; o++)
        for (int64_t i = 0; i < l->size[1]; i++)
            for (int64_t h = 0; h < l->size[2]; h++)
                for (int64_t w = 0; w < l->size[3]; w++) {
                    const float x = plain[start + o * stride[0] + i * stride[1] + h * stride[2] + w * stride[3]];
                    const int64_t at = to[o] + ti[i] + th[h] + tw[w];
                    if (l->type == LM_F32)
                        ((float *)packed)[at] = x;
                    else
                        ((uint16_t *)packed)[at] = to_bf16(x);
                }
}

void conv_layout_unpack(const conv_layout *l, const float *packed, int64_t first, int64_t last, float *plain) {
    const int64_t *to = l->term, *ti = to + l->size[0], *th = ti + l->size[1], *tw = th + l->size[2];
    float *at = plain + first * l->size[1] * l->size[2] * l->size[3];
    for (int64_t o = first; o < last; o++)
        for (int64_t i = 0; i < l->size[1]; i++)
            for (int64_t h = 0; h < l->size[2]; h++)
                for (int64_t w = 0; w < l->size[3]; w++) *at++ = packed[to[o] + ti[i] + th[h] + tw[w]];
}
