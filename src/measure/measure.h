// Figures of a clip's coherence, and the pictures that show it. Clips are RGB. A difference is a mean of absolute
// differences over pixels and channels, in units of 0 to 255. Formulas and limits: docs/measure.md.
#pragma once
#include "base/status.h"
#include "media/media.h"
#include <stdbool.h>

double lm_frame_difference(const lm_clip *c, int a, int b); // of frames a and b
double lm_second_difference(const lm_clip *c, int t);       // |C[t-1] - 2 C[t] + C[t+1]|, 0 < t < frames - 1
double lm_frame_level(const lm_clip *c, int t);             // mean of all bytes of frame t

typedef struct lm_point {
    double x, y;
} lm_point;
// Centres of the foreground, one a frame, in widths from the middle of the first pixel; NaN where there is none. The
// background's colour is the mean of the corners (3x3 pixels each) over all frames; what differs by more than 40 in
// some channel is foreground, and less than 1 % of the pixels is none.
void lm_foreground_path(const lm_clip *c, lm_point *path);
// Mean of those points of [first, end) that there are; NaN without any.
lm_point lm_path_mean(const lm_point *path, int first, int end);

// What the flow from a frame to the one before it explains.
typedef struct lm_warp_figures {
    double error;   // difference between the frame and the one before it, moved along the flow; NaN when covered is 0
    double covered; // share of pixels that count: their source lies within the frame, and both flows agree
    double speed;   // mean length of the flow there, in pixels a frame; NaN when covered is 0
} lm_warp_figures;
// out[t - 1] for frames t = 1 .. frames - 1, the same for any number of threads. LM_MEMORY when one thread's planes
// don't fit.
lm_status lm_warp_errors(lm_error *e, const lm_clip *c, int threads, lm_warp_figures *out);

// Mean absolute and mean square difference of two clips of one size, over the frames that both have.
void lm_clip_distance(const lm_clip *a, const lm_clip *b, double *absolute, double *square);

typedef enum lm_slice_axis { LM_SLICE_ROW, LM_SLICE_COLUMN } lm_slice_axis;
// A picture whose rows are frames, first on top: of each, row (or column) number at. LM_USAGE when there is no such
// one.
lm_status lm_clip_slice(lm_error *e, const lm_clip *c, lm_slice_axis axis, int at, lm_clip *out);
// a, a gray gap, b. The lower one is enlarged to the other's height by repeating pixels; the shorter one stays on its
// last frame, or ends both (shortest). LM_USAGE when that is wider than LM_MAX_SIDE.
lm_status lm_side_by_side(lm_error *e, const lm_clip *a, const lm_clip *b, int gap, bool shortest, lm_clip *out);
