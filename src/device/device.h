// What the graph asks of a device: memory, and kernels for nodes. One door for the forward and the backward pass.
#pragma once
#include "base/status.h"
#include "op/op.h"
#include <stdatomic.h>
#include <stddef.h>

typedef struct lm_device lm_device;

typedef struct lm_operand {
    lm_desc desc; // rank 0: absent
    void *data;   // device memory; NULL in prepare, and when absent
} lm_operand;

// One node's operands. Outputs the graph doesn't need have rank 0.
typedef struct lm_io {
    lm_operand in[LM_MAX_INPUTS], out[LM_MAX_OUTPUTS];
} lm_io;

// A prepared kernel: what a backend keeps for one node. Backends embed it at the front of their own struct.
typedef struct lm_kernel {
    const char *name; // what will run, for bench and --trace-plan: "cpu norm avx512", "dnnl jit:avx512_core_bf16"
    size_t workspace; // bytes of scratch needed during run; shared by all kernels of a plan
    size_t held;      // bytes the kernel keeps for its own lifetime (packed weights)
    int64_t frames;   // > 0: output unit i depends only on frames' unit i (and on weights): may run in ranges
} lm_kernel;

typedef struct lm_call {
    lm_kernel *kernel;
    lm_io *io;
} lm_call;

typedef struct lm_adamw { // Loshchilov & Hutter, arXiv 1711.05101, as PyTorch computes it
    float rate, beta1, beta2, eps, decay;
    float clip;    // factor on every gradient
    float average; // moving average: e += (1 - average) (w - e)
    int64_t step;  // from 1, for the bias correction
} lm_adamw;

// A backend. run takes calls one after the other; calls with the same frames > 0 may be passed together, and a backend
// may then run frames 0..k through all of them before the next frames. weights_version changes whenever weights have
// been written to; a kernel that keeps packed weights packs again when it sees a new value. Nothing is allocated by
// run. Where a kernel fails, run ends with its status and message, the same for any number of threads, and the outputs'
// contents are undefined: no value of theirs is a sign of failure.
typedef struct lm_backend {
    const char *name;
    lm_status (*open)(lm_error *e, int threads, lm_device *d);
    void (*close)(lm_device *d);
    lm_status (*alloc)(lm_error *e, lm_device *d, size_t bytes, void **out); // 64-byte aligned, not zeroed
    void (*release_memory)(lm_device *d, void *p);
    lm_status (*upload)(lm_error *e, lm_device *d, void *to, const void *from, size_t bytes);
    lm_status (*download)(lm_error *e, lm_device *d, void *to, const void *from, size_t bytes);
    lm_status (*prepare)(lm_error *e, lm_device *d, const lm_op *op, const lm_io *io, lm_kernel **out);
    lm_status (*run)(lm_error *e, lm_device *d, const lm_call *calls, int count, void *workspace,
                     uint64_t weights_version);
    void (*release)(lm_device *d, lm_kernel *k);
    // Flat blocks of n floats, outside the graph. squares: the sum of squares, the same for any number of threads.
    lm_status (*squares)(lm_error *e, lm_device *d, const float *x, int64_t n, double *out);
    lm_status (*adamw)(lm_error *e, lm_device *d, const lm_adamw *p, float *w, const float *g, float *m, float *v,
                       float *average, int64_t n);
} lm_backend;

struct lm_device {
    const lm_backend *backend;
    atomic_int holders;
    void *state;       // the backend's own
    char summary[160]; // "cpu: AMD EPYC 9R14, avx512 bf16, 2 threads, oneDNN 2.6.3"
    bool fast_bf16;    // bf16 arithmetic in hardware
};

extern const lm_backend lm_reference_backend, lm_cpu_backend;

// name: "cpu" or "reference". LM_USAGE when there is no such device. threads: 0 = all processors this process may use.
// The caller is its first holder.
lm_status lm_device_open(lm_error *e, const char *name, int threads, lm_device **out);
// One holder more: what uses a device beyond the life of whoever opened it holds it too. Returns d.
lm_device *lm_device_hold(lm_device *d);
// One holder less, on any thread; the last closes the device. *d becomes NULL.
void lm_device_close(lm_device **d);
