// lumiere bench: what this machine gives.
#include "commands.h"

#include <stdio.h>

typedef struct settings {
    machine_settings machine;
    const char *rows;
    int repeat, batch;
    bool json, nodes, trace_plan;
} settings;

#define AT(member) offsetof(settings, member)
static const option_row rows[] = {
    {"rows", 0, OPTION_TEXT, AT(rows), "LIST",
     "of forward, image, video and ssr, separated by commas (default: forward,image,video)", 0, 0, 0},
    {"repeat", 0, OPTION_INT, AT(repeat), "N", "runs of each, after one that does not count (default: 5)", 1, 1000, 0},
    {"batch", 0, OPTION_INT, AT(batch), "N", "pictures in the row image (default: 64)", 1, 256, 0},
    {"nodes", 0, OPTION_FLAG, AT(nodes), NULL, "a line for every node: its kernel and time", 0, 0, 0},
    {"trace-plan", 0, OPTION_FLAG, AT(trace_plan), NULL, "the memory plan: every node's operands and where they lie", 0,
     0, 0},
    {"json", 0, OPTION_FLAG, AT(json), NULL, "a line of JSON for every row", 0, 0, 0},
    OPTION_THREADS,
    OPTION_PRECISION,
    OPTION_DEVICE,
    {.name = NULL},
};

static void on_line(void *user, const char *text) {
    (void)user;
    say(stdout, "%s", text);
    fflush(stdout);
}

static int run(const command *c, int argc, char **argv) {
    settings s = {.rows = "forward,image,video", .repeat = 5};
    int code = options_parse(c, argc, argv, &s, NULL);
    if (code != GO_ON) return code;
    lumiere_context *context = open_context(&s.machine, &code);
    if (!context) return code;
    const lumiere_bench_options o = {.rows = s.rows,
                                     .repeat = s.repeat,
                                     .batch = s.batch,
                                     .json = s.json,
                                     .nodes = s.nodes,
                                     .trace_plan = s.trace_plan};
    lumiere_status status = lumiere_bench(context, &o, on_line, NULL);
    code = status == LUMIERE_OK ? 0 : report_failure(context, status);
    lumiere_context_free(&context);
    return code;
}

const command command_bench = {
    "bench",
    "",
    "Times the default network on this machine.",
    "forward: the base network once, 80 frames of 64x64. image: a training step with 64 pictures of 32x32.\n"
    "video: a training step with one clip of 80 frames of 64x64, image weights frozen.\n"
    "ssr: the super-resolution network once, 16 frames of 256x256. Weights are random.\n"
    "A training step is of the network and AdamW; what the optimisers take stands on lines of its own.",
    rows,
    0,
    run,
};
