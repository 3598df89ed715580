#include "recipe_line.h"

#include "commands.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

// The order in which settings were printed at first; others follow in the order of help.
static const char *const first_settings[] = {"input",
                                             "input_hash",
                                             "mask",
                                             "mask_hash",
                                             "box",
                                             "pad",
                                             "feather",
                                             "strength",
                                             "fit",
                                             "background",
                                             "no_composite",
                                             "prompt",
                                             "negative_prompt",
                                             "seed",
                                             "clip",
                                             "frames",
                                             "width",
                                             "height",
                                             "fps",
                                             "loop",
                                             "upscale",
                                             "no_upscale",
                                             "refine",
                                             "steps",
                                             "cfg_scale",
                                             "sampler",
                                             "dynamic_threshold",
                                             "noise_level",
                                             "window",
                                             "overlap",
                                             "tile",
                                             "tile_overlap"};
enum { FIRST = sizeof first_settings / sizeof *first_settings };

// Members of recipes that are options of the command's own.
static const struct {
    const char *member, *option;
    bool numbers; // a list of them
} own_members[] = {
    {"precision", "precision", false}, {"model_folder", "model", false}, {"style_strip", "style-strip", true}};
enum { OWN = sizeof own_members / sizeof *own_members };

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

static int add_numbers(line *l, const char *member, const json_t *value) {
    size_t n = json_array_size(value);
    bool ok = n > 0 && n <= 32;
    for (size_t i = 0; i < n && ok; i++) ok = json_is_number(json_array_get(value, i));
    if (!ok) return refuse(l, member, "a list of numbers, at most 32");
    for (size_t i = 0; i < n; i++) add(l, "%s%.15g", i ? "," : "", json_number_value(json_array_get(value, i)));
    return GO_ON;
}

// An option of the command's own: a text, one of several, or numbers.
static int add_own(line *l, const char *member, const char *option, bool numbers, const json_t *value) {
    option_row o;
    if (!option_find(l->command, option, &o))
        return complain(5, "%s: its recipe is damaged: it has \"%s\", and %s takes no --%s", l->path, member,
                        l->command->name, option);
    add(l, " --%s=", option);
    if (numbers) return add_numbers(l, member, value);
    const char *text = json_string_value(value);
    if (!text) return refuse(l, member, "a text");
    if (o.kind == OPTION_CHOICE && !option_is_choice(&o, text)) return refuse(l, member, o.argument);
    return add_text(l, member, text);
}

// --option, or --option=VALUE; what is a number needs no quotes.
static int add_setting(line *l, lumiere_request *r, const lumiere_setting *s) {
    if (s->list || !lumiere_request_has(r, s->key)) return GO_ON;
    const char *text = lumiere_request_get(r, s->key);
    if (!text) return complain(4, "no memory for a command line");
    if (s->kind == LUMIERE_FLAG) {
        if (!strcmp(text, "true")) add(l, " --%s", s->option);
        return GO_ON;
    }
    add(l, " --%s=", s->option);
    bool words =
        s->kind == LUMIERE_TEXT || s->kind == LUMIERE_CLIP || s->kind == LUMIERE_CHOICE || s->kind == LUMIERE_COLOUR;
    if (words) return add_text(l, s->key, text);
    add(l, "%s", text);
    return GO_ON;
}

static bool is_first(const char *key) {
    for (int i = 0; i < FIRST; i++)
        if (!strcmp(first_settings[i], key)) return true;
    return false;
}

static int add_settings(line *l, lumiere_request *r) {
    int code = GO_ON;
    for (int i = 0; i < FIRST && code == GO_ON; i++) {
        const lumiere_setting *s = lumiere_setting_find(l->command->name, first_settings[i]);
        if (s) code = add_setting(l, r, s);
    }
    const lumiere_setting *s;
    for (int i = 0; code == GO_ON && (s = lumiere_setting_at(l->command->name, i)); i++)
        if (!is_first(s->key)) code = add_setting(l, r, s);
    return code;
}

// Each style, with its alpha and the hash of its file; the request has found them right.
static int add_styles(line *l, const json_t *styles) {
    int code = GO_ON;
    for (size_t i = 0; i < json_array_size(styles) && code == GO_ON; i++) {
        const json_t *style = json_array_get(styles, i), *alpha = json_object_get(style, "alpha");
        add(l, " --style=");
        code = add_text(l, "style", json_string_value(json_object_get(style, "style")));
        add(l, json_is_integer(alpha) ? " --style-alpha=%.0f --style-hash=" : " --style-alpha=%.15g --style-hash=",
            json_number_value(alpha));
        if (code == GO_ON) code = add_text(l, "hash", json_string_value(json_object_get(style, "hash")));
    }
    return code;
}

static int fill(line *l, const json_t *recipe, lumiere_request *r) {
    add(l, "lumiere %s", l->command->name);
    int code = add_settings(l, r);
    for (int i = 0; i < OWN && code == GO_ON; i++) {
        const json_t *value = json_object_get(recipe, own_members[i].member);
        if (value) code = add_own(l, own_members[i].member, own_members[i].option, own_members[i].numbers, value);
    }
    return code == GO_ON ? add_styles(l, json_object_get(recipe, "styles")) : code;
}

static int fill_line(line *l, const json_t *recipe) {
    lumiere_request *r = NULL;
    char *text = json_dumps(recipe, JSON_COMPACT | JSON_REAL_PRECISION(17));
    lumiere_status status = text ? lumiere_request_create_from(text, &r) : LUMIERE_MEMORY;
    int code;
    if (status == LUMIERE_OK)
        code = fill(l, recipe, r);
    else if (status == LUMIERE_USAGE)
        code = complain(5, "%s: its recipe is damaged: %s", l->path, lumiere_request_error(r));
    else
        code = complain(exit_code(status), "%s", lumiere_request_error(r));
    lumiere_request_free(&r);
    free(text);
    return code;
}

// The command that made the clip: one that is called after a task.
static const command *maker(const json_t *task) {
    const char *name = task ? json_string_value(task) : "generate";
    const command *c = name ? find_command(name) : NULL;
    return c && lumiere_setting_at(name, 0) ? c : NULL;
}

int recipe_line_print(const json_t *recipe, const char *path) {
    if (!json_is_object(recipe)) return complain(5, "%s has no recipe; it was not made by lumiere", path);
    line l = {.command = maker(json_object_get(recipe, "task")), .path = path};
    if (!l.command) return complain(5, "%s: its recipe is damaged: \"task\" is no command that makes clips", path);
    int code = fill_line(&l, recipe);
    if (code == GO_ON && l.short_of_memory) code = complain(4, "no memory for a command line");
    if (code == GO_ON) puts(l.text), code = 0; // main looks whether it could
    free(l.text);
    return code;
}
