// Training pairs of super-resolution: a square cut out of a clip, and the same square of the clip reduced to a quarter
// of its size, made noisy and enlarged again.
#pragma once
#include "base/random.h"
#include "train/augment.h"

enum { LM_CROP_STEP = 16 }; // crops begin and end at multiples of this

typedef struct lm_crop {
    int y, x, size;
    float level;
} lm_crop;

// A random crop of clips of side x side, and its noise level: 0 for one half, uniform up to LM_MOST_LEVEL for the
// other.
lm_crop lm_crop_draw(lm_stream *random, int side, int size);
// Floats to work in for sprites of this size.
size_t lm_crop_scratch(int sprite_size, int crop);
// The scene at the sprite's own size -> cond, x0 [frames,size,size,3] of the crop: alpha low + sigma noise enlarged,
// with alpha and sigma of the crop's level, and the clip's residual to that, times scale. The noise is that of (seed,
// item, frame, step).
typedef struct lm_noise_key {
    uint64_t seed;
    uint32_t item, step;
} lm_noise_key;
void lm_crop_render(const lm_scene *s, const lm_crop *c, int frames, lm_noise_key key, double scale, float *scratch,
                    float *x0, float *cond);
