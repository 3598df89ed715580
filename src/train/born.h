// Weights at birth.
#pragma once
#include "graph/graph.h"
#include <stdint.h>

// Fills parameter i of g in block: PyTorch's default distributions, drawn from (seed, name), so that a parameter's
// values don't depend on which others there are.
void lm_param_born(const lm_graph *g, int i, uint64_t seed, float *block);
