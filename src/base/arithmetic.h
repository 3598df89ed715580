// Small sums that many places need.
#pragma once
#include <stddef.h>
#include <stdint.h>

static inline int64_t lm_lesser(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t lm_greater(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static inline size_t lm_greater_size(size_t a, size_t b) {
    return a > b ? a : b;
}

// a, b > 0
static inline int64_t lm_divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
static inline int64_t lm_round_up(int64_t n, int64_t multiple) {
    return lm_divide_up(n, multiple) * multiple;
}
// To the next multiple of 64, where memory is aligned.
static inline size_t lm_align_size(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

// The index in [0, count) that is nearest to i.
static inline int lm_clamp_index(int i, int count) {
    return i < 0 ? 0 : i >= count ? count - 1 : i;
}

// Catmull and Rom's weights of four neighbours for a place p in [0,1) after the second of them: the cubic that keeps
// straight lines straight.
static inline void lm_cubic_weights(double p, float w[4]) {
    w[0] = (float)(p * (-0.5 + p * (1 - 0.5 * p)));
    w[1] = (float)(1 + p * p * (-2.5 + 1.5 * p));
    w[2] = (float)(p * (0.5 + p * (2 - 1.5 * p)));
    w[3] = (float)(p * p * (-0.5 + 0.5 * p));
}
