// Differences of frames and of clips.
#include "measure/measure.h"

#include <stddef.h>
#include <stdlib.h>

static size_t frame_bytes(const lm_clip *c) {
    return (size_t)c->width * (size_t)c->height * (size_t)c->channels;
}

static const uint8_t *frame_at(const lm_clip *c, int t) {
    return c->data + (size_t)t * frame_bytes(c);
}

double lm_frame_difference(const lm_clip *c, int a, int b) {
    const uint8_t *p = frame_at(c, a), *q = frame_at(c, b);
    size_t n = frame_bytes(c);
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += abs(p[i] - q[i]);
    return (double)sum / (double)n;
}

double lm_second_difference(const lm_clip *c, int t) {
    const uint8_t *p = frame_at(c, t - 1), *q = frame_at(c, t), *r = frame_at(c, t + 1);
    size_t n = frame_bytes(c);
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += abs(p[i] - 2 * q[i] + r[i]);
    return (double)sum / (double)n;
}

double lm_frame_level(const lm_clip *c, int t) {
    const uint8_t *p = frame_at(c, t);
    size_t n = frame_bytes(c);
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += p[i];
    return (double)sum / (double)n;
}

void lm_clip_distance(const lm_clip *a, const lm_clip *b, double *absolute, double *square) {
    size_t n = frame_bytes(a) * (size_t)(a->frames < b->frames ? a->frames : b->frames);
    int64_t sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        int d = a->data[i] - b->data[i];
        sum += abs(d);
        squares += d * d;
    }
    *absolute = (double)sum / (double)n;
    *square = (double)squares / (double)n;
}
