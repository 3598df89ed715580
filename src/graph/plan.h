// Memory for a graph's tensors, decided before anything runs, and the run itself.
#pragma once
#include "device/device.h"
#include "graph/graph.h"
#include <stdio.h>

typedef struct lm_plan lm_plan;

// Bytes a plan of g takes on d, weights excluded: activations, workspace and what its kernels hold. Allocates little.
lm_status lm_plan_bytes(lm_error *e, lm_graph *g, lm_device *d, uint64_t *out);

// LM_MEMORY when it does not fit (nothing large is allocated before that is known); any error of g's builders.
// The plan borrows g and d.
lm_status lm_plan_create(lm_error *e, lm_graph *g, lm_device *d, lm_plan **out);
void lm_plan_free(lm_plan **p);

// Device memory of the flat parameter and gradient blocks (offsets in lm_param_info), both owned by the caller.
void lm_plan_bind(lm_plan *p, const void *params, void *grads);
void lm_plan_weights_changed(lm_plan *p); // after writing to the parameters

// Inputs before a run, outputs after it. bytes must be the tensor's.
lm_status lm_plan_write(lm_error *e, lm_plan *p, lm_tensor t, const void *from, size_t bytes);
lm_status lm_plan_read(lm_error *e, lm_plan *p, lm_tensor t, void *to, size_t bytes);
// LM_MEMORY or LM_FAILED when a kernel fails, naming its node; outputs and gradients are then undefined, and the plan
// can run again.
lm_status lm_plan_run(lm_error *e, lm_plan *p) __attribute__((warn_unused_result));

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
