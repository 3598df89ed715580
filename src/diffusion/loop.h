// Seamless loops without training: the noisy clip is taken as a ring, and in every sampling step the network sees it
// turned by another number of frames, so that the place where its last frame meets its first lies inside its window
// like any other. That is the latent shift of Mobius (arXiv 2502.20307); seen as MultiDiffusion (arXiv 2302.08113), its
// windows are the turns of one ring, one a step instead of all in each.
#pragma once
#include <stdint.h>

// The frame that comes first in step (from 0) of a ring of frames: the golden ratio's multiples, which leave no frame
// near the border for long.
int lm_loop_start(int step, int frames);
// ring [frames,per_frame] -> out [count,per_frame]: count frames from first on, again and again around the ring.
void lm_loop_cut(const float *ring, int frames, int64_t per_frame, int first, int count, float *out);
// The way back: the first frames of window [at least frames,per_frame] to their places.
void lm_loop_join(const float *window, int frames, int64_t per_frame, int first, float *ring);
