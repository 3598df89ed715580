// Prompt to frames: prompt -> tokens -> text states -> sampler <-> U-Net -> frames.
#include "context.h"

#include "base/clock.h"
#include "base/memory.h"
#include "diffusion/guidance.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"

#include <math.h>
#include <string.h>

// What the U-Net is told of a text.
typedef struct text_input {
    float *states; // [LM_TEXT_TOKENS, width]
    float mask[LM_TEXT_TOKENS];
} text_input;

typedef struct generation {
    lumiere_model *m;
    request r;
    const lumiere_generate_options *o;
    text_input with, without; // the prompt, the negative prompt
    float *x, *unguided;      // [run_frames, run_height, run_width, 3]
    int64_t count;            // floats of x
    lumiere_clip preview;
    double started;
} generation;

static size_t text_bytes(const lumiere_model *m) {
    return LM_TEXT_TOKENS * (size_t)lm_text_encoder_width(m->text) * sizeof(float);
}

static lm_status encode(lm_error *e, lumiere_model *m, const char *text, text_input *out) {
    out->states = lm_alloc(text_bytes(m), 1);
    if (!out->states) return lm_fail_memory(e, (double)text_bytes(m), "the text states");
    return lm_text_encode(e, m->text, text, out->states, out->mask, NULL);
}

static lm_status allocate(lm_error *e, generation *g) {
    const request *r = &g->r;
    g->count = (int64_t)r->run_frames * r->run_height * r->run_width * 3;
    g->x = lm_alloc((size_t)g->count, sizeof(float));
    g->unguided = lm_alloc((size_t)g->count, sizeof(float));
    if (!g->x || !g->unguided)
        return lm_fail_memory(e, (double)run_buffer_bytes(g->m, r->run_frames, r->run_width, r->run_height),
                              "the clip");
    if (g->o->preview_every > 0 && g->o->progress) {
        LM_TRY(lm_clip_alloc(e, r->frames, r->width, r->height, 3, &g->preview.clip));
        g->preview.clip.fps = r->fps;
    }
    return LM_OK;
}

static void free_generation(generation *g) {
    lm_free(g->with.states);
    lm_free(g->without.states);
    lm_free(g->x);
    lm_free(g->unguided);
    lm_clip_free(&g->preview.clip);
}

// The condition input of text to video: zeros, nothing is given.
static lm_status clear_condition(lm_error *e, const generation *g) {
    if (!g->m->config.cond_channels) return LM_OK;
    size_t bytes = (size_t)g->count / 3 * (size_t)g->m->config.cond_channels * sizeof(float);
    float *zeros = lm_alloc_zero(bytes, 1);
    if (!zeros) return lm_fail_memory(e, (double)bytes, "the condition");
    lm_status status = lm_plan_write(e, g->m->plan.plan, g->m->plan.net.cond, zeros, bytes);
    lm_free(zeros);
    return status;
}

static lm_status evaluate(lm_error *e, generation *g, const text_input *text, const float *x, float t, float *v) {
    lm_plan *p = g->m->plan.plan;
    const lm_unet *net = &g->m->plan.net;
    size_t bytes = (size_t)g->count * sizeof(float);
    LM_TRY(lm_plan_write(e, p, net->x, x, bytes));
    LM_TRY(lm_plan_write(e, p, net->t, &t, sizeof t));
    LM_TRY(lm_plan_write(e, p, net->text, text->states, text_bytes(g->m)));
    LM_TRY(lm_plan_write(e, p, net->mask, text->mask, sizeof text->mask));
    LM_TRY(lm_plan_run(e, p));
    return lm_plan_read(e, p, net->v, v, bytes);
}

static lm_status denoise(lm_error *e, void *user, const float *x, double t, float *v) {
    generation *g = user;
    double scale = g->r.cfg_scale;
    LM_TRY(evaluate(e, g, scale == 0 ? &g->without : &g->with, x, (float)t, v));
    if (evaluations_per_step(&g->r) == 1) return LM_OK;
    LM_TRY(evaluate(e, g, &g->without, x, (float)t, g->unguided));
    lm_guide(v, g->unguided, g->count, (float)scale);
    return LM_OK;
}

// [-1,1] to bytes, rounded to nearest, of the frames and pixels that were asked for.
static void to_frames(const generation *g, const float *x, lm_clip *out) {
    const request *r = &g->r;
    uint8_t *to = out->data;
    for (int f = 0; f < r->frames; f++)
        for (int y = 0; y < r->height; y++) {
            const float *row = x + ((int64_t)f * r->run_height + y) * r->run_width * 3;
            for (int i = 0; i < 3 * r->width; i++) {
                float value = (row[i] + 1) * 127.5f + 0.5f;
                *to++ = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
            }
        }
}

static bool report_step(void *user, int step, int steps, const float *x0) {
    generation *g = user;
    if (!g->o->progress) return true;
    const lumiere_clip *preview = NULL;
    if (g->o->preview_every > 0 && step % g->o->preview_every == 0 && step < steps) {
        to_frames(g, x0, &g->preview.clip);
        preview = &g->preview;
    }
    double left = (lm_seconds() - g->started) / step * (steps - step);
    return g->o->progress(g->o->user, step, steps, left, preview);
}

static lm_status sample(lm_error *e, generation *g) {
    const request *r = &g->r;
    const lm_sampler sampler = {
        .kind = r->sampler == LUMIERE_DDIM ? LM_SAMPLER_DDIM : LM_SAMPLER_DPMPP_2M,
        .steps = r->steps,
        .t_start = 0.999,
        .clamp = 1,
        .dynamic_threshold = r->dynamic_threshold,
        .denoise = denoise,
        .progress = report_step,
        .user = g,
    };
    g->started = lm_seconds();
    lm_noise_fill(g->x, r->run_frames, g->count / r->run_frames, r->seed, r->clip, 0);
    return lm_sample(e, &sampler, g->x, g->count);
}

static lm_status make_clip(lm_error *e, const generation *g, lumiere_clip **out) {
    lumiere_clip *c = *out = lm_alloc_zero(1, sizeof *c);
    if (!c) return lm_fail_memory(e, sizeof *c, "a clip");
    lm_status status = lm_clip_alloc(e, g->r.frames, g->r.width, g->r.height, 3, &c->clip);
    if (status != LM_OK) {
        lumiere_clip_free(out);
        return status;
    }
    c->clip.fps = g->r.fps;
    to_frames(g, g->x, &c->clip);
    return LM_OK;
}

static lm_status generate(lm_error *e, generation *g, lumiere_clip **out) {
    LM_TRY(request_resolve(e, g->m, g->o, &g->r));
    LM_TRY(encode(e, g->m, g->r.prompt, &g->with));
    LM_TRY(encode(e, g->m, g->r.negative, &g->without));
    LM_TRY(video_plan_make(e, g->m, &g->r));
    LM_TRY(allocate(e, g));
    LM_TRY(clear_condition(e, g));
    LM_TRY(sample(e, g));
    return make_clip(e, g, out);
}

lumiere_status lumiere_generate(lumiere_context *c, lumiere_model *m, const lumiere_generate_options *o,
                                lumiere_clip **out) {
    lm_error e = {0};
    *out = NULL;
    generation g = {.m = m, .o = o};
    lm_status status = generate(&e, &g, out);
    free_generation(&g);
    return api_done(c, status, &e);
}
