// A U-Net with its plan, weights and inputs, for tests: opened on a device, filled, run, read as doubles.
#pragma once
#include "graph/plan.h"
#include "net/families/unet.h"

typedef struct network_shape {
    int64_t clips, frames, height, width, tokens;
} network_shape;

typedef enum network_loss { NETWORK_FORWARD, NETWORK_TRAIN_ALL, NETWORK_TRAIN_INFLATION } network_loss;

typedef struct network {
    lm_device *d;
    lm_graph *g;
    lm_plan *plan;
    lm_unet u;
    lm_tensor target, loss; // LM_NONE with NETWORK_FORWARD
    void *params, *grads;   // on the device
} network;

// Fails the test when anything goes wrong. threads: of the device.
void network_open(network *n, const char *device, int threads, const lm_unet_config *c, network_shape s,
                  lm_dtype compute, network_loss loss);
void network_close(network *n);

// Weights by formula (tests/oracle/unet_vectors.py, weight); those for which keep_birth is true as they are born:
// zero, one or the identity. keep_birth may be NULL.
void network_fill(network *n, bool (*keep_birth)(const lm_param_info *p));

// Writes an input (x, cond, t, text, mask, ...) of the graph; values has the tensor's element count.
void network_write(network *n, lm_tensor t, const double *values);
// All inputs by formula (tests/oracle/unet_vectors.py, inputs), the target included.
void network_write_formula(network *n, network_shape s);
void network_run(network *n);
double *network_read(network *n, lm_tensor t, int64_t *count); // free with free
double *network_read_grad(network *n, const lm_param_info *p); // free with free

void network_succeed(lm_status s, const lm_error *e); // prints e and fails the test unless s is LM_OK
