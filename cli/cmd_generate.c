// lumiere generate: a prompt to a file.
#include "making.h"

static int parse(const command *c, int argc, char **argv, making *m) {
    const char *argument;
    int code = making_parse(c, argc, argv, m->settings, &argument, m);
    if (code != GO_ON) return code;
    const char *prompt = lumiere_request_get(m->r, "prompt");
    if (prompt && argument) return complain(2, "generate: two prompts, with --prompt and as the argument; give one");
    if (argument) prompt = argument;
    if (!prompt || !*prompt)
        return complain(2, "generate: no prompt; try: lumiere generate \"a rocket, moving from left to right\"");
    return argument ? making_set(m, "--prompt", argument) : GO_ON;
}

static int run(const command *c, int argc, char **argv) {
    making_settings s = MAKING_DEFAULTS;
    making m = {.settings = &s};
    int code = parse(c, argc, argv, &m);
    if (code == GO_ON) code = making_run(&m);
    lumiere_request_free(&m.r);
    return code;
}

const command command_generate = {
    "generate",
    "[PROMPT]",
    "Makes a clip from a prompt.",
    "An existing FILE is replaced once the new one is complete. How the clip was made is kept in it and in FILE.json;\n"
    "lumiere inspect FILE prints it. The first Ctrl-C stops after the present step.",
    making_rows,
    1,
    run,
};
