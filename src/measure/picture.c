// Pictures and clips to look at: slices through time, two clips side by side.
#include "measure/measure.h"

#include <string.h>

lm_status lm_clip_slice(lm_error *e, const lm_clip *c, lm_slice_axis axis, int at, lm_clip *out) {
    *out = (lm_clip){0};
    bool row = axis == LM_SLICE_ROW;
    int count = row ? c->height : c->width, length = row ? c->width : c->height;
    if (at < 0 || at >= count)
        return lm_fail(e, LM_USAGE, "there is no %s %d in a clip of %dx%d; from 0 to %d there are",
                       row ? "row" : "column", at, c->width, c->height, count - 1);
    LM_TRY(lm_clip_alloc(e, 1, length, c->frames, 3, out));
    size_t pixel = row ? 3 : (size_t)c->width * 3, first = (size_t)at * (row ? (size_t)c->width * 3 : 3);
    size_t frame = (size_t)c->width * (size_t)c->height * 3;
    uint8_t *to = out->data;
    for (int t = 0; t < c->frames; t++) {
        const uint8_t *from = c->data + (size_t)t * frame + first;
        for (int i = 0; i < length; i++, to += 3, from += pixel) memcpy(to, from, 3);
    }
    return LM_OK;
}

// Where one of the two clips goes.
typedef struct place {
    const lm_clip *clip;
    int left, width; // in the result
} place;

static int enlarged_width(const lm_clip *c, int height) {
    return (int)(((int64_t)c->width * height + c->height / 2) / c->height);
}

static void draw(const place *p, int t, lm_clip *out) {
    const lm_clip *c = p->clip;
    if (t >= c->frames) t = c->frames - 1;
    for (int y = 0; y < out->height; y++) {
        int row = (int)((int64_t)y * c->height / out->height);
        const uint8_t *from = c->data + ((size_t)t * (size_t)c->height + (size_t)row) * (size_t)c->width * 3;
        uint8_t *to = out->data + ((size_t)y * (size_t)out->width + (size_t)p->left) * 3;
        for (int x = 0; x < p->width; x++)
            memcpy(to + 3 * (size_t)x, from + 3 * (size_t)((int64_t)x * c->width / p->width), 3);
    }
}

lm_status lm_side_by_side(lm_error *e, const lm_clip *a, const lm_clip *b, int gap, bool shortest, lm_clip *out) {
    enum { GRAY = 128 };
    *out = (lm_clip){0};
    int height = a->height > b->height ? a->height : b->height;
    int frames = (a->frames < b->frames) == shortest ? a->frames : b->frames;
    place left = {a, 0, enlarged_width(a, height)}, right = {b, left.width + gap, enlarged_width(b, height)};
    int64_t width = (int64_t)left.width + gap + right.width;
    if (width > LM_MAX_SIDE)
        return lm_fail(e, LM_USAGE, "side by side the clips are %lld pixels wide; up to %d can be written",
                       (long long)width, LM_MAX_SIDE);
    LM_TRY(lm_clip_alloc(e, frames, (int)width, height, 3, out));
    size_t frame = (size_t)width * (size_t)height * 3;
    memset(out->data, GRAY, frame * (size_t)frames);
    lm_clip one = *out;
    for (int t = 0; t < frames; t++, one.data += frame) {
        draw(&left, t, &one);
        draw(&right, t, &one);
    }
    return LM_OK;
}
