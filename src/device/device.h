// What the graph asks of a device: memory, and kernels for nodes. One door for the forward and the backward pass.
#pragma once
#include "base/log.h"
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
    size_t held;      // bytes the kernel keeps for its own lifetime (packed weights), once they are reserved
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

// Muon (K. Jordan 2024; arXiv 2502.16982): the momentum's singular values are pushed towards 1 before it is added.
//     m = momentum m + clip g;  u = orthogonal(clip g + momentum m)
//     w = (1 - rate decay) w - rate sqrt(max(1, rows / columns)) u
typedef struct lm_muon {
    float momentum, decay;
    float clip;    // factor on every gradient
    float average; // moving average: e += (1 - average) (w - e)
} lm_muon;

typedef struct lm_matrix_shape {
    int64_t rows, columns;
} lm_matrix_shape;

typedef struct lm_muon_matrix { // device memory, rows x columns each; average may be NULL
    float *w, *m, *average;
    const float *g;
    float rate;
} lm_muon_matrix;

// orthogonal(x): x is divided by a bound of its largest singular value, then some times x = (a + b x x' + c (x x')^2)
// x.
typedef struct lm_muon_quintic {
    double a, b, c;
} lm_muon_quintic;
typedef enum lm_muon_form {
    // K. Jordan's five steps; the bound is x's norm, + LM_MUON_FLOOR. Singular values from 0.0013 on come to 0.62
    // .. 1.2.
    LM_MUON_PUBLISHED,
    // Four steps, the best for singular values from 0.0025 on (the way of arXiv 2505.16932), which come to 0.75
    // .. 1.25;
    // the bound is closer: x's norm, then (tr (x x')^4)^(1/8). Always in floats: the first step leaves 0.02 of some
    // singular values, which bf16 would lose.
    LM_MUON_QUICK
} lm_muon_form;
#define LM_MUON_FLOOR 1e-7
enum { LM_MUON_MOST_STEPS = 5 };
// The steps of a form; *count of them.
const lm_muon_quintic *lm_muon_steps(lm_muon_form form, int *count);
// What x, whose norm is 1, is still divided by: eighth = tr (x x')^4. 1 where x is nothing.
double lm_muon_bound(lm_muon_form form, double eighth);

// What a backend keeps for a list of matrices. Backends embed it at the front of their own struct.
typedef struct lm_muon_work {
    const char *name; // what will run
    size_t held;      // bytes
    double flops;     // of one call
} lm_muon_work;

// A backend. prepare chooses the algorithm and says what memory it will take; of that it takes none, and little for
// itself. reserve takes the bytes that a kernel holds; a kernel is not run before. least_held: no more than a kernel
// for this op will hold, known without making one. run takes calls one after the other; calls with the same frames > 0
// may be passed together, and a backend may then run frames 0..k through all of them before the next frames.
// weights_version changes whenever weights have been written to; a kernel that keeps packed weights packs again when it
// sees a new value. Nothing is allocated by run. Where a kernel fails, run ends with its status and message, the same
// for any number of threads, and the outputs' contents are undefined: no value of theirs is a sign of failure.
typedef struct lm_backend {
    const char *name;
    lm_status (*open)(lm_error *e, int threads, lm_device *d);
    void (*close)(lm_device *d);
    lm_status (*alloc)(lm_error *e, lm_device *d, size_t bytes, void **out); // 64-byte aligned, not zeroed
    void (*release_memory)(lm_device *d, void *p);
    lm_status (*upload)(lm_error *e, lm_device *d, void *to, const void *from, size_t bytes);
    lm_status (*download)(lm_error *e, lm_device *d, void *to, const void *from, size_t bytes);
    lm_status (*prepare)(lm_error *e, lm_device *d, const lm_op *op, const lm_io *io, lm_kernel **out);
    lm_status (*reserve)(lm_error *e, lm_device *d, lm_kernel *k);
    uint64_t (*least_held)(const lm_device *d, const lm_op *op, const lm_io *io);
    lm_status (*run)(lm_error *e, lm_device *d, const lm_call *calls, int count, void *workspace,
                     uint64_t weights_version);
    void (*release)(lm_device *d, lm_kernel *k);
    // Flat blocks of n floats, outside the graph. squares: the sum of squares, the same for any number of threads.
    lm_status (*squares)(lm_error *e, lm_device *d, const float *x, int64_t n, double *out);
    lm_status (*adamw)(lm_error *e, lm_device *d, const lm_adamw *p, float *w, const float *g, float *m, float *v,
                       float *average, int64_t n);
    // Muon over count matrices, whose shapes muon_prepare is told once. bf16: the published form's products of bf16
    // numbers, added up in floats, where the processor has them. LM_MEMORY from muon leaves w and m half done.
    lm_status (*muon_prepare)(lm_error *e, lm_device *d, const lm_matrix_shape *shapes, int count, lm_muon_form form,
                              bool bf16, lm_muon_work **out);
    lm_status (*muon)(lm_error *e, lm_device *d, lm_muon_work *work, const lm_muon *p, const lm_muon_matrix *matrices);
    void (*muon_release)(lm_device *d, lm_muon_work *work);
    // The most that the multipliers give, the ceiling that kernels are compared with: floating-point operations a
    // second of a loop over registers alone, in type or, where there is no faster way for it, in another; *of says
    // which.
    lm_status (*peak)(lm_error *e, lm_device *d, lm_dtype type, double *out, lm_dtype *of);
} lm_backend;

struct lm_device {
    const lm_backend *backend;
    atomic_int holders;
    void *state;       // the backend's own
    char summary[160]; // "cpu: AMD EPYC 9R14, avx512 bf16, 2 threads, oneDNN 2.6.3"
    bool fast_bf16;    // bf16 arithmetic in hardware
    lm_log log;        // lm_device_log's; plans and what else works on the device tell it too
};

// A device is opened by devices/devices.h; whoever opened it is its first holder.
// One holder more: what uses a device beyond the life of whoever opened it holds it too. Returns d.
lm_device *lm_device_hold(lm_device *d);
// One holder less, on any thread; the last closes the device. *d becomes NULL.
void lm_device_close(lm_device **d);

// Who is told what is done on d, up to a level; fn NULL: nobody. Not while the device works. The first line, told at
// once, says what the device is.
void lm_device_log(lm_device *d, lm_log_level most, lm_log_fn fn, void *user);

// A kernel prepared and its memory reserved: for those who run single kernels. Given back by the backend's release.
lm_status lm_kernel_create(lm_error *e, lm_device *d, const lm_op *op, const lm_io *io, lm_kernel **out);
