// What a network holds. Private to network.c and network_weights.c.
#pragma once
#include "net/network.h"

typedef struct net_plan {
    lm_net_use use;
    lm_graph *graph;
    lm_plan *plan;
    lm_ports ports;
    lm_tensor target, loss; // LM_NONE when it only predicts
    const float *params;    // bound at present
    float *grads;
    uint64_t used; // the network's clock when it last was
} net_plan;

struct lm_weights {
    char *key;
    float *params;
    int64_t count;
    int holders;
    uint64_t used;
};

enum { NET_MOST_WEIGHTS = 3, NET_MOST_COSTS = 8 };

typedef struct net_cost {
    lm_net_use use;
    lm_net_cost cost; // flops 0: not known
} net_cost;

struct lm_network {
    lm_device *device; // held
    const lm_family *family;
    void *config;
    char *folder;
    lm_dtype compute;
    net_plan *plans[LM_MOST_PLANS + 1]; // one more while a new one is made
    int plan_count;
    lm_weights *weights[NET_MOST_WEIGHTS + 1];
    int weight_count;
    net_cost costs[NET_MOST_COSTS]; // of uses without a plan, the last ones asked for
    int next_cost;
    uint64_t clock;
    lm_go_on_fn go_on;
    void *user; // of go_on
};

void lm_net_weights_free_all(lm_network *n);
