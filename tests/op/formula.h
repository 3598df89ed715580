// Numbers for test vectors from a stated formula, the same here and in tests/oracle/formula.py, and the comparison with
// what the oracles commit of an output: samples, sum and sum of squares.
#pragma once
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { FORMULA_SAMPLES = 32 };

// 24 random bits: the upper ones of SplitMix64's output for the state seed * 2^32 + index.
static inline uint64_t formula_bits(uint64_t seed, uint64_t index) {
    uint64_t z = ((seed << 32) + index + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (z ^ z >> 31) >> 40;
}

static inline double formula_value(uint64_t seed, int64_t index) { // in [-1,1), exact in fp32
    return (double)formula_bits(seed, (uint64_t)index) / 8388608.0 - 1;
}

static inline uint64_t formula_name_seed(const char *name) { // FNV-1a, 31 bits
    uint32_t h = 0x811C9DC5u;
    for (; *name; name++) h = (h ^ (uint8_t)*name) * 0x01000193u;
    return h >> 1;
}

// Element i of a network's weight (tests/oracle/unet_vectors.py, weight). count: of its elements, outputs: its first
// size.
static inline double formula_weight(const char *name, int rank, int64_t count, int64_t outputs, uint64_t seed,
                                    int64_t i) {
    double v = formula_value(seed, i);
    if (rank > 1) return v * sqrt(3.0 / (double)(count / outputs));
    size_t length = strlen(name);
    bool scale = length > 7 && strcmp(name + length - 7, ".weight") == 0;
    return scale ? 1 + 0.2 * v : 0.1 * v;
}

static inline int64_t formula_sample_count(int64_t n) {
    return n < FORMULA_SAMPLES ? n : FORMULA_SAMPLES;
}

static inline int64_t formula_sample_index(int64_t n, int64_t k) {
    if (n <= FORMULA_SAMPLES) return k;
    int64_t low = k * n / FORMULA_SAMPLES, high = (k + 1) * n / FORMULA_SAMPLES;
    return low + (int64_t)(formula_bits((uint64_t)n, (uint64_t)k) % (uint64_t)(high - low));
}

// Floats in the record of an output of n elements.
static inline int64_t formula_record_size(int64_t n) {
    return formula_sample_count(n) + 2;
}

// The largest of: mean square error of the samples over the output's mean square; and the square of the relative error
// of the sum and of the sum of squares, which also see the elements that aren't sampled. NaN when y has one.
static inline double formula_error(const double *y, int64_t n, const float *record) {
    int64_t samples = formula_sample_count(n);
    double sum = 0, squares = 0, wrong = 0, squares_there = (double)record[samples + 1];
    for (int64_t i = 0; i < n; i++) sum += y[i], squares += y[i] * y[i];
    for (int64_t k = 0; k < samples; k++) {
        double d = y[formula_sample_index(n, k)] - (double)record[k];
        wrong += d * d;
    }
    double scale = squares_there + 1e-30; // all may be zero
    double error = wrong / (double)samples / (scale / (double)n);
    double of_sum = (sum - (double)record[samples]) / sqrt(scale * (double)n);
    double of_squares = 0.5 * (squares - squares_there) / scale;
    if (!isfinite(sum)) return NAN;
    return fmax(error, fmax(of_sum * of_sum, of_squares * of_squares));
}
