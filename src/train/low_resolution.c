#include "train/low_resolution.h"

#include "diffusion/cascade.h"

#include <math.h>
#include <string.h>

lm_crop lm_crop_draw(lm_stream *random, int side, int size) {
    int places = (side - size) / LM_CROP_STEP + 1;
    lm_crop c = {.size = size};
    c.y = LM_CROP_STEP * (int)lm_stream_below(random, places);
    c.x = LM_CROP_STEP * (int)lm_stream_below(random, places);
    c.level = (float)fmax(0, LM_MOST_LEVEL * (2 * lm_stream_uniform(random) - 1));
    return c;
}

// The crop and, within the picture, a low-resolution pixel around it, which its enlargement looks at.
static void with_margin(int at, int size, int side, int *start, int *length) {
    int end = at + size + LM_ENLARGEMENT < side ? at + size + LM_ENLARGEMENT : side;
    *start = at > LM_ENLARGEMENT ? at - LM_ENLARGEMENT : 0;
    *length = end - *start;
}

static size_t margin_floats(int crop) {
    size_t side = (size_t)crop + 2 * LM_ENLARGEMENT;
    return side * side * 3;
}

size_t lm_crop_scratch(int sprite_size, int crop) {
    return lm_scene_scratch(sprite_size) + 2 * margin_floats(crop);
}

void lm_crop_render(const lm_scene *s, const lm_crop *c, int frames, lm_noise_key key, double scale, float *scratch,
                    float *x0, float *cond) {
    float *picture = scratch + lm_scene_scratch(s->sprite->size), *low = picture + margin_floats(c->size);
    float *noise = picture; // cut out by then
    int64_t row = (int64_t)c->size * 3, n = row * c->size;
    const lm_level level = lm_level_at((double)c->level);
    lm_part part;
    with_margin(c->y, c->size, s->sprite->size, &part.top, &part.rows);
    with_margin(c->x, c->size, s->sprite->size, &part.left, &part.columns);
    int y = c->y - part.top, x = c->x - part.left, height = part.rows / LM_ENLARGEMENT,
        width = part.columns / LM_ENLARGEMENT;
    lm_scene_pass pass = lm_scene_begin(s, scratch);
    for (int f = 0; f < frames; f++, x0 += n, cond += n) {
        lm_scene_frame(&pass, f, part, picture);
        for (int i = 0; i < c->size; i++)
            memcpy(x0 + i * row, picture + ((int64_t)(y + i) * part.columns + x) * 3, (size_t)row * sizeof *x0);
        lm_reduce(picture, height, width, low);
        lm_random_normal(noise, (int64_t)height * width * 3, key.seed, LM_FOR_LOW, key.item, (uint32_t)f, key.step);
        lm_add_noise(level, noise, (int64_t)height * width * 3, low);
        lm_enlarge(low, height, width, y, x, c->size, c->size, cond);
        lm_to_residual(cond, level.alpha, scale, n, x0);
    }
}
