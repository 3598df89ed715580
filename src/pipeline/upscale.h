// Super-resolution inside the library: few steps of DDIM, each evaluated on overlapping windows of the clip. Private to
// the files beside this one.
#pragma once
#include "pipeline/context.h"
#include "diffusion/multidiffusion.h"

// The part of a model. Its weights are loaded when they are first used.
typedef struct upscaler {
    lm_network *network;
    lm_unet_config config; // the network's
    lm_weights *weights;   // NULL: not loaded yet
} upscaler;
void lm_upscaler_free(upscaler **u);

// Options with their defaults filled in, checked.
typedef struct upscale_request {
    const char *prompt;
    uint64_t seed;
    uint32_t clip;
    int steps;
    double noise_level;
    int window, overlap;       // frames
    int tile, tile_overlap;    // pixels of the output
    double fps;                // of the output; 0: the input's, or the usual one
    int frames, width, height; // of the output
    int run_width, run_height; // as computed: multiples of what the network needs
    lm_grid grid;              // over [frames, run_height, run_width, 3]
} upscale_request;
// width and height are the input's.
lm_status lm_upscale_resolve(lm_error *e, const lumiere_model *m, const lm_upscale_options *o, int frames, int width,
                             int height, upscale_request *out);

// Frames a second of what is made of a clip.
double lm_upscale_rate(const upscale_request *r, const lm_clip *in);

int64_t lm_upscale_evaluations(const upscale_request *r); // of the network, in the whole run
// Bytes beside the plan's and the weights: the noisy clip, a window's buffers, the frames made.
uint64_t lm_upscale_buffer_bytes(const upscale_request *r, int threads);
lm_net_use lm_upscale_use(const lumiere_model *m, const upscale_request *r); // of the network
lm_status lm_upscale_cost(lm_error *e, lumiere_model *m, const upscale_request *r, lm_net_cost *out);
// Whether it fits, without the plan. LM_MEMORY names tiles or a number of frames that fit.
lm_status lm_upscale_check(lm_error *e, const lumiere_context *c, lumiere_model *m, const upscale_request *r);
lm_status lm_upscale_load(lm_error *e, lumiere_model *m); // the weights
// Loads the weights and makes the plan. LM_MEMORY names tiles or a number of frames that fit.
lm_status lm_upscale_prepare(lm_error *e, const lumiere_context *c, lumiere_model *m, const upscale_request *r);
