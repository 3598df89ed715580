// From a request to files: what generate, stylize and the tasks on an input share.
#pragma once
#include "output.h"

#include <jansson.h>

// First in a command's settings.
typedef struct making_settings {
    output_settings out;
    const char *model;
    int batch;
} making_settings;
#define MAKING_DEFAULTS                                                                                                \
    { .out = {.file = "out.mp4"}, .batch = 1 }

extern const option_row making_rows[]; // the task's settings among them

typedef struct making {
    making_settings *settings;
    lumiere_request *r;
    json_t *recipe; // further members of the recipe; NULL: none
    // Reads what the task is given; GO_ON, or the exit code when that fails (and has been said). NULL: nothing to read.
    int (*read_inputs)(const lumiere_model *model, struct making *m);
    // Makes what is written; NULL: lumiere_request_run. Of a failure the message is the request's, else the context's.
    lumiere_status (*make)(lumiere_context *c, lumiere_model *model, struct making *m, lumiere_clip **out);
    int clips; // that this makes, for the estimate of the time; 0: one
    // Of what is written, from that of a clip; 0 in it isn't known yet. NULL: it is the clip.
    void (*shape)(const struct making *m, lumiere_output_shape *shape);
    void *user;
    const char *why; // a failure of the command's own
} making;

// The request of a command with its options in it: GO_ON, or the exit code (which has been said). The request is to be
// freed in any case.
int making_parse(const command *c, int argc, char **argv, void *settings, const char **arguments, making *m);
// Takes an argument as a setting. GO_ON, or the exit code.
int making_set(making *m, const char *option, const char *text);
// Makes the clips and writes them; the command's exit code.
int making_run(making *m);
