// lumiere animate, inpaint, outpaint, cinemagraph and edit: a given picture or clip and a prompt to a file.
#include "making.h"

#include <stdlib.h>
#include <string.h>

static void warn_if_changed(const making *m, const char *name, const char *hash_name, const char *path) {
    char now[65];
    const char *hash = lumiere_request_get(m->r, hash_name);
    if (!hash) return;
    if (lumiere_request_clip_hash(m->r, name, hash, now) == LUMIERE_OK && strcmp(hash, now))
        complain(0, "%s is not what it was: its hash is %s, not %.64s", path, now, hash);
}

// Reads the file that a setting names, where it names one.
static int read_clip(const lumiere_model *model, making *m, const char *name, const char *hash_name) {
    int code = GO_ON;
    if (!lumiere_request_has(m->r, name)) return code;
    const char *text = lumiere_request_get(m->r, name);
    char *path = text ? strdup(text) : NULL; // text is gone when the request is given it
    if (!path) return complain(4, "no memory");
    lumiere_status status = lumiere_request_read_clip(m->r, model, name, path);
    if (status != LUMIERE_OK)
        code = report_request(m->r, status);
    else
        warn_if_changed(m, name, hash_name, path);
    free(path);
    return code;
}

static int read_inputs(const lumiere_model *model, making *m) {
    int code = read_clip(model, m, "input", "input_hash");
    return code == GO_ON ? read_clip(model, m, "mask", "mask_hash") : code;
}

// The arguments are the input and the prompt, but for those that options name.
static int take_arguments(const command *c, making *m, const char *const *arguments) {
    int n = 0, code = GO_ON;
    if (!lumiere_request_has(m->r, "input") && arguments[n]) code = making_set(m, "--input", arguments[n++]);
    if (code == GO_ON && !lumiere_request_has(m->r, "input"))
        return complain(2, "%s: no input; name a picture or clip", c->name);
    if (code == GO_ON && !lumiere_request_has(m->r, "prompt") && arguments[n])
        code = making_set(m, "--prompt", arguments[n++]);
    if (code != GO_ON) return code;
    if (n < 2 && arguments[n]) return complain(2, "%s: one argument too many: \"%.60s\"", c->name, arguments[n]);
    const char *prompt = lumiere_request_get(m->r, "prompt");
    if (prompt && *prompt) return GO_ON;
    return complain(2, "%s: no prompt; try: lumiere %s %.60s \"a bee, moving from left to right\"", c->name, c->name,
                    lumiere_request_get(m->r, "input"));
}

static json_t *recipe_members(const making *m) {
    static const char *const names[] = {"input", "mask"};
    json_t *object = json_object();
    for (int i = 0; i < 2; i++) {
        const char *text = lumiere_request_get(m->r, names[i]);
        if (text) json_object_set_new(object, names[i], json_string(text));
    }
    return object;
}

static int run(const command *c, int argc, char **argv) {
    making_settings s = MAKING_DEFAULTS;
    making m = {.settings = &s, .read_inputs = read_inputs};
    const char *arguments[2];
    int code = making_parse(c, argc, argv, &s, arguments, &m);
    if (code == GO_ON) code = take_arguments(c, &m, arguments);
    if (code == GO_ON) {
        m.recipe = recipe_members(&m);
        code = making_run(&m);
    }
    json_decref(m.recipe);
    lumiere_request_free(&m.r);
    return code;
}

#define KEPT                                                                                                           \
    "The input may be any picture, clip or folder of frames; how it was fitted to the run's size, length and rate "    \
    "is\n"                                                                                                             \
    "printed. What is kept of it is put over the result exactly."

#define TASK(name, arguments, summary, details)                                                                        \
    const command command_##name = {#name, arguments, summary, details, making_rows, 2, run}

TASK(animate, "IMAGE PROMPT", "Lets a picture move: it is the first frame.", KEPT);
TASK(inpaint, "CLIP PROMPT", "Makes a part of a clip anew, by a mask or box.", KEPT);
TASK(outpaint, "CLIP PROMPT", "Makes what lies around a clip.", KEPT);
TASK(cinemagraph, "IMAGE PROMPT", "Lets a part of a picture move, by a mask or box.", KEPT);
TASK(edit, "CLIP PROMPT", "Makes a clip again, nearer to another prompt.",
     "SDEdit: the clip is made noisy, the more so the greater the strength, and denoised by the prompt.");
