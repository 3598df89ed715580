#include "diffusion/loop.h"

#include <math.h>
#include <string.h>

int lm_loop_start(int step, int frames) {
    const double golden = 0.6180339887498949;
    double turn = step * golden;
    return (int)((turn - floor(turn)) * frames);
}

void lm_loop_cut(const float *ring, int frames, int64_t per_frame, int first, int count, float *out) {
    for (int i = 0; i < count; i++)
        memcpy(out + i * per_frame, ring + (first + i) % frames * per_frame, (size_t)per_frame * sizeof *out);
}

void lm_loop_join(const float *window, int frames, int64_t per_frame, int first, float *ring) {
    for (int i = 0; i < frames; i++)
        memcpy(ring + (first + i) % frames * per_frame, window + i * per_frame, (size_t)per_frame * sizeof *ring);
}
