// lumiere inspect: what a clip, a model folder or a weight file holds.
#include "commands.h"
#include "recipe_line.h"

#include <jansson.h>
#include <stdlib.h>

typedef struct settings {
    bool as_args, json;
} settings;

static const option_row rows[] = {
    {"as-args", 0, OPTION_FLAG, offsetof(settings, as_args), NULL, "print the command line that makes the clip again",
     0, 0, 0},
    {"json", 0, OPTION_FLAG, offsetof(settings, json), NULL, "print JSON", 0, 0, 0},
    {.name = NULL},
};

static bool is_short(const json_t *value) {
    return !json_is_object(value) || json_object_size(value) == 0;
}

static void print_short(int indent, const char *key, const json_t *value) {
    char *text =
        json_is_string(value) ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    say(stdout, "%*s%s: %s", indent, "", key, json_is_string(value) ? json_string_value(value) : text ? text : "?");
    free(text);
}

static void print_object(const json_t *object, int indent) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        if (is_short(value)) {
            print_short(indent, key, value);
            continue;
        }
        say(stdout, "%*s%s:", indent, "", key);
        print_object(value, indent + 2);
    }
}

static int print_description(const settings *s, const char *path, const char *text) {
    json_t *description = json_loads(text, 0, NULL);
    if (!description) return complain(1, "%s could not be described", path);
    int code = 0;
    if (s->as_args)
        code = recipe_line_print(json_object_get(description, "recipe"), path);
    else if (s->json)
        code = say_json(description, 15);
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
