// Pictures and clips of any size and rate made to fit a run's.
#pragma once
#include "media/media.h"
#include "settings/choices.h"

// How a frame gets from one size to another, in whole pixels.
typedef struct lm_fit {
    int from_width, from_height, width, height; // of a frame before and after
    int left, top, cut_width, cut_height;       // the part of it that is shown
    int x, y, shown_width, shown_height;        // where that part goes
} lm_fit;
lm_fit lm_fit_make(lm_fit_kind kind, int from_width, int from_height, int width, int height);

// Resampling by such a fit: the mean of the area where it shrinks (as in training), Catmull-Rom's cubic where it
// enlarges, the bytes as they are where it does neither.
typedef struct lm_fitter lm_fitter;
// mask: for one channel of 0 and 255; a pixel that touches 255 becomes 255, and enlarging takes the nearest.
lm_status lm_fitter_create(lm_error *e, const lm_fit *fit, bool mask, lm_fitter **out);
void lm_fitter_free(lm_fitter **f);
// from [from_height,from_width,3] -> out [height,width,3]; a mask's have one channel. background: of LM_FIT_PAD, as
// many bytes as channels.
void lm_fitter_frame(const lm_fitter *f, const uint8_t *from, const uint8_t *background, uint8_t *out);

// The frame of a clip of frames at from_fps that is nearest in time to frame i at fps; the last one after its end.
int lm_fit_frame_at(int i, double fps, double from_fps, int frames);
// Frames at fps that a clip of frames at from_fps lasts for, at least 1.
int lm_fit_duration(int frames, double from_fps, double fps);

// One line for people: what was cut off, scaled and resampled in time. from: the clip before the fit. from_fps: its
// rate as it was taken. frames, fps: those after it.
void lm_fit_describe(const lm_fit *fit, int from_frames, double from_fps, int frames, double fps, char *out,
                     size_t size);
