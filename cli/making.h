// From a prompt, and what a task is given, to a file: what generate and the tasks share.
#pragma once
#include "output.h"

#include <jansson.h>

// First in a command's settings.
typedef struct making_settings {
    output_settings out;
    const char *prompt, *negative, *model, *sampler;
    int64_t seed;
    bool seed_given, cfg_given, overlap_given, refine_given, loop, upscale, no_upscale;
    int frames, width, height, steps, batch, clip, overlap;
    double fps, cfg_scale, dynamic_threshold, refine;
    text_list style, style_alpha, style_hash; // number i of each belongs together
} making_settings;
#define MAKING_DEFAULTS                                                                                                \
    { .out = {.file = "out.mp4", .preview_every = 5}, .batch = 1 }

extern const option_row making_rows[];        // of every task
extern const option_row text_to_video_rows[]; // these and those of text to video

typedef struct making {
    making_settings *settings;
    lumiere_task_options o; // the task and what it is given; generate is filled in from the settings
    json_t *recipe;         // further members of the recipe; NULL: none
    // Reads what the task is given; GO_ON, or the exit code when that fails (and has been said). NULL: nothing to read.
    int (*read_inputs)(lumiere_context *c, const lumiere_model *model, struct making *m);
    // Makes what is written; NULL: lumiere_task_run.
    lumiere_status (*make)(lumiere_context *c, lumiere_model *model, struct making *m, lumiere_clip **out);
    int clips; // that this makes, for the estimate of the time; 0: one
    // Of what is written, from that of a clip; 0 in it isn't known yet. NULL: it is the clip.
    void (*shape)(const struct making *m, lumiere_output_shape *shape);
    const char *input, *mask; // files that are read; NULL: none
    void *user;
} making;

// Whether --style names a file and not one of the model's styles.
bool is_style_file(const char *style);
// The styles of the settings, checked; alpha of the first is first_alpha unless that is negative. GO_ON, or the exit
// code (which has been said).
int making_styles(const making_settings *s, double first_alpha, lumiere_style out[LUMIERE_MOST_STYLES]);

// Makes the clips and writes them; the command's exit code.
int making_run(making *m);
