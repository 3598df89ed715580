// oneDNN behind a small face: primitives that run on one thread with memory of ours. Private to device/cpu.
// What oneDNN 2 and 3 say differently is in onednn2.c and onednn3.c, of which one is compiled to something.
#pragma once
#include "device/cpu/cpu.h"
#include <dnnl.h>

typedef struct cpu_dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t *stream; // one per thread
    int threads;
} cpu_dnnl;

// The layout of an operand in memory: oneDNN 2 has the description here, oneDNN 3 a handle of it. Zeroed: none.
typedef struct dn_layout {
    dnnl_memory_desc_t md;
} dn_layout;
#if DNNL_VERSION_MAJOR < 3
typedef const dnnl_memory_desc_t *dn_md; // borrowed
static inline dn_md dn_md_of(const dn_layout *l) {
    return &l->md;
}
#else
typedef const_dnnl_memory_desc_t dn_md;
static inline dn_md dn_md_of(const dn_layout *l) {
    return l->md;
}
#endif
dnnl_status_t lm_dn_layout_tagged(dn_layout *out, int rank, const dnnl_dims_t size, lm_dtype type,
                                  dnnl_format_tag_t tag);
dnnl_status_t lm_dn_layout_strided(dn_layout *out, int rank, const dnnl_dims_t size, lm_dtype type,
                                   const dnnl_dims_t stride);
dnnl_status_t lm_dn_layout_copy(dn_layout *out, dn_md from);
void lm_dn_layout_free(dn_layout *l);

// A layout of four dimensions, some of which are cut into blocks that lie inside: element i of dimension d has its
// share of the place from the strides of the blocks of d, innermost last.
typedef struct dn_blocks {
    lm_dtype type;
    dnnl_dims_t size, stride; // stride: between the outermost blocks
    int count;                // of blocks
    dnnl_dims_t block, of;    // their sizes, and the dimensions that they cut
} dn_blocks;
// false when it is of another kind: not of four dimensions, with anything besides the elements, in oneDNN's own order.
bool lm_dn_blocks_of(dn_md md, dn_blocks *out);

typedef enum dn_kind { DN_CONV, DN_CONV_TRAIN, DN_CONV_GRAD_X, DN_CONV_GRAD_W, DN_MATMUL } dn_kind;
// x, weights, bias and y are the forward pass's, whatever is computed. DN_MATMUL: y = x weights.
typedef struct dn_op {
    dn_kind kind;
    bool has_bias;
    dn_layout x, weights, bias, y;
    dnnl_dims_t stride, low, high; // padding before and after
} dn_op;
void lm_dn_op_free(dn_op *op);

// A primitive and, for each thread, its arguments' memory objects, so that running creates nothing.
typedef struct dn_primitive {
    dnnl_primitive_t handle;
    dnnl_exec_arg_t *arg; // [threads][count]
    int count, threads;
    size_t scratch; // bytes of scratchpad
    char impl[64];  // oneDNN's name of the implementation
} dn_primitive;

// The failure of a oneDNN call, as a status. LM_MEMORY or LM_FAILED.
lm_status lm_dn_fail(lm_error *e, dnnl_status_t status, const char *what);
// The descriptor of a primitive for this operation, on one thread and with a scratchpad from outside; the status that
// oneDNN gave (dnnl_unimplemented where it has no such primitive). acc adds what the output held before. hint: the
// forward pass's, for gradients.
dnnl_status_t lm_dn_describe(const cpu_dnnl *d, const dn_op *op, bool acc, const_dnnl_primitive_desc_t hint,
                             dnnl_primitive_desc_t *out);
// True when the implementation is one of oneDNN's plain loops, which are slower than converting to a type that has
// better.
bool lm_dn_is_plain(const_dnnl_primitive_desc_t pd);
// args: the DNNL_ARG numbers, count of them, in the order in which lm_dn_run takes their data.
lm_status lm_dn_create(lm_error *e, const cpu_dnnl *d, const_dnnl_primitive_desc_t pd, const int *args, int count,
                       dn_primitive *out);
void lm_dn_destroy(dn_primitive *p);
// Gives argument i the same memory in every thread and run; lm_dn_run's data[i] must then be NULL. oneDNN 2 zeroes a
// layout's padding, oneDNN 3 leaves that to the caller.
lm_status lm_dn_bind(lm_error *e, const dn_primitive *p, int i, void *data);
// Runs on the calling thread alone. Fails when oneDNN refuses, which only a shortage of memory is known to cause.
lm_status lm_dn_run(lm_error *e, const cpu_dnnl *d, const dn_primitive *p, int thread, void *const *data,
                    void *scratch);

// For dnnl.c alone.
dnnl_status_t lm_dn_version_describe(dnnl_engine_t engine, const dn_op *op, const_dnnl_primitive_attr_t attr,
                                     const_dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *out);
dnnl_status_t lm_dn_version_append_sum(dnnl_post_ops_t post);
dnnl_status_t lm_dn_version_set_data(dnnl_memory_t memory, void *data, dnnl_stream_t stream);
