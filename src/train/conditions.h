// Lumiere's conditioning pair (arXiv 2401.12945, section 4.2), all tasks in one network: what is given of a clip.
#pragma once
#include "base/random.h"
#include <stdbool.h>

typedef enum lm_condition_kind {
    LM_GIVEN_NOTHING,
    LM_GIVEN_FIRST,       // the first frame: image to video
    LM_GIVEN_AROUND,      // all but a box: inpainting
    LM_GIVEN_BOX,         // only a box: outpainting
    LM_GIVEN_BAND,        // a box of full width or height: outpainting at one or two sides
    LM_GIVEN_DRIFTING,    // all but a box that drifts across the clip
    LM_GIVEN_CINEMAGRAPH, // the first frame, and later all but the box that holds what moves
} lm_condition_kind;

typedef struct lm_condition {
    lm_condition_kind kind;
    int y, x, height, width; // the box
    int y_end, x_end;        // where it has drifted to in the last frame
    bool rows;               // a band of full width rather than of full height
} lm_condition;

// A random condition for clips of size x size.
lm_condition lm_condition_draw(lm_stream *random, int size);
// x0 [frames,size,size,3] -> out [frames,size,size,4]: the clip where it is given and 0 elsewhere, then 1 where it is
// given.
void lm_condition_apply(const lm_condition *c, const float *x0, int frames, int size, float *out);
