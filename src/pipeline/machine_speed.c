// How fast this machine is: a convolution as the networks have them, timed.
#include "pipeline/context.h"

#include "base/clock.h"
#include "base/memory.h"

#include <string.h>

typedef struct probe {
    lm_graph *graph;
    lm_plan *plan;
    float *weights, *zeros;
} probe;

// 3x3, 96 channels, 8 frames of 32x32.
static lm_status probe_make(lm_error *e, lumiere_context *c, probe *p) {
    enum { FRAMES = 8, SIDE = 32, CHANNELS = 96 };
    const lm_backend *b = c->device->backend;
    p->graph = lm_graph_create(c->compute);
    if (!p->graph) return lm_fail_memory(e, 4096, "a measurement");
    lm_graph *g = p->graph;
    lm_tensor x = lm_input(g, "x", c->compute, 1, FRAMES, SIDE, SIDE, CHANNELS);
    lm_tensor w = lm_param(g, "w", ((lm_init){LM_INIT_ZERO, 0}), CHANNELS, CHANNELS, 3, 3);
    lm_output(g, lm_conv(g, x, w, LM_NONE, LM_NONE, LM_SPACE, 1));
    LM_TRY(lm_plan_create(e, g, c->device, &p->plan));
    lm_desc d = lm_tensor_desc(g, x);
    size_t weight_bytes = (size_t)lm_graph_param_count(g) * sizeof(float), x_bytes = (size_t)lm_desc_bytes(&d);
    p->zeros = lm_alloc_zero(weight_bytes > x_bytes ? weight_bytes : x_bytes, 1);
    if (!p->zeros) return lm_fail_memory(e, (double)x_bytes, "a measurement");
    LM_TRY(b->alloc(e, c->device, weight_bytes, (void **)&p->weights));
    LM_TRY(b->upload(e, c->device, p->weights, p->zeros, weight_bytes));
    lm_plan_bind(p->plan, p->weights, NULL);
    return lm_plan_write(e, p->plan, x, p->zeros, x_bytes);
}

// The fastest of some runs; a short first one packs the weights.
static lm_status probe_time(lm_error *e, probe *p, double *seconds) {
    *seconds = 1e9;
    for (int i = 0; i < 4; i++) {
        double start = lm_seconds();
        LM_TRY(lm_plan_run(e, p->plan));
        double took = lm_seconds() - start;
        if (took < *seconds) *seconds = took;
        if (took > 0.5) break;
    }
    return LM_OK;
}

lm_status measure_speed(lm_error *e, lumiere_context *c, double *out) {
    LM_TRY(api_device(e, c)); // a model may come from another context than one without a device
    if (c->flops_per_second == 0) {
        probe p = {0};
        double seconds = 0;
        lm_status status = probe_make(e, c, &p);
        if (status == LM_OK) status = probe_time(e, &p, &seconds);
        if (status == LM_OK) c->flops_per_second = lm_plan_flops(p.plan) / (seconds > 1e-9 ? seconds : 1e-9);
        lm_plan_free(&p.plan);
        lm_graph_free(&p.graph);
        if (p.weights) c->device->backend->release_memory(c->device, p.weights);
        lm_free(p.zeros);
        LM_TRY(status);
    }
    *out = c->flops_per_second;
    return LM_OK;
}
