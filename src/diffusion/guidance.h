// What is done to a prediction before a sampler uses it: classifier-free guidance and what is known, on v, thresholding
// on x0.
#pragma once
#include "diffusion/schedule.h"

// Classifier-free guidance (Ho & Salimans, arXiv 2207.12598): v = u + scale (v - u), in place, where v was predicted
// with the prompt and u without it. scale 1 leaves v, 0 gives u.
void lm_guide(float *v, const float *u, int64_t n, float scale);

// What is known replaces what was predicted (the null-space condition of Wang et al., arXiv 2212.00490, equation 13,
// with a mask as the operator): where condition [pixels,4] has a mask of 1, v [pixels,3] becomes the one for which
// x0 = alpha x - sigma v is the condition's value. l.sigma above 0.
void lm_keep_given(lm_level l, const float *condition, const float *x, int64_t pixels, float *v);

// Static thresholding: x0 into [-bound, bound].
void lm_clamp(float *x0, int64_t n, float bound);

// The value below which the share p in [0,1] of |x| lies, interpolated linearly between neighbours (numpy's default).
// scratch: n floats, overwritten. n at least 1, all x finite.
float lm_percentile_abs(const float *x, int64_t n, double p, float *scratch);

// Dynamic thresholding (Imagen, arXiv 2205.11487, section 2.3): s = that percentile of |x0|, at least 1; x0 is clamped
// to [-s, s] and divided by s, so that saturated pixels come inward instead of sticking to the bound.
void lm_dynamic_threshold(float *x0, int64_t n, double p, float *scratch);
