#include "recipe_line.h"

#include "commands.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

// Recipe member and option, in the order they are printed.
static const struct {
    const char *member, *option;
    int numbers; // the member is a list of numbers, at most so many
} members[] = {
    {"input", "input", 0},
    {"input_hash", "input-hash", 0},
    {"mask", "mask", 0},
    {"mask_hash", "mask-hash", 0},
    {"box", "box", 4},
    {"pad", "pad", 4},
    {"feather", "feather", 0},
    {"strength", "strength", 0},
    {"fit", "fit", 0},
    {"background", "background", 0},
    {"no_composite", "no-composite", 0},
    {"prompt", "prompt", 0},
    {"negative_prompt", "negative-prompt", 0},
    {"seed", "seed", 0},
    {"clip", "clip", 0},
    {"frames", "video-frames", 0},
    {"width", "width", 0},
    {"height", "height", 0},
    {"fps", "fps", 0},
    {"loop", "loop", 0},
    {"upscale", "upscale", 0},
    {"no_upscale", "no-upscale", 0},
    {"refine", "refine", 0},
    {"steps", "steps", 0},
    {"cfg_scale", "cfg-scale", 0},
    {"sampler", "sampler", 0},
    {"dynamic_threshold", "dynamic-threshold", 0},
    {"noise_level", "noise-level", 0},
    {"window", "window", 0},
    {"overlap", "overlap", 0},
    {"tile", "tile", 0},
    {"tile_overlap", "tile-overlap", 0},
    {"precision", "precision", 0},
    {"model_folder", "model", 0},
    {"style_strip", "style-strip", 32},
};
enum { MEMBERS = sizeof members / sizeof *members };

// The line as it grows.
typedef struct line {
    const command *command;
    const char *path; // of the file, for messages
    char *text;
    size_t size, room;
    bool short_of_memory;
} line;

static void add_bytes(line *l, const char *bytes, size_t n) {
    if (l->room - l->size <= n && !l->short_of_memory) {
        size_t room = 2 * (l->size + n) + 256;
        char *text = realloc(l->text, room);
        if (text) l->text = text, l->room = room;
        l->short_of_memory = !text;
    }
    if (l->short_of_memory) return;
    memcpy(l->text + l->size, bytes, n);
    l->text[l->size += n] = 0;
}

static void add(line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(line *l, const char *format, ...) {
    char text[400]; // numbers, names of options
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    add_bytes(l, text, (size_t)n);
}

// Within single quotes, as a shell reads it back.
static void add_quoted(line *l, const char *text) {
    add_bytes(l, "'", 1);
    for (; *text; text++) {
        if (*text == '\'')
            add_bytes(l, "'\\''", 4);
        else
            add_bytes(l, text, 1);
    }
    add_bytes(l, "'", 1);
}

// For a text with characters that a terminal must not get: what POSIX's printf makes of octal numbers. All but letters,
// digits and spaces is written so, for within double quotes an interactive shell looks at more than one thinks.
static void add_printed(line *l, const char *text) {
    add_bytes(l, "\"$(printf '", 11);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ' ';
        if (plain)
            add_bytes(l, text, 1);
        else
            add(l, "\\%03o", c);
    }
    add_bytes(l, "')\"", 3);
}

static int refuse(const line *l, const char *member, const char *wanted) {
    return complain(5, "%s: its recipe is damaged: \"%s\" must be %s", l->path, member, wanted);
}

static int add_text(line *l, const char *member, const char *text) {
    size_t n = strlen(text);
    char *shown = malloc(n + 1); // escapes make a text longer
    if (!shown) return complain(4, "no memory for a command line");
    bool harmless = lumiere_text_escape(shown, n + 1, text) == n && !strcmp(shown, text);
    free(shown);
    if (!harmless && text[n - 1] == '\n')
        return complain(5, "%s: its recipe's \"%s\" ends with a line break, which no shell hands on", l->path, member);
    if (harmless)
        add_quoted(l, text);
    else
        add_printed(l, text);
    return GO_ON;
}

static int add_numbers(line *l, const char *member, int most, const json_t *value) {
    size_t n = json_array_size(value);
    bool four = most == 4, ok = four ? n == 4 : n > 0 && n <= (size_t)most;
    for (size_t i = 0; i < n && ok; i++) {
        const json_t *item = json_array_get(value, i);
        ok = four ? json_is_integer(item) : json_is_number(item);
    }
    if (!ok) return refuse(l, member, four ? "a list of four whole numbers" : "a list of numbers, at most 32");
    for (size_t i = 0; i < n; i++) add(l, "%s%.15g", i ? "," : "", json_number_value(json_array_get(value, i)));
    return GO_ON;
}

static int add_number(line *l, const char *member, const option_row *o, const json_t *value) {
    char wanted[100];
    double v = json_number_value(value), least = o->kind == OPTION_SEED ? 0 : o->least;
    double most = o->kind == OPTION_SEED ? INFINITY : o->kind == OPTION_LIST ? 1 : o->most;
    bool whole = o->kind == OPTION_INT || o->kind == OPTION_SEED;
    if (!json_is_number(value) || (whole && !json_is_integer(value)) || !(v >= least && v <= most)) {
        snprintf(wanted, sizeof wanted, isfinite(most) ? "a %snumber from %.10g to %.10g" : "a %snumber of at least %g",
                 whole ? "whole " : "", least, most);
        return refuse(l, member, wanted);
    }
    if (json_is_integer(value))
        add(l, "%lld", (long long)json_integer_value(value));
    else
        add(l, "%.15g", v);
    return GO_ON;
}

// --option, --option=VALUE, or for a list --option=A,B,C.
static int add_option(line *l, const char *member, const char *option, int numbers, const json_t *value) {
    option_row o;
    if (!option_find(l->command, option, &o))
        return complain(5, "%s: its recipe is damaged: it has \"%s\", and %s takes no --%s", l->path, member,
                        l->command->name, option);
    if (o.kind == OPTION_FLAG) {
        if (!json_is_boolean(value)) return refuse(l, member, "true or false");
        if (json_is_true(value)) add(l, " --%s", option);
        return GO_ON;
    }
    add(l, " --%s=", option);
    if (numbers) return add_numbers(l, member, numbers, value);
    bool number = o.kind == OPTION_INT || o.kind == OPTION_SEED || o.kind == OPTION_NUMBER;
    if (number || (o.kind == OPTION_LIST && json_is_number(value))) return add_number(l, member, &o, value);
    const char *text = json_string_value(value);
    if (!text) return refuse(l, member, "a text");
    if (o.kind == OPTION_CHOICE && !option_is_choice(&o, text)) return refuse(l, member, o.argument);
    return add_text(l, member, text);
}

// Each style, with its alpha and the hash of its file.
static int add_styles(line *l, const json_t *styles) {
    static const char *const names[][2] = {{"style", "style"}, {"alpha", "style-alpha"}, {"hash", "style-hash"}};
    if (styles && !json_is_array(styles)) return refuse(l, "styles", "a list");
    for (size_t i = 0; i < json_array_size(styles); i++) {
        for (int k = 0; k < 3; k++) {
            const json_t *value = json_object_get(json_array_get(styles, i), names[k][0]);
            if (!value || (k == 1 ? !json_is_number(value) : !json_is_string(value)))
                return refuse(l, "styles", "a list of styles, each with a name, alpha and hash");
            int code = add_option(l, names[k][0], names[k][1], 0, value);
            if (code != GO_ON) return code;
        }
    }
    return GO_ON;
}

// The command that made the clip; only those that make clips have a seed.
static const command *maker(const json_t *task) {
    option_row ignored;
    const char *name = task ? json_string_value(task) : "generate";
    const command *c = name ? find_command(name) : NULL;
    return c && option_find(c, "seed", &ignored) ? c : NULL;
}

static int fill(line *l, const json_t *recipe) {
    add(l, "lumiere %s", l->command->name);
    int code = GO_ON;
    for (int i = 0; i < MEMBERS && code == GO_ON; i++) {
        const json_t *value = json_object_get(recipe, members[i].member);
        if (value) code = add_option(l, members[i].member, members[i].option, members[i].numbers, value);
    }
    return code == GO_ON ? add_styles(l, json_object_get(recipe, "styles")) : code;
}

int recipe_line_print(const json_t *recipe, const char *path) {
    if (!json_is_object(recipe)) return complain(5, "%s has no recipe; it was not made by lumiere", path);
    line l = {.command = maker(json_object_get(recipe, "task")), .path = path};
    if (!l.command) return complain(5, "%s: its recipe is damaged: \"task\" is no command that makes clips", path);
    int code = fill(&l, recipe);
    if (code == GO_ON && l.short_of_memory) code = complain(4, "no memory for a command line");
    if (code == GO_ON) puts(l.text), code = 0; // main looks whether it could
    free(l.text);
    return code;
}
