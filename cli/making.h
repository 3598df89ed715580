// From a prompt, and what a task is given, to a file: what generate and the tasks share.
#pragma once
#include "commands.h"

#include <jansson.h>

// First in a command's settings.
typedef struct making_settings {
    machine_settings machine;
    const char *prompt, *negative, *output, *model, *sampler, *preview, *progress;
    int64_t seed;
    bool seed_given, cfg_given, overlap_given, json, quiet, loop, upscale, no_upscale;
    int frames, width, height, steps, batch, clip, overlap, preview_every;
    double fps, cfg_scale, dynamic_threshold;
} making_settings;
#define MAKING_DEFAULTS                                                                                                \
    { .output = "out.mp4", .batch = 1, .preview_every = 5 }

extern const option_row making_rows[];

typedef struct making {
    making_settings *settings;
    lumiere_task_options o; // the task and what it is given; generate is filled in from the settings
    json_t *recipe;         // further members of the recipe; NULL: none
    // Reads what the task is given; GO_ON, or the exit code when that fails (and has been said). NULL: nothing to read.
    int (*read_inputs)(lumiere_context *c, const lumiere_model *model, struct making *m);
    void *user;
} making;

// Makes the clips and writes them; the command's exit code.
int making_run(making *m);
