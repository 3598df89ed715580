// A request's settings as the options of a run: checked, defaults filled in.
#include "api/request_handle.h"

#include "base/memory.h"
#include "base/plain_text.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static const double STYLE_ALPHA = 0.7; // shared by all styles

static bool asks(const lm_settings *s, lm_key flag) {
    return lm_settings_given(s, flag) && lm_settings_flag(s, flag);
}

static lm_status check_enlargement(lm_error *e, const lm_settings *s) {
    if (!asks(s, LM_KEY_upscale) || !asks(s, LM_KEY_no_upscale)) return LM_OK;
    char upscale[80], no_upscale[80];
    return lm_fail(e, LM_USAGE, "%s and %s; give one", lm_settings_name(s, LM_KEY_upscale, upscale, sizeof upscale),
                   lm_settings_name(s, LM_KEY_no_upscale, no_upscale, sizeof no_upscale));
}

// Of a mask the clip or its name, which is read later.
static lm_status check_region(lm_error *e, const lumiere_request *r) {
    const lm_settings *s = &r->asked;
    char one[80], two[80];
    if (s->task == LM_TASK_OUTPAINT && !lm_settings_given(s, LM_KEY_pad))
        return lm_fail(e, LM_USAGE, "outpaint: how far beyond the input? give %s l,t,r,b in pixels of the input",
                       lm_settings_name(s, LM_KEY_pad, one, sizeof one));
    if (!lm_setting_of(s->task, LM_KEY_mask)) return LM_OK;
    bool mask = r->mask || lm_settings_given(s, LM_KEY_mask), box = lm_settings_given(s, LM_KEY_box);
    const char *mask_name = lm_settings_name(s, LM_KEY_mask, one, sizeof one);
    const char *box_name = lm_settings_name(s, LM_KEY_box, two, sizeof two);
    if (mask && box) return lm_fail(e, LM_USAGE, "both %s and %s; give one", mask_name, box_name);
    if (mask || box) return LM_OK;
    return lm_fail(e, LM_USAGE, "%s: what is to be made anew? name a %s (white is made anew) or a %s x,y,w,h",
                   lm_task_name(s->task), mask_name, box_name);
}

static lm_status check_count(lm_error *e, const lm_settings *s, lm_key id) {
    char one[80], two[80];
    int n = s->values[LM_KEY_style].count, others = s->values[id].count;
    if (!others || others == n) return LM_OK;
    return lm_fail(e, LM_USAGE, "%d %s and %d %s; give one for each style, or none", others,
                   lm_settings_name(s, id, one, sizeof one), n, lm_settings_name(s, LM_KEY_style, two, sizeof two));
}

static lm_status fill_styles(lm_error *e, const lm_settings *s, request_options *out) {
    const lm_value *styles = &s->values[LM_KEY_style], *alphas = &s->values[LM_KEY_style_alpha],
                   *hashes = &s->values[LM_KEY_style_hash];
    int n = out->style_count = styles->count;
    char name[80];
    if (s->task == LM_TASK_STYLIZE && !n)
        return lm_fail(e, LM_USAGE, "stylize: no style; name one of the model's with %s, or a style file",
                       lm_settings_name(s, LM_KEY_style, name, sizeof name));
    if (n > LM_MOST_STYLES) return lm_fail(e, LM_USAGE, "%d styles; at most %d are possible", n, LM_MOST_STYLES);
    LM_TRY(check_count(e, s, LM_KEY_style_alpha));
    LM_TRY(check_count(e, s, LM_KEY_style_hash));
    for (int i = 0; i < n; i++)
        out->styles[i] =
            (lm_style_asked){.style = styles->items[i],
                             .alpha = alphas->count ? lm_text_number(alphas->items[i], NULL) : STYLE_ALPHA / n,
                             .hash = hashes->count ? hashes->items[i] : NULL};
    return LM_OK;
}

static int64_t random_seed(void) {
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random) random = (uint32_t)time(NULL);
    return random;
}

static uint64_t seed_of(lumiere_request *r) {
    const lm_setting *row = lm_setting_of(r->asked.task, LM_KEY_seed);
    bool by_chance = row->face.source == LUMIERE_FROM_CHANCE && !lm_settings_given(&r->asked, LM_KEY_seed);
    if (by_chance && r->chance < 0) r->chance = random_seed();
    return (uint64_t)(by_chance ? r->chance : lm_settings_whole(&r->asked, LM_KEY_seed));
}

static void fill_upscale(lumiere_request *r, lm_upscale_options *o) {
    const lm_settings *s = &r->asked;
    *o = (lm_upscale_options){
        .settings = s,
        .prompt = lm_settings_text(s, LM_KEY_prompt),
        .seed = seed_of(r),
        .clip = (uint32_t)lm_settings_whole(s, LM_KEY_clip),
        .steps = (int)lm_settings_whole(s, LM_KEY_steps),
        .noise_level = lm_settings_number(s, LM_KEY_noise_level),
        .noise_level_set = lm_settings_given(s, LM_KEY_noise_level),
        .window = (int)lm_settings_whole(s, LM_KEY_window),
        .overlap = (int)lm_settings_whole(s, LM_KEY_overlap),
        .overlap_set = lm_settings_given(s, LM_KEY_overlap),
        .tile = (int)lm_settings_whole(s, LM_KEY_tile),
        .tile_overlap = (int)lm_settings_whole(s, LM_KEY_tile_overlap),
        .tile_overlap_set = lm_settings_given(s, LM_KEY_tile_overlap),
        .fps = lm_settings_number(s, LM_KEY_fps),
        .input_digest = r->input_digest,
    };
}

static void fill_generate(lumiere_request *r, lm_generate_options *o) {
    const lm_settings *s = &r->asked;
    *o = (lm_generate_options){
        .settings = s,
        .prompt = lm_settings_text(s, LM_KEY_prompt),
        .negative_prompt = lm_settings_text(s, LM_KEY_negative_prompt),
        .seed = seed_of(r),
        .clip = (uint32_t)lm_settings_whole(s, LM_KEY_clip),
        .frames = (int)lm_settings_whole(s, LM_KEY_frames),
        .width = (int)lm_settings_whole(s, LM_KEY_width),
        .height = (int)lm_settings_whole(s, LM_KEY_height),
        .fps = lm_settings_number(s, LM_KEY_fps),
        .steps = (int)lm_settings_whole(s, LM_KEY_steps),
        .cfg_scale = lm_settings_number(s, LM_KEY_cfg_scale),
        .cfg_scale_set = lm_settings_given(s, LM_KEY_cfg_scale),
        .sampler = (lm_sampler_kind)lm_settings_choice(s, LM_KEY_sampler),
        .sampler_set = lm_settings_given(s, LM_KEY_sampler),
        .dynamic_threshold = lm_settings_number(s, LM_KEY_dynamic_threshold),
        .overlap = (int)lm_settings_whole(s, LM_KEY_overlap),
        .overlap_set = lm_settings_given(s, LM_KEY_overlap),
        .enlarge = asks(s, LM_KEY_no_upscale) ? LM_ENLARGE_NOT
                   : asks(s, LM_KEY_upscale)  ? LM_ENLARGE
                                              : LM_ENLARGE_DEFAULT,
        .loop = lm_settings_flag(s, LM_KEY_loop),
        .refine = lm_settings_number(s, LM_KEY_refine),
        .refine_set = lm_settings_given(s, LM_KEY_refine),
    };
}

static void fill_task(lumiere_request *r, request_options *out) {
    const lm_settings *s = &r->asked;
    const int *box = s->values[LM_KEY_box].four, *pad = s->values[LM_KEY_pad].four;
    lm_task_options *o = &out->task;
    *o = (lm_task_options){
        .task = s->task == LM_TASK_STYLIZE ? LM_TASK_GENERATE : s->task,
        .input = r->input,
        .mask = r->mask,
        .input_digest = r->input_digest,
        .mask_digest = r->mask_digest,
        .pad = {pad[0], pad[1], pad[2], pad[3]},
        .feather = lm_settings_number(s, LM_KEY_feather),
        .strength = lm_settings_number(s, LM_KEY_strength),
        .strength_set = lm_settings_given(s, LM_KEY_strength),
        .fit = (lm_fit_kind)lm_settings_choice(s, LM_KEY_fit),
        .fit_set = lm_settings_given(s, LM_KEY_fit),
        .no_composite = lm_settings_flag(s, LM_KEY_no_composite),
        .background_given = true,
    };
    lm_settings_colour(s, LM_KEY_background, o->background);
    out->box = (lm_box){box[0], box[1], box[2], box[3]};
    if (lm_settings_given(s, LM_KEY_box)) o->box = &out->box;
    fill_generate(r, &o->generate);
}

lm_status lm_request_fill(lm_error *e, lumiere_request *r, request_options *out) {
    *out = (request_options){0};
    if (r->asked.task == LM_TASK_UPSCALE) {
        fill_upscale(r, &out->upscale);
        return LM_OK;
    }
    LM_TRY(check_enlargement(e, &r->asked));
    LM_TRY(check_region(e, r));
    LM_TRY(fill_styles(e, &r->asked, out));
    fill_task(r, out);
    return LM_OK;
}
