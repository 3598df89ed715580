// The stage that samples a clip: tokens -> text states -> sampler <-> U-Net -> frames. The tasks take the same way,
// with a part of a clip as the network's condition, or a noisy clip to start from.
#include "pipeline/job.h"

#include "base/memory.h"
#include "diffusion/guidance.h"
#include "diffusion/loop.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"
#include "media/levels.h"

#include <math.h>
#include <string.h>

enum { INPUT_NOISE = 2 }; // of the noise's key: an input that the same seed made gets other noise than it came from

typedef struct generation {
    const lm_job *job;
    lumiere_model *m;
    const task *t;
    const request *r;         // t's
    text_input with, without; // the prompt, the negative prompt
    int64_t per_frame;        // floats of a frame: run_height x run_width x channels
    int64_t count;            // of the clip that is sampled, [sample_frames, per_frame]
    int64_t window_count;     // of what the network sees at once, [run_frames, per_frame]
    float *x, *unguided;      // the noisy clip; [window_count]
    float *window, *window_v; // of a ring: what the network sees and answers; of a long clip: the answer
    float *condition;         // [run_frames, run_height, run_width, 4], NULL when the network takes none
    float *moments;           // [run_frames]
    float *frame_condition;   // [run_height, run_width, 4], where a part of the clip is given
    int condition_at;         // the frame for which it begins; -1: for none yet
    int step;                 // of the sampler, from 0
    lumiere_clip preview;
} generation;

// Whether the network is given a part of the clip.
static bool has_given(const generation *g) {
    return g->t->given.made && g->t->o->task != LM_TASK_EDIT;
}

static lm_status allocate(lm_error *e, generation *g) {
    const request *r = g->r;
    g->per_frame = (int64_t)r->run_height * r->run_width * 3;
    g->count = r->sample_frames * g->per_frame;
    g->window_count = r->run_frames * g->per_frame;
    g->condition_at = -1;
    size_t window = (size_t)g->window_count, channels = (size_t)g->m->config.cond_channels;
    g->x = lm_alloc((size_t)g->count, sizeof(float));
    g->unguided = lm_alloc(window, sizeof(float));
    bool parts = r->loop || r->windows.count > 1;
    if (r->loop) g->window = lm_alloc(window, sizeof(float));
    if (parts) g->window_v = lm_alloc(window, sizeof(float));
    g->moments = lm_alloc((size_t)r->run_frames, sizeof(float));
    if (channels) g->condition = lm_alloc_zero(window / 3 * channels, sizeof(float));
    if (has_given(g)) g->frame_condition = lm_alloc((size_t)g->per_frame / 3 * 4, sizeof(float));
    if (!g->x || !g->unguided || !g->moments || (r->loop && !g->window) || (parts && !g->window_v) ||
        (channels && !g->condition) || (has_given(g) && !g->frame_condition))
        return lm_fail_memory(e, (double)lm_task_buffer_bytes(g->m, g->t), "the clip");
    if (g->job->watch.preview_every > 0 && g->job->watch.progress) {
        LM_TRY(lm_clip_alloc(e, r->frames, r->width, r->height, 3, &g->preview.clip));
        g->preview.clip.fps = r->fps;
    }
    return LM_OK;
}

// All that sampling needs.
static void free_buffers(generation *g) {
    float **buffers[] = {&g->x,         &g->unguided,        &g->window, &g->window_v,
                         &g->condition, &g->frame_condition, &g->moments};
    lm_text_input_free(&g->with);
    lm_text_input_free(&g->without);
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        lm_free(*buffers[i]);
        *buffers[i] = NULL;
    }
    lm_clip_free(&g->preview.clip);
}

// The condition of the window that begins at a frame: zeros, but for what is given of it.
static void give_condition(generation *g, int first) {
    const request *r = g->r;
    if (!g->condition || g->condition_at == first || !has_given(g)) return;
    size_t frame = (size_t)g->per_frame / 3 * 4;
    for (int i = 0; i < r->run_frames; i++) {
        int at = r->loop ? (first + i) % r->sample_frames : first + i;
        lm_given_condition(&g->t->given, at, r->run_width, r->run_height, g->condition + (size_t)i * frame);
    }
    g->condition_at = first;
}

static lm_status evaluate(lm_error *e, generation *g, const text_input *text, const float *x, float t, float *v) {
    const lm_net_use use = lm_base_use(g->m, g->r);
    const lm_feed feeds[] = {{"x", x},
                             {"t", &t},
                             {"text", text->states},
                             {"mask", text->mask},
                             {"cond", g->condition},
                             {"moment", g->moments},
                             {NULL, NULL}};
    lm_error why = {0};
    const lm_status status = lm_network_run(&why, g->m->base, &use, lm_weights_params(g->m->weights), NULL, feeds,
                                            (const lm_fetch[]){{"v", v}, {NULL, NULL}});
    if (status == LM_CANCELLED) return lm_fail(e, status, "stopped in step %d of %d", g->step + 1, lm_task_steps(g->t));
    return status == LM_OK ? status : lm_fail(e, status, "%s", why.text);
}

// Where in the clip the frames of the window stand that begins at a frame.
static void give_moments(generation *g, int first) {
    const request *r = g->r;
    for (int i = 0; i < r->run_frames; i++) {
        int at = r->loop ? (first + i) % r->sample_frames : first + i;
        g->moments[i] = r->frames > 1 ? fminf((float)at / (float)(r->frames - 1), 1) : LM_MOMENT_UNKNOWN;
    }
}

// v of a window of run_frames frames, x, that begins at a frame of the clip.
static lm_status denoise_window(lm_error *e, generation *g, int first, const float *x, float t, float *v) {
    double scale = g->r->cfg_scale;
    give_condition(g, first);
    give_moments(g, first);
    LM_TRY(evaluate(e, g, scale == 0 ? &g->without : &g->with, x, t, v));
    if (lm_evaluations_per_step(g->r) == 1) return LM_OK;
    LM_TRY(evaluate(e, g, &g->without, x, t, g->unguided));
    lm_guide(v, g->unguided, g->window_count, (float)scale);
    return LM_OK;
}

// v of a clip longer than the network's: the mean of its windows'.
static lm_status denoise_long(lm_error *e, generation *g, const float *x, float t, float *v) {
    const request *r = g->r;
    const lm_grid grid = {r->windows, lm_windows_make(r->run_height, r->run_height, 0),
                          lm_windows_make(r->run_width, r->run_width, 0), 3};
    memset(v, 0, (size_t)g->count * sizeof *v);
    for (int i = 0; i < r->windows.count; i++) {
        int first = lm_window_start(&r->windows, i);
        LM_TRY(denoise_window(e, g, first, x + first * g->per_frame, t, g->window_v));
        lm_grid_add(&grid, i, 0, 0, g->window_v, v, 0);
    }
    lm_grid_divide(&grid, v, 0, r->sample_frames);
    return LM_OK;
}

static lm_status denoise_clip(lm_error *e, generation *g, const float *x, double t, float *v) {
    const request *r = g->r;
    if (r->windows.count > 1) return denoise_long(e, g, x, (float)t, v);
    if (!r->loop) return denoise_window(e, g, 0, x, (float)t, v);
    int first = lm_loop_start(g->step, r->sample_frames);
    lm_loop_cut(x, r->sample_frames, g->per_frame, first, r->run_frames, g->window);
    LM_TRY(denoise_window(e, g, first, g->window, (float)t, g->window_v));
    lm_loop_join(g->window_v, r->sample_frames, g->per_frame, first, v);
    return LM_OK;
}

// In all steps but the last, whose prediction is what comes out, the given part takes its known values: so the network
// finds it in the noisy clip too, and fits to it what it makes beside it.
static lm_status denoise(lm_error *e, void *user, const float *x, double t, float *v) {
    generation *g = user;
    const request *r = g->r;
    LM_TRY(denoise_clip(e, g, x, t, v));
    if (!has_given(g) || g->step + 1 >= lm_task_steps(g->t)) return LM_OK;
    float *condition = g->frame_condition;
    for (int f = 0; f < r->sample_frames; f++) {
        lm_given_condition(&g->t->given, f, r->run_width, r->run_height, condition);
        lm_keep_given(lm_level_at(t), condition, x + f * g->per_frame, g->per_frame / 3, v + f * g->per_frame);
    }
    return LM_OK;
}

// [-1,1] to bytes, rounded to nearest, of the frames and pixels that were asked for, under what was given.
static void to_frames(const generation *g, const float *x, lm_clip *out) {
    const request *r = g->r;
    uint8_t *to = out->data;
    for (int f = 0; f < r->frames; f++)
        for (int y = 0; y < r->height; y++) {
            const float *row = x + ((int64_t)f * r->run_height + y) * r->run_width * 3;
            lm_bytes_from_floats(to, row, 3 * (size_t)r->width);
            to += 3 * r->width;
        }
    if (has_given(g) && !g->t->o->no_composite) lm_given_composite(&g->t->given, out);
}

static bool report_step(void *user, int step, int steps, const float *x0) {
    generation *g = user;
    const int every = g->job->watch.preview_every;
    const lumiere_clip *preview = NULL;
    g->step = step;
    if (g->job->watch.progress && every > 0 && step % every == 0 && step < steps) {
        to_frames(g, x0, &g->preview.clip);
        preview = &g->preview;
    }
    return lm_job_progress(g->job, step, preview);
}

// The clip that sampling starts from: noise, or the input at the noise level t (SDEdit, arXiv 2108.01073); so a held
// picture's colours and shapes are in every frame from the beginning, as by FrameInit (arXiv 2402.04324, section 3.3).
static void fill_start(generation *g, double t) {
    const request *r = g->r;
    bool from_input = lm_task_starts_from_input(g->t);
    lm_noise_fill(g->x, r->sample_frames, g->per_frame, r->seed, r->clip, from_input ? INPUT_NOISE : 0);
    if (!from_input) return;
    const lm_level level = lm_level_at(t);
    const float alpha = (float)level.alpha, sigma = (float)level.sigma;
    float *clean = g->unguided; // free until the first evaluation
    for (int f = 0; f < r->sample_frames; f++) {
        float *x = g->x + f * g->per_frame;
        lm_given_frame(&g->t->given, f, r->run_width, r->run_height, clean);
        for (int64_t i = 0; i < g->per_frame; i++) x[i] = alpha * clean[i] + sigma * x[i];
    }
}

static lm_status sample(lm_error *e, generation *g) {
    const request *r = g->r;
    const lm_sampler sampler = {
        .kind = r->sampler,
        .steps = lm_task_steps(g->t),
        .t_start = fmin(g->t->strength, LM_NOISIEST_TIME),
        .clamp = 1,
        .dynamic_threshold = r->dynamic_threshold,
        .denoise = denoise,
        .progress = report_step,
        .user = g,
    };
    fill_start(g, sampler.t_start);
    if (sampler.steps == 0) return LM_OK; // of no strength: the input as it is
    return lm_sample(e, &sampler, g->x, g->count);
}

static lm_status make_clip(lm_error *e, const generation *g, lumiere_clip **out) {
    lumiere_clip *c = *out = lm_alloc_zero(1, sizeof *c);
    if (!c) return lm_fail_memory(e, sizeof *c, "a clip");
    lm_status status = lm_clip_alloc(e, g->r->frames, g->r->width, g->r->height, 3, &c->clip);
    if (status != LM_OK) {
        lm_held_clip_free(out);
        return status;
    }
    c->clip.fps = g->r->fps;
    to_frames(g, g->x, &c->clip);
    return LM_OK;
}

static lm_status generate(lm_error *e, generation *g, lumiere_clip **out) {
    LM_TRY(lm_text_input_encode(e, g->m->text, g->r->prompt, &g->with));
    LM_TRY(lm_text_input_encode(e, g->m->text, g->r->negative, &g->without));
    LM_TRY(allocate(e, g));
    LM_TRY(sample(e, g));
    return make_clip(e, g, out);
}

lm_status lm_sample_run(lm_error *e, const lm_job *j, lm_stage *s, const lumiere_clip *in, lumiere_clip **out) {
    task *t = &s->task;
    generation g = {.job = j, .m = j->m, .t = t, .r = &t->r};
    *out = NULL;
    if (s->continues) {
        s->options.input = in;
        lm_task_fill_given(t);
    }
    lm_status status = lm_task_fit(e, t);
    if (status == LM_OK) status = generate(e, &g, out);
    free_buffers(&g);
    lm_task_free(t);
    if (s->continues) { // in is the caller's to free
        s->options.input = &j->between;
        lm_task_fill_given(t);
    }
    return status;
}
