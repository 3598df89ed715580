// The base network planned for one shape; what does not fit in memory is refused with a shape that does.
#include "pipeline/context.h"

#include "base/memory.h"
#include "diffusion/sampler.h"

#include <math.h>
#include <stdio.h>

void video_plan_free(video_plan *p) {
    lm_plan_free(&p->plan);
    lm_graph_free(&p->graph);
    *p = (video_plan){0};
}

uint64_t run_buffer_bytes(const lumiere_model *m, int frames, int width, int height) {
    int64_t pixels = (int64_t)frames * width * height;
    uint64_t noisy_and_unguided = 2 * 3 * sizeof(float), bytes_out_and_preview = 2 * 3;
    uint64_t condition = (uint64_t)m->config.cond_channels * sizeof(float); // zeros to be copied from
    return (noisy_and_unguided + bytes_out_and_preview + condition) * (uint64_t)pixels + lm_sample_bytes(3 * pixels);
}

static lm_status build(lm_error *e, const lumiere_model *m, video_plan *p) {
    p->graph = lm_graph_create(m->compute);
    if (!p->graph) return lm_fail_memory(e, 4096, "the network");
    p->net = lm_unet_build(p->graph, &m->config, 1, p->frames, p->height, p->width, LM_TEXT_TOKENS);
    return lm_graph_status(p->graph, e);
}

// Bytes of a run for each pixel of each frame, beyond the weights, from the plan of a small picture: memory grows with
// the number of pixels, and kernels for a large picture take long to prepare.
static lm_status bytes_per_pixel(lm_error *e, lumiere_model *m, const request *r, double *out) {
    int side = lm_unet_size_multiple(&m->config), small = (63 + side) / side * side;
    video_plan p = {.frames = r->run_frames,
                    .width = r->run_width < small ? r->run_width : small,
                    .height = r->run_height < small ? r->run_height : small};
    uint64_t planned = 0;
    lm_status status = build(e, m, &p);
    if (status == LM_OK) status = lm_plan_bytes(e, p.graph, m->device, &planned);
    uint64_t bytes = planned + run_buffer_bytes(m, p.frames, p.width, p.height);
    *out = (double)bytes / p.width / p.height / p.frames;
    video_plan_free(&p);
    return status;
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

static lm_status make(lm_error *e, lumiere_model *m, video_plan *p) {
    LM_TRY(build(e, m, p));
    LM_TRY(lm_plan_create(e, p->graph, m->device, &p->plan));
    lm_plan_bind(p->plan, m->weights, NULL);
    return LM_OK;
}

lm_status video_plan_make(lm_error *e, lumiere_model *m, const request *r) {
    video_plan *p = &m->plan;
    if (p->plan && p->frames == r->run_frames && p->width == r->run_width && p->height == r->run_height) return LM_OK;
    video_plan_free(p);
    LM_TRY(check_roughly(e, m, r, (double)lm_memory_available()));
    *p = (video_plan){.frames = r->run_frames, .width = r->run_width, .height = r->run_height};
    lm_error why = {0};
    lm_status status = make(&why, m, p);
    if (status == LM_OK) return LM_OK;
    video_plan_free(p);
    double have = (double)lm_memory_available(), per_pixel;
    if (status == LM_MEMORY && bytes_per_pixel(&why, m, r, &per_pixel) == LM_OK && need_of(r, per_pixel) > 0.8 * have)
        return refuse(e, m, r, per_pixel, have);
    return lm_fail(e, status, "%s", why.text);
}
