// Dense optical flow between two gray frames: Lucas and Kanade's least squares (1981) in a Gaussian window around every
// pixel, iterated on a pyramid (Bouguet 2001). Where a window has no texture, flow is taken from its surroundings, and
// far from any texture there is none.
#pragma once
#include <stddef.h>

typedef struct lm_flow lm_flow; // the planes of one size; for one thread
// NULL when memory is short.
lm_flow *lm_flow_create(int width, int height);
void lm_flow_free(lm_flow **flow);
size_t lm_flow_bytes(int width, int height);

// u and v such that from(x, y) is to(x + u, y + v), in pixels. All planes are height x width; gray values are 0 to 255.
// A step of up to about an eighth of the shorter side is found.
void lm_flow_run(lm_flow *flow, const float *from, const float *to, float *u, float *v);
