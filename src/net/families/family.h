// A family of networks: one configuration, one builder, one way of naming weights. network.h runs any of them.
#pragma once
#include "base/memory.h"
#include "graph/graph.h"
#include "store/model_folder.h"

// What a network is built for. A family leaves alone what it has no use for.
typedef struct lm_net_shape {
    int64_t batch, frames, height, width, tokens;
} lm_net_shape;

// Inputs and outputs by the names that the family's header gives them.
enum { LM_MOST_PORTS = 8 };
typedef struct lm_port {
    const char *name;
    lm_tensor tensor;
} lm_port;
typedef struct lm_ports {
    lm_port in[LM_MOST_PORTS], out[LM_MOST_PORTS];
    int inputs, outputs;
} lm_ports;

enum { LM_MOST_STORED = 3 }; // tensors of a file that make up one parameter

typedef struct lm_family {
    const char *name; // "the U-Net": for messages
    size_t config_bytes;
    // config.json. LM_MODEL naming the key and what would be right.
    lm_status (*read)(lm_error *e, const char *path, void *config);
    // A small shape that the network can be built for; all shapes have the same parameters in the same places.
    lm_net_shape (*least)(const void *config);
    // Appends the network to g. Its first output is what a loss compares with a target.
    void (*build)(lm_graph *g, const void *config, const lm_net_shape *s, lm_ports *out);
    // The tensors of the weight file that make up p, one after the other, and how many; 0: no memory for their names.
    // NULL: p itself.
    int (*stored)(lm_arena *names, const lm_param_info *p, lm_slot out[LM_MOST_STORED]);
} lm_family;
