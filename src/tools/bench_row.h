// One row of the benchmark: the default network, forward or as a training step, at a fixed shape with random weights.
#pragma once
#include "pipeline/context.h"

typedef struct bench_kind {
    const char *name;
    bool video, train, ssr;
    int clips, frames, size;
} bench_kind;

// A way to update the weights, timed on its own.
typedef struct bench_optimiser {
    double seconds; // the fastest; 0: not timed
    double flops;   // of products of matrices
    const char *kernel;
} bench_optimiser;

typedef struct bench_row {
    bench_kind kind;
    lm_device *device;
    lm_network *network;
    lm_net_use use;
    lm_plan *plan; // the network's
    lm_graph *graph;
    float *weights, *grads, *moments, *average; // device memory; moments: two blocks, one after the other
    float *noise;                               // host: what the inputs are filled with
    int64_t updates;
    // results
    double fastest, median, flops;
    bench_optimiser adamw, muon; // of rows that train; Muon: the row image
    char muon_kernel[96];
    uint64_t planned, measured; // bytes beside weights, gradients and optimiser state
    uint64_t code;              // bytes that preparing the kernels left: oneDNN's code, made once a process
} bench_row;

const bench_kind *lm_bench_kind_find(const char *name, size_t length); // NULL: there is none
enum { BENCH_CLIPS = 256 };                                            // at most
// Builds the row and times repeat runs after one that does not count, then one with a clock around every node.
lm_status lm_bench_row_run(lm_error *e, const lumiere_context *c, const bench_kind *kind, int repeat, bench_row *row);
// Times Muon (on the groups of matrices that are its by default) as often.
lm_status lm_bench_muon(lm_error *e, const lumiere_context *c, bench_row *row, int repeat);
void lm_bench_row_free(bench_row *row);
