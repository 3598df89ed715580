// What the builders, the backward pass and the planner share. Private to graph/.
#pragma once
#include "base/memory.h"
#include "graph/graph.h"

enum { GRAPH_SCOPES = 16 };

typedef struct graph_node {
    lm_op op;
    int32_t in[LM_MAX_INPUTS];   // values, -1 where absent
    int32_t out[LM_MAX_OUTPUTS]; // values, -1 where the kind has fewer
    const char *name, *file;
    int line;
} graph_node;

typedef struct graph_value {
    lm_desc desc;
    int32_t node;    // that makes it; -1 for inputs and parameters
    int32_t base;    // the value whose memory it shows (itself but for views)
    int32_t param;   // index, or -1
    int32_t grad;    // value of its gradient so far, or -1
    int32_t grad_of; // parameter whose gradient block it is written to, or -1
    bool input, output, needs_grad, want_grad;
    const char *name;
} graph_value;

struct lm_graph {
    lm_arena arena;
    lm_error error;
    lm_dtype compute;
    graph_node *nodes;
    graph_value *values;
    lm_param_info *params;
    int node_count, node_room, value_count, value_room, param_count, param_room;
    int64_t param_elements, grad_elements;
    char scope[256];
    size_t scope_length[GRAPH_SCOPES]; // of the scope before each push
    int scopes;
    const char *file;
    int line;
    int chain; // longest step of a plan, in nodes
    bool train;
    lm_trainable_fn trainable;
};

// Makes room for one more element; false (and the graph's error) when memory is short.
bool lm_graph_grow(lm_graph *g, void **array, int count, int *room, size_t size);
graph_value *lm_graph_at(const lm_graph *g, lm_tensor t);
// Appends a node; outputs the kind doesn't have are LM_NONE.
bool lm_graph_append(lm_graph *g, lm_op op, const lm_tensor *in, int count, lm_tensor out[LM_MAX_OUTPUTS]);
