#include "making.h"
#include "run_files.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(making_settings, member)
const option_row making_rows[] = {
    OPTION_SETTINGS("seed"),
    OPTION_SHARED(output_file_rows),
    {"model", 'm', OPTION_TEXT, AT(model), "FOLDER",
     "model folder (default: LUMIERE_MODEL, or the one that came along)", 0, 0, 0},
    OPTION_SETTINGS("clip"),
    {"batch-count", 'b', OPTION_INT, AT(batch), "N", "clips to make, named FILE-0, FILE-1 ... (default: 1)", 1, 100000,
     0},
    OPTION_SHARED(output_rows),
    {.name = NULL},
};

typedef struct job {
    making *making;
    const making_settings *s; // of making
    lumiere_request *r;       // of making
    lumiere_model *m;
    output_job out;
} job;

// A whole number or number of the request; 0 while it isn't known.
static double number(const job *j, const char *name) {
    const char *text = lumiere_request_get(j->r, name);
    return text ? strtod(text, NULL) : 0;
}

static const char *message(const job *j) {
    const char *text = j->making->why ? j->making->why : lumiere_request_error(j->r);
    return *text ? text : lumiere_error_message(j->out.c);
}

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

// Whether a style names a file and not one of the model's.
static bool is_style_file(const char *style) {
    static const char ending[] = ".safetensors";
    size_t n = strlen(style), m = sizeof ending - 1;
    return strchr(style, '/') || (n > m && !strcmp(style + n - m, ending));
}

static void add_styles(const job *j, run_files *f) {
    const char *list = lumiere_request_get(j->r, "style");
    json_t *styles = list ? json_loads(list, 0, NULL) : NULL;
    for (size_t i = 0; i < json_array_size(styles); i++) {
        const char *style = json_string_value(json_array_get(styles, i));
        if (is_style_file(style)) run_files_read(f, "--style", style);
    }
    json_decref(styles);
}

// e: what is known of the clips.
static int check_files(const job *j, const lumiere_estimate *e) {
    const making_settings *s = j->s;
    int first = (int)number(j, "clip");
    lumiere_output_shape shape = {e->frames, e->width, e->height, .fps = e->fps}, preview = shape;
    run_files f = {0};
    preview.again = shape.recipe = true;
    if (j->making->shape) j->making->shape(j->making, &shape);
    run_files_read(&f, "--input", lumiere_request_get(j->r, "input"));
    run_files_read(&f, "--mask", lumiere_request_get(j->r, "mask"));
    add_styles(j, &f);
    for (int i = 0; i < s->batch; i++) {
        char *name = output_name(s, first + i);
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
    lumiere_status status = lumiere_request_describe(j->r, j->m, extra, &recipe);
    j->out.base.recipe = recipe;
    if (status == LUMIERE_OK)
        status = j->making->make ? j->making->make(j->out.c, j->m, j->making, &clip) : run_request(j->r, j->m, &clip);
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
                    message(j), j->out.base.file, line);
}

static int set_clip_number(making *m, int clip) {
    char text[20];
    snprintf(text, sizeof text, "%d", clip);
    return making_set(m, "--clip", text);
}

// Whether the last clip of a batch can have its number.
static int check_numbers(making *m) {
    int first = (int)strtol(lumiere_request_get(m->r, "clip"), NULL, 10), batch = m->settings->batch;
    int code = batch > 1 ? set_clip_number(m, first + batch - 1) : GO_ON;
    return code == GO_ON && batch > 1 ? set_clip_number(m, first) : code;
}

static int make_numbered(job *j, int clip) {
    if (interrupted()) return complain(130, "stopped before clip %d", clip);
    char *name = output_name(j->s, clip);
    base_clip *base = &j->out.base;
    *base = (base_clip){.file = name ? base_clip_name(name) : NULL};
    int code = base->file ? set_clip_number(j->making, clip) : complain(4, "no memory");
    if (code == GO_ON) {
        lumiere_status status = make_clip(j, name);
        code = status == LUMIERE_OK ? 0
               : base->kept         ? report_base(j, status, name)
                                    : complain(exit_code(status), "%s", message(j));
    }
    free(base->file);
    free(name);
    return code;
}

static int make_clips(job *j) {
    lumiere_estimate e;
    lumiere_status status = lumiere_request_estimate(j->r, j->m, &e);
    if (status != LUMIERE_OK) return report_request(j->r, status);
    int code = check_files(j, &e), first = (int)number(j, "clip");
    if (code) return code;
    double clips = (double)j->s->batch * (j->making->clips ? j->making->clips : 1);
    output_announce(&j->out, j->m, &e, "of", e.seconds * clips);
    for (int i = 0; i < j->s->batch && !code; i++) code = make_numbered(j, first + i);
    return code;
}

int making_parse(const command *c, int argc, char **argv, void *settings, const char **arguments, making *m) {
    lumiere_status status = lumiere_request_create(c->name, &m->r);
    if (status != LUMIERE_OK) return report_request(m->r, status);
    return options_parse_request(c, argc, argv, settings, arguments, m->r);
}

int making_set(making *m, const char *option, const char *text) {
    lumiere_status status = lumiere_request_set(m->r, option, text);
    return status == LUMIERE_OK ? GO_ON : report_request(m->r, status);
}

// With the model in memory.
static int make_with(job *j, const char *folder) {
    making *m = j->making;
    lumiere_status status = lumiere_model_open(j->out.c, folder, &j->m);
    if (status != LUMIERE_OK) return report_failure(j->out.c, status);
    int code = m->read_inputs ? m->read_inputs(j->m, m) : GO_ON;
    return code == GO_ON ? make_clips(j) : code;
}

int making_run(making *m) {
    making_settings *s = m->settings;
    char path[PATH_MAX];
    int code = output_choose_previews(&s->out, m->r, "5");
    if (code != GO_ON) return code;
    lumiere_status status = lumiere_request_resolve(m->r, NULL);
    if (status != LUMIERE_OK) return report_request(m->r, status);
    if ((code = check_numbers(m)) != GO_ON) return code;
    const char *model = find_model(s->model, path, sizeof path);
    if (!model) return complain(3, "no model found; name a folder with --model or in LUMIERE_MODEL");
    job j = {.making = m, .s = s, .r = m->r};
    j.out = (output_job){
        .s = &s->out, .r = m->r, .unit = "step", .progress = progress_choose(s->out.progress, s->out.quiet)};
    s->out.machine.quiet = s->out.quiet;
    j.out.c = open_context(&s->out.machine, &code);
    if (!j.out.c) return code;
    lumiere_request_on_progress(m->r, output_step, &j.out);
    if (keeps_base(&j)) lumiere_request_on_base(m->r, output_keep_base, &j.out);
    watch_interrupts();
    code = check_files(&j, &(lumiere_estimate){.frames = (int)number(&j, "frames"), .fps = number(&j, "fps")});
    if (code == 0) code = make_with(&j, model);
    lumiere_model_free(&j.m);
    lumiere_context_free(&j.out.c);
    return code;
}
