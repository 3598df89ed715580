// lumiere stylize: a prompt to a clip in a drawing style, or to a sheet of the same clip at several alphas.
#include "making.h"

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
    OPTION_SHARED(text_to_video_rows),
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

static bool sheet_make(sheet *s, const lumiere_clip *c, int rows_count) {
    sheet_measure(s, lumiere_clip_frames(c), lumiere_clip_width(c), lumiere_clip_height(c), rows_count);
    size_t bytes = (size_t)s->width * (size_t)s->height * 3;
    s->pixels = malloc(bytes);
    if (s->pixels) memset(s->pixels, 255, bytes);
    return s->pixels != NULL;
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

// The same clip for every alpha, row by row.
static lumiere_status fill_sheet(lumiere_context *c, lumiere_model *model, making *m, sheet *s) {
    const strip *alphas = m->user;
    lumiere_style styles[LUMIERE_MOST_STYLES];
    lumiere_status status = LUMIERE_OK;
    for (int i = 0; i < alphas->count && status == LUMIERE_OK; i++) {
        lumiere_clip *clip = NULL;
        making_styles(m->settings, alphas->alpha[i], styles);
        status = lumiere_model_set_styles(c, model, styles, m->settings->style.count);
        if (status == LUMIERE_OK) status = lumiere_task_run(c, model, &m->o, &clip);
        if (status == LUMIERE_OK && !s->pixels && !sheet_make(s, clip, alphas->count)) status = LUMIERE_MEMORY;
        if (status == LUMIERE_OK) sheet_paste(s, clip, i);
        lumiere_clip_free(&clip);
    }
    return status;
}

static lumiere_status make_sheet(lumiere_context *c, lumiere_model *model, making *m, lumiere_clip **out) {
    sheet s = {0};
    lumiere_status status = fill_sheet(c, model, m, &s);
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

static int run(const command *c, int argc, char **argv) {
    settings s = {.making = MAKING_DEFAULTS};
    strip alphas = {.count = 0};
    making m = {.settings = &s.making};
    const char *argument;
    s.making.out.file = NULL;
    int code = options_parse(c, argc, argv, &s, &argument);
    if (code == GO_ON && s.strip) code = parse_strip(s.strip, &alphas);
    if (code != GO_ON) return code;
    if (s.making.prompt && argument) return complain(2, "stylize: two prompts, with --prompt and as the argument");
    if (argument) s.making.prompt = argument;
    if (!s.making.prompt || !*s.making.prompt)
        return complain(2,
                        "stylize: no prompt; try: lumiere stylize \"a bee, moving from left to right\" --style flat");
    if (!s.making.style.count)
        return complain(2, "stylize: no style; name one of the model's with --style, or a style file");
    if (!s.making.out.file) s.making.out.file = s.strip ? "strip.png" : "out.mp4";
    if (s.strip) {
        m.make = make_sheet;
        m.shape = sheet_shape;
        m.user = &alphas;
        m.clips = alphas.count;
        m.recipe = recipe_members(&alphas);
    }
    code = making_run(&m);
    json_decref(m.recipe);
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
