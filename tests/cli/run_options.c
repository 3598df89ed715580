#include "api/done.h"
#include "cli/run_options.h"

#include "base/plain_text.h"
#include "pipeline/context.h"

#include <stdio.h>
#include <string.h>

// A request being filled: the first failure stays.
typedef struct filling {
    lumiere_request *r;
    lumiere_status status;
} filling;

static void set_text(filling *f, const char *name, const char *text) {
    if (text && f->status == LUMIERE_OK) f->status = lumiere_request_set(f->r, name, text);
}

static void set_number(filling *f, const char *name, double v, bool given) {
    char text[40];
    lm_text_format(text, sizeof text, "%.17g", v);
    if (v != 0 || given) set_text(f, name, text);
}

static void set_flag(filling *f, const char *name, bool v) {
    if (v) set_text(f, name, "true");
}

static void set_seed(filling *f, uint64_t seed) {
    char text[40];
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    set_text(f, "seed", text);
}

static void set_four(filling *f, const char *name, int a, int b, int c, int d) {
    char text[60];
    snprintf(text, sizeof text, "%d,%d,%d,%d", a, b, c, d);
    set_text(f, name, text);
}

static void set_clip(filling *f, const char *name, const lumiere_clip *clip) {
    if (clip && f->status == LUMIERE_OK) f->status = lumiere_request_set_clip(f->r, name, clip);
}

static void fill_generate(filling *f, const lm_generate_options *o) {
    set_text(f, "prompt", o->prompt);
    set_text(f, "negative_prompt", o->negative_prompt);
    set_seed(f, o->seed);
    set_number(f, "clip", o->clip, false);
    set_number(f, "frames", o->frames, false);
    set_number(f, "width", o->width, false);
    set_number(f, "height", o->height, false);
    set_number(f, "fps", o->fps, false);
    set_number(f, "steps", o->steps, false);
    set_number(f, "cfg_scale", o->cfg_scale, o->cfg_scale_set);
    if (o->sampler != LM_SAMPLER_DPMPP_2M || o->sampler_set)
        set_text(f, "sampler", lm_choice_name(LM_KEY_sampler, o->sampler));
    set_number(f, "dynamic_threshold", o->dynamic_threshold, false);
    set_number(f, "preview_every", o->preview_every, false);
    set_number(f, "overlap", o->overlap, o->overlap_set);
    set_flag(f, "upscale", o->enlarge == LM_ENLARGE);
    set_flag(f, "no_upscale", o->enlarge == LM_ENLARGE_NOT);
    set_flag(f, "loop", o->loop);
    set_number(f, "refine", o->refine, o->refine_set);
    lumiere_request_on_progress(f->r, o->progress, o->user);
    lumiere_request_on_base(f->r, o->base, o->user);
}

static void fill_task(filling *f, const lm_task_options *o) {
    char colour[10];
    set_clip(f, "input", o->input);
    set_clip(f, "mask", o->mask);
    if (o->box) set_four(f, "box", o->box->x, o->box->y, o->box->width, o->box->height);
    if (o->task == LM_TASK_OUTPAINT) set_four(f, "pad", o->pad.left, o->pad.top, o->pad.right, o->pad.bottom);
    if (lm_setting_of(o->task, LM_KEY_feather)) set_number(f, "feather", o->feather, false);
    if (lm_setting_of(o->task, LM_KEY_strength)) set_number(f, "strength", o->strength, o->strength_set);
    if (o->fit_set) set_text(f, "fit", lm_choice_name(LM_KEY_fit, o->fit));
    set_flag(f, "no_composite", o->no_composite && o->task != LM_TASK_EDIT);
    snprintf(colour, sizeof colour, "#%02x%02x%02x", o->background[0], o->background[1], o->background[2]);
    if (o->background_given) set_text(f, "background", colour);
    fill_generate(f, &o->generate);
}

static void fill_upscale(filling *f, const lumiere_clip *in, const lm_upscale_options *o) {
    set_clip(f, "input", in);
    set_text(f, "prompt", o->prompt);
    set_seed(f, o->seed);
    set_number(f, "clip", o->clip, false);
    set_number(f, "steps", o->steps, false);
    set_number(f, "noise_level", o->noise_level, o->noise_level_set);
    set_number(f, "window", o->window, false);
    set_number(f, "overlap", o->overlap, o->overlap_set);
    set_number(f, "tile", o->tile, false);
    set_number(f, "tile_overlap", o->tile_overlap, o->tile_overlap_set);
    set_number(f, "preview_every", o->preview_every, false);
    set_number(f, "fps", o->fps, false);
    lumiere_request_on_progress(f->r, o->progress, o->user);
}

static filling begin(const char *name) {
    filling f;
    f.status = lumiere_request_create(name, &f.r);
    return f;
}

static lumiere_status end(lumiere_context *c, filling *f) {
    lm_error_clear(&c->error);
    if (f->status != LUMIERE_OK) lm_fail(&c->error, (lm_status)f->status, "%s", lumiere_request_error(f->r));
    lumiere_request_free(&f->r);
    return f->status;
}

static filling begin_task(const lm_task_options *o) {
    filling f = begin(lm_task_name(o->task));
    fill_task(&f, o);
    return f;
}

lumiere_status run_task(lumiere_context *c, lumiere_model *m, const lm_task_options *o, lumiere_clip **out) {
    filling f = begin_task(o);
    *out = NULL;
    if (f.status == LUMIERE_OK) f.status = lumiere_request_run(f.r, m, out);
    return end(c, &f);
}

lumiere_status run_task_estimate(lumiere_context *c, lumiere_model *m, const lm_task_options *o,
                                 lumiere_estimate *out) {
    filling f = begin_task(o);
    if (f.status == LUMIERE_OK) f.status = lumiere_request_estimate(f.r, m, out);
    return end(c, &f);
}

lumiere_status run_task_recipe(lumiere_context *c, lumiere_model *m, const lm_task_options *o, const char *extra,
                               char **json) {
    filling f = begin_task(o);
    *json = NULL;
    if (f.status == LUMIERE_OK) f.status = lumiere_request_describe(f.r, m, extra, json);
    return end(c, &f);
}

lumiere_status run_generate(lumiere_context *c, lumiere_model *m, const lm_generate_options *o, lumiere_clip **out) {
    return run_task(c, m, &(lm_task_options){.generate = *o}, out);
}

lumiere_status run_generate_estimate(lumiere_context *c, lumiere_model *m, const lm_generate_options *o,
                                     lumiere_estimate *out) {
    return run_task_estimate(c, m, &(lm_task_options){.generate = *o}, out);
}

lumiere_status run_generate_recipe(lumiere_context *c, lumiere_model *m, const lm_generate_options *o,
                                   const char *extra, char **json) {
    return run_task_recipe(c, m, &(lm_task_options){.generate = *o}, extra, json);
}

lumiere_status run_upscale(lumiere_context *c, lumiere_model *m, const lumiere_clip *in, const lm_upscale_options *o,
                           lumiere_clip **out) {
    filling f = begin("upscale");
    *out = NULL;
    fill_upscale(&f, in, o);
    if (f.status == LUMIERE_OK) f.status = lumiere_request_run(f.r, m, out);
    return end(c, &f);
}

// The stand-in has no pixels, which an estimate doesn't look at.
lumiere_status run_upscale_estimate(lumiere_context *c, lumiere_model *m, int frames, int width, int height,
                                    const lm_upscale_options *o, lumiere_estimate *out) {
    lumiere_clip shape = {.clip = {.frames = frames, .width = width, .height = height, .channels = 3}};
    filling f = begin("upscale");
    fill_upscale(&f, &shape, o);
    if (f.status == LUMIERE_OK) f.status = lumiere_request_estimate(f.r, m, out);
    return end(c, &f);
}

lumiere_status run_upscale_recipe(lumiere_context *c, lumiere_model *m, const lumiere_clip *in,
                                  const lm_upscale_options *o, const char *extra, char **json) {
    filling f = begin("upscale");
    *json = NULL;
    fill_upscale(&f, in, o);
    if (f.status == LUMIERE_OK) f.status = lumiere_request_describe(f.r, m, extra, json);
    return end(c, &f);
}

lumiere_status run_set_styles(lumiere_context *c, lumiere_model *m, const lm_style_asked *styles, int count) {
    lm_error e = {0};
    return lm_api_done(c, lm_model_set_styles(&e, m, styles, count), &e);
}
