// lumiere stylize: a prompt to a clip in a drawing style, or to a sheet of the same clip at several alphas.
#include "making.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ALPHAS = 32, COLUMNS = 8, GAP = 2 };

typedef struct settings {
    making_settings making;
    const char *strip;
} settings;

static const option_row rows[] = {
    {"style-strip", 0, OPTION_TEXT, offsetof(settings, strip), "A,B,...",
     "make one picture instead: a row for each of these alphas of the (first) style, frames from left to right", 0, 0,
     0},
    OPTION_SHARED(making_rows),
    {.name = NULL},
};

typedef struct strip {
    double alpha[MOST_ALPHAS];
    int count;
} strip;

static int parse_strip(const char *text, strip *out) {
    for (const char *p = text;; p++) {
        char *end;
        if (out->count == MOST_ALPHAS) return complain(2, "--style-strip: at most %d alphas are possible", MOST_ALPHAS);
        double a = strtod(p, &end);
        if (end == p || (*end && *end != ',') || !(a >= 0 && a <= 1))
            return complain(2, "--style-strip is \"%.60s\"; it must be numbers from 0 to 1, such as 0.5,0.7,0.9", text);
        out->alpha[out->count++] = a;
        if (!*end) return GO_ON;
        p = end;
    }
}

// A sheet being filled: white, GAP pixels between pictures.
typedef struct sheet {
    uint8_t *pixels;
    int width, height, columns, rows;
} sheet;

static void sheet_measure(sheet *s, int frames, int width, int height, int rows_count) {
    s->columns = frames < COLUMNS ? frames : COLUMNS;
    s->rows = rows_count;
    s->width = s->columns * (width + GAP) - GAP;
    s->height = s->rows * (height + GAP) - GAP;
}

static lumiere_status sheet_make(making *m, sheet *s, const lumiere_clip *c, int rows_count) {
    sheet_measure(s, lumiere_clip_frames(c), lumiere_clip_width(c), lumiere_clip_height(c), rows_count);
    size_t bytes = (size_t)s->width * (size_t)s->height * 3;
    s->pixels = malloc(bytes);
    if (s->pixels) memset(s->pixels, 255, bytes);
    if (!s->pixels) m->why = "no memory for a sheet";
    return s->pixels ? LUMIERE_OK : LUMIERE_MEMORY;
}

static void sheet_paste(const sheet *s, const lumiere_clip *c, int row) {
    int w = lumiere_clip_width(c), h = lumiere_clip_height(c), frames = lumiere_clip_frames(c);
    for (int k = 0; k < s->columns; k++) {
        int f = s->columns > 1 ? k * (frames - 1) / (s->columns - 1) : 0;
        const uint8_t *from = lumiere_clip_data(c) + (size_t)f * (size_t)(w * h) * 3;
        for (int y = 0; y < h; y++) {
            size_t at = (size_t)(row * (h + GAP) + y) * (size_t)s->width + (size_t)(k * (w + GAP));
            memcpy(s->pixels + at * 3, from + (size_t)(y * w) * 3, (size_t)w * 3);
        }
    }
}

// Sets the alphas of all styles; first: that of the first one, negative: as in the list.
static lumiere_status set_alphas(lumiere_request *r, const json_t *list, double first) {
    lumiere_status status = lumiere_request_unset(r, "style_alpha");
    for (size_t i = 0; i < json_array_size(list) && status == LUMIERE_OK; i++) {
        char text[40];
        double own = json_number_value(json_array_get(list, i));
        snprintf(text, sizeof text, "%.17g", i == 0 && first >= 0 ? first : own);
        status = lumiere_request_set(r, "style_alpha", text);
    }
    return status;
}

static lumiere_status fill_row(lumiere_model *model, making *m, sheet *s, int row) {
    const strip *alphas = m->user;
    lumiere_clip *clip = NULL;
    lumiere_status status = run_request(m->r, model, &clip);
    if (status == LUMIERE_OK && !s->pixels) status = sheet_make(m, s, clip, alphas->count);
    if (status == LUMIERE_OK) sheet_paste(s, clip, row);
    lumiere_clip_free(&clip);
    return status;
}

// The same clip for every alpha, row by row; afterwards the request's alphas are what they were.
static lumiere_status fill_sheet(lumiere_model *model, making *m, sheet *s) {
    const strip *alphas = m->user;
    const char *list = lumiere_request_get(m->r, "style_alpha");
    json_t *own = list ? json_loads(list, 0, NULL) : NULL;
    lumiere_status status = own ? LUMIERE_OK : LUMIERE_MEMORY;
    if (!own) m->why = "no memory for the alphas of a sheet";
    for (int i = 0; i < alphas->count && status == LUMIERE_OK; i++) {
        status = set_alphas(m->r, own, alphas->alpha[i]);
        if (status == LUMIERE_OK) status = fill_row(model, m, s, i);
    }
    if (status == LUMIERE_OK) status = set_alphas(m->r, own, -1);
    json_decref(own);
    return status;
}

static lumiere_status make_sheet(lumiere_context *c, lumiere_model *model, making *m, lumiere_clip **out) {
    sheet s = {0};
    lumiere_status status = fill_sheet(model, m, &s);
    if (status == LUMIERE_OK) status = lumiere_clip_create(c, 1, s.width, s.height, 0, s.pixels, out);
    free(s.pixels);
    return status;
}

// A picture of that size, once that of the clips is known.
static void sheet_shape(const making *m, lumiere_output_shape *shape) {
    const strip *alphas = m->user;
    sheet s = {0};
    if (shape->width) sheet_measure(&s, shape->frames, shape->width, shape->height, alphas->count);
    *shape = (lumiere_output_shape){.frames = 1, .width = s.width, .height = s.height, .recipe = shape->recipe};
}

static json_t *recipe_members(const strip *alphas) {
    json_t *list = json_array();
    for (int i = 0; i < alphas->count; i++) json_array_append_new(list, json_real(alphas->alpha[i]));
    return json_pack("{s:s, s:o}", "task", "stylize", "style_strip", list);
}

static int parse(const command *c, int argc, char **argv, settings *s, strip *alphas, making *m) {
    const char *argument;
    int code = making_parse(c, argc, argv, s, &argument, m);
    if (code == GO_ON && s->strip) code = parse_strip(s->strip, alphas);
    if (code != GO_ON) return code;
    const char *prompt = lumiere_request_get(m->r, "prompt");
    if (prompt && argument) return complain(2, "stylize: two prompts, with --prompt and as the argument");
    if (argument) prompt = argument;
    if (!prompt || !*prompt)
        return complain(2,
                        "stylize: no prompt; try: lumiere stylize \"a bee, moving from left to right\" --style flat");
    return argument ? making_set(m, "--prompt", argument) : GO_ON;
}

static int run(const command *c, int argc, char **argv) {
    settings s = {.making = MAKING_DEFAULTS};
    strip alphas = {.count = 0};
    making m = {.settings = &s.making};
    s.making.out.file = NULL;
    int code = parse(c, argc, argv, &s, &alphas, &m);
    if (!s.making.out.file) s.making.out.file = s.strip ? "strip.png" : "out.mp4";
    if (code == GO_ON && s.strip) {
        m.make = make_sheet;
        m.shape = sheet_shape;
        m.user = &alphas;
        m.clips = alphas.count;
        m.recipe = recipe_members(&alphas);
    }
    if (code == GO_ON) code = making_run(&m);
    json_decref(m.recipe);
    lumiere_request_free(&m.r);
    return code;
}

const command command_stylize = {
    "stylize",
    "PROMPT",
    "Makes a clip from a prompt in a drawing style.",
    "Of the network's image layers so much is replaced by the style's as --style-alpha says; what moves the picture\n"
    "stays. lumiere inspect FOLDER lists a model's styles. generate and the tasks take --style too.",
    rows,
    1,
    run,
};
