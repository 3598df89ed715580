// MultiDiffusion (Bar-Tal et al., arXiv 2302.08113): a network made for short clips is evaluated on overlapping windows
// of a long one, and predictions are averaged where windows overlap. That mean is the closed form of
//     argmin_J  sum over windows i of  || J restricted to i  -  prediction_i ||^2.
// Windows lie along each axis on its own: frames, and with tiles rows and columns too.
#pragma once
#include <stdint.h>

typedef struct lm_windows {
    int length, window, stride, count;
} lm_windows;
// Windows of `window` elements (of length, when that is shorter) that share `overlap` with the next, from 0 to
// window - 1. The last one ends where the axis ends and may share more.
lm_windows lm_windows_make(int length, int window, int overlap);
int lm_window_start(const lm_windows *w, int i);
int lm_window_cover(const lm_windows *w, int at); // how many windows hold element `at`: at least 1

// Windows over clips [frames, height, width, channels] of floats.
typedef struct lm_grid {
    lm_windows time, rows, columns;
    int channels;
} lm_grid;
int64_t lm_grid_floats(const lm_grid *g); // of one window
// Both take window (i, row, column); clip and sum point to frame first_frame of the whole, so that a part of the clip
// in memory is enough. take copies the window's values to out, add adds v to them.
void lm_grid_take(const lm_grid *g, int i, int row, int column, const float *clip, int first_frame, float *out);
void lm_grid_add(const lm_grid *g, int i, int row, int column, const float *v, float *sum, int first_frame);
// Sums of frames first_frame ... first_frame + frames - 1 to means, each element by the windows that hold it.
void lm_grid_divide(const lm_grid *g, float *sum, int first_frame, int frames);
