// Weights between PyTorch's [O,I,h,w] and the blocked layouts that oneDNN's primitives choose. Private to device/cpu.
#pragma once
#include "device/cpu/conv_cut.h"
#include "device/cpu/onednn.h"
#include "device/cpu/simd_table.h"

// In a blocked layout an element's place is a sum of one term a dimension.
typedef struct conv_layout {
    int64_t size[4]; // o i h w
    int64_t *term;   // [size[0] + size[1] + size[2] + size[3]]
    size_t bytes;    // of the whole layout, padding included
    lm_dtype type;
    bool plain; // it is [O,I,h,w] itself
    // How vectors may move it: along dimension `along` (0 or 1), `lanes` of them at a time (0: not at all), with the
    // other dimension's elements in pairs (2) or not (1).
    int along, lanes, pair;
} conv_layout;

lm_status lm_conv_layout_of(lm_error *e, dn_md md, conv_layout *out);
void lm_conv_layout_free(conv_layout *l);
// Both take output channels [first, last). flipped: plain is [I,O,h,w] and turned by 180 degrees. Padding is left
// alone.
void lm_conv_layout_pack(const conv_layout *l, const cpu_simd *simd, bool flipped, const float *plain, int64_t first,
                         int64_t last, void *packed);
void lm_conv_layout_unpack(const conv_layout *l, const cpu_simd *simd, const float *packed, int64_t first, int64_t last,
                           float *plain); // of F32
