// Super-resolution of a given clip: estimated, run, described.
#include "pipeline/upscale.h"

#include "base/clock.h"
#include "base/memory.h"

#include <jansson.h>
#include <string.h>

static lm_status estimate(lm_error *e, lumiere_context *c, lumiere_model *m, const upscale_request *r,
                          lumiere_estimate *out) {
    LM_TRY(lm_prompt_check(e, m, r->prompt, out->lost_words, sizeof out->lost_words));
    LM_TRY(lm_upscale_check(e, c, m, r));
    lm_net_cost cost;
    LM_TRY(lm_upscale_cost(e, m, r, &cost));
    out->steps = r->steps;
    out->frames = r->frames;
    out->fps = r->fps;
    out->width = r->width;
    out->height = r->height;
    out->bytes = cost.bytes + lm_upscale_buffer_bytes(r, c->threads);
    out->flops = cost.flops * (double)lm_upscale_evaluations(r);
    return lm_estimate_seconds(e, c, m, out->flops, &out->seconds);
}

lm_status lm_upscale_estimate(lm_error *e, lumiere_context *c, lumiere_model *m, int frames, int width, int height,
                              const lm_upscale_options *o, lumiere_estimate *out) {
    upscale_request r;
    *out = (lumiere_estimate){0};
    LM_TRY(lm_upscale_resolve(e, m, o, frames, width, height, &r));
    return estimate(e, c, m, &r, out);
}

typedef struct follower {
    const lm_upscale_options *o;
    double started;
} follower;

static bool follow(void *user, int64_t done, int64_t all, const lumiere_clip *preview) {
    const follower *f = user;
    double left = (lm_seconds() - f->started) / (double)done * (double)(all - done);
    return f->o->progress(f->o->user, (int)done, (int)all, left, preview);
}

lm_status lm_upscale_clip(lm_error *e, const lumiere_context *c, lumiere_model *m, const lumiere_clip *in,
                          const lm_upscale_options *o, lumiere_clip **out) {
    upscale_request r;
    follower f = {.o = o};
    const upscale_watch watch = {o->preview_every, o->progress ? follow : NULL, &f};
    *out = NULL;
    LM_TRY(lm_upscale_resolve(e, m, o, in->clip.frames, in->clip.width, in->clip.height, &r));
    LM_TRY(lm_upscale_prepare(e, c, m, &r));
    f.started = lm_seconds();
    return lm_upscale_run(e, c, m, &r, &in->clip, &watch, out);
}

lm_status lm_upscale_recipe(lm_error *e, const lumiere_model *m, const lumiere_clip *in, const lm_upscale_options *o,
                            const char *extra, char **json) {
    upscale_request r;
    *json = NULL;
    char hash[17];
    LM_TRY(lm_upscale_resolve(e, m, o, in->clip.frames, in->clip.width, in->clip.height, &r));
    lm_held_clip_hash(in, hash);
    LM_TRY(lm_model_hash(e, m));
    json_t *recipe =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:[i,i,i,i], s:i, s:f, s:i, s:i, s:i, s:i, s:s}", //
                  "program", "lumiere", "version", LUMIERE_VERSION, "task", "upscale", "model",
                  lm_model_folder_name(m->folder), "model_hash", m->hash, "input_hash", hash, "prompt", r.prompt,
                  "seed", (json_int_t)r.seed, "clip", (json_int_t)r.clip, "shape", r.frames, r.height, r.width, 3,
                  "steps", r.steps, "noise_level", r.noise_level, "window", r.window, "overlap", r.overlap, "tile",
                  r.tile, "tile_overlap", r.tile_overlap, "precision", m->compute == LM_BF16 ? "bf16" : "fp32");
    if (!recipe) return lm_fail(e, LM_USAGE, "the prompt is not valid UTF-8");
    lm_status status = LM_OK;
    double fps = lm_upscale_rate(&r, &in->clip);
    if (fps > 0 && json_object_set_new(recipe, "fps", json_real(fps))) status = lm_fail_memory(e, 4096, "the recipe");
    if (status == LM_OK) status = lm_recipe_add_members(e, recipe, extra);
    if (status == LM_OK && !lm_settings_note(o->settings, recipe)) status = lm_fail_memory(e, 4096, "the recipe");
    char *text = status == LM_OK ? json_dumps(recipe, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(recipe);
    if (text) *json = lm_strdup(text);
    free(text);
    return status == LM_OK && !*json ? lm_fail_memory(e, 4096, "the recipe") : status;
}
