// The plan's own structures. Private to graph/.
#pragma once
#include "graph/graph_internal.h"
#include "graph/plan.h"

enum { PLAN_ALIGN = 64 };

typedef enum plan_home { PLAN_NOWHERE, PLAN_BLOCK, PLAN_PARAMS, PLAN_GRADS } plan_home;

// Where a base value's bytes are. Values that share memory (acc and output) share a storage.
typedef struct plan_storage {
    plan_home home;
    int64_t bytes, offset; // within its home
    int first, last;       // steps in which it is alive
} plan_storage;

typedef struct plan_node {
    int index;         // into g->nodes
    int step;          // nodes of one step run frames by frames, see lm_call
    lm_kernel *kernel; // NULL while only the memory is estimated
    lm_io io;
    double flops, seconds;
} plan_node;

struct lm_plan {
    lm_graph *g;
    lm_device *d;
    plan_node *nodes;
    lm_call *calls; // one a node, in order
    int node_count;
    unsigned char *live; // of the graph: a flag a node, then a flag a value
    int *storage_of;     // base value -> storage, -1 when it needs none
    plan_storage *storages;
    int storage_count;
    unsigned char *block;
    size_t block_bytes, workspace_bytes, held_bytes;
    void *workspace;
    const void *params;
    void *grads;
    uint64_t weights_version;
    bool profile;
    lm_go_on_fn go_on; // NULL: never stopped
    void *watcher;     // its argument
};

// Runs count neighbours that lie in one step. A failure names them.
lm_status lm_plan_run_nodes(lm_error *e, lm_plan *p, int first, int count);
// Gives every value that live nodes touch its place. Only arithmetic; LM_MEMORY when even that is short.
lm_status lm_plan_place(lm_error *e, lm_plan *p);
