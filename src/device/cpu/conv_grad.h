// Weight gradients: what is common to the two ways of computing a part. Private to device/cpu.
#pragma once
#include "device/cpu/conv_kernel.h"

enum { GRAD_LENGTHS = 24 };

// dw of one tap += dy^T x, over some positions that follow each other in both.
typedef struct grad_stretch {
    int64_t x, dy;   // first elements, from the part's
    int tap, length; // which lengths[] it has
} grad_stretch;

typedef struct grad_kernel {
    cpu_kernel base;
    const cpu_dnnl *dnnl;
    const cpu_simd *simd;
    conv_form form;
    conv_cut cut;
    lm_dtype type; // what the primitives read
    bool bias;
    size_t at_x, at_dy;      // places in the thread's scratch, after the primitives' own
    int64_t weights, stride; // floats of a part's dw, padding included; of all of a part, its db after dw
    conv_layout layout;      // of a part's dw
    int primitives;
    dn_primitive primitive[GRAD_LENGTHS];
    // One part: dw[weights], db[co] and a thread's scratch.
    lm_status (*compute)(const struct grad_kernel *k, const cpu_piece *p, void *x, void *dy, float *dw, float *db);
    // by matrix products
    int64_t lengths[GRAD_LENGTHS]; // positions of each primitive's stretches
    grad_stretch *stretch;         // of variant i: from first[i] to first[i + 1]
    int64_t first[CONV_VARIANTS + 1];
    size_t at_sums;
    char name[96];
} grad_kernel;

// By oneDNN's convolutions: one primitive a variant.
lm_status lm_grad_conv_prepare(lm_error *e, grad_kernel *k, cpu_level level, bool bf16);
// By matrix products, for kernels of one column and stride 1 along w.
bool lm_grad_matmul_suits(const conv_form *f);
lm_status lm_grad_matmul_prepare(lm_error *e, grad_kernel *k, cpu_level level, bool bf16);
