// lumiere generate: a prompt to a file.
#include "making.h"

static int run(const command *c, int argc, char **argv) {
    making_settings s = MAKING_DEFAULTS;
    const char *argument;
    int code = options_parse(c, argc, argv, &s, &argument);
    if (code != GO_ON) return code;
    if (s.prompt && argument) return complain(2, "generate: two prompts, with --prompt and as the argument; give one");
    if (argument) s.prompt = argument;
    if (!s.prompt || !*s.prompt)
        return complain(2, "generate: no prompt; try: lumiere generate \"a rocket, moving from left to right\"");
    return making_run(&(making){.settings = &s});
}

const command command_generate = {
    "generate",
    "[PROMPT]",
    "Makes a clip from a prompt.",
    "An existing FILE is replaced once the new one is complete. How the clip was made is kept in it and in FILE.json;\n"
    "lumiere inspect FILE prints it. The first Ctrl-C stops after the present step.",
    text_to_video_rows,
    1,
    run,
};
