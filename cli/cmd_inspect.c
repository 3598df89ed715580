// lumiere inspect: what a clip, a model folder or a weight file holds.
#include "commands.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
    bool as_args, json;
} settings;

static const option_row rows[] = {
    {"as-args", 0, OPTION_FLAG, offsetof(settings, as_args), NULL, "print the command line that makes the clip again",
     0, 0, 0},
    {"json", 0, OPTION_FLAG, offsetof(settings, json), NULL, "print JSON", 0, 0, 0},
    {.name = NULL},
};

// Recipe member and option, in the order they are printed.
static const struct {
    const char *member, *option;
} recipe_options[] = {
    {"input", "input"},
    {"input_hash", "input-hash"},
    {"mask", "mask"},
    {"mask_hash", "mask-hash"},
    {"box", "box"},
    {"pad", "pad"},
    {"feather", "feather"},
    {"strength", "strength"},
    {"fit", "fit"},
    {"background", "background"},
    {"no_composite", "no-composite"},
    {"prompt", "prompt"},
    {"negative_prompt", "negative-prompt"},
    {"seed", "seed"},
    {"clip", "clip"},
    {"frames", "video-frames"},
    {"width", "width"},
    {"height", "height"},
    {"fps", "fps"},
    {"loop", "loop"},
    {"upscale", "upscale"},
    {"no_upscale", "no-upscale"},
    {"refine", "refine"},
    {"steps", "steps"},
    {"cfg_scale", "cfg-scale"},
    {"sampler", "sampler"},
    {"dynamic_threshold", "dynamic-threshold"},
    {"noise_level", "noise-level"},
    {"window", "window"},
    {"overlap", "overlap"},
    {"tile", "tile"},
    {"tile_overlap", "tile-overlap"},
    {"precision", "precision"},
    {"model_folder", "model"},
    {"style_strip", "style-strip"},
};

// Within single quotes, as a shell reads it back.
static void print_quoted(const char *text) {
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text);
    }
    putchar('\'');
}

// --option, --option=VALUE, or for an array --option=A,B,C.
static void print_option(const char *option, const json_t *value) {
    if (json_is_false(value)) return;
    printf(" --%s%s", option, json_is_true(value) ? "" : "=");
    if (json_is_string(value))
        print_quoted(json_string_value(value));
    else if (json_is_integer(value))
        printf("%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        printf("%.15g", json_real_value(value));
    for (size_t i = 0; i < json_array_size(value); i++)
        printf("%s%.15g", i ? "," : "", json_number_value(json_array_get(value, i)));
}

// Each style, with its alpha and the hash of its file.
static void print_styles(const json_t *styles) {
    for (size_t i = 0; i < json_array_size(styles); i++) {
        const json_t *style = json_array_get(styles, i);
        print_option("style", json_object_get(style, "style"));
        print_option("style-alpha", json_object_get(style, "alpha"));
        print_option("style-hash", json_object_get(style, "hash"));
    }
}

static int print_arguments(const json_t *recipe, const char *path) {
    if (!json_is_object(recipe)) return complain(5, "%s has no recipe; it was not made by lumiere", path);
    const char *task = json_string_value(json_object_get(recipe, "task"));
    printf("lumiere %s", task ? task : "generate");
    for (size_t i = 0; i < sizeof recipe_options / sizeof *recipe_options; i++) {
        const json_t *value = json_object_get(recipe, recipe_options[i].member);
        if (value) print_option(recipe_options[i].option, value);
    }
    print_styles(json_object_get(recipe, "styles"));
    putchar('\n');
    return 0;
}

static void print_scalar(const json_t *value) {
    if (json_is_string(value)) {
        printf("%s\n", json_string_value(value));
        return;
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    printf("%s\n", text ? text : "");
    free(text);
}

static bool is_short(const json_t *value) {
    return !json_is_object(value) || json_object_size(value) == 0;
}

static void print_object(const json_t *object, int indent) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        printf("%*s%s:%s", indent, "", key, is_short(value) ? " " : "\n");
        if (is_short(value))
            print_scalar(value);
        else
            print_object(value, indent + 2);
    }
}

static int print_description(const settings *s, const char *path, const char *text) {
    json_t *description = json_loads(text, 0, NULL);
    if (!description) return complain(1, "%s could not be described", path);
    int code = 0;
    if (s->as_args)
        code = print_arguments(json_object_get(description, "recipe"), path);
    else if (s->json)
        printf("%s\n", text);
    else
        print_object(description, 0);
    json_decref(description);
    return code;
}

static int run(const command *c, int argc, char **argv) {
    settings s = {0};
    const char *path;
    int code = options_parse(c, argc, argv, &s, &path);
    if (code != GO_ON) return code;
    if (!path) return complain(2, "inspect: no file; name a clip, a model folder or a .safetensors file");
    lumiere_context *context = open_context(&(machine_settings){.threads = 1}, &code);
    if (!context) return code;
    char *text = NULL;
    lumiere_status status = lumiere_describe(context, path, &text);
    code = status == LUMIERE_OK ? print_description(&s, path, text) : report_failure(context, status);
    lumiere_string_free(&text);
    lumiere_context_free(&context);
    return code;
}

const command command_inspect = {
    "inspect",
    "PATH",
    "Says what a clip, a model folder, a weight or style file holds.",
    "For a clip that lumiere made: how it was made.",
    rows,
    1,
    run,
};
