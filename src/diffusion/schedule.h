// The continuous cosine schedule and v prediction (Salimans & Ho, arXiv 2202.00512): for diffusion time t in [0,1]
//     x_t = alpha x_0 + sigma noise,   v = alpha noise - sigma x_0,   alpha = cos(pi t / 2), sigma = sin(pi t / 2)
// Arrays are flat floats, pictures in [-1,1] units.
#pragma once
#include <stdint.h>

typedef struct lm_level {
    double alpha, sigma;
} lm_level;

lm_level lm_level_at(double t); // t in [0,1]
// lambda = log(alpha / sigma), half the logarithm of the signal-to-noise ratio; infinite at t = 0.
double lm_level_lambda(lm_level l);

// The time whose signal-to-noise amplitude alpha / sigma is that of t, divided by shift (Hoogeboom et al., arXiv
// 2301.11093, section 3.1: what is seen in many pixels, or frames, is still seen under more noise). shift above 0.
double lm_time_shifted(double t, double shift);

// Noisy sample and regression target of n clean values: xt = alpha x0 + sigma noise, v = alpha noise - sigma x0.
void lm_v_target(lm_level l, const float *x0, const float *noise, int64_t n, float *xt, float *v);
// The clean values that a predicted v stands for: x0 = alpha x - sigma v. x0 may be v.
void lm_v_to_x0(lm_level l, const float *x, const float *v, int64_t n, float *x0);

// Noise of a clip [frames, per_frame], per_frame = height x width x channels in this order. Every frame has its own
// stream, keyed by (seed, clip, frame, step): the same whatever the batch, the threads or the number of frames.
void lm_noise_fill(float *out, int64_t frames, int64_t per_frame, uint64_t seed, uint32_t clip, uint32_t step);
// The first frame's noise in all frames (shared as in Ge et al., arXiv 2305.10474), so that what is made up from it
// does not change from frame to frame.
void lm_noise_fill_still(float *out, int64_t frames, int64_t per_frame, uint64_t seed, uint32_t clip, uint32_t step);
