#include "making.h"
#include "run_files.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define AT(member) offsetof(making_settings, member)
const option_row making_rows[] = {
    {"prompt", 'p', OPTION_TEXT, AT(prompt), "TEXT", "what to show (or as the argument)", 0, 0, 0},
    {"negative-prompt", 'n', OPTION_TEXT, AT(negative), "TEXT", "what to keep away from", 0, 0, 0},
    OPTION_SHARED(output_file_rows),
    {"model", 'm', OPTION_TEXT, AT(model), "FOLDER",
     "model folder (default: LUMIERE_MODEL, or the one that came along)", 0, 0, 0},
    {"seed", 's', OPTION_SEED, AT(seed), "N", "the same seed makes the same clip (default: a new one each time)", 0, 0,
     AT(seed_given)},
    {"steps", 0, OPTION_INT, AT(steps), "N", "sampling steps (default: the model's)", 1, 1000, 0},
    {"cfg-scale", 0, OPTION_NUMBER, AT(cfg_scale), "X",
     "guidance: how closely to follow the prompt; 1: off (default: the model's)", 0, 100, AT(cfg_given)},
    {"sampler", 0, OPTION_CHOICE, AT(sampler), "dpmpp_2m|ddim", "way of sampling (default: the model's)", 0, 0, 0},
    {"dynamic-threshold", 0, OPTION_NUMBER, AT(dynamic_threshold), "P",
     "share of values kept unsaturated, such as 0.995; 0: clamp (default)", 0, 0.99999, 0},
    {"video-frames", 'f', OPTION_INT, AT(frames), "N", "frames (default: the model's, or the input's; most: 640)", 1,
     INT_MAX, 0},
    {"fps", 0, OPTION_NUMBER, AT(fps), "X", "frames a second (default: the model's)", 0.1, 240, 0},
    {"width", 'W', OPTION_INT, AT(width), "N", "pixels (default: the model's)", 1, INT_MAX, 0},
    {"height", 'H', OPTION_INT, AT(height), "N", "pixels (default: the model's)", 1, INT_MAX, 0},
    {"overlap", 0, OPTION_INT, AT(overlap), "N",
     "frames shared by the windows of a clip longer than the model's 80 (default: 16)", 0, 4095, AT(overlap_given)},
    {"upscale", 0, OPTION_FLAG, AT(upscale), NULL,
     "make four times the size by super-resolution (default for generate, where the model can)", 0, 0, 0},
    {"no-upscale", 0, OPTION_FLAG, AT(no_upscale), NULL, "leave the size as it is", 0, 0, 0},
    {"loop", 0, OPTION_FLAG, AT(loop), NULL, "make a seamless loop: the last frame leads to the first", 0, 0, 0},
    {"batch-count", 'b', OPTION_INT, AT(batch), "N", "clips to make, named FILE-0, FILE-1 ... (default: 1)", 1, 100000,
     0},
    {"clip", 0, OPTION_INT, AT(clip), "N", "number of the first clip: clip N of a seed is always the same (default: 0)",
     0, INT_MAX / 2, 0},
    {"style", 0, OPTION_LIST, AT(style), "NAME|FILE",
     "draw in a style: one of the model's or a style file; may be given several times", 0, 0, 0},
    {"style-alpha", 0, OPTION_LIST, AT(style_alpha), "A",
     "how much of it, 0 to 1; one for each style (default: 0.7, shared by all)", 0, 0, 0},
    {"style-hash", 0, OPTION_LIST, AT(style_hash), "HEX", "refuse a style file that is not the one of this hash", 0, 0,
     0},
    OPTION_SHARED(output_rows),
    {.name = NULL},
};

const option_row text_to_video_rows[] = {
    {"refine", 0, OPTION_NUMBER, AT(refine), "S",
     "make the clip at half the size first, then refine it at full size from the noise level S; 0: at full size at "
     "once (default: the model's, from 64x64 on)",
     0, 1, AT(refine_given)},
    OPTION_SHARED(making_rows),
    {.name = NULL},
};

typedef struct job {
    making *making;
    const making_settings *s; // of making
    lumiere_model *m;
    output_job out;
} job;

// The output's name for a clip of a batch: the number before the ending, or before the '/' of a folder.
static char *output_name(const making_settings *s, int clip) {
    size_t size = strlen(s->out.file) + 32;
    char *name = malloc(size);
    if (!name) return NULL;
    if (s->batch <= 1) return strcpy(name, s->out.file);
    const char *slash = strrchr(s->out.file, '/'), *dot = strrchr(s->out.file, '.');
    size_t at = slash && !slash[1] ? (size_t)(slash - s->out.file) : strlen(s->out.file);
    if (dot && at == strlen(s->out.file) && (!slash || dot > slash)) at = (size_t)(dot - s->out.file);
    snprintf(name, size, "%.*s-%d%s", (int)at, s->out.file, clip, s->out.file + at);
    return name;
}

// Whether the clip before an enlargement is kept: where it is the file's, and not one of several in a sheet.
static bool keeps_base(const job *j) {
    return !j->making->make;
}

static bool add_output(const job *j, run_files *f, const char *name, const lumiere_output_shape *shape,
                       const lumiere_estimate *e) {
    run_files_write(f, "--output", name, shape);
    if (!e->base_width || !keeps_base(j)) return true;
    char *base = base_clip_name(name);
    const lumiere_output_shape small = {e->frames, e->base_width, e->base_height, .fps = e->fps, .recipe = true};
    run_files_write(f, "the clip before its enlargement", base, &small);
    free(base);
    return base != NULL;
}

// e: what is known of the clips.
static int check_files(const job *j, const lumiere_estimate *e) {
    const making_settings *s = j->s;
    lumiere_output_shape shape = {e->frames, e->width, e->height, .fps = e->fps}, preview = shape;
    run_files f = {0};
    preview.again = shape.recipe = true;
    if (j->making->shape) j->making->shape(j->making, &shape);
    run_files_read(&f, "--input", j->making->input);
    run_files_read(&f, "--mask", j->making->mask);
    for (int i = 0; i < s->style.count; i++)
        if (is_style_file(s->style.items[i])) run_files_read(&f, "--style", s->style.items[i]);
    for (int i = 0; i < s->batch; i++) {
        char *name = output_name(s, s->clip + i);
        if (!name || !add_output(j, &f, name, &shape, e)) f.no_memory = true;
        free(name);
    }
    run_files_write(&f, "--preview", s->out.preview, &preview);
    return run_files_check(&f, j->out.c);
}

// What a recipe says beside the library's part: the model folder when one was named, and the command's part.
static char *recipe_extra(const job *j) {
    json_t *object = json_object();
    if (j->s->model) json_object_set_new(object, "model_folder", json_string(j->s->model));
    if (j->making->recipe) json_object_update(object, j->making->recipe);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

static lumiere_status make_clip(job *j, const char *output) {
    lumiere_clip *clip = NULL;
    char *recipe = NULL, *extra = recipe_extra(j);
    double started = output_clock();
    lumiere_status status = lumiere_task_recipe(j->out.c, j->m, &j->making->o, extra, &recipe);
    j->out.base.recipe = recipe;
    if (status == LUMIERE_OK)
        status = j->making->make ? j->making->make(j->out.c, j->m, j->making, &clip)
                                 : lumiere_task_run(j->out.c, j->m, &j->making->o, &clip);
    progress_end(j->out.progress);
    if (status == LUMIERE_OK) status = output_write(&j->out, clip, output, recipe, started);
    if (status == LUMIERE_OK) base_clip_remove(&j->out.base);
    lumiere_clip_free(&clip);
    lumiere_string_free(&recipe);
    free(extra);
    return status;
}

// Where the clip before its enlargement is, and the command that goes on from it.
static int report_base(const job *j, lumiere_status status, const char *output) {
    const making_settings *s = j->s;
    const char *const words[] = {j->out.base.file,
                                 "-o",
                                 output,
                                 s->model ? "-m" : NULL,
                                 s->model,
                                 s->out.machine.precision ? "--precision" : NULL,
                                 s->out.machine.precision,
                                 s->out.machine.device ? "--device" : NULL,
                                 s->out.machine.device};
    char line[3 * PATH_MAX] = "lumiere upscale";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i]) append_word(line, sizeof line, words[i]);
    return complain(exit_code(status), "%s; the clip before its enlargement is in %s; this goes on from it: %s",
                    lumiere_error_message(j->out.c), j->out.base.file, line);
}

static int make_numbered(job *j, int clip) {
    if (interrupted()) return complain(130, "stopped before clip %d", clip);
    char *name = output_name(j->s, clip);
    base_clip *base = &j->out.base;
    *base = (base_clip){.file = name ? base_clip_name(name) : NULL};
    int code = 0;
    if (base->file) {
        j->making->o.generate.clip = (uint32_t)clip;
        lumiere_status status = make_clip(j, name);
        if (status != LUMIERE_OK) code = base->kept ? report_base(j, status, name) : report_failure(j->out.c, status);
    } else
        code = complain(4, "no memory");
    free(base->file);
    free(name);
    return code;
}

static int make_clips(job *j) {
    lumiere_estimate e;
    lumiere_status status = lumiere_task_estimate(j->out.c, j->m, &j->making->o, &e);
    if (status != LUMIERE_OK) return report_failure(j->out.c, status);
    int code = check_files(j, &e);
    if (code) return code;
    double clips = (double)j->s->batch * (j->making->clips ? j->making->clips : 1);
    output_announce(&j->out, j->m, &e, "of", j->s->seed, e.seconds * clips);
    for (int i = 0; i < j->s->batch && !code; i++) code = make_numbered(j, j->s->clip + i);
    return code;
}

static void fill_options(job *j) {
    const making_settings *s = j->s;
    j->making->o.generate = (lumiere_generate_options){
        .prompt = s->prompt,
        .negative_prompt = s->negative,
        .seed = (uint64_t)s->seed,
        .clip = (uint32_t)s->clip,
        .frames = s->frames,
        .width = s->width,
        .height = s->height,
        .fps = s->fps,
        .steps = s->steps,
        .cfg_scale = s->cfg_scale,
        .cfg_scale_set = s->cfg_given,
        .sampler = s->sampler && !strcmp(s->sampler, "ddim") ? LUMIERE_DDIM : LUMIERE_DPMPP_2M,
        .sampler_set = s->sampler != NULL,
        .dynamic_threshold = s->dynamic_threshold,
        .preview_every = s->out.preview ? s->out.preview_every : 0,
        .progress = output_step,
        .base = keeps_base(j) ? output_keep_base : NULL,
        .user = &j->out,
        .overlap = s->overlap,
        .overlap_set = s->overlap_given,
        .enlarge = s->no_upscale ? LUMIERE_ENLARGE_NOT
                   : s->upscale  ? LUMIERE_ENLARGE
                                 : LUMIERE_ENLARGE_DEFAULT,
        .loop = s->loop,
        .refine = s->refine,
        .refine_set = s->refine_given,
    };
}

static void choose_seed(making_settings *s) {
    if (s->seed_given && s->seed >= 0) return;
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random) random = (uint32_t)time(NULL);
    s->seed = random;
}

int making_run(making *m) {
    making_settings *s = m->settings;
    char path[PATH_MAX];
    const char *model = find_model(s->model, path, sizeof path);
    int code = 0;
    if (s->upscale && s->no_upscale) return complain(2, "--upscale and --no-upscale; give one");
    if (!model) return complain(3, "no model found; name a folder with --model or in LUMIERE_MODEL");
    lumiere_style styles[LUMIERE_MOST_STYLES];
    code = making_styles(s, -1, styles);
    if (code != GO_ON) return code;
    job j = {.making = m, .s = s};
    j.out = (output_job){.s = &s->out, .unit = "step", .progress = progress_choose(s->out.progress, s->out.quiet)};
    s->out.machine.quiet = s->out.quiet;
    j.out.c = open_context(&s->out.machine, &code);
    if (!j.out.c) return code;
    choose_seed(s);
    fill_options(&j);
    watch_interrupts();
    code = check_files(&j, &(lumiere_estimate){.frames = s->frames, .fps = s->fps});
    if (code == 0) {
        lumiere_status status = lumiere_model_open(j.out.c, model, &j.m);
        code = status == LUMIERE_OK ? GO_ON : report_failure(j.out.c, status);
    }
    if (code == GO_ON && s->style.count) {
        lumiere_status status = lumiere_model_set_styles(j.out.c, j.m, styles, s->style.count);
        if (status != LUMIERE_OK) code = report_failure(j.out.c, status);
    }
    if (code == GO_ON && m->read_inputs) code = m->read_inputs(j.out.c, j.m, m);
    if (code == GO_ON) code = make_clips(&j);
    lumiere_model_free(&j.m);
    lumiere_context_free(&j.out.c);
    return code;
}
