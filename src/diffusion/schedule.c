#include "diffusion/schedule.h"

#include "base/random.h"

#include <math.h>
#include <string.h>

#define HALF_PI 1.5707963267948966

lm_level lm_level_at(double t) {
    return (lm_level){cos(t * HALF_PI), sin(t * HALF_PI)};
}

double lm_time_shifted(double t, double shift) {
    lm_level l = lm_level_at(t);
    return shift == 1 ? t : atan2(shift * l.sigma, l.alpha) / HALF_PI;
}

double lm_level_lambda(lm_level l) {
    return l.sigma > 0 ? log(l.alpha / l.sigma) : INFINITY;
}

void lm_v_target(lm_level l, const float *x0, const float *noise, int64_t n, float *xt, float *v) {
    const float alpha = (float)l.alpha, sigma = (float)l.sigma;
    for (int64_t i = 0; i < n; i++) {
        float clean = x0[i], random = noise[i];
        xt[i] = alpha * clean + sigma * random;
        v[i] = alpha * random - sigma * clean;
    }
}

void lm_v_to_x0(lm_level l, const float *x, const float *v, int64_t n, float *x0) {
    const float alpha = (float)l.alpha, sigma = (float)l.sigma;
    for (int64_t i = 0; i < n; i++) x0[i] = alpha * x[i] - sigma * v[i];
}

void lm_noise_fill(float *out, int64_t frames, int64_t per_frame, uint64_t seed, uint32_t clip, uint32_t step) {
    for (int64_t f = 0; f < frames; f++)
        lm_random_normal(out + f * per_frame, per_frame, seed, LM_FOR_NOISE, clip, (uint32_t)f, step);
}

void lm_noise_fill_still(float *out, int64_t frames, int64_t per_frame, uint64_t seed, uint32_t clip, uint32_t step) {
    lm_noise_fill(out, 1, per_frame, seed, clip, step);
    for (int64_t f = 1; f < frames; f++) memcpy(out + f * per_frame, out, (size_t)per_frame * sizeof *out);
}
