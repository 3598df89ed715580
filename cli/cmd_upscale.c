// lumiere upscale: a clip at four times its width and height.
#include "output.h"
#include "run_files.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
    output_settings out;
    const char *input, *input_hash, *prompt, *model;
    int64_t seed;
    int steps, clip, window, overlap, tile, tile_overlap;
    double noise_level, fps;
    bool noise_given, overlap_given, tile_overlap_given, seed_given, clip_given;
} settings;

#define AT(member) offsetof(settings, member)
static const option_row rows[] = {
    {"input", 'i', OPTION_TEXT, AT(input), "FILE", "the picture or clip (or as the argument)", 0, 0, 0},
    OPTION_SHARED(output_file_rows),
    {"prompt", 'p', OPTION_TEXT, AT(prompt), "TEXT", "what it shows (default: what its recipe says, or nothing)", 0, 0,
     0},
    {"model", 'm', OPTION_TEXT, AT(model), "FOLDER",
     "model folder (default: LUMIERE_MODEL, or the one that came along)", 0, 0, 0},
    {"seed", 's', OPTION_SEED, AT(seed), "N", "the same seed makes the same clip (default: 0)", 0, 0, AT(seed_given)},
    {"steps", 0, OPTION_INT, AT(steps), "N", "sampling steps (default: the model's, or 8)", 1, 1000, 0},
    {"noise-level", 0, OPTION_NUMBER, AT(noise_level), "X",
     "of the noise added to the input: more lets more be repaired and made up (default: the model's, or 0)", 0, 0.1,
     AT(noise_given)},
    {"window", 0, OPTION_INT, AT(window), "N", "frames that the network sees at once (default: 16)", 1, 4096, 0},
    {"overlap", 0, OPTION_INT, AT(overlap), "N", "frames that windows share (default: 2)", 0, 4095, AT(overlap_given)},
    {"tile", 0, OPTION_INT, AT(tile), "N", "largest side of what it sees, in pixels of the output (default: 512)", 1,
     8192, 0},
    {"tile-overlap", 0, OPTION_INT, AT(tile_overlap), "N", "pixels that tiles share (default: 32)", 0, 8191,
     AT(tile_overlap_given)},
    {"clip", 0, OPTION_INT, AT(clip), "N", "number of the clip, part of the noise's key (default: 0)", 0, INT_MAX / 2,
     AT(clip_given)},
    {"fps", 0, OPTION_NUMBER, AT(fps), "X", "frames a second (default: the input's, or its recipe's, or 16)", 0.01,
     1000, 0},
    {"input-hash", 0, OPTION_TEXT, AT(input_hash), "HEX", "warn when the input is not the one of this hash", 0, 0, 0},
    OPTION_SHARED(output_rows),
    {.name = NULL},
};

typedef struct job {
    const settings *s;
    lumiere_model *m;
    lumiere_clip *in, *large;
    lumiere_upscale_options o;
    json_t *made; // the input's own recipe; NULL: it has none
    output_job out;
} job;

static lumiere_status announce(const job *j) {
    lumiere_estimate e;
    lumiere_status status = lumiere_estimate_upscale(j->out.c, j->m, lumiere_clip_frames(j->in),
                                                     lumiere_clip_width(j->in), lumiere_clip_height(j->in), &j->o, &e);
    if (status == LUMIERE_OK) output_announce(&j->out, j->m, &e, "enlarged to", (int64_t)j->o.seed, e.seconds);
    return status;
}

// How the input was made, where that is known; its prompt is the prompt when none was given. A clip that was kept
// before its enlargement is enlarged as it would have been.
static void read_recipe(job *j) {
    char *text = NULL;
    if (lumiere_recipe_read(j->out.c, j->s->input, &text) == LUMIERE_OK && text) j->made = json_loads(text, 0, NULL);
    if (!j->o.prompt) j->o.prompt = json_string_value(json_object_get(j->made, "prompt"));
    lumiere_string_free(&text);
    const json_t *run = base_clip_run(j->made);
    json_int_t seed = json_integer_value(json_object_get(run, "seed")),
               clip = json_integer_value(json_object_get(run, "clip"));
    if (!j->s->seed_given && seed >= 0) j->o.seed = (uint64_t)seed;
    if (!j->s->clip_given && clip >= 0 && clip <= UINT32_MAX) j->o.clip = (uint32_t)clip;
}

// What a recipe says beside the library's part: the files, and the input's recipe.
static char *recipe_extra(const job *j) {
    json_t *object = json_pack("{s:s}", "input", j->s->input);
    if (object && j->s->model) json_object_set_new(object, "model_folder", json_string(j->s->model));
    if (object && j->made) json_object_set(object, "input_recipe", j->made);
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(object);
    return text;
}

// Of the whole run, where this ends one that was stopped.
static lumiere_status make_recipe(const job *j, char **out) {
    char *own = NULL, *extra = recipe_extra(j);
    lumiere_status status = lumiere_upscale_recipe(j->out.c, j->m, j->in, &j->o, extra, &own);
    json_t *run = status == LUMIERE_OK ? base_clip_becomes(j->made, own) : NULL;
    if (status == LUMIERE_OK) *out = run ? json_dumps(run, JSON_COMPACT | JSON_REAL_PRECISION(15)) : strdup(own);
    lumiere_string_free(&own);
    free(extra);
    return status;
}

static lumiere_status enlarge(job *j) {
    char *recipe = NULL;
    double started = output_clock();
    lumiere_status status = announce(j);
    if (status == LUMIERE_OK) status = make_recipe(j, &recipe);
    if (status == LUMIERE_OK) status = lumiere_upscale(j->out.c, j->m, j->in, &j->o, &j->large);
    progress_end(j->out.progress);
    if (status == LUMIERE_OK) status = output_write(&j->out, j->large, j->s->out.file, recipe, started);
    free(recipe);
    return status;
}

static void warn_of_other_input(const job *j) {
    char hash[17];
    if (!j->s->input_hash) return;
    lumiere_clip_hash(j->in, hash);
    if (strcmp(hash, j->s->input_hash))
        complain(0, "%s is not the clip of hash %s: its own is %s", j->s->input, j->s->input_hash, hash);
}

// As far as the input is known.
static int check_files(const job *j) {
    lumiere_output_shape shape = {.fps = j->o.fps, .recipe = true};
    run_files f = {0};
    if (j->in) {
        shape.frames = lumiere_clip_frames(j->in);
        if (!(shape.fps > 0)) shape.fps = lumiere_clip_fps(j->in);
    }
    run_files_read(&f, "--input", j->s->input);
    run_files_write(&f, "--output", j->s->out.file, &shape);
    shape.recipe = false;
    shape.again = true;
    run_files_write(&f, "--preview", j->s->out.preview, &shape);
    return run_files_check(&f, j->out.c);
}

static int upscale(job *j, const char *model) {
    int code = check_files(j);
    if (code) return code;
    lumiere_status status = lumiere_clip_read(j->out.c, j->s->input, &j->in);
    if (status == LUMIERE_OK) code = check_files(j);
    if (code) return code;
    if (status == LUMIERE_OK) warn_of_other_input(j);
    if (status == LUMIERE_OK) read_recipe(j);
    if (status == LUMIERE_OK) status = lumiere_model_open(j->out.c, model, &j->m);
    if (status == LUMIERE_OK) status = enlarge(j);
    return status == LUMIERE_OK ? 0 : report_failure(j->out.c, status);
}

static void fill_options(job *j) {
    const settings *s = j->s;
    j->o = (lumiere_upscale_options){
        .prompt = s->prompt,
        .seed = (uint64_t)s->seed,
        .clip = (uint32_t)s->clip,
        .steps = s->steps,
        .noise_level = s->noise_level,
        .noise_level_set = s->noise_given,
        .window = s->window,
        .overlap = s->overlap,
        .overlap_set = s->overlap_given,
        .tile = s->tile,
        .tile_overlap = s->tile_overlap,
        .tile_overlap_set = s->tile_overlap_given,
        .fps = s->fps,
        .preview_every = s->out.preview ? s->out.preview_every : 0,
        .progress = output_step,
        .user = &j->out,
    };
}

static int run(const command *c, int argc, char **argv) {
    settings s = {.out = {.file = "out.mp4", .preview_every = 2}};
    const char *argument;
    char path[PATH_MAX];
    int code = options_parse(c, argc, argv, &s, &argument);
    if (code != GO_ON) return code;
    if (s.input && argument) return complain(2, "upscale: two inputs, with --input and as the argument; give one");
    if (argument) s.input = argument;
    if (!s.input) return complain(2, "upscale: no clip; try: lumiere upscale clip.mp4 -o large.mp4");
    if (s.seed < 0) return complain(2, "--seed is negative; it must be a whole number from 0 on");
    const char *model = find_model(s.model, path, sizeof path);
    if (!model) return complain(3, "no model found; name a folder with --model or in LUMIERE_MODEL");
    job j = {.s = &s};
    j.out = (output_job){.s = &s.out, .unit = "window", .progress = progress_choose(s.out.progress, s.out.quiet)};
    s.out.machine.quiet = s.out.quiet;
    j.out.c = open_context(&s.out.machine, &code);
    if (!j.out.c) return code;
    fill_options(&j);
    watch_interrupts();
    code = upscale(&j, model);
    json_decref(j.made);
    lumiere_clip_free(&j.in);
    lumiere_clip_free(&j.large);
    lumiere_model_free(&j.m);
    lumiere_context_free(&j.out.c);
    return code;
}

const command command_upscale = {
    "upscale",
    "[FILE]",
    "Enlarges a clip to four times its width and height.",
    "An existing output is replaced once the new one is complete. How it was made is kept in it and in FILE.json;\n"
    "lumiere inspect FILE prints it. The first Ctrl-C stops after the present window.",
    rows,
    1,
    run,
};
