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

static void put_upscale(lm_settings *s, const upscale_request *r, double fps) {
    lm_settings_put_whole(s, LM_KEY_seed, (int64_t)r->seed);
    lm_settings_put_whole(s, LM_KEY_clip, r->clip);
    lm_settings_put_whole(s, LM_KEY_steps, r->steps);
    lm_settings_put_number(s, LM_KEY_noise_level, r->noise_level);
    lm_settings_put_whole(s, LM_KEY_window, r->window);
    lm_settings_put_whole(s, LM_KEY_overlap, r->overlap);
    lm_settings_put_whole(s, LM_KEY_tile, r->tile);
    lm_settings_put_whole(s, LM_KEY_tile_overlap, r->tile_overlap);
    if (fps > 0) lm_settings_put_number(s, LM_KEY_fps, fps); // a picture has none
}

static lm_status resolve_upscale(lm_error *e, const lumiere_request *r, const lumiere_model *m,
                                 const request_options *o, lm_settings *out) {
    upscale_request u;
    if (!r->input) return lm_fail(e, LM_USAGE, "upscale needs a picture or clip, and none is given");
    const lm_clip *in = &r->input->clip;
    LM_TRY(lm_upscale_resolve(e, m, &o->upscale, in->frames, in->width, in->height, &u));
    put_upscale(out, &u, lm_upscale_rate(&u, in));
    return LM_OK;
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

static lm_status resolve_task(lm_error *e, const lumiere_model *m, const request_options *o, lm_settings *out) {
    task t;
    LM_TRY(lm_task_resolve(e, m, &o->task, &t));
    put_task(out, &t);
    return put_styles(e, out, o);
}

lm_status lm_request_resolve_with(lm_error *e, lumiere_request *r, const lumiere_model *m, request_options *out) {
    lm_settings filled = {0};
    LM_TRY(lm_request_fill(e, r, out));
    lm_status status = lm_settings_copy(e, &r->asked, &filled);
    if (status == LM_OK)
        status = r->asked.task == LM_TASK_UPSCALE ? resolve_upscale(e, r, m, out, &filled)
                                                  : resolve_task(e, m, out, &filled);
    if (r->is_resolved) lm_settings_free(&r->resolved);
    r->is_resolved = status == LM_OK;
    if (r->is_resolved)
        r->resolved = filled;
    else
        lm_settings_free(&filled);
    return status;
}

lumiere_status lumiere_request_resolve(lumiere_request *r, const lumiere_model *m) {
    lm_error e = {0};
    request_options o;
    return lm_request_done(r, m ? lm_request_resolve_with(&e, r, m, &o) : lm_request_fill(&e, r, &o), &e);
}

// The model's weights in the request's styles.
static lm_status apply_styles(lm_error *e, const lumiere_request *r, lumiere_model *m, const request_options *o) {
    if (m->styles_of == r->number || (!o->style_count && !m->style_count)) return LM_OK;
    LM_TRY(lm_model_set_styles(e, m, o->styles, o->style_count));
    m->styles_of = r->number;
    return LM_OK;
}

static lm_status prepare(lm_error *e, lumiere_request *r, lumiere_model *m, request_options *o) {
    LM_TRY(lm_request_resolve_with(e, r, m, o));
    return r->asked.task == LM_TASK_UPSCALE ? LM_OK : apply_styles(e, r, m, o);
}

lumiere_status lumiere_request_estimate(lumiere_request *r, lumiere_model *m, lumiere_estimate *out) {
    lm_error e = {0};
    request_options o;
    *out = (lumiere_estimate){0};
    lm_status status = prepare(&e, r, m, &o);
    if (status == LM_OK && r->asked.task == LM_TASK_UPSCALE) {
        const lm_clip *in = &r->input->clip;
        status = lm_upscale_estimate(&e, &m->own, m, in->frames, in->width, in->height, &o.upscale, out);
    } else if (status == LM_OK) {
        status = lm_task_estimate(&e, &m->own, m, &o.task, out);
    }
    return lm_request_done(r, status, &e);
}

lumiere_status lumiere_request_run(lumiere_request *r, lumiere_model *m, lumiere_clip **out) {
    lm_error e = {0};
    request_options o;
    *out = NULL;
    lm_status status = prepare(&e, r, m, &o);
    if (status == LM_OK)
        status = r->asked.task == LM_TASK_UPSCALE ? lm_upscale_clip(&e, &m->own, m, r->input, &o.upscale, out)
                                                  : lm_task_run(&e, &m->own, m, &o.task, out);
    return lm_request_done(r, status, &e);
}

lumiere_status lumiere_request_describe(lumiere_request *r, lumiere_model *m, const char *extra, char **json) {
    lm_error e = {0};
    request_options o;
    *json = NULL;
    lm_status status = prepare(&e, r, m, &o);
    if (status == LM_OK)
        status = r->asked.task == LM_TASK_UPSCALE ? lm_upscale_recipe(&e, m, r->input, &o.upscale, extra, json)
                                                  : lm_task_recipe(&e, m, &o.task, extra, json);
    return lm_request_done(r, status, &e);
}
