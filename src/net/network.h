// A network of any family: its configuration, its weights, and a plan for each shape that it was run for. One call
// writes the inputs, runs and reads the outputs.
#pragma once
#include "device/device.h"
#include "graph/plan.h"
#include "net/families/family.h"

typedef struct lm_network lm_network;

// config is copied. compute: LM_F32 or LM_BF16 (LM_F64 in tests). The network has no folder, so no weights of its own.
lm_status lm_network_create(lm_error *e, lm_device *d, const lm_family *f, const void *config, lm_dtype compute,
                            lm_network **out);
// Reads folder/config.json; folder/model.safetensors is read when its weights are first asked for.
lm_status lm_network_open(lm_error *e, lm_device *d, const lm_family *f, const char *folder, lm_dtype compute,
                          lm_network **out);
void lm_network_free(lm_network **n); // weights that are still held (lm_network_weights) must have been let go
const void *lm_network_config(const lm_network *n); // of the family's type

typedef enum lm_net_purpose {
    LM_NET_PREDICT, // the family's outputs
    LM_NET_LOSS,    // and an output "loss": the mean squared error of the first one against an input "target"
    LM_NET_TRAIN,   // and the gradients
} lm_net_purpose;

// What a plan is for.
typedef struct lm_net_use {
    lm_net_shape shape;
    lm_net_purpose purpose;
    lm_trainable_fn trained; // of LM_NET_TRAIN: which parameters; NULL: all
    bool kept;               // the plan stays until the network is freed
} lm_net_use;

// Makes the plan of a use unless there is one. Plans of other uses go, the least recently used first, when there are
// more than LM_MOST_PLANS, when memory is short, or when they hold more than a quarter of what is free. LM_MEMORY: it
// doesn't fit all the same.
enum { LM_MOST_PLANS = 8 };
lm_status lm_network_prepare(lm_error *e, lm_network *n, const lm_net_use *u);
bool lm_network_has(const lm_network *n, const lm_net_use *u); // a plan of that use
void lm_network_drop(lm_network *n, const lm_net_use *u);      // its plan, where there is one
uint64_t lm_network_idle_bytes(const lm_network *n);           // of plans that would go when memory is short
// Of one run, beside the weights: of its plan, or else, in a few milliseconds, without one: bytes are then some
// hundredths too few (lm_plan_estimate_bytes).
typedef struct lm_net_cost {
    double flops;
    uint64_t bytes;
} lm_net_cost;
lm_status lm_network_cost(lm_error *e, lm_network *n, const lm_net_use *u, lm_net_cost *out);

// The plan itself, prepared, for those that profile it, and its graph, for those that walk over parameters. Both are
// the network's, and as long-lived as a plan is.
lm_status lm_network_plan(lm_error *e, lm_network *n, const lm_net_use *u, lm_plan **plan, lm_graph **graph);

typedef struct lm_feed {
    const char *input;
    const void *from; // the whole tensor
} lm_feed;
typedef struct lm_fetch {
    const char *output;
    void *to;
} lm_fetch;
// Prepares, writes, runs, reads. feeds and fetches end with a NULL name. Every input of the network must be fed; feeds
// that it has no input for are left alone, so that a caller offers what it knows. params and grads: device memory laid
// out as the graph's parameters say; grads of LM_NET_TRAIN only.
lm_status lm_network_run(lm_error *e, lm_network *n, const lm_net_use *u, const float *params, float *grads,
                         const lm_feed *feeds, const lm_fetch *fetches);
// As lm_plan_watch, for all runs from now on.
void lm_network_watch(lm_network *n, lm_go_on_fn go_on, void *user);
void lm_network_changed(lm_network *n); // weights were written to: kernels pack them anew

// ---- weights from the folder ----

// In memory of this process, with where each stored tensor stands in the block.
typedef struct lm_param_block {
    lm_slot *slots;
    int slot_count;
    lm_arena names; // of the slots
    float *data;
    int64_t count; // floats
} lm_param_block;
lm_status lm_network_slots(lm_error *e, const lm_network *n, lm_param_block *out); // all but the data, which is NULL
lm_status lm_network_read(lm_error *e, const lm_network *n, lm_param_block *out);
void lm_param_block_free(lm_param_block *b); // also after a failure

// On the device, loaded once for all that ask with the same key. key "": as the folder has them; another: after change
// was applied. Held until let go; a few that nobody holds are kept for the next who asks.
typedef struct lm_weights lm_weights;
typedef lm_status (*lm_weights_change)(lm_error *e, void *user, const lm_param_block *b);
lm_status lm_network_weights(lm_error *e, lm_network *n, const char *key, lm_weights_change change, void *user,
                             lm_weights **out);
void lm_weights_let_go(lm_weights **w);              // also of NULL
const float *lm_weights_params(const lm_weights *w); // device memory
int64_t lm_weights_count(const lm_weights *w);       // floats
