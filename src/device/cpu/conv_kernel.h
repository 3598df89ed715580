// What the convolution kernels share. Private to device/cpu.
#pragma once
#include "base/arithmetic.h"
#include "device/cpu/conv_cut.h"
#include "device/cpu/conv_layout.h"
#include "device/cpu/onednn.h"
#include "device/cpu/units.h"

enum {
    CONV_PIECES = 32,      // about how many pieces a kernel along rows is cut into
    CONV_FEW_FRAMES = 8,   // below this many frames, pieces are rows of a frame
    CONV_FEW_ROWS = 8,     // the least rows of such a piece
    CONV_LINEAR_ROWS = 32, // a linear layer's pieces are multiples of this
};

// Types of a primitive's operands: in and out are the form's.
typedef struct conv_types {
    lm_dtype in, out, weights;
} conv_types;

// What to ask oneDNN for. weights: their layout, or NULL to leave it to oneDNN. Free with lm_dn_op_free, also when this
// fails.
dnnl_status_t lm_conv_op_of(const conv_form *f, const conv_variant *v, dn_kind kind, conv_types types, dn_md weights,
                            bool bias, dn_op *op);
// Whether the operands are F32 or BF16 (weights, biases and their gradients F32) and none is empty.
bool lm_conv_takes(const lm_op *op, const lm_io *io);
lm_status lm_cpu_prepare_conv_grad(lm_error *e, cpu_state *s, const lm_op *op, const lm_io *io, cpu_kernel **out);

static inline void *element(const lm_operand *o, int64_t i) {
    return (char *)o->data + i * (int64_t)lm_dtype_size(o->desc.type);
}
