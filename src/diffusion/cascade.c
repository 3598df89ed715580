#include "diffusion/cascade.h"

static inline void area_means(const float *in, int height, int width, int factor, float *out) {
    const float share = 1.0f / (float)(factor * factor);
    const int64_t line = (int64_t)width * factor * 3;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, out += 3) {
            const float *area = in + y * factor * line + (int64_t)x * factor * 3;
            float sum[3] = {0};
            for (int i = 0; i < factor; i++)
                for (int j = 0; j < factor * 3; j++) sum[j % 3] += area[i * line + j];
            for (int c = 0; c < 3; c++) out[c] = sum[c] * share;
        }
}

void lm_area_means(const float *in, int height, int width, int factor, float *out) {
    area_means(in, height, width, factor, out);
}

void lm_reduce(const float *in, int height, int width, float *out) {
    area_means(in, height, width, LM_ENLARGEMENT, out); // of a number that the compiler knows
}

// Between which pixels of the small picture a place of the large one lies, and how far from the first.
typedef struct between {
    int first, second;
    float share; // of the second
} between;

static between place(int at, int length) {
    float centre = ((float)at + 0.5f) / LM_ENLARGEMENT - 0.5f;
    if (centre < 0) centre = 0;
    int first = (int)centre;
    if (first > length - 1) first = length - 1;
    return (between){first, first + 1 < length ? first + 1 : first, centre - (float)first};
}

void lm_enlarge(const float *in, int height, int width, int top, int left, int rows, int columns, float *out) {
    for (int r = 0; r < rows; r++) {
        between y = place(top + r, height);
        const float *above = in + (int64_t)y.first * width * 3, *below = in + (int64_t)y.second * width * 3;
        for (int k = 0; k < columns; k++, out += 3) {
            between x = place(left + k, width);
            for (int c = 0; c < 3; c++) {
                float upper = above[3 * x.first + c] * (1 - x.share) + above[3 * x.second + c] * x.share;
                float lower = below[3 * x.first + c] * (1 - x.share) + below[3 * x.second + c] * x.share;
                out[c] = upper * (1 - y.share) + lower * y.share;
            }
        }
    }
}

void lm_add_noise(lm_level level, const float *noise, int64_t n, float *x) {
    const float alpha = (float)level.alpha, sigma = (float)level.sigma;
    for (int64_t i = 0; i < n; i++) x[i] = alpha * x[i] + sigma * noise[i];
}

void lm_to_residual(const float *cond, double alpha, double scale, int64_t n, float *x) {
    const float a = (float)(1 / alpha), s = (float)scale;
    for (int64_t i = 0; i < n; i++) x[i] = s * (x[i] - a * cond[i]);
}

void lm_from_residual(const float *cond, double alpha, double scale, int64_t n, float *x) {
    const float a = (float)(1 / alpha), s = (float)(1 / scale);
    for (int64_t i = 0; i < n; i++) x[i] = a * cond[i] + s * x[i];
}
