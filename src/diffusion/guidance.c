#include "diffusion/guidance.h"

#include <math.h>

void lm_guide(float *v, const float *u, int64_t n, float scale) {
    for (int64_t i = 0; i < n; i++) v[i] = u[i] + scale * (v[i] - u[i]);
}

void lm_keep_given(lm_level l, const float *condition, const float *x, int64_t pixels, float *v) {
    const float alpha = (float)l.alpha, sigma = (float)l.sigma;
    for (int64_t i = 0; i < pixels; i++, condition += 4)
        for (int c = 0; c < 3 && condition[3] == 1; c++) v[3 * i + c] = (alpha * x[3 * i + c] - condition[c]) / sigma;
}

void lm_clamp(float *x0, int64_t n, float bound) {
    for (int64_t i = 0; i < n; i++) x0[i] = x0[i] < -bound ? -bound : x0[i] > bound ? bound : x0[i];
}

// Hoare's selection: afterwards a[k] is the k-th smallest, smaller ones before it, larger ones behind.
static float select_kth(float *a, int64_t n, int64_t k) {
    for (int64_t low = 0, high = n - 1; low < high;) {
        float pivot = a[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (a[i] < pivot) i++;
            while (pivot < a[j]) j--;
            if (i <= j) {
                float swap = a[i];
                a[i++] = a[j];
                a[j--] = swap;
            }
        }
        if (k <= j)
            high = j;
        else if (k >= i)
            low = i;
        else
            break;
    }
    return a[k];
}

float lm_percentile_abs(const float *x, int64_t n, double p, float *scratch) {
    for (int64_t i = 0; i < n; i++) scratch[i] = fabsf(x[i]);
    double position = p * (double)(n - 1);
    int64_t k = (int64_t)position;
    if (k > n - 1) k = n - 1;
    float below = select_kth(scratch, n, k), above = below;
    if (k + 1 < n) above = scratch[k + 1];
    for (int64_t i = k + 2; i < n; i++)
        if (scratch[i] < above) above = scratch[i];
    return (float)(below + (position - (double)k) * ((double)above - below));
}

void lm_dynamic_threshold(float *x0, int64_t n, double p, float *scratch) {
    float s = lm_percentile_abs(x0, n, p, scratch);
    if (!(s > 1)) s = 1;
    lm_clamp(x0, n, s);
    for (int64_t i = 0; i < n; i++) x0[i] /= s;
}
