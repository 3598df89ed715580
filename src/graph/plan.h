// Memory for a graph's tensors, decided before anything runs, and the run itself.
#pragma once
#include "device/device.h"
#include "graph/graph.h"
#include <stdio.h>

typedef struct lm_plan lm_plan;

// Bytes a plan of g takes on d, weights excluded: activations, workspace and what its kernels hold (packed weights).
// Prepares every kernel and takes none of that.
lm_status lm_plan_bytes(lm_error *e, lm_graph *g, lm_device *d, uint64_t *out);
// No more than lm_plan_bytes, in a few milliseconds, for no kernel is made: the activations and the packed weights
// without their padding. Workspace, which grows with the threads, and copies in a second layout are left out. Some
// hundredths less than lm_plan_bytes for the default network on one thread.
lm_status lm_plan_estimate_bytes(lm_error *e, lm_graph *g, lm_device *d, uint64_t *out);

// LM_MEMORY when it does not fit: what lm_plan_bytes says is compared with the memory that is free before any of it is
// taken. Any error of g's builders. The plan borrows g and d.
lm_status lm_plan_create(lm_error *e, lm_graph *g, lm_device *d, lm_plan **out);
void lm_plan_free(lm_plan **p);

// Device memory of the flat parameter and gradient blocks (offsets in lm_param_info), both owned by the caller.
void lm_plan_bind(lm_plan *p, const void *params, void *grads);
void lm_plan_weights_changed(lm_plan *p); // after writing to the parameters

// Inputs before a run, outputs after it. bytes must be the tensor's.
lm_status lm_plan_write(lm_error *e, lm_plan *p, lm_tensor t, const void *from, size_t bytes);
lm_status lm_plan_read(lm_error *e, lm_plan *p, lm_tensor t, void *to, size_t bytes);
// LM_MEMORY or LM_FAILED when a kernel fails, naming its node; LM_CANCELLED when the plan's watch says so. Outputs and
// gradients are then undefined, and the plan can run again.
lm_status lm_plan_run(lm_error *e, lm_plan *p) __attribute__((warn_unused_result));

// Asked before every step of a run, on the thread that runs the plan; false ends the run. NULL: nobody is asked, as at
// first. What it reads may be set by other threads if it is atomic; the watch itself isn't changed during a run.
typedef bool (*lm_go_on_fn)(void *user);
void lm_plan_watch(lm_plan *p, lm_go_on_fn go_on, void *user);

// The plan in words, a line a node: name, source line, op, shapes, offset, kernel (--trace-plan).
void lm_plan_print(const lm_plan *p, FILE *out);

typedef struct lm_node_report {
    const char *name, *op, *kernel;
    double flops, seconds; // of the last profiled run
    lm_desc out;
} lm_node_report;
void lm_plan_profile(lm_plan *p, bool on); // a clock around every node from now on
int lm_plan_nodes(const lm_plan *p);
lm_node_report lm_plan_node(const lm_plan *p, int i);
uint64_t lm_plan_total_bytes(const lm_plan *p);
double lm_plan_flops(const lm_plan *p);

// Runs p node by node on its device and, from the same operands, on the reference device; reports the largest
// normalised mean square error of a node and its index. Finds the first node that differs.
lm_status lm_plan_compare(lm_error *e, lm_plan *p, double *worst, int *node);
