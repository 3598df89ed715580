// A request resolved, estimated, described and run with a model, on the model's own device.
#include "api/request_handle.h"

#include "base/plain_text.h"

#include <string.h>

static void put_task(lm_settings *s, const task *t) {
    const request *r = &t->r;
    lm_settings_put_whole(s, LM_KEY_seed, (int64_t)r->seed);
    lm_settings_put_whole(s, LM_KEY_clip, r->clip);
    lm_settings_put_whole(s, LM_KEY_frames, r->frames);
    lm_settings_put_whole(s, LM_KEY_width, r->width);
    lm_settings_put_whole(s, LM_KEY_height, r->height);
    lm_settings_put_number(s, LM_KEY_fps, r->fps);
    lm_settings_put_whole(s, LM_KEY_steps, r->steps);
    lm_settings_put_number(s, LM_KEY_cfg_scale, r->cfg_scale);
    lm_settings_put_choice(s, LM_KEY_sampler, r->sampler);
    lm_settings_put_number(s, LM_KEY_dynamic_threshold, r->dynamic_threshold);
    lm_settings_put_whole(s, LM_KEY_overlap, r->overlap);
    lm_settings_put_flag(s, LM_KEY_upscale, t->enlarges);
    lm_settings_put_flag(s, LM_KEY_no_upscale, !t->enlarges);
    if (lm_setting_of(s->task, LM_KEY_refine)) lm_settings_put_number(s, LM_KEY_refine, t->refine);
    if (lm_setting_of(s->task, LM_KEY_strength)) lm_settings_put_number(s, LM_KEY_strength, t->strength);
}

static void put_upscale(lm_settings *s, const upscale_request *r) {
    lm_settings_put_whole(s, LM_KEY_seed, (int64_t)r->seed);
    lm_settings_put_whole(s, LM_KEY_clip, r->clip);
    lm_settings_put_whole(s, LM_KEY_steps, r->steps);
    lm_settings_put_number(s, LM_KEY_noise_level, r->noise_level);
    lm_settings_put_whole(s, LM_KEY_window, r->window);
    lm_settings_put_whole(s, LM_KEY_overlap, r->overlap);
    lm_settings_put_whole(s, LM_KEY_tile, r->tile);
    lm_settings_put_whole(s, LM_KEY_tile_overlap, r->tile_overlap);
    if (r->fps > 0) lm_settings_put_number(s, LM_KEY_fps, r->fps); // a picture has none
}

static lm_status put_styles(lm_error *e, lm_settings *s, const request_options *o) {
    bool given = lm_settings_given(s, LM_KEY_style_alpha);
    for (int i = 0; i < o->style_count && !given; i++) {
        char alpha[40];
        lm_text_format(alpha, sizeof alpha, "%.17g", o->styles[i].alpha);
        LM_TRY(lm_settings_set(e, s, "style_alpha", alpha));
    }
    return LM_OK;
}

static lm_status resolve_job(lm_error *e, lumiere_request *r, lumiere_model *m) {
    if (r->asked.task != LM_TASK_UPSCALE) return lm_job_resolve(e, m, &r->options.task, &r->job);
    if (!r->input) return lm_fail(e, LM_USAGE, "upscale needs a picture or clip, and none is given");
    return lm_job_resolve_upscale(e, m, r->input, &r->options.upscale, &r->job);
}

static lm_status put_resolved(lm_error *e, lumiere_request *r) {
    if (r->asked.task != LM_TASK_UPSCALE) {
        put_task(&r->resolved, &r->job.task);
        return put_styles(e, &r->resolved, &r->options);
    }
    put_upscale(&r->resolved, &r->job.stages[0].enlarge);
    return LM_OK;
}

// The request's job with m: settings are resolved once, until they are changed or another model comes.
static lm_status resolve(lm_error *e, lumiere_request *r, lumiere_model *m) {
    if (r->is_resolved && r->job.m == m) return LM_OK;
    lm_request_changed(r);
    LM_TRY(lm_request_fill(e, r, &r->options));
    LM_TRY(resolve_job(e, r, m));
    r->resolutions++;
    lm_status status = lm_settings_copy(e, &r->asked, &r->resolved);
    r->is_resolved = true; // also what was copied in part is freed
    if (status == LM_OK) status = put_resolved(e, r);
    if (status != LM_OK) lm_request_changed(r);
    return status;
}

lumiere_status lumiere_request_resolve(lumiere_request *r, lumiere_model *m) {
    lm_error e = {0};
    return lm_request_done(r, m ? resolve(&e, r, m) : lm_request_fill(&e, r, &r->options), &e);
}

// The model's weights in the request's styles.
static lm_status apply_styles(lm_error *e, const lumiere_request *r, lumiere_model *m) {
    const request_options *o = &r->options;
    if (m->styles_of == r->number || (!o->style_count && !m->style_count)) return LM_OK;
    LM_TRY(lm_model_set_styles(e, m, o->styles, o->style_count));
    m->styles_of = r->number;
    return LM_OK;
}

static lm_status prepare(lm_error *e, lumiere_request *r, lumiere_model *m) {
    LM_TRY(resolve(e, r, m));
    return r->asked.task == LM_TASK_UPSCALE ? LM_OK : apply_styles(e, r, m);
}

lumiere_status lumiere_request_estimate(lumiere_request *r, lumiere_model *m, lumiere_estimate *out) {
    lm_error e = {0};
    *out = (lumiere_estimate){0};
    lm_status status = prepare(&e, r, m);
    if (status == LM_OK) status = lm_job_estimate(&e, &r->job, out);
    return lm_request_done(r, status, &e);
}

lumiere_status lumiere_request_run(lumiere_request *r, lumiere_model *m, lumiere_clip **out) {
    lm_error e = {0};
    *out = NULL;
    lm_status status = prepare(&e, r, m);
    if (status == LM_OK) {
        r->job.watch = r->watch;
        r->job.watch.preview_every = (int)lm_settings_whole(&r->asked, LM_KEY_preview_every);
        r->job.cancelled = &r->cancelled;
        status = lm_job_run(&e, &r->job, out);
        atomic_store(&r->cancelled, false);
    }
    return lm_request_done(r, status, &e);
}

void lumiere_request_cancel(lumiere_request *r) {
    atomic_store(&r->cancelled, true);
}

lumiere_status lumiere_request_describe(lumiere_request *r, lumiere_model *m, const char *extra, char **json) {
    lm_error e = {0};
    *json = NULL;
    lm_status status = prepare(&e, r, m);
    if (status == LM_OK) status = lm_job_describe(&e, &r->job, extra, json);
    return lm_request_done(r, status, &e);
}
