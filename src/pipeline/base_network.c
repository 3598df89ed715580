// The base network for one shape; what does not fit in memory is refused with a shape that does.
#include "pipeline/context.h"

#include "base/memory.h"
#include "diffusion/sampler.h"

#include <math.h>
#include <stdio.h>

lm_net_use lm_base_use(const lumiere_model *m, const request *r) {
    return (lm_net_use){.shape = {1, r->run_frames, r->run_height, r->run_width, m->config.text_tokens}};
}

lm_status lm_base_cost(lm_error *e, lumiere_model *m, const request *r, lm_net_cost *out) {
    const lm_net_use use = lm_base_use(m, r);
    return lm_network_cost(e, m->base, &use, out);
}

uint64_t lm_run_buffer_bytes(const lumiere_model *m, int frames, int width, int height) {
    int64_t pixels = (int64_t)frames * width * height;
    uint64_t noisy_and_unguided = 2 * 3 * sizeof(float), bytes_out_and_preview = 2 * 3;
    uint64_t condition = (uint64_t)m->config.cond_channels * sizeof(float); // zeros to be copied from
    return (noisy_and_unguided + bytes_out_and_preview + condition) * (uint64_t)pixels + lm_sample_bytes(3 * pixels);
}

static int rounded_down(double size, int multiple) {
    int n = (int)(size / multiple) * multiple;
    return n < multiple ? multiple : n;
}

// The shape that fits in have bytes when r needs need: a smaller picture, then fewer frames. false: there is none.
static bool find_fitting(const lumiere_model *m, const request *r, double need, double have, request *out) {
    int side = lm_unet_size_multiple(&m->config), every = m->config.video ? lm_unet_frame_multiple(&m->config) : 1;
    // not to the last byte: others use memory too, and so does the code that oneDNN makes for the kernels, up to 100 MB
    const double reserve = fmin(2.5e8, have / 2);
    double share = 0.75 * (have - reserve) / need;
    double pixels = share * r->run_frames * r->run_width * r->run_height;
    double scale = fmin(1, sqrt(share));
    *out = *r;
    out->width = rounded_down(r->run_width * scale, side);
    out->height = rounded_down(r->run_height * scale, side);
    double frames = pixels / out->width / out->height;
    if (frames < r->run_frames) out->frames = rounded_down(frames, every);
    return out->frames <= frames;
}

static lm_status refuse(lm_error *e, const lumiere_model *m, const request *r, double need, double have) {
    request fit;
    char advice[80] = "nothing fits";
    if (find_fitting(m, r, need, have, &fit))
        snprintf(advice, sizeof advice, "%d frames at %dx%d fit", fit.frames, fit.width, fit.height);
    return lm_fail(e, LM_MEMORY, "%d frames at %dx%d need about %.2f GB beside the weights and %.2f GB are free; %s",
                   r->frames, r->width, r->height, need / 1e9, have / 1e9, advice);
}

// Bytes that are free, or would be without the plans of other shapes.
static double room(const lumiere_model *m) {
    return (double)(lm_memory_available() + lm_network_idle_bytes(m->base));
}

static lm_status need_of(lm_error *e, lumiere_model *m, const request *r, double *out) {
    lm_net_cost cost;
    LM_TRY(lm_base_cost(e, m, r, &cost));
    *out = (double)(cost.bytes + lm_run_buffer_bytes(m, r->run_frames, r->run_width, r->run_height));
    return LM_OK;
}

lm_status lm_base_check(lm_error *e, lumiere_model *m, const request *r) {
    const lm_net_use use = lm_base_use(m, r);
    double need;
    if (lm_network_has(m->base, &use)) return LM_OK;
    LM_TRY(need_of(e, m, r, &need));
    return need > room(m) ? refuse(e, m, r, need, room(m)) : LM_OK;
}

lm_status lm_base_prepare(lm_error *e, lumiere_model *m, const request *r) {
    const lm_net_use use = lm_base_use(m, r);
    lm_error why = {0};
    LM_TRY(lm_base_check(e, m, r));
    lm_status status = lm_network_prepare(&why, m->base, &use);
    if (status == LM_OK) return LM_OK;
    double need;
    if (status == LM_MEMORY && need_of(&why, m, r, &need) == LM_OK && need > 0.8 * room(m))
        return refuse(e, m, r, need, room(m));
    return lm_fail(e, status, "%s", why.text);
}
