// Where a graph's parameters stand in the flat block of its weights, as files of weights ask for it.
#pragma once
#include "graph/graph.h"
#include "store/model_folder.h"

lm_slot lm_param_slot(const lm_param_info *p); // the name is the graph's
// One for each of lm_graph_params, in their order. Free with lm_free; names live as long as the graph.
lm_status lm_graph_slots(lm_error *e, const lm_graph *g, lm_slot **out);
