// A run's options: the model's defaults filled in, everything checked before anything is computed.
#include "pipeline/context.h"

#include "base/arithmetic.h"

#include <limits.h>
#include <math.h>
#include <string.h>

enum { MAX_PROMPT_BYTES = 4096, MAX_STEPS = 1000, MAX_FRAMES = 640, OVERLAP = 16 };

static lm_status sampler_by_name(lm_error *e, const lumiere_model *m, const char *name, lm_sampler_kind *out) {
    for (int i = 0; i < LM_SAMPLERS; i++)
        if (!strcmp(name, lm_choice_name(LM_KEY_sampler, i))) {
            *out = (lm_sampler_kind)i;
            return LM_OK;
        }
    return lm_fail(e, LM_MODEL, "%s/model.json: the default sampler \"%s\" is not known; dpmpp_2m and ddim are",
                   lm_model_folder_path(m->folder), name);
}

int lm_evaluations_per_step(const request *r) {
    return r->cfg_scale == 0 || r->cfg_scale == 1 ? 1 : 2;
}

double lm_model_default(const lumiere_model *m, const char *key) {
    static const struct {
        const char *key;
        double value;
    } usual[] = {{"width", 64}, {"height", 64}, {"fps", 16}, {"steps", 25}, {"cfg_scale", 4}, {"refine", 0}};
    if (!strcmp(key, "frames"))
        return lm_model_folder_default(m->folder, key, m->config.video ? m->config.max_frames : 1);
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (!strcmp(key, usual[i].key)) return lm_model_folder_default(m->folder, key, usual[i].value);
    return 0;
}

// value, or the model's default when it is 0; from 1 to most.
static lm_status resolve_count(lm_error *e, const lumiere_model *m, const char *key, int value, int most, int *out) {
    double v = value ? value : lm_model_default(m, key);
    if (!(v >= 1 && v <= most && v == floor(v)))
        return lm_fail(e, LM_USAGE, "%s is %.10g; it must be a whole number from 1 to %d", key, v, most);
    *out = (int)v;
    return LM_OK;
}

static lm_status resolve_prompt(lm_error *e, const char *what, const char *text) {
    if (!text) return lm_fail(e, LM_USAGE, "no %s; give the text that describes the clip", what);
    size_t n = strlen(text);
    if (n > MAX_PROMPT_BYTES)
        return lm_fail(e, LM_USAGE, "the %s has %zu bytes; at most %d are possible, and about 20 words have an effect",
                       what, n, MAX_PROMPT_BYTES);
    return LM_OK;
}

// What the network sees at once, and for a clip longer than that its windows. They begin at multiples of the network's
// temporal down-sampling, so that every window sees the same phase of it.
static lm_status resolve_frames(lm_error *e, const lumiere_model *m, const lm_generate_options *o, request *r) {
    const lm_unet_config *c = &m->config;
    int multiple = c->video ? lm_unet_frame_multiple(c) : 1, most = c->video ? c->max_frames / multiple * multiple : 1;
    LM_TRY(resolve_count(e, m, "frames", o->frames, c->video ? MAX_FRAMES : 1, &r->frames));
    r->loop = o->loop;
    r->run_frames = (int)lm_round_up(r->frames, multiple);
    r->sample_frames = r->loop ? r->frames : r->run_frames;
    int overlap = most > 2 * OVERLAP ? OVERLAP : most / 2;
    r->overlap = o->overlap || o->overlap_set ? o->overlap : overlap / multiple * multiple;
    if (r->overlap < 0 || r->overlap >= most || r->overlap % multiple)
        return lm_fail(e, LM_USAGE, "windows of %d frames that overlap by %d; multiples of %d below %d are possible",
                       most, r->overlap, multiple, most);
    if (r->run_frames <= most) {
        r->windows = lm_windows_make(r->run_frames, r->run_frames, 0);
        return LM_OK;
    }
    if (r->loop)
        return lm_fail(e, LM_USAGE, "a loop of %d frames; this model makes loops of at most %d", r->frames, most);
    r->run_frames = most;
    r->windows = lm_windows_make(r->sample_frames, most, r->overlap);
    return LM_OK;
}

void lm_request_resize(const lumiere_model *m, request *r, int width, int height) {
    const int side = lm_unet_size_multiple(&m->config);
    r->width = width;
    r->height = height;
    r->run_width = (int)lm_round_up(width, side);
    r->run_height = (int)lm_round_up(height, side);
}

static lm_status resolve_shape(lm_error *e, const lumiere_model *m, const lm_generate_options *o, request *r) {
    LM_TRY(resolve_frames(e, m, o, r));
    LM_TRY(resolve_count(e, m, "width", o->width, LM_MAX_SIDE, &r->width));
    LM_TRY(resolve_count(e, m, "height", o->height, LM_MAX_SIDE, &r->height));
    lm_request_resize(m, r, r->width, r->height);
    return LM_OK;
}
static lm_status resolve_sampler(lm_error *e, const lumiere_model *m, const lm_generate_options *o, request *r) {
    LM_TRY(resolve_count(e, m, "steps", o->steps, MAX_STEPS, &r->steps));
    r->cfg_scale = o->cfg_scale != 0 || o->cfg_scale_set ? o->cfg_scale : lm_model_default(m, "cfg_scale");
    if (!(r->cfg_scale >= 0 && r->cfg_scale <= 100))
        return lm_fail(e, LM_USAGE, "the guidance scale is %g; it must be 0 to 100", r->cfg_scale);
    r->sampler = o->sampler;
    if (!o->sampler_set && o->sampler == LM_SAMPLER_DPMPP_2M)
        LM_TRY(sampler_by_name(e, m, lm_model_folder_default_text(m->folder, "sampler", "dpmpp_2m"), &r->sampler));
    r->dynamic_threshold = o->dynamic_threshold;
    if (!(r->dynamic_threshold >= 0 && r->dynamic_threshold < 1))
        return lm_fail(e, LM_USAGE, "the dynamic threshold is %g; it must be a share from 0 (off) to below 1",
                       r->dynamic_threshold);
    return LM_OK;
}

lm_status lm_request_resolve(lm_error *e, const lumiere_model *m, const lm_generate_options *o, request *r) {
    *r = (request){.prompt = o->prompt,
                   .negative = o->negative_prompt ? o->negative_prompt : "",
                   .seed = o->seed,
                   .clip = o->clip};
    LM_TRY(resolve_prompt(e, "prompt", r->prompt));
    LM_TRY(resolve_prompt(e, "negative prompt", r->negative));
    if (r->seed > INT64_MAX) return lm_fail(e, LM_USAGE, "the seed must be below 2^63");
    LM_TRY(resolve_shape(e, m, o, r));
    LM_TRY(resolve_sampler(e, m, o, r));
    r->fps = o->fps != 0 ? o->fps : lm_model_default(m, "fps");
    if (!(r->fps >= 0.1 && r->fps <= 240))
        return lm_fail(e, LM_USAGE, "%g frames a second; 0.1 to 240 are possible", r->fps);
    return LM_OK;
}
