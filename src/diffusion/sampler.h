// From noise to a clip: the samplers of the probability-flow ODE.
#pragma once
#include "base/status.h"
#include "settings/choices.h"
#include <stdbool.h>
#include <stdint.h>

// Where a clip from noise alone begins: at 1 the steps' formulas divide by an alpha of 0.
#define LM_NOISIEST_TIME 0.999

typedef struct lm_sampler {
    lm_sampler_kind kind;
    int steps; // evaluations of denoise, at evenly spaced times from t_start on; at least 1
    double t_start,
        t_end;    // LM_NOISIEST_TIME and 0 make a clip from noise; a smaller t_start begins at a partly noisy clip
    double clamp; // bound of |x0|; INFINITY: none
    double dynamic_threshold; // percentile in (0,1) of dynamic thresholding, used in place of clamp; 0: off
    // v for the noisy clip x at time t, guidance inside.
    lm_status (*denoise)(lm_error *e, void *user, const float *x, double t, float *v);
    // After every step, 1 to steps, with the clean clip as predicted in it; may be NULL. false stops: LM_CANCELLED.
    bool (*progress)(void *user, int step, int steps, const float *x0);
    void *user;
} lm_sampler;

// x, n floats: the noisy clip at t_start on entry, the clip at t_end afterwards (undefined on failure). LM_FAILED when
// a prediction is not finite. Takes lm_sample_bytes(n) of memory.
lm_status lm_sample(lm_error *e, const lm_sampler *s, float *x, int64_t n);
uint64_t lm_sample_bytes(int64_t n);

// One step of DDIM for n floats on their own, as lm_sample takes it: x at time t becomes x at time next, and v, the
// prediction at t, becomes the clean values, clamped to [-clamp, clamp]. false when a prediction is not finite.
bool lm_ddim_step(double t, double next, float clamp, float *x, float *v, int64_t n);
// Time at which step i of `steps` begins (i = steps: where the last one ends), from t_start to t_end evenly.
double lm_step_time(double t_start, double t_end, int i, int steps);
