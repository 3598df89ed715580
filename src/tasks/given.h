// What a task keeps of a clip and what it leaves to the network: Lumiere's conditioning pair (arXiv 2401.12945, section
// 4.2), as trained by train/conditions.c, and the way back, putting what was given over the result.
#pragma once
#include "tasks/fit.h"

typedef struct lm_box {
    int x, y, width, height;
} lm_box;

typedef struct lm_given_options {
    lm_task_kind task;            // one that has an input
    const lm_clip *input;         // RGB, any size
    double input_fps;             // its rate; above 0
    const lm_clip *mask;          // RGB; white is made anew. NULL: box
    const lm_box *box;            // pixels of the input; NULL: mask
    double feather;               // pixels of the input, 0 to 1000
    int left, top, right, bottom; // outpaint: pixels of the input, at least 0
    lm_fit_kind fit;              // of the input, with its pads
    bool fit_mask;                // a mask of another size or length than the input is fitted too
    uint8_t background[3];        // around LM_FIT_PAD
    int frames, width, height;    // of the run
    double fps;
} lm_given_options;

typedef struct lm_given {
    lm_clip clip;  // [frames,height,width,3]
    uint8_t *made; // [frames,height,width]: 255: made anew; 0: given; between: given, and blended with what is made
} lm_given;

// LM_USAGE for options that contradict each other or the input, LM_MEDIA for a mask of another size or length: one line
// with what would be right.
lm_status lm_given_check(lm_error *e, const lm_given_options *o);
lm_fit lm_given_fit(const lm_given_options *o); // of the input with its pads
lm_status lm_given_make(lm_error *e, const lm_given_options *o, lm_given *out);
void lm_given_free(lm_given *g);

// The network's condition of one frame, out [height,width,4]: given pixels in [-1,1] and 1, otherwise zeros. The run's
// size may be above the clip's; there, and from the clip's last frame on, nothing is given.
void lm_given_condition(const lm_given *g, int frame, int width, int height, float *out);
// A frame in [-1,1], out [height,width,3]; beyond the clip its last row, column and frame go on.
void lm_given_frame(const lm_given *g, int frame, int width, int height, float *out);
// Puts what was given over a result of the clip's shape: exactly, and blended where it was feathered.
void lm_given_composite(const lm_given *g, lm_clip *result);
