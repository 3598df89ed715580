// lumiere upscale: a clip at four times its width and height.
#include "commands.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct settings {
    machine_settings machine;
    const char *input, *input_hash, *prompt, *output, *model, *preview, *progress;
    int64_t seed;
    int steps, clip, window, overlap, tile, tile_overlap, preview_every;
    double noise_level;
    bool noise_given, overlap_given, tile_overlap_given, json, quiet;
} settings;

#define AT(member) offsetof(settings, member)
static const option_row rows[] = {
    {"input", 'i', OPTION_TEXT, AT(input), "FILE", "the picture or clip (or as the argument)", 0, 0, 0},
    {"output", 'o', OPTION_TEXT, AT(output), "FILE",
     ".mp4 .webm .gif .apng .webp .npy, .png for one frame, or FOLDER/ (default: out.mp4)", 0, 0, 0},
    {"prompt", 'p', OPTION_TEXT, AT(prompt), "TEXT", "what it shows (default: what its recipe says, or nothing)", 0, 0,
     0},
    {"model", 'm', OPTION_TEXT, AT(model), "FOLDER",
     "model folder (default: LUMIERE_MODEL, or the one that came along)", 0, 0, 0},
    {"seed", 's', OPTION_SEED, AT(seed), "N", "the same seed makes the same clip (default: 0)", 0, 0, 0},
    {"steps", 0, OPTION_INT, AT(steps), "N", "sampling steps (default: the model's, or 8)", 1, 1000, 0},
    {"noise-level", 0, OPTION_NUMBER, AT(noise_level), "X",
     "of the noise added to the input: more lets more be made up (default: the model's, or 0.1)", 0, 0.4,
     AT(noise_given)},
    {"window", 0, OPTION_INT, AT(window), "N", "frames that the network sees at once (default: 16)", 1, 4096, 0},
    {"overlap", 0, OPTION_INT, AT(overlap), "N", "frames that windows share (default: 2)", 0, 4095, AT(overlap_given)},
    {"tile", 0, OPTION_INT, AT(tile), "N", "largest side of what it sees, in pixels of the output (default: 512)", 1,
     8192, 0},
    {"tile-overlap", 0, OPTION_INT, AT(tile_overlap), "N", "pixels that tiles share (default: 32)", 0, 8191,
     AT(tile_overlap_given)},
    {"clip", 0, OPTION_INT, AT(clip), "N", "number of the clip, part of the noise's key (default: 0)", 0, INT_MAX / 2,
     0},
    {"input-hash", 0, OPTION_TEXT, AT(input_hash), "HEX", "warn when the input is not the one of this hash", 0, 0, 0},
    OPTION_THREADS,
    OPTION_PRECISION,
    OPTION_DEVICE,
    {"preview", 0, OPTION_TEXT, AT(preview), "FILE", "write the clip as predicted so far to FILE, again and again", 0,
     0, 0},
    {"preview-every", 0, OPTION_INT, AT(preview_every), "N", "steps between previews (default: 2)", 1, 1000, 0},
    {"progress", 0, OPTION_CHOICE, AT(progress), PROGRESS_CHOICES, "on stderr; auto: a bar on a terminal (default)", 0,
     0, 0},
    {"json", 0, OPTION_FLAG, AT(json), NULL, "print a line of JSON on stdout", 0, 0, 0},
    {"quiet", 'q', OPTION_FLAG, AT(quiet), NULL, "no messages but errors", 0, 0, 0},
    {.name = NULL},
};

typedef struct job {
    const settings *s;
    lumiere_context *c;
    lumiere_model *m;
    lumiere_clip *in, *out;
    lumiere_upscale_options o;
    json_t *made; // the input's own recipe; NULL: it has none
    progress_mode progress;
    bool preview_failed;
} job;

static bool on_step(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    job *j = user;
    if (preview && !j->preview_failed && lumiere_clip_write(j->c, preview, j->s->preview, NULL) != LUMIERE_OK) {
        j->preview_failed = true;
        complain(0, "no preview: %s", lumiere_error_message(j->c));
    }
    progress_show(j->progress, "window", step, steps, seconds_left, "");
    return !interrupted();
}

static lumiere_status announce(job *j) {
    lumiere_estimate e;
    char time[40];
    lumiere_status status = lumiere_estimate_upscale(j->c, j->m, lumiere_clip_frames(j->in), lumiere_clip_width(j->in),
                                                     lumiere_clip_height(j->in), &j->o, &e);
    if (*e.lost_words) complain(0, "only the beginning of the prompt counts; this is lost: %s", e.lost_words);
    if (status != LUMIERE_OK || j->s->quiet) return status;
    print_duration(time, sizeof time, e.seconds);
    fprintf(stderr, "%s: %d frame%s enlarged to %dx%d, %d steps, seed %lld; about %s and %.0f MB (%s, %s)\n",
            lumiere_model_name(j->m), e.frames, e.frames == 1 ? "" : "s", e.width, e.height, e.steps,
            (long long)j->s->seed, time, (double)e.bytes / 1e6, lumiere_precision(j->c), lumiere_device_summary(j->c));
    return LUMIERE_OK;
}

// How the input was made, where that is known; its prompt is the prompt when none was given.
static void read_recipe(job *j) {
    char *text = NULL;
    if (lumiere_recipe_read(j->c, j->s->input, &text) == LUMIERE_OK && text) j->made = json_loads(text, 0, NULL);
    if (!j->o.prompt) j->o.prompt = json_string_value(json_object_get(j->made, "prompt"));
    lumiere_string_free(&text);
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

static void print_json(const job *j, double seconds, const char *recipe) {
    json_t *line = json_pack("{s:s, s:f, s:o?}", "output", j->s->output, "seconds", seconds, "recipe",
                             json_loads(recipe, 0, NULL));
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    if (text) printf("%s\n", text);
    fflush(stdout);
    free(text);
    json_decref(line);
}

static lumiere_status enlarge(job *j) {
    struct timespec start, end;
    char *recipe = NULL, *extra = recipe_extra(j);
    clock_gettime(CLOCK_MONOTONIC, &start);
    lumiere_status status = announce(j);
    if (status == LUMIERE_OK) status = lumiere_upscale_recipe(j->c, j->m, j->in, &j->o, extra, &recipe);
    if (status == LUMIERE_OK) status = lumiere_upscale(j->c, j->m, j->in, &j->o, &j->out);
    progress_end(j->progress);
    if (status == LUMIERE_OK) status = lumiere_clip_write(j->c, j->out, j->s->output, recipe);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double took = (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    if (status == LUMIERE_OK && j->s->json) print_json(j, took, recipe);
    if (status == LUMIERE_OK && !j->s->quiet) {
        char time[40];
        print_duration(time, sizeof time, took);
        fprintf(stderr, "wrote %s in %s\n", j->s->output, time);
    }
    lumiere_string_free(&recipe);
    free(extra);
    return status;
}

static void warn_of_other_input(const job *j) {
    char hash[17];
    if (!j->s->input_hash) return;
    lumiere_clip_hash(j->in, hash);
    if (strcmp(hash, j->s->input_hash))
        complain(0, "%s is not the clip of hash %s: its own is %s", j->s->input, j->s->input_hash, hash);
}

static int upscale(job *j, const char *model) {
    lumiere_status status = lumiere_output_check(j->c, j->s->output);
    if (status == LUMIERE_OK && j->s->preview) status = lumiere_output_check(j->c, j->s->preview);
    if (status == LUMIERE_OK) status = lumiere_clip_read(j->c, j->s->input, &j->in);
    if (status == LUMIERE_OK) warn_of_other_input(j);
    if (status == LUMIERE_OK) read_recipe(j);
    if (status == LUMIERE_OK) status = lumiere_model_open(j->c, model, &j->m);
    if (status == LUMIERE_OK) status = enlarge(j);
    return status == LUMIERE_OK ? 0 : report_failure(j->c, status);
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
        .preview_every = s->preview ? s->preview_every : 0,
        .progress = on_step,
        .user = j,
    };
}

static int run(const command *c, int argc, char **argv) {
    settings s = {.output = "out.mp4", .preview_every = 2};
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
    job j = {.s = &s, .progress = progress_choose(s.progress, s.quiet)};
    j.c = open_context(&s.machine, &code);
    if (!j.c) return code;
    fill_options(&j);
    watch_interrupts();
    code = upscale(&j, model);
    json_decref(j.made);
    lumiere_clip_free(&j.in);
    lumiere_clip_free(&j.out);
    lumiere_model_free(&j.m);
    lumiere_context_free(&j.c);
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
