// oneDNN behind a small face: primitives that run on one thread with memory of ours. Private to device/cpu.
#pragma once
#include "device/cpu/cpu.h"
#include <dnnl.h>

typedef struct cpu_dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t *stream; // one per thread
    int threads;
} cpu_dnnl;

// A primitive and, for each thread, its arguments' memory objects, so that running creates nothing.
typedef struct dn_primitive {
    dnnl_primitive_t handle;
    dnnl_exec_arg_t *arg; // [threads][count]
    int count, threads;
    size_t scratch; // bytes of scratchpad
    char impl[64];  // oneDNN's name of the implementation
} dn_primitive;

// The failure of a oneDNN call, as a status. LM_MEMORY or LM_FAILED.
lm_status dn_fail(lm_error *e, dnnl_status_t status, const char *what);
// The descriptor of a primitive for this operation, on one thread and with a scratchpad from outside; the status that
// oneDNN gave (dnnl_unimplemented where it has no such primitive). acc adds what the output held before.
dnnl_status_t dn_describe(const cpu_dnnl *d, const_dnnl_op_desc_t op, bool acc, const_dnnl_primitive_desc_t hint,
                          dnnl_primitive_desc_t *out);
// True when the implementation is one of oneDNN's plain loops, which are slower than converting to a type that has
// better.
bool dn_is_plain(const_dnnl_primitive_desc_t pd);
// args: the DNNL_ARG numbers, count of them, in the order in which dn_run takes their data.
lm_status dn_create(lm_error *e, const cpu_dnnl *d, const_dnnl_primitive_desc_t pd, const int *args, int count,
                    dn_primitive *out);
void dn_destroy(dn_primitive *p);
// Gives argument i the same memory in every thread and run; dn_run's data[i] must then be NULL. Zeroes a layout's
// padding.
lm_status dn_bind(lm_error *e, const dn_primitive *p, int i, void *data);
// Runs on the calling thread alone. Fails when oneDNN refuses, which only a shortage of memory is known to cause.
lm_status dn_run(lm_error *e, const cpu_dnnl *d, const dn_primitive *p, int thread, void *const *data, void *scratch);
