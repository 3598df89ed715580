// The base network for one shape; what does not fit in memory is refused with a shape that does.
#include "pipeline/context.h"

#include "base/memory.h"
#include "diffusion/sampler.h"

#include <math.h>
#include <stdio.h>

static lm_net_use use_of(const lumiere_model *m, int frames, int width, int height) {
    return (lm_net_use){.shape = {1, frames, height, width, m->config.text_tokens}};
}

lm_net_use base_use(const lumiere_model *m, const request *r) {
    return use_of(m, r->run_frames, r->run_width, r->run_height);
}

lm_status base_cost(lm_error *e, lumiere_model *m, const request *r, lm_net_cost *out) {
    const lm_net_use use = base_use(m, r);
    return lm_network_cost(e, m->base, &use, out);
}

uint64_t run_buffer_bytes(const lumiere_model *m, int frames, int width, int height) {
    int64_t pixels = (int64_t)frames * width * height;
    uint64_t noisy_and_unguided = 2 * 3 * sizeof(float), bytes_out_and_preview = 2 * 3;
    uint64_t condition = (uint64_t)m->config.cond_channels * sizeof(float); // zeros to be copied from
    return (noisy_and_unguided + bytes_out_and_preview + condition) * (uint64_t)pixels + lm_sample_bytes(3 * pixels);
}

// Bytes of a run for each pixel of each frame, beyond the weights, from the plan of a small picture: memory grows with
// the number of pixels, and kernels for a large picture take long to prepare.
static lm_status bytes_per_pixel(lm_error *e, lumiere_model *m, const request *r, double *out) {
    int side = lm_unet_size_multiple(&m->config), small = (63 + side) / side * side;
    const int width = r->run_width < small ? r->run_width : small,
              height = r->run_height < small ? r->run_height : small;
    const lm_net_use use = use_of(m, r->run_frames, width, height);
    lm_net_cost cost;
    LM_TRY(lm_network_cost(e, m->base, &use, &cost));
    *out = (double)(cost.bytes + run_buffer_bytes(m, r->run_frames, width, height)) / width / height / r->run_frames;
    return LM_OK;
}

static int rounded_down(double size, int multiple) {
    int n = (int)(size / multiple) * multiple;
    return n < multiple ? multiple : n;
}

// The shape that fits in have bytes: a smaller picture, then fewer frames. false: there is none.
static bool find_fitting(const lumiere_model *m, const request *r, double per_pixel, double have, request *out) {
    int side = lm_unet_size_multiple(&m->config), every = m->config.video ? lm_unet_frame_multiple(&m->config) : 1;
    // not to the last byte: others use memory too, and so does the code that oneDNN makes for the kernels, up to 100 MB
    const double reserve = fmin(2.5e8, have / 2);
    double pixels = 0.75 * (have - reserve) / per_pixel;
    double scale = fmin(1, sqrt(pixels / r->run_frames / r->run_width / r->run_height));
    *out = *r;
    out->width = rounded_down(r->run_width * scale, side);
    out->height = rounded_down(r->run_height * scale, side);
    double frames = pixels / out->width / out->height;
    if (frames < r->run_frames) out->frames = rounded_down(frames, every);
    return out->frames <= frames;
}

static double need_of(const request *r, double per_pixel) {
    return per_pixel * r->run_frames * r->run_width * r->run_height;
}

static lm_status refuse(lm_error *e, const lumiere_model *m, const request *r, double per_pixel, double have) {
    request fit;
    char advice[80] = "nothing fits";
    if (find_fitting(m, r, per_pixel, have, &fit))
        snprintf(advice, sizeof advice, "%d frames at %dx%d fit", fit.frames, fit.width, fit.height);
    return lm_fail(e, LM_MEMORY, "%d frames at %dx%d need about %.2f GB beside the weights and %.2f GB are free; %s",
                   r->frames, r->width, r->height, need_of(r, per_pixel) / 1e9, have / 1e9, advice);
}

// Keeps shapes away from the planner that cannot fit: the finest activations alone show whether that is in question.
static lm_status check_roughly(lm_error *e, lumiere_model *m, const request *r, double have) {
    double folded = (double)m->config.patch * m->config.patch, per_pixel;
    double pixels = (double)r->run_frames * r->run_width * r->run_height;
    double activation = pixels / folded * m->config.channels[0] * (double)lm_dtype_size(m->compute);
    if (activation < have / 16) return LM_OK;
    LM_TRY(bytes_per_pixel(e, m, r, &per_pixel));
    return need_of(r, per_pixel) > have ? refuse(e, m, r, per_pixel, have) : LM_OK;
}

// Bytes that are free, or would be without the plans of other shapes.
static double room(const lumiere_model *m) {
    return (double)(lm_memory_available() + lm_network_idle_bytes(m->base));
}

lm_status base_prepare(lm_error *e, lumiere_model *m, const request *r) {
    const lm_net_use use = base_use(m, r);
    if (lm_network_has(m->base, &use)) return LM_OK;
    LM_TRY(check_roughly(e, m, r, room(m)));
    lm_error why = {0};
    lm_status status = lm_network_prepare(&why, m->base, &use);
    if (status == LM_OK) return LM_OK;
    double have = room(m), per_pixel;
    if (status == LM_MEMORY && bytes_per_pixel(&why, m, r, &per_pixel) == LM_OK && need_of(r, per_pixel) > 0.8 * have)
        return refuse(e, m, r, per_pixel, have);
    return lm_fail(e, status, "%s", why.text);
}
