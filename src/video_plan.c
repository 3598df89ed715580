// The base network planned for one shape; what does not fit in memory is refused with a shape that does.
#include "context.h"

#include "base/memory.h"
#include "diffusion/sampler.h"

#include <math.h>
#include <string.h>

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

// Of a run at a shape, beyond the weights. most: enough to answer; shapes whose finest activations alone are beyond it
// are not planned, *out is then that lower bound.
static lm_status run_bytes(lm_error *e, lumiere_model *m, int frames, int width, int height, uint64_t most,
                           uint64_t *out) {
    int64_t folded = (int64_t)m->config.patch * m->config.patch;
    uint64_t activation = (uint64_t)frames * (uint64_t)width * (uint64_t)height / (uint64_t)folded *
                          (uint64_t)m->config.channels[0] * lm_dtype_size(m->compute);
    *out = 2 * activation + run_buffer_bytes(m, frames, width, height);
    if (*out > most) return LM_OK;
    video_plan p = {.frames = frames, .width = width, .height = height};
    uint64_t planned = 0;
    lm_status status = build(e, m, &p);
    if (status == LM_OK) status = lm_plan_bytes(e, p.graph, m->device, &planned);
    video_plan_free(&p);
    *out = planned + run_buffer_bytes(m, frames, width, height);
    return status;
}

static int smaller(int size, double scale, int multiple) {
    int n = (int)(size * scale) / multiple * multiple;
    return n < multiple ? multiple : n;
}

// The largest shape found by shrinking the picture, then the number of frames, that needs at most have bytes.
static lm_status find_fitting(lm_error *e, lumiere_model *m, const request *r, double need, uint64_t have,
                              request *out) {
    int side = lm_unet_size_multiple(&m->config), every = m->config.video ? lm_unet_frame_multiple(&m->config) : 1;
    *out = *r;
    double scale = fmin(sqrt((double)have / need), 0.95);
    for (bool fits = false; !fits; scale *= 0.9) {
        bool smallest = out->width == side && out->height == side;
        out->width = smaller(r->run_width, scale, side);
        out->height = smaller(r->run_height, scale, side);
        if (smallest && out->frames <= every) return LM_MEMORY;
        if (smallest) out->frames = smaller(out->frames, 0.5, every);
        uint64_t bytes;
        LM_TRY(run_bytes(e, m, (out->frames + every - 1) / every * every, out->width, out->height, have, &bytes));
        fits = bytes <= have;
    }
    return LM_OK;
}

static lm_status refuse(lm_error *e, lumiere_model *m, const request *r, uint64_t need, uint64_t have) {
    request fit;
    lm_status status = find_fitting(e, m, r, (double)need, have, &fit);
    if (status != LM_OK && status != LM_MEMORY) return status;
    double gb = (double)need / 1e9, free_gb = (double)have / 1e9;
    if (status == LM_MEMORY)
        return lm_fail(e, LM_MEMORY,
                       "%d frames at %dx%d need %.2f GB beside the weights and %.2f GB are free; nothing fits",
                       r->frames, r->width, r->height, gb, free_gb);
    return lm_fail(
        e, LM_MEMORY,
        "%d frames at %dx%d need at least %.2f GB beside the weights and %.2f GB are free; %d frames at %dx%d fit",
        r->frames, r->width, r->height, gb, free_gb, fit.frames, fit.width, fit.height);
}

lm_status video_plan_make(lm_error *e, lumiere_model *m, const request *r) {
    video_plan *p = &m->plan;
    if (p->plan && p->frames == r->run_frames && p->width == r->run_width && p->height == r->run_height) return LM_OK;
    video_plan_free(p);
    uint64_t need, have = lm_memory_available();
    LM_TRY(run_bytes(e, m, r->run_frames, r->run_width, r->run_height, have, &need));
    if (need > have) return refuse(e, m, r, need, have);
    *p = (video_plan){.frames = r->run_frames, .width = r->run_width, .height = r->run_height};
    lm_status status = build(e, m, p);
    if (status == LM_OK) status = lm_plan_create(e, p->graph, m->device, &p->plan);
    if (status == LM_OK)
        lm_plan_bind(p->plan, m->weights, NULL);
    else
        video_plan_free(p);
    return status;
}
