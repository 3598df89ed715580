// A task's options made ready for a run: defaults that depend on the input, the input fitted, what the recipe says of
// it.
#include "pipeline/context.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

static bool of_picture(const lm_task_options *o) {
    return o->task == LM_TASK_ANIMATE || o->task == LM_TASK_CINEMAGRAPH || o->input->clip.frames == 1;
}

// Frames and size that were left open, from the input. What is out of range stays so and is refused later.
static void fill_defaults(const lm_task_options *o, const lumiere_model *m, lm_generate_options *out) {
    const lm_clip *c = &o->input->clip;
    const double fps = out->fps > 0 ? out->fps : lm_model_default(m, "fps");
    if (out->frames == 0) {
        const int most = (int)lm_model_default(m, "frames");
        int lasting = of_picture(o) ? most : lm_fit_duration(c->frames, c->fps > 0 ? c->fps : fps, fps);
        out->frames = lasting < most ? lasting : most;
    }
    if (o->task != LM_TASK_OUTPAINT || (out->width && out->height)) return;
    double across = (double)c->width + o->pad.left + o->pad.right,
           down = (double)c->height + o->pad.top + o->pad.bottom;
    double area = (out->width ? out->width : lm_model_default(m, "width")) *
                  (out->height ? out->height : lm_model_default(m, "height"));
    double width = out->width ? out->width : out->height ? out->height * across / down : sqrt(area * across / down);
    double height = out->height ? out->height : width * down / across;
    out->width = (int)fmin(fmax(round(width), 1), LM_MAX_SIDE);
    out->height = (int)fmin(fmax(round(height), 1), LM_MAX_SIDE);
}

void lm_task_fill_given(task *t) {
    const lm_task_options *o = t->o;
    const request *r = &t->r;
    const lm_sides *pad = &o->pad;
    const double input_fps = o->input->clip.fps > 0 ? o->input->clip.fps : r->fps;
    t->given_options = (lm_given_options){
        .task = o->task,
        .input = &o->input->clip,
        .input_fps = input_fps,
        .mask = o->mask ? &o->mask->clip : NULL,
        .box = o->box,
        .feather = o->feather,
        .left = pad->left,
        .top = pad->top,
        .right = pad->right,
        .bottom = pad->bottom,
        .fit = o->fit,
        .fit_mask = o->fit_set,
        .background = {255, 255, 255},
        .frames = r->frames,
        .width = r->width,
        .height = r->height,
        .fps = r->fps,
    };
    for (int i = 0; i < 3 && o->background_given; i++) t->given_options.background[i] = o->background[i];
}

static lm_status check_options(lm_error *e, const lumiere_model *m, const lm_task_options *o) {
    if (o->task == LM_TASK_GENERATE)
        return o->input || o->mask || o->box
                   ? lm_fail(e, LM_USAGE, "generate takes no input, mask or box; name the task they are for")
                   : LM_OK;
    if (!o->input) return lm_fail(e, LM_USAGE, "%s needs a picture or clip, and none is given", lm_task_name(o->task));
    if (!(o->strength >= 0 && o->strength <= 1))
        return lm_fail(e, LM_USAGE, "the strength is %g; 0 (the input as it is) to 1 are possible", o->strength);
    if (o->task != LM_TASK_EDIT && m->config.cond_channels != 4)
        return lm_fail(e, LM_MODEL,
                       "%s: this model's network has no condition input, which %s needs; one of the video "
                       "stage has",
                       lm_model_folder_path(m->folder), lm_task_name(o->task));
    return LM_OK;
}

static double resolve_strength(const lm_task_options *o) {
    const lm_settings none = {.task = o->task};
    if (!lm_setting_of(o->task, LM_KEY_strength)) return 1; // from noise alone
    return o->strength_set || o->strength > 0 ? o->strength : lm_settings_number(&none, LM_KEY_strength);
}

lm_status lm_task_resolve(lm_error *e, const lumiere_model *m, const lm_task_options *o, task *out) {
    *out = (task){.o = o};
    LM_TRY(check_options(e, m, o));
    out->strength = resolve_strength(o);
    lm_generate_options filled = o->generate;
    if (o->input) fill_defaults(o, m, &filled);
    LM_TRY(lm_request_resolve(e, m, &filled, &out->r));
    if (!o->input) return LM_OK;
    lm_task_fill_given(out);
    return lm_given_check(e, &out->given_options);
}

lm_status lm_task_fit(lm_error *e, task *t) {
    return t->o->input ? lm_given_make(e, &t->given_options, &t->given) : LM_OK;
}

void lm_task_free(task *t) {
    lm_given_free(&t->given);
}

int lm_task_steps(const task *t) {
    return (int)ceil(t->r.steps * t->strength - 1e-9);
}

bool lm_task_starts_from_input(const task *t) {
    return t->o->task == LM_TASK_ANIMATE || t->o->task == LM_TASK_CINEMAGRAPH || t->o->task == LM_TASK_EDIT;
}

static int set_numbers(json_t *recipe, const char *key, int a, int b, int c, int d) {
    return json_object_set_new(recipe, key, json_pack("[i,i,i,i]", a, b, c, d));
}

bool lm_describe_clip(json_t *recipe, const char *key, const lumiere_clip *clip, const char *digest) {
    char hash[17], of[40];
    const bool file = digest && *digest;
    if (!file) lm_held_clip_hash(clip, hash);
    snprintf(of, sizeof of, "%s_of", key);
    return !json_object_set_new(recipe, key, json_string(file ? digest : hash)) &&
           !json_object_set_new(recipe, of, json_string(file ? "file" : "frames"));
}

bool lm_task_describe(const task *t, json_t *recipe) {
    const lm_task_options *o = t->o;
    const lm_given_options *g = &t->given_options;
    int failed = 0;
    if (t->r.loop) failed |= json_object_set_new(recipe, "loop", json_true());
    if (o->task == LM_TASK_GENERATE) return !failed;
    failed |= json_object_set_new(recipe, "task", json_string(lm_task_name(o->task)));
    failed |= !lm_describe_clip(recipe, "input_hash", o->input, o->input_digest);
    if (o->mask) failed |= !lm_describe_clip(recipe, "mask_hash", o->mask, o->mask_digest);
    if (o->box) failed |= set_numbers(recipe, "box", o->box->x, o->box->y, o->box->width, o->box->height);
    if (o->task == LM_TASK_OUTPAINT) failed |= set_numbers(recipe, "pad", g->left, g->top, g->right, g->bottom);
    if (lm_task_starts_from_input(t)) failed |= json_object_set_new(recipe, "strength", json_real(t->strength));
    if (o->feather > 0) failed |= json_object_set_new(recipe, "feather", json_real(o->feather));
    if (o->fit_set) failed |= json_object_set_new(recipe, "fit", json_string(lm_choice_name(LM_KEY_fit, o->fit)));
    if (o->no_composite) failed |= json_object_set_new(recipe, "no_composite", json_true());
    char colour[8];
    snprintf(colour, sizeof colour, "#%02x%02x%02x", g->background[0], g->background[1], g->background[2]);
    failed |= json_object_set_new(recipe, "background", json_string(colour));
    return !failed;
}
