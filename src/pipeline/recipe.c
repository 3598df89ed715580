// How a clip was made, as JSON: enough to make the same bytes again on the same kind of machine.
#include "pipeline/job.h"

#include "base/memory.h"

#include <jansson.h>
#include <string.h>

static lm_status add_members(lm_error *e, json_t *recipe, const char *text) {
    if (!text || !*text) return LM_OK;
    json_error_t where;
    json_t *more = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(more)) {
        json_decref(more);
        return lm_fail(e, LM_USAGE, "the recipe's further members are not a JSON object: %s", where.text);
    }
    int failed = json_object_update(recipe, more);
    json_decref(more);
    return failed ? lm_fail_memory(e, 4096, "the recipe") : LM_OK;
}

static json_t *recipe_object(const lumiere_model *m, const request *r) {
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:i, s:f, s:i, s:f, s:s, s:f, s:s}", //
                     "program", "lumiere", "version", LUMIERE_VERSION, "model", lm_model_folder_name(m->folder),
                     "model_hash", m->hash, "prompt", r->prompt, "negative_prompt", r->negative, "seed",
                     (json_int_t)r->seed, "clip", (json_int_t)r->clip, "frames", r->frames, "width", r->width, "height",
                     r->height, "fps", r->fps, "steps", r->steps, "cfg_scale", r->cfg_scale, "sampler",
                     lm_choice_name(LM_KEY_sampler, r->sampler), "dynamic_threshold", r->dynamic_threshold, "precision",
                     m->compute == LM_BF16 ? "bf16" : "fp32");
}

// What a long clip's windows were, and whether and how it was enlarged; nothing for a model that can't.
static bool describe_length_and_size(const lm_job *j, json_t *recipe) {
    const task *t = &j->task;
    const lm_stage *last = &j->stages[j->count - 1];
    const upscale_request *u = &last->enlarge;
    int failed = 0;
    bool usual = t->o->task == LM_TASK_GENERATE;
    if (usual && (t->refine > 0 || lm_model_default(j->m, "refine") > 0))
        failed |= json_object_set_new(recipe, "refine", json_real(t->refine));
    if (t->r.windows.count > 1) failed |= json_object_set_new(recipe, "overlap", json_integer(t->r.overlap));
    if (last->kind == LM_STAGE_ENLARGE) {
        failed |= json_object_set_new(recipe, "enlarged",
                                      json_pack("{s:i, s:i, s:i, s:f, s:i, s:i, s:i, s:i}", "width", u->width, "height",
                                                u->height, "steps", u->steps, "noise_level", u->noise_level, "window",
                                                u->window, "overlap", u->overlap, "tile", u->tile, "tile_overlap",
                                                u->tile_overlap));
        if (!usual) failed |= json_object_set_new(recipe, "upscale", json_true());
    } else if (j->m->ssr && usual) {
        failed |= json_object_set_new(recipe, "no_upscale", json_true());
    }
    return !failed;
}

static lm_status describe_clip(lm_error *e, const lm_job *j, json_t **out) {
    json_t *recipe = *out = recipe_object(j->m, &j->task.r);
    if (!recipe) return lm_fail(e, LM_USAGE, "the prompt is not valid UTF-8");
    if (!lm_task_describe(&j->task, recipe) || !describe_length_and_size(j, recipe))
        return lm_fail_memory(e, 4096, "the recipe");
    return lm_styles_describe(e, j->m, recipe);
}

// Super-resolution of a given clip.
static lm_status describe_enlargement(lm_error *e, const lm_job *j, json_t **out) {
    const upscale_request *r = &j->stages[0].enlarge;
    const lumiere_model *m = j->m;
    *out =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:[i,i,i,i], s:i, s:f, s:i, s:i, s:i, s:i, s:s}", //
                  "program", "lumiere", "version", LUMIERE_VERSION, "task", "upscale", "model",
                  lm_model_folder_name(m->folder), "model_hash", m->hash, "prompt", r->prompt, "seed",
                  (json_int_t)r->seed, "clip", (json_int_t)r->clip, "shape", r->frames, r->height, r->width, 3, "steps",
                  r->steps, "noise_level", r->noise_level, "window", r->window, "overlap", r->overlap, "tile", r->tile,
                  "tile_overlap", r->tile_overlap, "precision", m->compute == LM_BF16 ? "bf16" : "fp32");
    if (!*out) return lm_fail(e, LM_USAGE, "the prompt is not valid UTF-8");
    if (!lm_describe_clip(*out, "input_hash", j->input, j->input_digest)) return lm_fail_memory(e, 4096, "the recipe");
    if (r->fps > 0 && json_object_set_new(*out, "fps", json_real(r->fps))) return lm_fail_memory(e, 4096, "the recipe");
    return LM_OK;
}

lm_status lm_job_describe(lm_error *e, const lm_job *j, const char *extra, char **json) {
    json_t *recipe = NULL;
    *json = NULL;
    LM_TRY(lm_model_hash(e, j->m));
    lm_status status =
        j->stages[0].kind == LM_STAGE_ENLARGE ? describe_enlargement(e, j, &recipe) : describe_clip(e, j, &recipe);
    if (status == LM_OK) status = add_members(e, recipe, extra);
    if (status == LM_OK && !lm_settings_note(j->settings, recipe)) status = lm_fail_memory(e, 4096, "the recipe");
    char *text = status == LM_OK ? json_dumps(recipe, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(recipe);
    if (text) *json = lm_strdup(text);
    free(text);
    return status == LM_OK && !*json ? lm_fail_memory(e, 4096, "the recipe") : status;
}
