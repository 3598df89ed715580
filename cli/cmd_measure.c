// lumiere measure: figures of a clip's coherence, and slices through it.
#include "run_files.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>

typedef struct settings {
    machine_settings machine;
    const char *windows, *reference, *xt, *yt;
    int row, column;
    bool row_given, column_given, no_flow, json;
} settings;

#define AT(member) offsetof(settings, member)
static const option_row rows[] = {
    {"windows", 0, OPTION_TEXT, AT(windows), "W,O",
     "the clip was made in windows of W frames, neighbours sharing O: look for seams", 0, 0, 0},
    {"reference", 0, OPTION_TEXT, AT(reference), "CLIP", "see seams against this clip, such as what was upscaled", 0, 0,
     0},
    {"no-flow", 0, OPTION_FLAG, AT(no_flow), NULL, "leave out the optical flow, which takes most of the time", 0, 0, 0},
    {"xt", 0, OPTION_TEXT, AT(xt), "FILE", "write a picture of one row through time (.png ...)", 0, 0, 0},
    {"row", 0, OPTION_INT, AT(row), "Y", "that row, from 0 (default: the middle)", 0, INT_MAX, AT(row_given)},
    {"yt", 0, OPTION_TEXT, AT(yt), "FILE", "write a picture of one column through time", 0, 0, 0},
    {"column", 0, OPTION_INT, AT(column), "X", "that column, from 0 (default: the middle)", 0, INT_MAX,
     AT(column_given)},
    {"json", 0, OPTION_FLAG, AT(json), NULL, "print JSON, with a value for every frame", 0, 0, 0},
    OPTION_THREADS,
    {.name = NULL},
};

// The figure with some decimals, and its sign where it is a direction; "-" where there is none.
static const char *figure(char *out, size_t size, bool sign, int decimals, double v) {
    if (isnan(v))
        snprintf(out, size, "-");
    else
        snprintf(out, size, sign ? "%+.*f" : "%.*f", decimals, v);
    return out;
}

#define SHOW(v) figure((char[32]){0}, 32, false, 3, v)
#define SHOW_PERCENT(v) figure((char[32]){0}, 32, false, 1, 100 * (v))
#define SHOW_WAY(v) figure((char[32]){0}, 32, true, 3, v)

static void print_seams(const settings *s, const lumiere_measures *m) {
    say(stdout, "seam ratio            %s at %d border%s of windows %s (difference %s there)", SHOW(m->seam_ratio),
        m->borders, m->borders == 1 ? "" : "s", s->windows, SHOW(m->border_difference));
    if (s->reference)
        printf("against reference     %s at borders, %s elsewhere\n", SHOW(m->border_gain), SHOW(m->rest_gain));
}

static int print_text(const settings *s, const char *path, const lumiere_measures *m) {
    char rate[40] = "";
    if (m->fps > 0) snprintf(rate, sizeof rate, " at %.5g fps", m->fps);
    say(stdout, "%s: %d frame%s of %dx%d%s", path, m->frames, m->frames == 1 ? "" : "s", m->width, m->height, rate);
    printf("adjacent difference   %s\n", SHOW(m->difference));
    printf("flicker               %s (of the level alone: %s)\n", SHOW(m->flicker), SHOW(m->level_flicker));
    printf("loop closure          %s (difference %s)\n", SHOW(m->loop_ratio), SHOW(m->loop_difference));
    if (s->windows) print_seams(s, m);
    if (!s->no_flow)
        printf("warping error         %s (%s %% of pixels, moving %s pixels a frame)\n", SHOW(m->warp_error),
               SHOW_PERCENT(m->warp_covered), SHOW(m->speed));
    printf("foreground moved      %s right, %s down (range %s, %s; widths)\n", SHOW_WAY(m->moved_x),
           SHOW_WAY(m->moved_y), SHOW(m->range_x), SHOW(m->range_y));
    return 0;
}

static json_t *number(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *array(const double *values, int count) {
    json_t *a = json_array();
    for (int i = 0; i < count; i++) json_array_append_new(a, number(values[i]));
    return a;
}

static json_t *make_json(const settings *s, const char *path, const lumiere_measures *m) {
    json_t *o = json_pack("{s:o, s:i, s:i, s:i, s:o}", "clip", json_of_text(path), "frames", m->frames, "width",
                          m->width, "height", m->height, "fps", number(m->fps > 0 ? m->fps : NAN));
#define ADD(name, value) json_object_set_new(o, name, value)
    ADD("difference", number(m->difference));
    ADD("flicker", number(m->flicker));
    ADD("level_flicker", number(m->level_flicker));
    ADD("loop_difference", number(m->loop_difference));
    ADD("loop_ratio", number(m->loop_ratio));
    if (s->windows) {
        ADD("borders", json_integer(m->borders));
        ADD("border_difference", number(m->border_difference));
        ADD("seam_ratio", number(m->seam_ratio));
    }
    if (s->reference) {
        ADD("border_gain", number(m->border_gain));
        ADD("rest_gain", number(m->rest_gain));
    }
    if (!s->no_flow) {
        ADD("warp_error", number(m->warp_error));
        ADD("warp_covered", number(m->warp_covered));
        ADD("speed", number(m->speed));
        ADD("warp_errors", array(m->warp_errors, m->frames - 1));
    }
    ADD("moved", json_pack("[o, o]", number(m->moved_x), number(m->moved_y)));
    ADD("range", json_pack("[o, o]", number(m->range_x), number(m->range_y)));
    ADD("differences", array(m->differences, m->frames - 1));
    ADD("flickers", array(m->flickers, m->frames - 2));
    ADD("path_x", array(m->path_x, m->frames));
    ADD("path_y", array(m->path_y, m->frames));
#undef ADD
    return o;
}

static int print_json(const settings *s, const char *path, const lumiere_measures *m) {
    json_t *object = make_json(s, path, m);
    int code = say_json(object, 9);
    json_decref(object);
    return code;
}

// "W,O", or "W" for windows that share nothing.
static int parse_windows(const char *text, lumiere_measure_options *o) {
    int end = 0;
    if (!text) return 0;
    bool one = sscanf(text, "%9d%n", &o->window, &end) == 1 && !text[end];
    bool two = !one && sscanf(text, "%9d,%9d%n", &o->window, &o->overlap, &end) == 2 && !text[end];
    if ((one || two) && o->window >= 1 && o->overlap >= 0 && o->overlap < o->window) return 0;
    return complain(2, "--windows is \"%.40s\"; it must be frames and shared frames, such as 16,2", text);
}

static lumiere_status write_slice(lumiere_context *c, const lumiere_clip *clip, lumiere_slice axis, int at,
                                  const char *path) {
    lumiere_clip *picture = NULL;
    if (!path) return LUMIERE_OK;
    lumiere_status status = lumiere_clip_slice(c, clip, axis, at, &picture);
    if (status == LUMIERE_OK) status = lumiere_clip_write(c, picture, path, NULL);
    lumiere_clip_free(&picture);
    return status;
}

static lumiere_status write_slices(lumiere_context *c, const settings *s, const lumiere_clip *clip) {
    int row = s->row_given ? s->row : lumiere_clip_height(clip) / 2;
    int column = s->column_given ? s->column : lumiere_clip_width(clip) / 2;
    lumiere_status status = write_slice(c, clip, LUMIERE_SLICE_XT, row, s->xt);
    return status == LUMIERE_OK ? write_slice(c, clip, LUMIERE_SLICE_YT, column, s->yt) : status;
}

static int measure(lumiere_context *c, const settings *s, lumiere_measure_options *o, const char *path) {
    lumiere_clip *clip = NULL, *reference = NULL;
    lumiere_measures m = {0};
    lumiere_status status = lumiere_clip_read(c, path, &clip);
    if (status == LUMIERE_OK && s->reference) status = lumiere_clip_read(c, s->reference, &reference);
    if (status == LUMIERE_OK) status = write_slices(c, s, clip);
    o->reference = reference;
    if (status == LUMIERE_OK) status = lumiere_measure(c, clip, o, &m);
    int code = status == LUMIERE_OK ? (s->json ? print_json : print_text)(s, path, &m) : report_failure(c, status);
    lumiere_measures_free(&m);
    lumiere_clip_free(&clip);
    lumiere_clip_free(&reference);
    return code;
}

static int check_files(lumiere_context *c, const settings *s, const char *path) {
    const lumiere_output_shape picture = {.frames = 1};
    run_files f = {0};
    run_files_read(&f, "the clip", path);
    run_files_read(&f, "--reference", s->reference);
    run_files_write(&f, "--xt", s->xt, &picture);
    run_files_write(&f, "--yt", s->yt, &picture);
    return run_files_check(&f, c);
}

static int check(const settings *s, const char *path, lumiere_measure_options *o) {
    if (!path) return complain(2, "measure: no clip; name a video, a picture or a folder of frames");
    if (s->row_given && !s->xt) return complain(2, "measure: --row needs --xt FILE");
    if (s->column_given && !s->yt) return complain(2, "measure: --column needs --yt FILE");
    if (s->reference && !s->windows) return complain(2, "measure: --reference needs --windows W,O");
    return parse_windows(s->windows, o);
}

static int run(const command *c, int argc, char **argv) {
    settings s = {0};
    const char *path;
    int code = options_parse(c, argc, argv, &s, &path);
    if (code != GO_ON) return code;
    lumiere_measure_options o = {.no_flow = s.no_flow};
    code = check(&s, path, &o);
    if (code != 0) return code;
    lumiere_context *context = open_context(&s.machine, &code);
    if (!context) return code;
    code = check_files(context, &s, path);
    if (code == 0) code = measure(context, &s, &o, path);
    lumiere_context_free(&context);
    return code;
}

const command command_measure = {
    "measure",
    "CLIP",
    "Measures how coherent a clip is.",
    "Differences are means over pixels and channels, 0 to 255; - is a figure that the clip doesn't have. What each "
    "means:\n"
    "docs/measure.md.",
    rows,
    1,
    run,
};
