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
    const char *model;
} settings;

static const option_row rows[] = {
    OPTION_SETTINGS("prompt"),
    OPTION_SHARED(output_file_rows),
    OPTION_SETTINGS("seed"),
    {"model", 'm', OPTION_TEXT, offsetof(settings, model), "FOLDER",
     "model folder (default: LUMIERE_MODEL, or the one that came along)", 0, 0, 0},
    OPTION_SHARED(output_rows),
    {.name = NULL},
};

typedef struct job {
    const settings *s;
    lumiere_request *r;
    lumiere_model *m;
    lumiere_clip *large;
    char *input;     // the file's name
    json_t *made;    // the input's own recipe; NULL: it has none
    const char *why; // a failure of the command's own
    output_job out;
} job;

static lumiere_status announce(const job *j) {
    lumiere_estimate e;
    lumiere_status status = lumiere_request_estimate(j->r, j->m, &e);
    if (status == LUMIERE_OK) output_announce(&j->out, j->m, &e, "enlarged to", e.seconds);
    return status;
}

// Sets what was left open as the input's recipe says.
static lumiere_status take_over(job *j, const char *name, const json_t *value) {
    char number[32];
    const char *text = json_string_value(value);
    if (json_is_integer(value)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        text = number;
    }
    bool usable = text && (json_is_string(value) || json_integer_value(value) >= 0);
    return usable ? lumiere_request_set(j->r, name, text) : LUMIERE_OK;
}

// How the input was made, where that is known; its prompt is the prompt when none was given. A clip that was kept
// before its enlargement is enlarged as it would have been.
static lumiere_status read_recipe(job *j) {
    char *text = NULL;
    lumiere_status status = LUMIERE_OK;
    if (lumiere_recipe_read(j->out.c, j->input, &text) == LUMIERE_OK && text) j->made = json_loads(text, 0, NULL);
    lumiere_string_free(&text);
    const json_t *run = base_clip_run(j->made);
    const lumiere_request *r = j->r;
    if (!lumiere_request_has(r, "prompt")) status = take_over(j, "prompt", json_object_get(j->made, "prompt"));
    if (status == LUMIERE_OK && !lumiere_request_has(r, "seed"))
        status = take_over(j, "seed", json_object_get(run, "seed"));
    if (status == LUMIERE_OK && !lumiere_request_has(r, "clip"))
        status = take_over(j, "clip", json_object_get(run, "clip"));
    return status;
}

// What a recipe says beside the library's part: the files, and the input's recipe.
static char *recipe_extra(const job *j) {
    json_t *object = json_pack("{s:s}", "input", j->input);
    if (object && j->s->model) json_object_set_new(object, "model_folder", json_string(j->s->model));
    if (object && j->made) json_object_set(object, "input_recipe", j->made);
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(object);
    return text;
}

// Of the whole run, where this ends one that was stopped.
static lumiere_status make_recipe(job *j, char **out) {
    char *own = NULL, *extra = recipe_extra(j);
    lumiere_status status = lumiere_request_describe(j->r, j->m, extra, &own);
    json_t *run = status == LUMIERE_OK ? base_clip_becomes(j->made, own, lumiere_request_clip(j->r, "input")) : NULL;
    if (status == LUMIERE_OK) {
        *out = run ? json_dumps(run, JSON_COMPACT | JSON_REAL_PRECISION(15)) : strdup(own);
        if (!*out) status = LUMIERE_MEMORY, j->why = "no memory for a recipe";
    }
    lumiere_string_free(&own);
    free(extra);
    return status;
}

static lumiere_status enlarge(job *j) {
    char *recipe = NULL;
    double started = output_clock();
    lumiere_status status = announce(j);
    if (status == LUMIERE_OK) status = make_recipe(j, &recipe);
    if (status == LUMIERE_OK) status = run_request(j->r, j->m, &j->large);
    progress_end(j->out.progress);
    if (status == LUMIERE_OK) status = output_write(&j->out, j->large, j->s->out.file, recipe, started);
    free(recipe);
    return status;
}

static void warn_of_other_input(const job *j) {
    char hash[65];
    const char *wanted = lumiere_request_get(j->r, "input_hash");
    if (!wanted) return;
    if (lumiere_request_clip_hash(j->r, "input", wanted, hash) == LUMIERE_OK && strcmp(hash, wanted))
        complain(0, "%s is not the clip of hash %s: its own is %s", j->input, wanted, hash);
}

// As far as the input is known.
static int check_files(const job *j) {
    const char *fps = lumiere_request_get(j->r, "fps");
    const lumiere_clip *in = lumiere_request_clip(j->r, "input");
    lumiere_output_shape shape = {.fps = fps ? strtod(fps, NULL) : 0, .recipe = true};
    run_files f = {0};
    if (in) {
        shape.frames = lumiere_clip_frames(in);
        if (!(shape.fps > 0)) shape.fps = lumiere_clip_fps(in);
    }
    run_files_read(&f, "--input", j->input);
    run_files_write(&f, "--output", j->s->out.file, &shape);
    shape.recipe = false;
    shape.again = true;
    run_files_write(&f, "--preview", j->s->out.preview, &shape);
    return run_files_check(&f, j->out.c);
}

// The message is the command's own, the request's, or the context's.
static int report(const job *j, lumiere_status status) {
    const char *text = j->why ? j->why : lumiere_request_error(j->r);
    return *text ? complain(exit_code(status), "%s", text) : report_failure(j->out.c, status);
}

static int upscale(job *j, const char *model) {
    int code = check_files(j);
    if (code) return code;
    lumiere_status status = lumiere_request_read_clip(j->r, NULL, "input", j->input);
    if (status == LUMIERE_OK) code = check_files(j);
    if (code) return code;
    if (status == LUMIERE_OK) warn_of_other_input(j);
    if (status == LUMIERE_OK) status = read_recipe(j);
    if (status == LUMIERE_OK) status = lumiere_model_open(j->out.c, model, &j->m);
    if (status == LUMIERE_OK) status = enlarge(j);
    return status == LUMIERE_OK ? 0 : report(j, status);
}

static int run_job(job *j, settings *s) {
    char path[PATH_MAX];
    int code = output_choose_previews(&s->out, j->r, "2");
    if (code != GO_ON) return code;
    const char *model = find_model(s->model, path, sizeof path);
    if (!model) return complain(3, "no model found; name a folder with --model or in LUMIERE_MODEL");
    j->out = (output_job){
        .s = &s->out, .r = j->r, .unit = "window", .progress = progress_choose(s->out.progress, s->out.quiet)};
    s->out.machine.quiet = s->out.quiet;
    j->out.c = open_context(&s->out.machine, &code);
    if (!j->out.c) return code;
    lumiere_request_on_progress(j->r, output_step, &j->out);
    watch_interrupts();
    code = upscale(j, model);
    json_decref(j->made);
    lumiere_clip_free(&j->large);
    lumiere_model_free(&j->m);
    lumiere_context_free(&j->out.c);
    return code;
}

static int parse(const command *c, int argc, char **argv, settings *s, job *j) {
    const char *argument;
    lumiere_status status = lumiere_request_create("upscale", &j->r);
    if (status != LUMIERE_OK) return report_request(j->r, status);
    int code = options_parse_request(c, argc, argv, s, &argument, j->r);
    if (code != GO_ON) return code;
    const char *input = lumiere_request_get(j->r, "input");
    if (input && argument) return complain(2, "upscale: two inputs, with --input and as the argument; give one");
    if (argument) input = argument;
    if (!input) return complain(2, "upscale: no clip; try: lumiere upscale clip.mp4 -o large.mp4");
    j->input = strdup(input);
    return j->input ? GO_ON : complain(4, "no memory");
}

static int run(const command *c, int argc, char **argv) {
    settings s = {.out = {.file = "out.mp4"}};
    job j = {.s = &s};
    int code = parse(c, argc, argv, &s, &j);
    if (code == GO_ON) code = run_job(&j, &s);
    free(j.input);
    lumiere_request_free(&j.r);
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
