// One row of the benchmark: the default network, forward or as a training step, at a fixed shape with random weights.
#pragma once
#include "context.h"

typedef struct bench_kind {
    const char *name;
    bool video, train, ssr;
    int clips, frames, size;
} bench_kind;

typedef struct bench_row {
    const bench_kind *kind;
    lm_device *device;
    lm_graph *graph;
    lm_plan *plan;
    lm_unet net;
    lm_tensor target;
    float *weights, *grads, *moments, *average; // device memory; moments: two blocks, one after the other
    float *noise;                               // host: what the inputs are filled with
    int64_t updates;
    // results
    double fastest, median, flops;
    uint64_t planned, measured; // bytes beside weights, gradients and optimiser state
    uint64_t code;              // bytes that preparing the kernels left: oneDNN's code, made once a process
} bench_row;

const bench_kind *bench_kind_find(const char *name, size_t length); // NULL: there is none
// Builds the row and times repeat runs after one that does not count, then one with a clock around every node.
lm_status bench_row_run(lm_error *e, const lumiere_context *c, const bench_kind *kind, int repeat, bench_row *row);
void bench_row_free(bench_row *row);
