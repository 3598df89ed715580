// The reference device's own pieces. Every operand is an array of doubles here; reference.c converts from and to
// storage.
#pragma once
#include "device/device.h"

extern const lm_backend lm_reference_backend;

typedef struct lm_reference_call {
    const lm_op *op;
    const lm_io *io;                 // for the shapes
    const double *in[LM_MAX_INPUTS]; // NULL when absent
    double *out[LM_MAX_OUTPUTS];     // zeroed; NULL when not needed
    double *scratch;                 // as many doubles as the kind's scratch function says
    lm_error *error;
    lm_status status; // set by a kernel that meets a wrong value
} lm_reference_call;

typedef void (*lm_reference_fn)(lm_reference_call *c);

static inline int64_t lm_reference_last(const lm_desc *d) {
    return d->dim[d->rank - 1];
}
static inline int64_t lm_reference_rows(const lm_desc *d) {
    int64_t n = 1;
    for (int i = 0; i + 1 < d->rank; i++) n *= d->dim[i];
    return n;
}
static inline int64_t lm_reference_size(const lm_desc *d) {
    return d->rank ? lm_reference_rows(d) * lm_reference_last(d) : 0;
}

// reference_muon.c
lm_status lm_reference_muon_prepare(lm_error *e, lm_device *d, const lm_matrix_shape *shapes, int count,
                                    lm_muon_form form, bool bf16, lm_muon_work **out);
lm_status lm_reference_muon(lm_error *e, lm_device *d, lm_muon_work *work, const lm_muon *p,
                            const lm_muon_matrix *matrices);
void lm_reference_muon_release(lm_device *d, lm_muon_work *work);

// reference_conv.c
int64_t lm_reference_conv_scratch(const lm_op *op, const lm_io *io);
void lm_reference_conv(lm_reference_call *c);
void lm_reference_conv_grad_x(lm_reference_call *c);
void lm_reference_conv_grad_w(lm_reference_call *c);

// reference_norm.c
int64_t lm_reference_norm_scratch(const lm_op *op, const lm_io *io);
void lm_reference_norm(lm_reference_call *c);
void lm_reference_norm_grad(lm_reference_call *c);
void lm_reference_norm_grad_affine(lm_reference_call *c);
void lm_reference_norm_grad_ss(lm_reference_call *c);

// reference_attention.c
int64_t lm_reference_attention_scratch(const lm_op *op, const lm_io *io);
void lm_reference_attention(lm_reference_call *c);
void lm_reference_attention_grad(lm_reference_call *c);

// reference_pointwise.c
void lm_reference_cast(lm_reference_call *c);
void lm_reference_silu(lm_reference_call *c);
void lm_reference_silu_grad(lm_reference_call *c);
void lm_reference_gelu(lm_reference_call *c);
void lm_reference_gelu_grad(lm_reference_call *c);
void lm_reference_add(lm_reference_call *c);
void lm_reference_add_position(lm_reference_call *c);
void lm_reference_add_position_grad_p(lm_reference_call *c);
void lm_reference_mse(lm_reference_call *c);
void lm_reference_mse_grad(lm_reference_call *c);
void lm_reference_fourier(lm_reference_call *c);

// reference_layout.c
void lm_reference_upsample(lm_reference_call *c);
void lm_reference_upsample_grad(lm_reference_call *c);
void lm_reference_concat(lm_reference_call *c);
void lm_reference_slice(lm_reference_call *c);
void lm_reference_space_to_depth(lm_reference_call *c);
void lm_reference_depth_to_space(lm_reference_call *c);
void lm_reference_masked_mean(lm_reference_call *c);
void lm_reference_masked_mean_grad(lm_reference_call *c);
void lm_reference_embedding(lm_reference_call *c);
void lm_reference_embedding_grad(lm_reference_call *c);
