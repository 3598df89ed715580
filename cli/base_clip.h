// The clip before its enlargement, kept beside the output until that is written: what was computed so far isn't lost
// when the rest is stopped.
#pragma once
#include "lumiere/lumiere.h"

#include <jansson.h>

typedef struct base_clip {
    char *file;         // FILE.base.npy; NULL: none is kept
    const char *recipe; // of the whole run
    bool kept;          // it is there
} base_clip;

// The name that goes with an output, NULL when memory is short.
char *base_clip_name(const char *output);
// Writes it, with a recipe that says what it becomes. Says so when that fails.
void base_clip_write(base_clip *b, lumiere_context *c, const lumiere_clip *clip);
void base_clip_remove(base_clip *b);
// What the clip of recipe made becomes when it is enlarged as upscale's recipe says; NULL: that is another run.
json_t *base_clip_becomes(const json_t *made, const char *recipe, const lumiere_clip *input);
// The run's recipe in that of a clip that was kept so; NULL: it is another clip's.
json_t *base_clip_run(const json_t *made);
