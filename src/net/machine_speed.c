#include "net/machine_speed.h"

#include "base/clock.h"
#include "net/network.h"

// A network of one convolution.
static lm_net_shape probe_least(const void *config) {
    (void)config;
    return (lm_net_shape){.batch = 1, .frames = 8, .height = 32, .width = 32};
}

static void probe_build(lm_graph *g, const void *config, const lm_net_shape *s, lm_ports *out) {
    (void)config;
    enum { CHANNELS = 96 };
    lm_tensor x = lm_input(g, "x", lm_graph_compute(g), s->batch, s->frames, s->height, s->width, CHANNELS);
    lm_tensor w = lm_param(g, "w", ((lm_init){LM_INIT_ZERO, 0}), CHANNELS, CHANNELS, 3, 3);
    lm_tensor y = lm_conv(g, x, w, LM_NONE, LM_NONE, LM_SPACE, 1);
    lm_output(g, y);
    *out = (lm_ports){.in = {{"x", x}}, .inputs = 1, .out = {{"y", y}}, .outputs = 1};
}

static const lm_family probe_family = {"a measurement", 1, NULL, probe_least, probe_build, NULL};

// The fastest of some runs; a short first one packs the weights.
static lm_status time_runs(lm_error *e, lm_network *n, const lm_net_use *u, const float *weights, const float *x,
                           double *seconds) {
    *seconds = 1e9;
    for (int i = 0; i < 4; i++) {
        const double start = lm_seconds();
        LM_TRY(lm_network_run(e, n, u, weights, NULL, (const lm_feed[]){{"x", x}, {NULL, NULL}},
                              (const lm_fetch[]){{NULL, NULL}}));
        const double took = lm_seconds() - start;
        if (took < *seconds) *seconds = took;
        if (took > 0.5) break;
    }
    return LM_OK;
}

lm_status lm_measure_speed(lm_error *e, lm_device *d, lm_dtype compute, double *out) {
    const lm_net_use use = {.shape = probe_least(NULL)};
    enum { WEIGHTS = 96 * 96 * 9, INPUTS = 8 * 32 * 32 * 96 };
    lm_network *n = NULL;
    float *weights = NULL, *zeros = lm_alloc_zero(INPUTS, sizeof *zeros);
    double seconds = 0;
    lm_net_cost cost = {0};
    lm_status status = zeros ? LM_OK : lm_fail_memory(e, INPUTS * sizeof *zeros, "a measurement");
    if (status == LM_OK) status = lm_network_create(e, d, &probe_family, NULL, compute, &n);
    if (status == LM_OK) status = d->backend->alloc(e, d, WEIGHTS * sizeof *weights, (void **)&weights);
    if (status == LM_OK) status = d->backend->upload(e, d, weights, zeros, WEIGHTS * sizeof *weights);
    if (status == LM_OK) status = time_runs(e, n, &use, weights, zeros, &seconds);
    if (status == LM_OK) status = lm_network_cost(e, n, &use, &cost);
    if (status == LM_OK) *out = cost.flops / (seconds > 1e-9 ? seconds : 1e-9);
    lm_network_free(&n);
    if (weights) d->backend->release_memory(d, weights);
    lm_free(zeros);
    return status;
}

double lm_network_seconds(double flops, double speed) {
    // A whole network reaches about this share of what its largest convolutions reach; normalisation and attention read
    // and write much for the operations they do.
    const double share_of_convolution = 0.6;
    return flops / (speed * share_of_convolution);
}
