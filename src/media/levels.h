// Bytes of frames and the levels in [-1,1] that networks work in.
#pragma once
#include <stddef.h>
#include <stdint.h>

static inline void lm_floats_from_bytes(float *to, const uint8_t *from, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = (float)from[i] / 127.5f - 1;
}

// To the nearest byte, halves up; what lies outside is cut off, and a NaN is 0.
static inline void lm_bytes_from_floats(uint8_t *to, const float *from, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float value = (from[i] + 1) * 127.5f + 0.5f;
        to[i] = value >= 255 ? 255 : value > 0 ? (uint8_t)value : 0;
    }
}
